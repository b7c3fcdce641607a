// One running node: its place in the mesh, its blocks and its services, whatever they stand on.

import type { Clock } from '../base/clock.ts'
import { Emitter } from '../base/emitter.ts'
import { errorMessage, MeshError } from '../base/errors.ts'
import type { MeshId, PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { Blocks, type BlocksOptions } from '../blocks/blocks.ts'
import type { ScrubJournal } from '../blocks/scrub.ts'
import type { Random } from '../base/random.ts'
import type { MembershipConfig } from '../core/membership/config.ts'
import { type Member, type MemberRecord, type MemberUpdate } from '../core/membership/member.ts'
import { layoutReport, type LayoutReport } from '../core/ring/layout-report.ts'
import type { Founding } from '../mesh/genesis.ts'
import { Mesh } from '../mesh/mesh.ts'
import type { Address, Network, Unsubscribe } from '../net/network.ts'
import type { Executor } from '../executor/executor.ts'
import type { Compute } from '../services/compute/compute.ts'
import type { NodeCompute } from '../services/compute/node-compute.ts'
import { Programs } from '../services/compute/programs.ts'
import { Collector, type CollectorOptions } from '../services/files/collector.ts'
import { Files } from '../services/files/files.ts'
import { Kv } from '../services/kv/kv.ts'
import { Locks } from '../services/locks/locks.ts'
import { Streams } from '../services/streams/streams.ts'
import type { ShardLayer } from '../shard/shard-layer.ts'
import type { Shards } from '../shard/shards.ts'
import type { BlockStore } from '../storage/block-store.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { StateStore } from '../storage/state-store.ts'
import { Colleagues, type ScrubOutcome } from './colleagues.ts'
import { forwardEvents, type NodeEvents } from './node-events.ts'
import { shardsOf } from './node-shards.ts'
import { workOf, type WorkSetup } from './node-work.ts'
import { leaveMesh, type LeaveOptions } from './leave.ts'
import { ShardGroups } from './shard-groups.ts'
import { statusOf, type NodeStatus } from './status.ts'

/** Software version, for people. */
export const AGENT = 'atoll/0.1.0'

/** What a node stands on. The composition root builds the real ones, the test mesh simulated ones. */
export type NodeComponents = {
  network: Network
  store: BlockStore
  clock: Clock
  random: Random
  log: Logger
  journal: NodeJournal
  logStore: LogStore
  stateStore: StateStore
  /** Runs the tasks of the mesh that this node takes. */
  executor: Executor
  /** Runs a task at the end of this turn of the event loop: `setImmediate`, or `clock.after(0)`. */
  defer: (task: () => void) => void
}

/** What a node wants kept over restarts. */
export type NodeJournal = {
  remember(members: readonly Member[]): Promise<void>
  saveSelf(record: MemberRecord): Promise<void>
  scrub: ScrubJournal
  saveLayout(encoded: Uint8Array): Promise<void>
  /** The log is there from now on. */
  saveLog(): Promise<void>
}

export type NodeSetup = {
  founding: Founding
  self: MemberRecord
  membership: MembershipConfig
  join: readonly Address[]
  remembered: readonly MemberUpdate[]
  /** The layout of the last run. */
  layout?: Uint8Array | undefined
  /** Whether the log was there before. */
  hasLog: boolean
  /** What the node gives to tasks. */
  work: WorkSetup
  blocks?: Partial<BlocksOptions>
  collector?: Partial<CollectorOptions>
  onWaiting?: ((reason: string) => void) | undefined
}

export class Node extends Programs {
  readonly files: Files
  readonly blocks: Blocks
  readonly mesh: Mesh
  readonly kv: Kv
  readonly locks: Locks
  readonly work: NodeCompute
  readonly compute: Compute
  readonly streams: Streams
  readonly shards: Shards
  readonly shardLayer: ShardLayer
  readonly groups: ShardGroups
  readonly #colleagues: Colleagues
  readonly #collector: Collector
  readonly #components: NodeComponents
  readonly #setup: NodeSetup
  readonly #events = new Emitter<NodeEvents>()
  readonly #stopping = new AbortController()
  readonly #ended = Promise.withResolvers<void>()
  #stopped: Promise<void> | undefined
  #saving: Promise<void> = Promise.resolve()

  constructor(components: NodeComponents, setup: NodeSetup) {
    super()
    const { network, store, clock, random, log, journal } = components
    this.#components = components
    this.#setup = setup
    this.mesh = new Mesh(
      { network, clock, random, log, remember: (members) => journal.remember(members) },
      { ...setup, agent: AGENT }
    )
    this.blocks = new Blocks(
      { network, mesh: this.mesh, store, clock, log, scrubJournal: journal.scrub },
      setup.blocks
    )
    this.shardLayer = shardsOf(components, {
      setup,
      mesh: this.mesh,
      onSaved: (saved) => this.#keep(saved)
    })
    const shards = this.shardLayer.router
    this.shards = shards
    this.kv = new Kv({ shards, clock, log })
    this.locks = new Locks({ shards, clock, log })
    this.streams = new Streams(network)
    const { blocks, mesh, locks } = this
    this.files = new Files({ blocks, shards }, { stopping: this.#stopping.signal })
    this.#collector = new Collector({ mesh, blocks, shards, locks, clock, log }, setup.collector)
    const { shardLayer, files } = this
    this.work = workOf(components, { setup, mesh, files, shardLayer })
    this.compute = this.work.compute
    const colleagues = new Colleagues({ network, log, mesh, blocks, shardLayer, agent: AGENT })
    this.#colleagues = colleagues
    this.groups = new ShardGroups({ mesh, colleagues, shardLayer })
    this.mesh.on('self', (record) => this.#keep(async () => await journal.saveSelf(record)))
    forwardEvents(mesh, this.#events)
  }

  get peerId(): PeerId {
    return this.mesh.self
  }

  get meshId(): MeshId {
    return this.mesh.founding.meshId
  }

  /** Where others can join, with this node's id: arguments of `atoll join`. */
  get addresses(): readonly string[] {
    return this.#components.network.addresses().map((address) => `${address}/p2p/${this.peerId}`)
  }

  /** Resolves when the node serves and knows its mesh. Called by the factories. */
  async start(): Promise<void> {
    const { network, store, clock } = this.#components
    const failed = Promise.withResolvers<never>()
    const unsubscribe = this.mesh.on('fatal', (error) => failed.reject(error))
    const waiting = (): void => {
      this.#setup.onWaiting?.(this.mesh.lastFailure() ?? 'no answer yet')
      timer = clock.after(5_000, waiting)
    }
    let timer = clock.after(5_000, waiting)
    try {
      await store.open()
      await this.shardLayer.open()
      if (!this.#setup.hasLog) await this.#components.journal.saveLog()
      await network.start()
      this.mesh.start()
      await Promise.race([this.mesh.joined(), failed.promise])
      await Promise.race([this.shardLayer.start(), failed.promise])
      this.blocks.start()
      this.#collector.start()
      await this.work.start()
    } catch (error) {
      await this.stop()
      throw error
    } finally {
      unsubscribe()
      timer.cancel()
      failed.promise.catch(() => {})
    }
    this.mesh.on('fatal', (error) => {
      this.#components.log.error('node.failed', { code: error.code, reason: error.message })
      this.#events.emit('failed', error)
      void this.stop()
    })
  }

  /** Ends everything this node began: clean, in reverse order, idempotent. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    await this.#stopped
  }

  /** Resolves when the node has stopped, whoever stopped it. */
  get stopped(): Promise<void> {
    return this.#ended.promise
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  on<Name extends keyof NodeEvents>(
    name: Name,
    listener: (value: NodeEvents[Name]) => void
  ): Unsubscribe {
    return this.#events.on(name, listener)
  }

  /** How the mesh is, as this node sees it. Members that don't answer within 1.5 s have no usage. */
  async status(): Promise<NodeStatus> {
    const { mesh, blocks, shardLayer, addresses } = this
    return await statusOf({ mesh, blocks, shardLayer, addresses, colleagues: this.#colleagues })
  }

  /** Why this node's disk takes no more blocks, once it does. */
  storeFailure(): Error | undefined {
    return this.#components.store.failure()
  }

  /** Who owns how much of the ring. */
  ring(): LayoutReport {
    return layoutReport(this.mesh.layout().layout)
  }

  /** Checks every block of every member that answers; mends what is damaged. */
  async scrub(
    options: { bytesPerSecond?: number; signal?: AbortSignal | undefined } = {}
  ): Promise<ScrubOutcome[]> {
    return await this.#colleagues.scrub(options)
  }

  /**
   * Hands every block over to the others and leaves the mesh; then the node stops.
   *
   * @throws invalid-argument when it is the only member: there is nobody to hand over to
   */
  async leave(options: LeaveOptions = {}): Promise<void> {
    const { store, clock } = this.#components
    const { mesh, shardLayer } = this
    const parts = { mesh, shardLayer, store, clock, stopping: this.#stopping.signal }
    await leaveMesh(parts, options)
    options.onDone?.()
    await this.stop()
  }

  /**
   * Puts a member out for good; resolves when the mesh has agreed on a layout without it.
   *
   * @throws not-found, invalid-argument; no-quorum when it is out and the layout has to wait
   */
  async evict(peer: PeerId): Promise<void> {
    await this.mesh.evict(peer)
    await this.shardLayer.layouts.without(peer)
  }

  async #stop(): Promise<void> {
    const { network, store } = this.#components
    this.#stopping.abort(new MeshError('stopped', 'The node is stopping'))
    await this.work.stop()
    await this.#collector.stop()
    await this.kv.stop()
    await this.locks.stop()
    await this.blocks.stop()
    await this.shardLayer.stop()
    await this.mesh.stop()
    await network.stop()
    await this.#saving
    await store.close()
    this.#ended.resolve()
  }

  /** Writes one thing after the other; what can't be written is missed at the next start only. */
  #keep(save: () => Promise<void>): void {
    const { log } = this.#components
    this.#saving = this.#saving
      .then(save)
      .catch((error: unknown) => log.warn('node.save_failed', { reason: errorMessage(error) }))
  }
}
