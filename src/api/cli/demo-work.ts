// The demo's work: words are counted on all nodes, and one of them dies in the middle of it.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fromUtf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { mapReduceSource } from '../../services/compute/code/map-reduce-bundle.ts'
import { readAll } from '../../services/files/read-all.ts'
import { PACKAGE_FOLDER } from '../package-folder.ts'
import type { RemoteNode } from '../remote/connect.ts'
import type { CommandContext } from './command.ts'
import type { DemoMesh } from './demo-mesh.ts'

const BOOKS = 'demo/books'
const COUNTS = 'demo/counts'
const PARTITIONS = 6
/** What of the program is text enough to be counted. */
const BOOK = /\.(js|md)$/

export type WorkRun = {
  readonly victim: number
  readonly bytes: number
  readonly words: number
  readonly tasks: number
}

/** Counts the words of this program's own text, and kills a node while it is done. */
export async function countWordsAndKill(
  demo: DemoMesh,
  through: number,
  { signal }: CommandContext
): Promise<WorkRun> {
  await using mesh = await demo.connect(through)
  const books = await putBooks(mesh, signal)
  const options = { memory: '256MB', timeout: '60s' }
  const job = await mesh.compute.mapReduce(
    { ...(await program()), options },
    { input: BOOKS, output: COUNTS, partitions: PARTITIONS, signal }
  )
  const victim = demo.runningBut(1, through)
  await demo.node(victim).kill()
  const { total, failed, state } = await job.wait({ signal })
  if (failed > 0 || state !== 'ended') {
    throw new MeshError('internal', `${failed} of ${total} tasks of the count were given up`)
  }
  const truth = countHere(books)
  const counts = await readCounts(mesh, signal)
  for (const [word, count] of truth) {
    if (counts.get(word) === count) continue
    const problem = `"${word}" is there ${count} times, and ${counts.get(word)} were counted`
    throw new MeshError('corrupt', problem)
  }
  const bytes = books.reduce((sum, text) => sum + text.length, 0)
  return { victim, bytes, words: truth.size, tasks: total }
}

async function putBooks(mesh: RemoteNode, signal: AbortSignal): Promise<string[]> {
  await mesh.files.mkdir(BOOKS, { signal })
  const books: string[] = []
  for (const folder of [PACKAGE_FOLDER, join(PACKAGE_FOLDER, 'dist', 'bundle')]) {
    for (const name of await readdir(folder)) {
      if (!BOOK.test(name)) continue
      const bytes = await readFile(join(folder, name))
      await mesh.files.put(`${BOOKS}/${books.length}-${name}`, bytes, { signal })
      books.push(fromUtf8(bytes))
    }
  }
  return books
}

/** As `program` does, without any mesh. */
function countHere(books: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const book of books) {
    for (const word of book.split(/\s+/)) {
      if (word !== '') counts.set(word, (counts.get(word) ?? 0) + 1)
    }
  }
  return counts
}

async function readCounts(mesh: RemoteNode, signal: AbortSignal): Promise<Map<string, number>> {
  const counts = new Map<string, number>()
  for await (const { name } of mesh.files.ls(COUNTS, { signal })) {
    const text = fromUtf8(await readAll(mesh.files.get(`${COUNTS}/${name}`, { signal })))
    for (const line of text.split('\n')) {
      const at = line.lastIndexOf('\t')
      if (at > 0) counts.set(line.slice(0, at), Number(line.slice(at + 1)))
    }
  }
  return counts
}

async function program(): ReturnType<typeof mapReduceSource> {
  return await mapReduceSource({
    *map(line) {
      for (const word of line.split(/\s+/)) if (word !== '') yield [word, 1]
    },
    combine: (_, counts) => (counts as number[]).reduce((sum, count) => sum + count, 0),
    reduce: (_, counts) => (counts as number[]).reduce((sum, count) => sum + count, 0)
  })
}
