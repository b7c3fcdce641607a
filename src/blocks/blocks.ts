// Blocks that survive: the one door to replicated, content-addressed storage on the ring.

import type { Clock, Timer } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import type { BlockId, PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { MIB } from '../base/units.ts'
import { Semaphore } from '../base/semaphore.ts'
import type { MeshView } from '../mesh/view.ts'
import type { Network } from '../net/network.ts'
import type { BlockStore, BlockUsage } from '../storage/block-store.ts'
import { BLOCK_PROTOCOL, BLOCK_PROTOCOL_OPTIONS, BlockClient } from './block-client.ts'
import { BlockReader } from './block-reader.ts'
import { createBlockServer } from './block-server.ts'
import { BlockWriter, type WriteResult } from './block-writer.ts'
import { Collection } from './collection.ts'
import { Mover, type MoverOptions } from './mover.ts'
import { RecentWriters } from './recent-writers.ts'
import { scrub, type ScrubJournal, type ScrubReport } from './scrub.ts'
import { Sweeper } from './sweeper.ts'
import { Touches } from './touches.ts'

export type BlocksComponents = {
  network: Network
  mesh: MeshView
  store: BlockStore
  clock: Clock
  log: Logger
  scrubJournal: ScrubJournal
}

export type BlocksOptions = {
  mover?: Partial<MoverOptions>
  /** Between the background passes over all blocks, milliseconds. */
  scrubIntervalMs: number
  /** What a background pass reads at most. */
  scrubBytesPerSecond: number
}

const BLOCKS_DEFAULTS: BlocksOptions = {
  scrubIntervalMs: 7 * 86_400_000,
  scrubBytesPerSecond: 8 * MIB
}

export type BlocksStatus = BlockUsage & {
  underReplicated: number
  missing: number
  pendingMoves: number
}

/** Repairs under way at once, and blocks known to be missing: bounds of what a bad disk can cause. */
const REPAIRS_AT_ONCE = 4
const MISSING_COUNT_MAX = 10_000

export class Blocks {
  /** Cycles of the collection, as this node takes part in them. */
  readonly collection: Collection
  readonly #touches = new Touches()
  readonly #components: BlocksComponents
  readonly #options: BlocksOptions
  readonly #client: BlockClient
  readonly #writer: BlockWriter
  readonly #reader: BlockReader
  readonly #mover: Mover
  readonly #repairs = new Semaphore(REPAIRS_AT_ONCE)
  readonly #mending = new Map<BlockId, Promise<boolean>>()
  readonly #missing = new Set<BlockId>()
  readonly #writers = new RecentWriters()
  readonly #stopping = new AbortController()
  #scrubbing: Promise<ScrubReport> | undefined
  #scrubTimer: Timer | undefined

  constructor(components: BlocksComponents, options: Partial<BlocksOptions> = {}) {
    this.#components = components
    this.#options = { ...BLOCKS_DEFAULTS, ...options }
    const { network, mesh, store, clock, log } = components
    const onDamaged = (id: BlockId): void => void this.#mend(id)
    this.#client = new BlockClient({ network, clock })
    this.#mover = new Mover(
      { store, client: this.#client, mesh, touches: this.#touches, clock, log, onDamaged },
      this.#options.mover
    )
    this.#writer = new BlockWriter({
      store,
      client: this.#client,
      mesh,
      touches: this.#touches,
      log,
      onIncomplete: (id) => {
        if (store.has(id)) this.#mover.mark(id)
      }
    })
    this.#reader = new BlockReader({
      store,
      client: this.#client,
      mesh,
      clock,
      log,
      onDamaged,
      onLacking: (id, bytes, lacking) => void this.#supply(id, bytes, lacking)
    })
    const onReceived = (id: BlockId, from: PeerId): void => {
      this.#missing.delete(id)
      if (!this.#mover.owns(id)) this.#mover.mark(id)
      else this.#writers.note(from, this.#mover.arcOf(id), clock.monotonicMs())
    }
    network.onDisconnected((peer) => {
      this.#mover.markArcs(this.#writers.take(peer, clock.monotonicMs()))
    })
    network.handle(
      BLOCK_PROTOCOL,
      BLOCK_PROTOCOL_OPTIONS,
      createBlockServer({ store, mesh, touches: this.#touches, onReceived, onDamaged })
    )
    const sweeper = new Sweeper({ store, touches: this.#touches, mesh, missing: this.#missing })
    const stopping = this.#stopping.signal
    this.collection = new Collection(
      { network, mesh, touches: this.#touches, sweeper, log },
      { stopping }
    )
  }

  start(): void {
    this.#mover.start()
    this.#scrubLater()
  }

  async stop(): Promise<void> {
    this.#scrubTimer?.cancel()
    this.#stopping.abort()
    await this.#mover.stop()
    await Promise.allSettled([this.#scrubbing, ...this.#mending.values()])
  }

  /**
   * Stores a block; see BlockWriter.write. Callers bound their memory by waiting for `finished`.
   */
  put(
    id: BlockId,
    bytes: Uint8Array,
    options: { signal?: AbortSignal | undefined } = {}
  ): { acknowledged: Promise<WriteResult>; finished: Promise<void> } {
    return this.#writer.write(id, bytes, options)
  }

  /** The block's verified bytes, from here or from others; see BlockReader.read. */
  async get(id: BlockId, options: { signal?: AbortSignal | undefined } = {}): Promise<Uint8Array> {
    return await this.#reader.read(id, options)
  }

  /**
   * Keeps blocks that were written from being collected for another while: they are touched anew at
   * their owners, and written anew where no majority has them any more.
   *
   * @throws not-found when nobody has one of them any more; what `put` and `get` throw
   */
  async renew(
    ids: readonly BlockId[],
    options: { signal?: AbortSignal | undefined } = {}
  ): Promise<void> {
    for (const id of await this.#writer.touch(ids)) {
      await this.put(id, await this.get(id, options), options).acknowledged
    }
  }

  /** Removes a block from every member that can be reached. @throws what the first one threw */
  async delete(id: BlockId): Promise<void> {
    const { mesh, store } = this.#components
    await store.delete(id)
    const reachable = mesh.others().filter((peer) => mesh.isReachable(peer))
    await Promise.all(reachable.map((peer) => this.#client.delete(peer, [id])))
  }

  /**
   * Checks every block held here, mends what is damaged, and has the copies at the other owners
   * counted. A second call joins the pass that runs.
   */
  async scrub(
    options: {
      bytesPerSecond?: number
      signal?: AbortSignal | undefined
      onProgress?: (report: ScrubReport) => void
    } = {}
  ): Promise<ScrubReport> {
    this.#scrubbing ??= this.#scrub(options).finally(() => {
      this.#scrubbing = undefined
    })
    return await this.#scrubbing
  }

  /** Whether nothing is being moved, and nothing could be before a member comes back. */
  isQuiet(): boolean {
    return this.#mover.isQuiet() && this.#mending.size === 0
  }

  status(): BlocksStatus {
    return {
      ...this.#components.store.usage(),
      underReplicated: this.#mover.underReplicated(),
      missing: this.#missing.size,
      pendingMoves: this.#mover.pending()
    }
  }

  async #scrub(options: {
    bytesPerSecond?: number
    signal?: AbortSignal | undefined
    onProgress?: (report: ScrubReport) => void
  }): Promise<ScrubReport> {
    const { store, clock, scrubJournal } = this.#components
    const stopping = this.#stopping.signal
    const report = await scrub(
      { store, clock, journal: scrubJournal, mend: (id) => this.#mend(id) },
      {
        bytesPerSecond: options.bytesPerSecond ?? this.#options.scrubBytesPerSecond,
        signal:
          options.signal === undefined ? stopping : AbortSignal.any([stopping, options.signal]),
        onProgress: options.onProgress
      }
    )
    this.#mover.markAll()
    return report
  }

  #scrubLater(): void {
    const { clock, log } = this.#components
    this.#scrubTimer = clock.after(this.#options.scrubIntervalMs, () => {
      this.scrub()
        .catch((error: unknown) => log.warn('scrub.failed', { reason: errorMessage(error) }))
        .finally(() => {
          if (!this.#stopping.signal.aborted) this.#scrubLater()
        })
    })
  }

  /** Replaces the bad copy here by a good one from elsewhere. Never rejects. */
  async #mend(id: BlockId): Promise<boolean> {
    const running = this.#mending.get(id)
    if (running !== undefined) return await running
    const mending = this.#repairs
      .run(() => this.#fetchCopy(id))
      .finally(() => this.#mending.delete(id))
    this.#mending.set(id, mending)
    return await mending
  }

  async #fetchCopy(id: BlockId): Promise<boolean> {
    const { store, log } = this.#components
    const { signal } = this.#stopping
    try {
      if (store.has(id)) return true
      const bytes = await this.#reader.fetch(id, { signal })
      await store.put(id, bytes)
      this.#missing.delete(id)
      log.info('blocks.mended', { id })
      return true
    } catch (error) {
      if (!signal.aborted && this.#missing.size < MISSING_COUNT_MAX) this.#missing.add(id)
      log.warn('blocks.mend_failed', { id, reason: errorMessage(error) })
      return false
    }
  }

  /** Gives a block that was just read to the owners that lack it. Never rejects. */
  async #supply(id: BlockId, bytes: Uint8Array, lacking: readonly PeerId[]): Promise<void> {
    const { store, mesh, log } = this.#components
    // When all hands are busy the read isn't held up: the mover or the next read will do it.
    const release = this.#repairs.tryAcquire()
    if (release === undefined) return
    try {
      for (const peer of lacking) {
        if (peer === mesh.self) await store.put(id, bytes)
        else {
          const touchedCycle = this.#touches.of(id)
          const { signal } = this.#stopping
          await this.#client.put(peer, id, bytes, { touchedCycle, signal })
        }
      }
    } catch (error) {
      log.debug('blocks.supply_failed', { id, reason: errorMessage(error) })
    } finally {
      release()
    }
  }
}
