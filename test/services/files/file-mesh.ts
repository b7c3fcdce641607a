// Nodes that keep blocks, on the simulated network, over shards in this process: all that files need,
// and a layout that a test sets.

import type { Clock } from '../../../src/base/clock.ts'
import { concatBytes } from '../../../src/base/bytes.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import { peerId, type BlockId, type PeerId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/log.ts'
import { createRandom } from '../../../src/base/random.ts'
import { GIB } from '../../../src/base/units.ts'
import { Blocks } from '../../../src/blocks/blocks.ts'
import { layoutHash } from '../../../src/core/ring/layout.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import type { LayoutView, MeshView } from '../../../src/mesh/view.ts'
import { MemoryNetwork } from '../../../src/net/memory/memory-network.ts'
import { MemoryWorld, type MemoryFaults } from '../../../src/net/memory/memory-world.ts'
import { systemClock } from '../../../src/node/system-clock.ts'
import { Collector, type CollectorOptions } from '../../../src/services/files/collector.ts'
import { Files } from '../../../src/services/files/files.ts'
import { Locks } from '../../../src/services/locks/locks.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { MemoryBlockStore, MemoryDisk } from '../../../src/storage/memory/memory-block-store.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { LocalShards } from '../local-shards.ts'

const ARC_COUNT = 16

export type FilePeer = {
  readonly self: PeerId
  readonly disk: MemoryDisk
  readonly network: MemoryNetwork
  readonly store: MemoryBlockStore
  readonly blocks: Blocks
  readonly files: Files
  readonly collector: Collector
  readonly stop: () => Promise<void>
}

export class FileMesh {
  /** Virtual; stands still when the mesh lives in real time. */
  readonly clock: VirtualClock = new VirtualClock()
  readonly #time: Clock
  readonly shards: LocalShards
  readonly world: MemoryWorld
  readonly peers: FilePeer[] = []
  /** Called before what the files of any peer ask of a shard; by name of the operation or query. */
  before: (name: string) => Promise<void> = () => Promise.resolve()
  /** Those that nobody reaches. */
  readonly away: Set<PeerId> = new Set()
  readonly #collector: Partial<CollectorOptions>
  readonly #listeners = new Set<(view: LayoutView) => void>()
  readonly #onReachable = new Set<(peer: PeerId) => void>()
  readonly #views: LayoutView[] = []
  #starts = 0

