// Word count over real text on five real processes, with a worker, the leader of the job and the
// submitter killed while it runs: what comes out equals what sort and uniq say.
//
//   npm run chaos -- jobs --runs 10 --megabytes 50 --seed 7

import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isUtf8 } from 'node:buffer'
import { utf8 } from '../../../src/base/bytes.ts'
import { createRandom, pick, type Random } from '../../../src/base/random.ts'
import { MIB } from '../../../src/base/units.ts'
import { shardOf } from '../../../src/core/groups/shard-of.ts'
import type { GroupsReport } from '../../../src/node/shard-groups.ts'
import { COMMAND, pause, ProcessMesh } from '../process-mesh.ts'

const NODES = 5
const PROGRAM = join(import.meta.dirname, '..', '..', '..', 'examples', 'programs', 'word-count.ts')
const LIBRARIES = join(import.meta.dirname, '..', '..', '..', 'node_modules')
const BOOK_BYTES: number = 5 * MIB
const WAIT_MS = 180_000
/** Kills come within this time of the job's begin, … */
const KILL_MS_MAX = 4_000
/** … and who was killed is back after up to this. */
const AWAY_MS_MAX = 3_000

export type JobChaosOptions = {
  readonly runs: number
  readonly megabytes: number
  readonly seed: number
}

/** @returns whether all is right */
export async function runJobChaos(options: JobChaosOptions): Promise<boolean> {
  const { runs, megabytes, seed } = options
  const random = createRandom(seed)
  const root = await mkdtemp(join(tmpdir(), 'atoll-chaos-jobs-'))
  try {
    const books = await writeBooks(root, megabytes * MIB)
    const truth = await countTruly(books)
    say(`seed ${seed}: ${books.length} books, ${megabytes} MiB, ${truth.size} different words`)
    const alone = await onOneNode(books, truth)
    say(`on a single node: ${alone ?? 'equal'}`)
    await using mesh = await ProcessMesh.create(NODES)
    await putBooks(mesh, books)
    let good = 0
    for (let run = 1; run <= runs; run++) {
      const startedMs = performance.now()
      const kills = await oneRun(mesh, { run, random })
      const problem = await compare(mesh, `counts/${run}`, truth)
      const took = ((performance.now() - startedMs) / 1_000).toFixed(1)
      say(`run ${run}: ${took} s, killed ${kills.join(', ')}: ${problem ?? 'equal'}`)
      if (problem === undefined) good += 1
    }
    say(`${good} of ${runs} runs equal what sort and uniq say`)
    return good === runs && alone === undefined
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}

async function putBooks(mesh: ProcessMesh, books: readonly string[]): Promise<void> {
  await succeed(mesh.atoll(0, ['mkdir', 'books']))
  for (const [index, book] of books.entries()) {
    await succeed(mesh.atoll(index % mesh.nodes.length, ['put', book, `books/${index}`]))
  }
}

/** The same program, unchanged. @returns what differs, if anything */
async function onOneNode(
  books: readonly string[],
  truth: ReadonlyMap<string, number>
): Promise<string | undefined> {
  await using mesh = await ProcessMesh.create(1)
  await putBooks(mesh, books)
  await succeed(mesh.atoll(0, ['mapreduce', PROGRAM, '--input', 'books', '--output', 'counts/0']))
  return await compare(mesh, 'counts/0', truth)
}

/** @returns what was killed, and when */
async function oneRun(
  mesh: ProcessMesh,
  { run, random }: { run: number; random: Random }
): Promise<string[]> {
  const id = `count-${run}`
  const words = ['--input', 'books', '--output', `counts/${run}`, '--id', id, '--json']
  const from = random.below(NODES)
  const submit = (node: number): ChildProcess =>
    spawn(process.execPath, [COMMAND, 'mapreduce', PROGRAM, ...words, '--data', mesh.dirOf(node)], {
      stdio: ['ignore', 'pipe', 'inherit']
    })
  const submitter = submit(from)
  const ended = once(submitter, 'close')
  const kills: string[] = []
  const note = (what: string, afterMs: number): void => {
    kills.push(`${what} after ${(afterMs / 1_000).toFixed(1)} s`)
  }
  // Once it has a name it goes on alone.
  await new Promise((resolve) => {
    submitter.stdout?.once('data', resolve)
    submitter.once('close', resolve)
  })
  const killSubmitter = async (): Promise<void> => {
    const afterMs = random.below(KILL_MS_MAX)
    await pause(afterMs)
    submitter.kill('SIGKILL')
    await ended
    note('the submitter', afterMs)
  }
  const killNodes = async (): Promise<void> => {
    const firstMs = random.below(KILL_MS_MAX)
    await pause(firstMs)
    const leader = await leaderOf(mesh, id)
    await mesh.at(leader).kill()
    note(`the leader n${leader}`, firstMs)
    await pause(random.below(AWAY_MS_MAX))
    await mesh.start(leader)
    const worker = pick(random, [0, 1, 2, 3, 4])
    const afterMs = random.below(AWAY_MS_MAX)
    await pause(afterMs)
    await mesh.at(worker).kill()
    note(`a worker n${worker}`, afterMs)
    await pause(random.below(AWAY_MS_MAX))
    await mesh.start(worker)
  }
  await Promise.all([killSubmitter(), killNodes()])
  const waiting = ['job', 'wait', id, '--json']
  const waited = await Promise.race([mesh.atoll(random.below(NODES), waiting), pause(WAIT_MS)])
  if (waited === undefined || waited.code !== 0) {
    const { stdout } = await mesh.atoll(0, ['job', 'explain', id])
    const dead = await mesh.atoll(0, ['job', 'dead', id])
    throw new Error(
      `${id} did not end well: ${String(waited?.stderr)} ${stdout.toString()} ${dead.stdout.toString()}`
    )
  }
  return kills
}

async function leaderOf(mesh: ProcessMesh, id: string): Promise<number> {
  const node = mesh.running[0]
  if (node === undefined) throw new Error('no node runs')
  const report = await (await node.client()).json<GroupsReport>('shards')
  const shards = report.groups.length - 1
  const shard = shardOf(utf8(`~${id}`), shards)
  const leader = report.groups.find((group) => group.shard === shard)?.leader
  const index = mesh.nodes.findIndex((one) => one.up.peerId === leader)
  return index < 0 ? 0 : index
}

/** Text that people wrote: what the libraries here come with, as far as it is UTF-8. */
async function writeBooks(root: string, bytes: number): Promise<string[]> {
  const found = await readdir(LIBRARIES, { recursive: true, withFileTypes: true })
  const files = found
    .filter((entry) => entry.isFile() && /\.(md|js|ts|json|txt)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted()
  const books: string[] = []
  let left = bytes
  let book: Buffer[] = []
  let bookBytes = 0
  const close = async (): Promise<void> => {
    if (book.length === 0) return
    const path = join(root, `book-${books.length}`)
    await writeFile(path, Buffer.concat(book))
    books.push(path)
    book = []
    bookBytes = 0
  }
  for (let round = 0; left > 0 && round < 20; round++) {
    for (const file of files) {
      const text = await readFile(file)
      if (!isUtf8(text)) continue
      const taken = Buffer.concat([text, Buffer.from('\n')])
      book.push(taken)
      bookBytes += taken.length
      left -= taken.length
      if (bookBytes >= BOOK_BYTES) await close()
      if (left <= 0) break
    }
  }
  await close()
  return books
}

/** What the tools of the system say. */
async function countTruly(books: readonly string[]): Promise<Map<string, number>> {
  const script = `cat "$@" | tr -s ' \\t\\r\\n\\f\\v' '\\n' | sort | uniq -c`
  const child = spawn('sh', ['-c', script, 'sh', ...books], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, LC_ALL: 'C' }
  })
  const parts: Buffer[] = []
  child.stdout.on('data', (part: Buffer) => parts.push(part))
  const [code] = (await once(child, 'close')) as [number]
  if (code !== 0) throw new Error(`sort and uniq ended with ${code}`)
  const counts = new Map<string, number>()
  for (const line of Buffer.concat(parts).toString('utf8').split('\n')) {
    const match = /^ *(\d+) (.+)$/s.exec(line)
    if (match !== null) counts.set(match[2] as string, Number(match[1]))
  }
  return counts
}

