// atoll demo: a real mesh of processes on this machine that keeps a folder while nodes die and join.

import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { Readable } from 'node:stream'
import type { Command } from 'commander'
import { MeshError } from '../../base/errors.ts'
import { formatBytes, formatDuration } from '../../base/units.ts'
import type { NodeStatus } from '../../node/status.ts'
import { readUnchangedFile } from '../../node/file-source.ts'
import type { PutResult } from '../../services/files/files.ts'
import type { ApiClient } from '../http-client.ts'
import { NodeProcess } from '../node-process.ts'
import type { CommandContext } from './command.ts'
import { listFiles } from './folder.ts'
import { Progress, table, type Console } from './output.ts'

const PEERS_MIN = 4
const PEERS_MAX = 9
/** So short that a person can watch; 15 minutes otherwise. */
const GRACE = '2s'
const TRANSFERS_AT_ONCE = 4
const WAIT_LIMIT_MS = 45_000
const POLL_MS = 150
/** The clone or the installed package, when no folder is named. */
const OWN_FOLDER = join(import.meta.dirname, '..', '..', '..')

type DemoFile = { path: string; bytes: number; hash: string; cid: string }
type Step = { what: string; took: string; result: string }

export function registerDemo(program: Command, context: CommandContext): void {
  program
    .command('demo')
    .description('watch a mesh of real processes keep a folder while nodes die and join')
    .argument('[path]', 'folder to store (this installation)')
    .option('--peers <n>', `nodes to start, ${PEERS_MIN} to ${PEERS_MAX}`, '5')
    .option('--exit', 'end when done instead of leaving the mesh running')
    .action(async (path: string | undefined, options: { peers: string; exit?: boolean }) => {
      const peers = Number(options.peers)
      if (!Number.isInteger(peers) || peers < PEERS_MIN || peers > PEERS_MAX) {
        throw new MeshError(
          'invalid-argument',
          `Cannot use --peers "${options.peers}": it takes ${PEERS_MIN} to ${PEERS_MAX}`
        )
      }
      const demo = new Demo(context, {
        peers,
        folder: path ?? OWN_FOLDER,
        exit: options.exit === true
      })
      await demo.run()
    })
}

class Demo {
  readonly #console: Console
  readonly #signal: AbortSignal
  readonly #options: { peers: number; folder: string; exit: boolean }
  readonly #nodes: NodeProcess[] = []
  readonly #steps: Step[] = []
  #root = ''

  constructor(context: CommandContext, options: { peers: number; folder: string; exit: boolean }) {
    this.#console = context.console
    this.#signal = context.signal
    this.#options = options
  }

