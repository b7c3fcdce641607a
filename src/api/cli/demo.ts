// atoll demo: a real mesh of processes on this machine that keeps a folder and a counter while nodes
// die and join.

import { join } from 'node:path'
import type { Command } from 'commander'
import { MeshError } from '../../base/errors.ts'
import { formatBytes, formatDuration } from '../../base/units.ts'
import type { CommandContext } from './command.ts'
import { countAndKill, readCounter, type CounterRun } from './demo-counter.ts'
import { DemoFiles, sumOf, type DemoFile } from './demo-files.ts'
import { DemoMesh } from './demo-mesh.ts'
import { countWordsAndKill } from './demo-work.ts'
import { PACKAGE_FOLDER } from '../package-folder.ts'
import { table } from './output.ts'

const PEERS_MIN = 4
const PEERS_MAX = 9

type DemoOptions = { readonly peers: number; readonly folder: string; readonly exit: boolean }
type Step = { what: string; took: string; result: string }

export function registerDemo(program: Command, context: CommandContext): void {
  program
    .command('demo')
    .description(
      'watch a mesh of real processes keep files, count and work while nodes die and join'
    )
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
      const mesh = await DemoMesh.create(context.signal)
      const folder = path ?? PACKAGE_FOLDER
      await new Demo(context, mesh, { peers, folder, exit: options.exit === true }).run()
    })
}

class Demo {
  readonly #context: CommandContext
  readonly #mesh: DemoMesh
  readonly #files: DemoFiles
  readonly #options: DemoOptions
  readonly #steps: Step[] = []

  constructor(context: CommandContext, mesh: DemoMesh, options: DemoOptions) {
    this.#context = context
    this.#mesh = mesh
    this.#files = new DemoFiles(context)
    this.#options = options
  }