/** @returns what differs, if anything */
async function compare(
  mesh: ProcessMesh,
  folder: string,
  truth: ReadonlyMap<string, number>
): Promise<string | undefined> {
  const listed = await succeed(mesh.atoll(0, ['ls', folder, '--json']))
  const names = (JSON.parse(listed) as { name: string }[]).map(({ name }) => name)
  const counts = new Map<string, number>()
  for (const name of names) {
    const text = await succeed(mesh.atoll(mesh.nodes.length - 1, ['get', `${folder}/${name}`]))
    for (const line of text.split('\n')) {
      const at = line.lastIndexOf('\t')
      if (at > 0) counts.set(line.slice(0, at), Number(line.slice(at + 1)))
    }
  }
  for (const [word, count] of truth) {
    if (counts.get(word) !== count) return `"${word}" ${counts.get(word)} times, not ${count}`
  }
  return counts.size === truth.size ? undefined : `${counts.size} words, not ${truth.size}`
}

async function succeed(command: ReturnType<ProcessMesh['atoll']>): Promise<string> {
  const { code, stdout, stderr } = await command
  if (code !== 0) throw new Error(`the command ended with ${code}: ${stderr}`)
  return stdout.toString()
}

function say(text: string): void {
  process.stdout.write(`${(performance.now() / 1_000).toFixed(1).padStart(6)} ${text}\n`)
}
