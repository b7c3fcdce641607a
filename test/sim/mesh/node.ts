// One machine of the simulated mesh: its disks, which outlive its processes, and what it has heard
// of the members.

import { sleep, type Timer } from '../../../src/base/clock.ts'
import { createRandom, pick, type Random } from '../../../src/base/random.ts'
import { storeId } from '../../../src/base/ids.ts'
import type { PeerId, StoreId } from '../../../src/base/ids.ts'
import { toHex } from '../../../src/base/bytes.ts'
import { KIB } from '../../../src/base/units.ts'
import type { LayoutMember } from '../../../src/core/groups/committed-layout.ts'
import { MemoryNetwork } from '../../../src/net/memory/memory-network.ts'
import { ShardLayer } from '../../../src/shard/shard-layer.ts'
import { MemoryLogDisk, MemoryLogStore } from '../../../src/storage/memory/memory-log-store.ts'
import {
  MemoryStateDisk,
  MemoryStateStore
} from '../../../src/storage/memory/memory-state-store.ts'
import { demand } from '../raft/violation.ts'
import { NodeClock } from './node-clock.ts'
import type { MeshWorld } from './world.ts'

const REPLICATION = 3
const SEGMENT_BYTES: number = 32 * KIB
/** How long it may take to read what a node has of one group. */
const CHECK_MS_MAX = 2_000
/** How often a node sees to its connections. */
const CONNECT_MS = 1_000

/** What is known of the members at some time. */
export type News = {
  readonly members: readonly LayoutMember[]
  readonly out: ReadonlySet<PeerId>
}

/** What there is while a node runs. */
type Running = {
  readonly clock: NodeClock
  readonly network: MemoryNetwork
  readonly logStore: MemoryLogStore
  readonly stateStore: MemoryStateStore
  readonly layer: ShardLayer
  connecting: Timer | undefined
}

export class MeshNode {
  readonly name: string
  readonly peer: PeerId
  readonly address: string
  readonly #world: MeshWorld
  readonly #random: Random
  #logDisk = new MemoryLogDisk()
  #stateDisk = new MemoryStateDisk()
  #layout: Uint8Array | undefined
  #isFounding: boolean
  #stopping: Promise<void> = Promise.resolve()
  store: StoreId
  /** Of what it says of itself. */
  revision = 1
  running: Running | undefined
  /** What it has heard: late, and now and then wrong. */
  news: News = { members: [], out: new Set() }
  isPaused = false
  /** A disk of it will fail, or has. */
  isDoomed = false

  constructor(world: MeshWorld, index: number, options: { peer: PeerId; isFounding: boolean }) {
    this.#world = world
    this.#random = createRandom(world.random.u32())
    this.name = `n${index}`
    this.peer = options.peer
    this.address = `/memory/${index}`
    this.store = this.#drawStore()
    this.#isFounding = options.isFounding
  }

