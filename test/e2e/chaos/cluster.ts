// The nodes of a chaos run, and what may happen to them. Where the machine permits it each has a
// network namespace of its own, so that the network between them can be cut, and one has a small disk.

import { execFile } from 'node:child_process'
import { cp, mkdir, open, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Server } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { transform } from 'esbuild'
import { ApiClient } from '../../../src/api/http-client.ts'
import { NodeProcess } from '../../../src/api/node-process.ts'
import { RemoteNode } from '../../../src/api/remote/connect.ts'
import { openConnection } from '../../../src/api/remote/connection-client.ts'
import type { ApiAddress } from '../../../src/api/remote/connection-client.ts'
import { RemoteShards } from '../../../src/api/remote/remote-shards.ts'
import { RemoteStreams } from '../../../src/api/remote/remote-streams.ts'
import { MeshError, errorMessage, isMeshError } from '../../../src/base/errors.ts'
import { silentLogger } from '../../../src/base/log.ts'
import { KIB, MIB } from '../../../src/base/units.ts'
import { readApiFile } from '../../../src/node/data-folder.ts'
import type { GroupsReport } from '../../../src/node/shard-groups.ts'
import { systemClock } from '../../../src/node/system-clock.ts'
import { describeGroups, groupsOf, lackOf } from '../groups.ts'
import type { Lan } from '../lan.ts'
import { until } from '../process-mesh.ts'
import type { Trouble } from './disk-and-clock.ts'

const execute = promisify(execFile)
/** LMDB doesn't survive all that a disk may have done to its file. */
const DAMAGE_SIGNALS = ['SIGSEGV', 'SIGBUS', 'SIGABRT', 'SIGILL', 'SIGFPE']
/** What is loaded into each node. */
const LOADED = ['api-relay', 'disk-and-clock']
const API_PORT = 4_646
const MESH_PORT = 4_001
const START_MS = 60_000
const WHOLE_MS = 90_000

export type ClusterOptions = {
  readonly root: string
  readonly count: number
  readonly lan?: Lan | undefined
}

/** A program's connection to one node. */
type Connection = { readonly shards: RemoteShards; readonly node: RemoteNode }

export class Cluster implements AsyncDisposable {
  readonly count: number
  readonly #root: string
  readonly #lan: Lan | undefined
  readonly #nodes: NodeProcess[] = []
  readonly #connections: Connection[] = []
  readonly #relays: Server[] = []
  readonly #relayPorts: number[] = []
  readonly #cuts = new Set<string>()
  /** Nodes whose folder knows the mesh. */
  readonly #isKnown = new Set<number>()
  #smallDisk: number | undefined

  constructor({ root, count, lan }: ClusterOptions) {
    this.#root = root
    this.count = count
    this.#lan = lan
  }

  get hasNetworks(): boolean {
    return this.#lan !== undefined
  }

  /** The node whose disk is small, if there is one. */
  get smallDisk(): number | undefined {
    return this.#smallDisk
  }

