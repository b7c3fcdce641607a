// The nodes of the demo: real processes with folders that go away afterwards.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MeshError } from '../../base/errors.ts'
import { formatDuration } from '../../base/units.ts'
import type { GroupsReport } from '../../node/shard-groups.ts'
import type { NodeStatus } from '../../node/status.ts'
import type { ApiClient } from '../http-client.ts'
import { NodeProcess } from '../node-process.ts'
import { connect, type RemoteNode } from '../remote/connect.ts'

/** So short that a person can watch; 15 minutes otherwise. */
const GRACE = '2s'
const WAIT_LIMIT_MS = 45_000
const POLL_MS = 150

/** Nodes are numbered from 1. */
export class DemoMesh {
  readonly #signal: AbortSignal
  readonly #root: string
  readonly #nodes: NodeProcess[] = []

  private constructor(root: string, signal: AbortSignal) {
    this.#root = root
    this.#signal = signal
  }

  static async create(signal: AbortSignal): Promise<DemoMesh> {
    return new DemoMesh(await mkdtemp(join(tmpdir(), 'atoll-demo-')), signal)
  }

  /** Starts a node that joins the first that runs. */
  async start(number: number): Promise<NodeProcess> {
    const first = this.#nodes.find((node) => node.isRunning)
    const joining = first === undefined ? [] : ['--join', first.up.addresses[0] ?? '']
    const words = ['--preset', 'local', '--name', `node-${number}`, '--capacity', '4GiB']
    const node = NodeProcess.spawn({
      dataDir: join(this.#root, `node-${number}`),
      words: [...words, '--grace', GRACE, ...joining]
    })
    this.#nodes[number - 1] = node
    await node.ready()
    return node
  }

  node(number: number): NodeProcess {
    const node = this.#nodes[number - 1]
    if (node === undefined) throw new MeshError('internal', `There is no node-${number}`)
    return node
  }

  /** @returns the number of a node that runs, other than these. */
  runningBut(...numbers: readonly number[]): number {
    const place = this.#nodes.findIndex((node, index) => {
      return node.isRunning && !numbers.includes(index + 1)
    })
    if (place === -1) throw new MeshError('internal', 'No other node runs')
    return place + 1
  }

  numberOf(peerId: string): number {
    return this.#nodes.findIndex((node) => node.up.peerId === peerId) + 1
  }

  async client(number: number): Promise<ApiClient> {
    return await this.node(number).client()
  }

  /** @returns the services of the mesh through a node, to be closed. */
  async connect(number: number): Promise<RemoteNode> {
    return await connect({ dataDir: this.node(number).dataDir, signal: this.#signal })
  }

  async status(): Promise<NodeStatus> {
    const client = await this.client(this.runningBut())
    return await client.json<NodeStatus>('status', { signal: this.#signal })
  }

  async groups(): Promise<GroupsReport['groups']> {
    const client = await this.client(this.runningBut())
    return (await client.json<GroupsReport>('shards', { signal: this.#signal })).groups
  }

  /** @throws timeout */
  async until(what: string, isDone: () => Promise<boolean>): Promise<void> {
    const endMs = performance.now() + WAIT_LIMIT_MS
    while (!(await isDone())) {
      this.#signal.throwIfAborted()
      if (performance.now() > endMs) {
        const limit = formatDuration(WAIT_LIMIT_MS)
        throw new MeshError('timeout', `Waited ${limit} until ${what}, in vain`)
      }
      await new Promise((resolve) => {
        setTimeout(resolve, POLL_MS)
      })
    }
  }

  /** Ends every process and removes the folders. */
  async end(): Promise<void> {
    await Promise.all(this.#nodes.map((node) => (node.isRunning ? node.stop() : node.exited)))
    await rm(this.#root, { recursive: true, force: true })
  }
}