  async run(): Promise<void> {
    try {
      await this.#play()
      if (!this.#options.exit) await this.#stay()
    } finally {
      await this.#mesh.end()
      this.#say('All nodes have stopped; their folders are removed.')
    }
  }

  async #play(): Promise<void> {
    const { peers, folder } = this.#options
    const startedMs = performance.now()
    await this.#startAll(peers)
    const files = await this.#putAll(folder)
    await this.#nameOne(files, folder)
    const { victim, acknowledged } = await this.#count()
    const reader = this.#mesh.runningBut(1, victim)
    await this.#readAll(files, reader, `read every file back through node-${reader} and compare`)
    await this.#repair(victim)
    await this.#join(peers + 1)
    await this.#readAll(files, peers + 1, `read every file once more, through node-${peers + 1}`)
    await this.#step(`read the counter through node-${peers + 1}`, async () => {
      const counter = await readCounter(this.#mesh, peers + 1)
      if (counter === acknowledged) return `${counter}, as many as were acknowledged`
      const wrong = `${acknowledged} increments were acknowledged, and the counter says ${counter}`
      throw new MeshError('corrupt', wrong)
    })
    await this.#work(peers + 1)
    await this.#closingTable(performance.now() - startedMs)
  }

  async #startAll(peers: number): Promise<void> {
    await this.#step(`start ${peers} nodes; each but the first knows one address`, async () => {
      await this.#startNode(1)
      const others = Array.from({ length: peers - 1 }, (_, index) => index + 2)
      await Promise.all(others.map((number) => this.#startNode(number)))
      await this.#mesh.until('all nodes know each other', async () => {
        const { members } = await this.#mesh.status()
        return members.filter(({ state }) => state === 'alive').length === peers
      })
      return `${peers} members, one mesh, no master`
    })
  }

  async #startNode(number: number): Promise<void> {
    const { pid, up } = await this.#mesh.start(number)
    this.#say(`  node-${number}  pid ${pid}  ${up.addresses[0]?.replace(/\/p2p\/.*/, '') ?? ''}`)
  }

  async #putAll(folder: string): Promise<DemoFile[]> {
    const isOwn = folder === PACKAGE_FOLDER
    const name = isOwn ? 'this installation' : folder
    let files: DemoFile[] = []
    await this.#step(`put ${name} in, through node-1`, async () => {
      const client = await this.#mesh.client(1)
      files = await this.#files.putFolder(client, folder, isOwn ? ['test'] : [])
      return `${files.length} files, ${formatBytes(sumOf(files))}, all on two disks or more before it counts`
    })
    return files
  }

  async #nameOne(files: readonly DemoFile[], folder: string): Promise<void> {
    const file = files.find(({ path }) => path === 'README.md') ?? files[0]
    if (file === undefined) return
    const name = `demo/${file.path.replaceAll('\\', '/')}`
    await this.#step('name a file through node-1, read it by name through node-4', async () => {
      await this.#files.putNamed(await this.#mesh.client(1), join(folder, file.path), name)
      await this.#files.check(await this.#mesh.client(4), name, file)
      return `${name} is the same there at once`
    })
  }

  async #count(): Promise<{ victim: number; acknowledged: number }> {
    let run: CounterRun | undefined
    const what = 'count by compare-and-set, kill -9 the node that leads the count'
    await this.#step(what, async () => {
      run = await countAndKill(this.#mesh, this.#context)
      const { through, victim, acknowledged, gapMs } = run
      return `node-${through} had ${acknowledged} increments acknowledged; when node-${victim} died, none for ${gapMs} ms`
    })
    if (run === undefined) throw new MeshError('internal', 'Nothing was counted')
    return run
  }

  async #work(through: number): Promise<void> {
    await this.#step('count words on all nodes, kill -9 one of them meanwhile', async () => {
      const { victim, bytes, words, tasks } = await countWordsAndKill(
        this.#mesh,
        through,
        this.#context
      )
      return `${formatBytes(bytes)}, ${words} words, ${tasks} tasks; node-${victim} died, every count is right`
    })
  }

  async #readAll(files: readonly DemoFile[], number: number, what: string): Promise<void> {
    await this.#step(what, async () => {
      await this.#files.readAll(await this.#mesh.client(number), files)
      return `${files.length} of ${files.length} identical`
    })
  }

  async #repair(victim: number): Promise<void> {
    const left = this.#options.peers - 1
    await this.#step('wait until all blocks have three copies again', async () => {
      await this.#mesh.until('the copies are restored', async () => {
        const { members, blocks } = await this.#mesh.status()
        const { underReplicated, missing, pendingMoves } = blocks
        return members.length === left && underReplicated + missing + pendingMoves === 0
      })
      return `node-${victim} is out of the layout, nothing is missing`
    })
  }

  async #join(number: number): Promise<void> {
    await this.#step('a new node joins and gets its share', async () => {
      await this.#startNode(number)
      const { peerId } = this.#mesh.node(number).up
      let used = 0
      await this.#mesh.until('the new node has its share', async () => {
        const { members, blocks } = await this.#mesh.status()
        used = members.find((member) => member.peerId === peerId)?.usedBytes ?? 0
        return used > 0 && members.length === this.#options.peers && blocks.pendingMoves === 0
      })
      return `node-${number} holds ${formatBytes(used)}`
    })
  }

  async #step(what: string, run: () => Promise<string>): Promise<void> {
    this.#context.signal.throwIfAborted()
    this.#say(`\n▸ ${what}`)
    const startedMs = performance.now()
    const result = await run()
    const took = formatDuration(performance.now() - startedMs)
    this.#steps.push({ what, took, result })
    this.#say(`  ${result} (${took})`)
  }

  async #closingTable(totalMs: number): Promise<void> {
    const { members, blocks, shards } = await this.#mesh.status()
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
      `\n${blocks.underReplicated} blocks lack a copy, ${blocks.missing} are missing; ` +
        `${shards.led} of ${shards.count} shards have a leader. ${formatDuration(totalMs)} in all.`
    )
  }

  /** Leaves the mesh to the person until Ctrl-C. */
  async #stay(): Promise<void> {
    const command = 'node bin/atoll.js'
    const here = this.#mesh.runningBut()
    const other = this.#mesh.node(this.#mesh.runningBut(here))
    this.#say('\nThe mesh goes on until you press Ctrl-C. Try, in another terminal:')
    this.#say(`  export ATOLL_DATA=${this.#mesh.node(here).dataDir}`)
    this.#say(`  ${command} status; ${command} shards`)
    this.#say(`  ${command} kv get demo/counter`)
    this.#say(`  ${command} put README.md notes/readme.md`)
    this.#say(`  ${command} get notes/readme.md --data ${other.dataDir}`)
    this.#say(`  kill -9 ${other.pid}; ${command} status`)
    const { signal } = this.#context
    await new Promise<void>((resolve) => {
      signal.addEventListener('abort', () => resolve(), { once: true })
      if (signal.aborted) resolve()
    })
  }

  #say(line: string): void {
    this.#context.console.out(line)
  }
}