  /** Begins to run; it serves at once, and has joined when it knows a layout. */
  async start(): Promise<void> {
    const { clock: time, world, trace, plan } = this.#world
    // Its folder is locked until then.
    await this.#stopping
    if (this.running !== undefined) return
    trace.note(`${this.name} starts`)
    const clock = new NodeClock(time)
    const log = trace.loggerOf(this.name, (text) => this.#world.say(text))
    const network = new MemoryNetwork(
      { world, log },
      { peerId: this.peer, address: this.address, mesh: 'test' }
    )
    const logStore = new MemoryLogStore(
      { clock, disk: this.#logDisk, logger: log },
      { segmentBytes: SEGMENT_BYTES }
    )
    const stateStore = new MemoryStateStore({ clock, disk: this.#stateDisk, logger: log })
    if (this.#random.below(2) === 0) stateStore.checkMs = this.#random.below(CHECK_MS_MAX)
    const { shardCount, trimming } = plan
    const layer = new ShardLayer(
      {
        network,
        clock,
        log,
        logStore,
        stateStore,
        random: createRandom(this.#random.u32()),
        defer: (task) => void clock.after(0, task),
        members: () => this.news.members,
        isOut: (peer) => this.news.out.has(peer),
        others: () => this.news.members.map(({ id }) => id).filter((id) => id !== this.peer),
        isReachable: (peer) => world.isConnected(this.peer, peer),
        onLayout: (_, encoded) => {
          this.#layout = encoded
        }
      },
      {
        self: this.peer,
        store: this.store,
        meshId: 'test',
        count: shardCount,
        shape: {
          blocks: { arcCount: 8, replication: REPLICATION },
          groups: { arcCount: shardCount + 1, replication: REPLICATION }
        },
        layout: this.#layout,
        isFounding: this.#isFounding,
        trimming
      }
    )
    const running: Running = { clock, network, logStore, stateStore, layer, connecting: undefined }
    this.running = running
    this.#world.checker.watch(this, layer)
    await layer.open()
    if (this.running !== running) return
    this.#isFounding = false
    await network.start()
    this.#connect(running)
    await layer.start()
  }

  /** The power goes: what wasn't durable is lost. */
  kill(): void {
    const { running } = this
    if (running === undefined) return
    this.#world.trace.note(`${this.name} is killed`)
    this.running = undefined
    this.isPaused = false
    this.isDoomed = false
    running.logStore.faults.crash(this.#random)
    running.stateStore.faults.crash(this.#random)
    void running.network.stop()
    // Who asked through it is told; a dead machine does nothing else.
    running.layer.stop().catch(() => {})
    running.clock.end()
  }

  /** A polite end. @throws Violation when something of it is left */
  async stop(): Promise<void> {
    const { running } = this
    if (running === undefined) return
    this.#stopping = this.#stop(running)
    await this.#stopping
  }

  async #stop(running: Running): Promise<void> {
    this.#world.trace.note(`${this.name} stops`)
    this.running = undefined
    this.resume()
    this.isDoomed = false
    running.clock.resume()
    running.logStore.faults.resume()
    running.stateStore.faults.resume()
    await running.layer.stop()
    await running.network.stop()
    running.connecting?.cancel()
    // What was put off to the end of this turn happens.
    await sleep(this.#world.clock, 1)
    const { pendingCount } = running.clock
    demand(
      'NothingLeft',
      pendingCount === 0,
      `${this.name} left ${pendingCount} timers when it stopped`
    )
    this.#world.trace.note(`${this.name} has stopped`)
  }

  /** It sleeps: no timer, no frame; its connections last for a while. */
  pause(): void {
    if (this.running === undefined || this.isPaused) return
    this.isPaused = true
    this.running.clock.pause()
  }

  resume(): void {
    if (!this.isPaused) return
    this.isPaused = false
    this.running?.clock.resume()
  }

  /** All that was on the disks is lost; the node's name is kept elsewhere. Only while it is off. */
  wipe(): void {
    this.#logDisk = new MemoryLogDisk()
    this.#stateDisk = new MemoryStateDisk()
    this.#layout = undefined
    this.store = this.#drawStore()
    this.revision += 1
  }

  /** Flips a bit of the log, where something is written. Only while it is off. */
  flipLog(): void {
    const files = [...this.#logDisk.files.values()].filter((bytes) =>
      bytes.some((byte) => byte > 0)
    )
    if (files.length === 0) return
    const bytes = pick(this.#random, files)
    const used = bytes.findLastIndex((byte) => byte > 0) + 1
    const at = this.#random.below(used)
    bytes[at] = (bytes[at] as number) ^ (1 << this.#random.below(8))
  }

  /** Flips a bit of a stored pair, or loses one. Only while it is off. */
  flipState(): void {
    const pairs = [...this.#stateDisk.pairs.range({})]
    if (pairs.length === 0) return
    const { key, value } = pick(this.#random, pairs)
    if (value.length === 0 || this.#random.below(3) === 0) {
      this.#stateDisk.pairs.delete(key)
      return
    }
    const flipped = value.slice()
    const at = this.#random.below(flipped.length)
    flipped[at] = (flipped[at] as number) ^ (1 << this.#random.below(8))
    this.#stateDisk.pairs.put(key, flipped)
  }

  get member(): LayoutMember {
    const { peer: id, store, revision } = this
    return { id, store, revision, weight: 1, zone: '' }
  }

  /** What membership does in a real node: whoever is a member is connected, if it can be. */
  #connect(running: Running): void {
    const { network, clock } = running
    for (const node of this.#world.nodes) {
      if (node === this) continue
      network.learn(node.peer, [node.address])
      if (node.running === undefined || this.#world.world.isConnected(this.peer, node.peer))
        continue
      network.dial(node.address, { timeoutMs: CONNECT_MS }).catch(() => {})
    }
    running.connecting = clock.after(CONNECT_MS, () => this.#connect(running))
  }

  #drawStore(): StoreId {
    return storeId(toHex(Uint8Array.from({ length: 16 }, () => this.#random.below(256))))
  }
}