  dirOf(index: number): string {
    return join(this.#root, `node-${index}`)
  }

  /** Puts the data of a node on a disk of its own. @returns why that can't be done, if it can't */
  async mountSmallDisk(index: number, bytes: number): Promise<string | undefined> {
    try {
      await mkdir(this.dirOf(index), { recursive: true })
      const words = ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', this.dirOf(index)]
      await execute('mount', words)
      this.#smallDisk = index
      return undefined
    } catch (error) {
      return String(error)
    }
  }

  isRunning(index: number): boolean {
    return this.#nodes[index]?.isRunning === true
  }

  /** Makes what is loaded into nodes plain JavaScript, which costs a node that starts least. */
  async prepare(): Promise<void> {
    for (const name of LOADED) {
      const source = await readFile(join(import.meta.dirname, `${name}.ts`), 'utf8')
      const { code } = await transform(source, { loader: 'ts' })
      await writeFile(join(this.#root, `${name}.mjs`), code)
    }
  }

  /** Starts a node. A new one joins another that runs; one that was there finds the others by itself. */
  async start(index: number): Promise<void> {
    const node = this.#spawn(index)
    this.#nodes[index] = node
    await node.ready(START_MS)
    this.#isKnown.add(index)
    this.#connections[index] ??= await this.#connect(index)
  }

  /** Starts a node whose disk is damaged. @returns false when what it read there ended the process */
  async startsAfterDamage(index: number): Promise<boolean> {
    try {
      await this.start(index)
      return true
    } catch (error) {
      if (!DAMAGE_SIGNALS.some((signal) => errorMessage(error).endsWith(signal))) throw error
      return false
    }
  }

  #spawn(index: number): NodeProcess {
    const isOther = (node: NodeProcess, place: number): boolean => place !== index && node.isRunning
    const other = this.#isKnown.has(index) ? undefined : this.#nodes.find(isOther)
    const listen = this.#lan === undefined ? [] : this.#networkWords(this.#lan.addressOf(index))
    const words = [
      '--preset',
      'local',
      '--name',
      `n${index}`,
      '--capacity',
      '1GiB',
      ...listen,
      ...(other === undefined ? [] : ['--join', other.up.addresses[0] ?? ''])
    ]
    return NodeProcess.spawn({
      dataDir: this.dirOf(index),
      words,
      ...(this.#lan === undefined ? {} : { within: this.#lan.within(index) }),
      env: {
        NODE_OPTIONS: LOADED.map((name) => `--import=${join(this.#root, name)}.mjs`).join(' '),
        ATOLL_TROUBLE_FILE: this.#troubleFileOf(index),
        ...(this.#lan === undefined
          ? {}
          : {
              ATOLL_RELAY_SOCKET: this.#socketOf(index),
              ATOLL_RELAY_PORT: String(API_PORT)
            })
      }
    })
  }

  node(index: number): NodeProcess {
    const node = this.#nodes[index]
    if (node === undefined) throw new Error(`There is no node ${index}`)
    return node
  }

  connection(index: number): Connection {
    const connection = this.#connections[index]
    if (connection === undefined) throw new Error(`Node ${index} was never started`)
    return connection
  }

  /** A node that runs: the one wanted, or one after it. One that is only stopped counts as running. */
  near(index: number): number {
    for (let step = 0; step < this.count; step++) {
      const place = (index + step) % this.count
      if (this.isRunning(place)) return place
    }
    return index % this.count
  }

  async client(index: number): Promise<ApiClient> {
    const { api, token } = await this.#api(index)
    return new ApiClient(this.dirOf(index), { url: api, token, pid: this.node(index).pid })
  }

  /** Waits until every group has a leader and all its voters, and they all have a replica. */
  async whole(): Promise<void> {
    await until('all groups are whole', WHOLE_MS, async () => {
      const report = await this.#report()
      return report.nodes.length === this.count ? (lackOf(report) ?? true) : 'nodes are missing'
    })
  }

  /** For people. */
  async describe(): Promise<string> {
    return await this.#report().then(describeGroups, String)
  }

  /** SIGKILL. */
  async kill(index: number): Promise<void> {
    await this.node(index).kill()
  }

  /** Cuts the network in one direction; nothing is told. */
  async cut(from: number, to: number): Promise<void> {
    this.#cuts.add(`${from} ${to}`)
    await this.#lan?.cut(from, to)
  }

  /** Ends all cuts. */
  async mend(): Promise<void> {
    for (const cut of this.#cuts) {
      const [from = 0, to = 0] = cut.split(' ').map(Number)
      await this.#lan?.mend(from, to)
    }
    this.#cuts.clear()
  }

  /** Slows the disk of a node that runs, and sets its clock, until it is told otherwise or ends. */
  async trouble(index: number, trouble: Trouble): Promise<void> {
    await writeFile(this.#troubleFileOf(index), JSON.stringify(trouble))
    if (this.isRunning(index)) this.node(index).signal('SIGUSR2')
  }

  /** Its log and what it has applied are gone, its key is still there. */
  async loseState(index: number): Promise<void> {
    for (const name of ['log', 'state']) {
      await rm(join(this.dirOf(index), name), { recursive: true, force: true })
    }
  }

  /** Copies its log and what it has applied. The node must not run; nor when they are put back. */
  async backUp(index: number): Promise<{ restore(): Promise<void> }> {
    const copyOf = (name: string): string => join(this.#root, `backup-${index}-${name}`)
    const names = ['log', 'state'] as const
    for (const name of names) {
      await rm(copyOf(name), { recursive: true, force: true })
      await cp(join(this.dirOf(index), name), copyOf(name), { recursive: true })
    }
    return {
      restore: async () => {
        await this.loseState(index)
        for (const name of names) {
          await cp(copyOf(name), join(this.dirOf(index), name), { recursive: true })
        }
      }
    }
  }

  /** Nothing is left: it comes back as somebody else. */
  async loseEverything(index: number): Promise<void> {
    this.#isKnown.delete(index)
    for (const name of await readdir(this.dirOf(index))) {
      await rm(join(this.dirOf(index), name), { recursive: true, force: true })
    }
  }

  /** Leaves no room on the small disk. @returns gives it back */
  async fillDisk(index: number): Promise<() => Promise<void>> {
    const path = join(this.dirOf(index), 'filler')
    const file = await open(path, 'w')
    try {
      for (const bytes of [MIB, 4 * KIB]) {
        const chunk = new Uint8Array(bytes).fill(1)
        while (await isWritten(file, chunk)) continue
      }
    } finally {
      await file.close()
    }
    return async () => await rm(path, { force: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Connections first: they would try to come back.
    await Promise.allSettled(
      this.#connections.map(async ({ node, shards }) => {
        shards.stop()
        await node.close()
      })
    )
    await Promise.all(
      this.#nodes.map(async (node) => {
        if (node.isRunning) await node.kill()
      })
    )
    for (const relay of this.#relays) relay.close()
    if (this.#smallDisk !== undefined) await execute('umount', [this.dirOf(this.#smallDisk)])
  }

  async #report(): Promise<GroupsReport> {
    return await groupsOf(await this.client(this.near(0)))
  }

  #networkWords(address: string): string[] {
    return ['--listen', `/ip4/${address}/tcp/${MESH_PORT}`, '--api', `127.0.0.1:${API_PORT}`]
  }

  #troubleFileOf(index: number): string {
    return join(this.#root, `${index}.trouble.json`)
  }

  #socketOf(index: number): string {
    return join(this.#root, `${index}.sock`)
  }

  async #connect(index: number): Promise<Connection> {
    await this.#relay(index)
    const opener = async ({
      signal
    }: {
      signal: AbortSignal
    }): ReturnType<typeof openConnection> => {
      const address = await this.#api(index)
      try {
        return await openConnection(address, { signal })
      } catch (error) {
        // As connect() has it: the new token is a moment late.
        if (!isMeshError(error, 'unauthorized')) throw error
        throw new MeshError('unreachable', error.message)
      }
    }
    const first = await opener({ signal: AbortSignal.timeout(START_MS) })
    const shards = new RemoteShards({ open: opener, clock: systemClock, log: silentLogger }, first)
    const client = async (): Promise<ApiClient> => {
      const { api: url, token } = await this.#api(index)
      return new ApiClient(this.dirOf(index), { url, token })
    }
    const log = silentLogger
    const streams = new RemoteStreams({ open: opener, clock: systemClock, log })
    return { shards, node: new RemoteNode({ shards, streams, log }, client) }
  }

  /** Where a program reaches the node now; found again after a restart. */
  async #api(index: number): Promise<ApiAddress> {
    const file = await readApiFile(this.dirOf(index))
    if (file === undefined) throw new MeshError('unreachable', `Node ${index} does not run`)
    const port = this.#relayPorts[index]
    return { api: port === undefined ? file.url : `http://127.0.0.1:${port}`, token: file.token }
  }

  async #relay(index: number): Promise<void> {
    if (this.#lan === undefined) return
    const server = createServer((inside) => {
      const outside = connect(this.#socketOf(index))
      inside.pipe(outside).pipe(inside)
      inside.on('error', () => outside.destroy())
      outside.on('error', () => inside.destroy())
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    this.#relays.push(server)
    this.#relayPorts[index] = (server.address() as AddressInfo).port
  }
}

async function isWritten(file: FileHandle, chunk: Uint8Array): Promise<boolean> {
  try {
    const { bytesWritten } = await file.write(chunk)
    return bytesWritten === chunk.length
  } catch {
    return false
  }
}