  constructor(
    options: {
      collector?: Partial<CollectorOptions>
      faults?: Partial<MemoryFaults>
      isReal?: boolean
    } = {}
  ) {
    this.#collector = options.collector ?? {}
    this.#time = options.isReal === true ? systemClock : this.clock
    this.shards = new LocalShards(this.#time, 3)
    const parts = { clock: this.#time, random: createRandom(1) }
    this.world = new MemoryWorld(parts, options.faults)
    this.setOwners([])
  }

  static async start(
    count: number,
    options: ConstructorParameters<typeof FileMesh>[0] = {}
  ): Promise<FileMesh> {
    const mesh = new FileMesh(options)
    for (let index = 0; index < count; index++) await mesh.add()
    mesh.setOwners(mesh.peers.map((_, index) => index))
    if (mesh.#time === mesh.clock) await mesh.clock.advance(5_000)
    return mesh
  }

  get view(): LayoutView {
    return this.#views[0] as LayoutView
  }

  /** Another layout: these peers own everything, three each arc. */
  setOwners(indexes: readonly number[]): void {
    const members = indexes
      .map((index) => ({ id: peerId(`peer${index}`), weight: 1, zone: 'z' }))
      .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    const layout = nextLayout(null, members, { arcCount: ARC_COUNT, replication: 3 })
    const version = (this.#views[0]?.version ?? 0) + 1
    this.#views.unshift({ version, hash: layoutHash(layout), layout })
    for (const listener of this.#listeners) listener(this.view)
  }

  /** Starts a peer: a new one, or one that was killed, on its disk. */
  async add(index: number = this.peers.length): Promise<FilePeer> {
    const self = peerId(`peer${index}`)
    const disk = this.peers[index]?.disk ?? new MemoryDisk()
    const address = `/memory/${index}-${(this.#starts += 1)}`
    const network = new MemoryNetwork(
      { world: this.world, log: silentLogger },
      { peerId: self, address, mesh: 'files' }
    )
    const store = new MemoryBlockStore({ disk }, { capacityBytes: GIB, arcCount: ARC_COUNT })
    const { shards } = this
    const clock = this.#time
    const mesh = this.#viewOf(self)
    const scrubJournal = { load: () => Promise.resolve(undefined), save: () => Promise.resolve() }
    const parts = { network, mesh, store, clock, log: silentLogger, scrubJournal }
    const blocks = new Blocks(parts, { mover: { retryMs: 1_000 } })
    const stopping = new AbortController()
    const files = new Files({ blocks, shards: this.#hooked() }, { stopping: stopping.signal })
    const locks = new Locks({ shards, clock, log: silentLogger })
    const collector = new Collector(
      { mesh, blocks, shards, locks, clock, log: silentLogger },
      this.#collector
    )
    await store.open()
    await network.start()
    blocks.start()
    collector.start()
    const stop = async (): Promise<void> => {
      stopping.abort(new Error('stopped'))
      await collector.stop()
      await locks.stop()
      await blocks.stop()
      await network.stop()
    }
    const peer = { self, disk, network, store, blocks, files, collector, stop }
    this.peers[index] = peer
    this.away.delete(self)
    for (const other of this.peers) {
      other.network.learn(self, [address])
      network.learn(other.self, other.network.addresses())
    }
    for (const listener of this.#onReachable) listener(self)
    return peer
  }

  peer(index: number): FilePeer {
    const peer = this.peers[index]
    if (peer === undefined) throw new Error(`there is no peer ${index}`)
    return peer
  }

  /** Switches a peer off; its disk stays. */
  async kill(index: number): Promise<void> {
    const { self, stop } = this.peer(index)
    this.away.add(self)
    await this.run(stop())
  }

  async run<T>(work: Promise<T>): Promise<T> {
    return await (this.#time === this.clock ? this.clock.run(work) : work)
  }

  async read(name: string, index = 0): Promise<Uint8Array> {
    return await this.run(readAll(this.peer(index).files.get(name)))
  }

  /** @returns the code with which it was refused; undefined when it wasn't. */
  async codeOf(work: Promise<unknown>): Promise<string | undefined> {
    try {
      await this.run(work)
      return undefined
    } catch (error) {
      if (isMeshError(error)) return error.code
      throw error
    }
  }

  /** Cycles at one peer, each to its end. */
  async cycles(count: number, index = 0): Promise<void> {
    for (let cycle = 0; cycle < count; cycle++) {
      await this.run(this.peer(index).collector.collect({ isForced: true }))
    }
  }

  /** Ids of all blocks that are on some disk. */
  stored(): Set<BlockId> {
    return new Set(this.peers.flatMap(({ disk }) => [...disk.blocks.keys()]))
  }

  /** How many disks have a block. */
  copies(id: string): number {
    return this.peers.filter(({ disk }) => disk.blocks.has(id as BlockId)).length
  }

  async stop(): Promise<void> {
    await this.run(Promise.all(this.peers.map(async ({ stop }) => await stop())))
    this.shards.stop()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #hooked(): Shards {
    const { shards } = this
    return {
      count: shards.count,
      shardOf: (space) => shards.shardOf(space),
      execute: async (target, operation, args, options) => {
        await this.before(operation.name)
        return await shards.execute(target, operation, args, options)
      },
      query: async (target, query, args, options) => {
        await this.before(query.name)
        return await shards.query(target, query, args, options)
      },
      changes: (target, query, options) => shards.changes(target, query, options)
    }
  }

  #viewOf(self: PeerId): MeshView {
    return {
      self,
      layout: () => this.view,
      earlierLayouts: () => this.#views.slice(1, 5),
      isReachable: (peer) => !this.away.has(peer),
      others: () => this.peers.map((peer) => peer.self).filter((peer) => peer !== self),
      onLayoutChanged: (listener) => {
        this.#listeners.add(listener)
        return () => this.#listeners.delete(listener)
      },
      onReachable: (listener) => {
        this.#onReachable.add(listener)
        return () => this.#onReachable.delete(listener)
      }
    }
  }
}

export async function readAll(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const part of parts) all.push(part)
  return concatBytes(all)
}

/** @returns different bytes for each seed. */
export function contentOf(seed: number, length = 100): Uint8Array {
  const random = createRandom(seed + 1)
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  for (let at = 0; at + 4 <= length; at += 4) view.setUint32(at, random.u32())
  return bytes
}