  async run(): Promise<void> {
    this.#root = await mkdtemp(join(tmpdir(), 'atoll-demo-'))
    try {
      await this.#play()
      if (!this.#options.exit) await this.#stay()
    } finally {
      await Promise.all(this.#nodes.map((node) => (node.isRunning ? node.stop() : node.exited)))
      await rm(this.#root, { recursive: true, force: true })
      this.#say('All nodes have stopped; their folders are removed.')
    }
  }

  async #play(): Promise<void> {
    const { peers, folder } = this.#options
    const startedMs = performance.now()
    await this.#step(`start ${peers} nodes; each but the first knows one address`, async () => {
      for (let number = 1; number <= peers; number++) await this.#startNode(number)
      await this.#until(
        'all nodes know each other',
        (status) => status.members.filter(({ state }) => state === 'alive').length === peers
      )
      return `${peers} members, one mesh, no master`
    })
    const files = await this.#putFolder(folder)
    const victim = 2
    await this.#step(`kill node-${victim} with SIGKILL`, async () => {
      await this.#node(victim).kill()
      return 'gone without a word'
    })
    await this.#readAll(files, 3, 'read every file back through node-3 and compare')
    await this.#step('wait until all blocks have three copies again', async () => {
      await this.#until('the copies are restored', (status) => {
        const { underReplicated, missing, pendingMoves } = status.blocks
        return status.members.length === peers - 1 && underReplicated + missing + pendingMoves === 0
      })
      return `node-${victim} is out of the layout, nothing is missing`
    })
    await this.#step('a new node joins and gets its share', async () => {
      const number = peers + 1
      await this.#startNode(number)
      const peerId = this.#node(number).up.peerId
      let used = 0
      await this.#until('the new node has its share', (status) => {
        used = status.members.find((member) => member.peerId === peerId)?.usedBytes ?? 0
        return used > 0 && status.members.length === peers && status.blocks.pendingMoves === 0
      })
      return `node-${number} holds ${formatBytes(used)}`
    })
    await this.#readAll(files, peers + 1, `read every file once more, through node-${peers + 1}`)
    await this.#closingTable(performance.now() - startedMs)
  }

  async #startNode(number: number): Promise<void> {
    const first = this.#nodes.find((node) => node.isRunning)
    const node = NodeProcess.spawn({
      dataDir: join(this.#root, `node-${number}`),
      words: [
        '--preset',
        'local',
        '--name',
        `node-${number}`,
        '--capacity',
        '4GiB',
        '--grace',
        GRACE,
        ...(first === undefined ? [] : ['--join', first.up.addresses[0] ?? ''])
      ]
    })
    this.#nodes[number - 1] = node
    const { addresses } = await node.ready()
    this.#say(`  node-${number}  pid ${node.pid}  ${addresses[0]?.replace(/\/p2p\/.*/, '') ?? ''}`)
  }

  async #putFolder(folder: string): Promise<DemoFile[]> {
    const files: DemoFile[] = []
    await this.#step(
      `put ${folder === OWN_FOLDER ? 'this installation (without node_modules, .git, dist)' : folder} in, through node-1`,
      async () => {
        const found = await listFiles(folder)
        const total = found.reduce((sum, { bytes }) => sum + bytes, 0)
        const client = await this.#client(1)
        const progress = new Progress(this.#console, { label: '  put', total })
        let done = 0
        await this.#each(found, async ({ path, bytes }) => {
          const { cid, hash } = await this.#put(client, path, bytes)
          files.push({ path: relative(folder, path), bytes, hash, cid })
          done += bytes
          progress.update(done)
        })
        progress.end()
        return `${files.length} files, ${formatBytes(total)}, every block on at least two disks before it counts`
      }
    )
    return files
  }

  async #put(
    client: ApiClient,
    path: string,
    bytes: number
  ): Promise<{ cid: string; hash: string }> {
    const hash = createHash('sha256')
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for await (const part of readUnchangedFile(path)) {
        hash.update(part)
        yield part
      }
    }
    const body = Readable.from(source(), { objectMode: false })
    const { cid } = await client.json<PutResult>('files', {
      method: 'POST',
      body,
      bodyBytes: bytes,
      signal: this.#signal
    })
    return { cid, hash: hash.digest('hex') }
  }

  async #readAll(files: readonly DemoFile[], number: number, what: string): Promise<void> {
    await this.#step(what, async () => {
      const client = await this.#client(number)
      const total = files.reduce((sum, { bytes }) => sum + bytes, 0)
      const progress = new Progress(this.#console, { label: '  get', total })
      let done = 0
      await this.#each(files, async (file) => {
        const hash = createHash('sha256')
        for await (const part of await client.stream(`files/${file.cid}`, {
          signal: this.#signal
        })) {
          hash.update(part as Uint8Array)
        }
        if (hash.digest('hex') !== file.hash) {
          throw new MeshError('corrupt', `${file.path} came back different`)
        }
        done += file.bytes
        progress.update(done)
      })
      progress.end()
      return `${files.length} of ${files.length} identical`
    })
  }

  /** Runs `work` on every item, a few at once; the first error ends it. */
  async #each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    let next = 0
    const worker = async (): Promise<void> => {
      for (let item = items[next++]; item !== undefined; item = items[next++]) {
        this.#signal.throwIfAborted()
        await work(item)
      }
    }
    await Promise.all(Array.from({ length: TRANSFERS_AT_ONCE }, worker))
  }

  async #until(what: string, isDone: (status: NodeStatus) => boolean): Promise<void> {
    const client = await this.#client(1)
    const endMs = performance.now() + WAIT_LIMIT_MS
    for (;;) {
      if (isDone(await client.json<NodeStatus>('status', { signal: this.#signal }))) return
      this.#signal.throwIfAborted()
      if (performance.now() > endMs) {
        throw new MeshError(
          'timeout',
          `Waited ${formatDuration(WAIT_LIMIT_MS)} until ${what}, in vain`
        )
      }
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS)
      })
    }
  }

  async #step(what: string, run: () => Promise<string>): Promise<void> {
    this.#signal.throwIfAborted()
    this.#say(`\n▸ ${what}`)
    const startedMs = performance.now()
    const result = await run()
    const took = formatDuration(performance.now() - startedMs)
    this.#steps.push({ what, took, result })
    this.#say(`  ${result} (${took})`)
  }

  async #closingTable(totalMs: number): Promise<void> {
    const client = await this.#client(1)
    const { members, blocks } = await client.json<NodeStatus>('status', { signal: this.#signal })
    this.#say('')
    const steps = this.#steps.map(({ what, took, result }, index) => [
      String(index + 1),
      what,
      took,
      result
    ])
    for (const line of table([['', 'WHAT', 'TOOK', 'RESULT'], ...steps])) this.#say(line)
    this.#say('')
    const rows = members.map(({ name, state, usedBytes, capacityBytes }) => [
      name,
      state,
      formatBytes(usedBytes ?? 0),
      formatBytes(capacityBytes)
    ])
    for (const line of table([['NODE', 'STATE', 'USED', 'CAPACITY'], ...rows])) this.#say(line)
    this.#say(
      `\n${blocks.underReplicated} blocks lack a copy, ${blocks.missing} are missing. ${formatDuration(totalMs)} in all.`
    )
  }

  /** Leaves the mesh to the person until Ctrl-C. */
  async #stay(): Promise<void> {
    const command = 'node bin/atoll.js'
    this.#say('\nThe mesh goes on until you press Ctrl-C. Try, in another terminal:')
    this.#say(`  export ATOLL_DATA=${this.#node(1).dataDir}`)
    this.#say(`  ${command} status`)
    this.#say(`  ${command} put README.md`)
    this.#say(`  ${command} get CID --data ${this.#node(3).dataDir}`)
    this.#say(`  kill -9 ${this.#node(3).pid}; ${command} status`)
    await new Promise<void>((resolve) => {
      this.#signal.addEventListener('abort', () => resolve(), { once: true })
      if (this.#signal.aborted) resolve()
    })
  }

  async #client(number: number): Promise<ApiClient> {
    return await this.#node(number).client()
  }

  #node(number: number): NodeProcess {
    const node = this.#nodes[number - 1]
    if (node === undefined) throw new MeshError('internal', `There is no node-${number}`)
    return node
  }

  #say(line: string): void {
    this.#console.out(line)
  }
}
