// Finds the blocks that no file has any more and has every node delete its copies, in numbered
// cycles. Any node may run one; a lock keeps two from doing the same work. protocols/collect has what
// nodes tell each other.
//
// Why no live block goes. Let a node v delete block B in cycle n, and let a put that needs B be
// accepted at shard S after S was read for cycle n (before: B is live). The put carries the cycle c
// that some shard was in before its writer touched B. S had accepted cycle n, so c ≥ n - 1. No shard
// accepts n - 1 (n) before v has noted its beginning, or v wasn't counted in it and doesn't delete
// in n: it must be counted in both, without a restart. So v noted the beginning of n - 1 before the
// writer touched B; a touch at v is of cycle n - 1 at least, and v keeps B. Two collectors with one
// number don't harm: each shard takes a number once, and only who had it taken by all goes on.
// A mover drops a copy only after a touch at all owners, and not if it was touched itself meanwhile.
// The put is acknowledged by a majority of owners that have B then. Nothing here reads a clock.

import type { Clock, Timer } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import type { BlockId, PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import { MINUTE_MS, SECOND_MS } from '../../base/units.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import { COLLECTION, CYCLE } from '../../core/machine/file-collection.ts'
import type { Collection } from '../../core/machine/file-collection.ts'
import { REAP } from '../../core/machine/file-release.ts'
import { FILE_REAP_COUNT_MAX } from '../../core/machine/limits.ts'
import { SCAN } from '../../core/machine/own-queries.ts'
import type { Page } from '../../core/machine/reads.ts'
import { spaceOf } from '../../core/machine/space.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { MeshView } from '../../mesh/view.ts'
import type { Unsubscribe } from '../../net/network.ts'
import type { Shards } from '../../shard/shards.ts'
import type { Locks } from '../locks/locks.ts'
import { LiveSet } from './live-set.ts'
import { walkShard } from './live-walk.ts'

/** In a space that users have no reason to use. */
const LOCK_NAME = '.atoll/collect'
const LOCK_TTL_MS: number = 30 * SECOND_MS
/** After so many with nothing let go in between there is nothing left to find. */
const QUIET_CYCLES = 3
/** Nodes try one after the other, so that mostly the first one does the work. */
const STAGGER_MS: number = 2 * SECOND_MS
const STAGGER_COUNT_MAX = 15
/** After a cycle that failed; twice as long after each that follows, up to the interval. */
const RETRY_MS: number = MINUTE_MS

export type CollectorComponents = {
  mesh: MeshView
  blocks: Blocks
  shards: Shards
  locks: Pick<Locks, 'tryAcquire'>
  clock: Clock
  log: Logger
}

export type CollectorOptions = {
  /** From one cycle to the next, milliseconds. Space comes back after two to three of them. */
  intervalMs: number
}

const COLLECTOR_DEFAULTS: CollectorOptions = { intervalMs: 5 * MINUTE_MS }

export type CycleReport = {
  readonly cycle: number
  /** References to blocks that were found. */
  readonly live: number
  /** Copies deleted, at all nodes. */
  readonly deleted: number
  readonly deletedBytes: number
}

export class Collector {
  readonly #components: CollectorComponents
  readonly #options: CollectorOptions
  readonly #stopping = new AbortController()
  #unsubscribe: Unsubscribe | undefined
  #timer: Timer | undefined
  #running: Promise<unknown> = Promise.resolve()
  /** How often all shards had let go of something, and how many cycles in a row found the same. */
  #quiet = { releases: -1, cycles: 0 }
  #failures = 0

  constructor(components: CollectorComponents, options: Partial<CollectorOptions> = {}) {
    this.#components = components
    this.#options = { ...COLLECTOR_DEFAULTS, ...options }
  }

  start(): void {
    this.#unsubscribe = this.#components.blocks.collection.onSwept(({ releases }) => {
      const isSame = releases === this.#quiet.releases
      this.#quiet = { releases, cycles: isSame ? this.#quiet.cycles + 1 : 1 }
      this.#schedule(this.#options.intervalMs)
    })
    this.#schedule(this.#options.intervalMs)
  }

  /** Gives up the cycle that runs, and waits for it. Idempotent. */
  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#unsubscribe?.()
    this.#stopping.abort()
    await this.#running
  }

  /**
   * Runs a cycle now.
   *
   * @returns undefined when another node is running one, or nothing was let go of since the last.
   * @throws what kept it from being complete: then nothing was deleted
   */
  async collect(options: { isForced?: boolean } = {}): Promise<CycleReport | undefined> {
    const collecting = this.#collect(options.isForced === true)
    this.#running = Promise.allSettled([this.#running, collecting])
    return await collecting
  }

  #schedule(delayMs: number): void {
    const { mesh, clock } = this.#components
    this.#timer?.cancel()
    if (this.#stopping.signal.aborted) return
    const rank = mesh.others().filter((peer) => peer < mesh.self).length
    const staggerMs = Math.min(rank, STAGGER_COUNT_MAX) * STAGGER_MS
    this.#timer = clock.after(delayMs + staggerMs, () => void this.#tick())
  }

  /** Never rejects. */
  async #tick(): Promise<void> {
    const { intervalMs } = this.#options
    this.#schedule(intervalMs)
    try {
      await this.collect()
      this.#failures = 0
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#components.log.warn('collector.failed', { reason: errorMessage(error) })
      this.#schedule(Math.min(intervalMs, RETRY_MS * 2 ** this.#failures))
      this.#failures += 1
    }
  }

  async #collect(isForced: boolean): Promise<CycleReport | undefined> {
    const { signal } = this.#stopping
    signal.throwIfAborted()
    if (!isForced && !(await this.#isNeeded())) return undefined
    const options = { ttlMs: LOCK_TTL_MS, signal, owner: this.#components.mesh.self }
    const lock = await this.#components.locks.tryAcquire(LOCK_NAME, options)
    if (lock === undefined) return undefined
    try {
      return await this.#cycle(AbortSignal.any([signal, lock.lost]))
    } finally {
      this.#components.blocks.collection.serve(undefined)
      await lock.release().catch((error: unknown) => {
        this.#components.log.debug('collector.lock_kept', { reason: errorMessage(error) })
      })
    }
  }

  async #isNeeded(): Promise<boolean> {
    const { collection } = this.#components.blocks
    if (this.#quiet.cycles < QUIET_CYCLES || collection.hasRecentTouches) return true
    return releasesOf(await this.#collections(this.#stopping.signal)) !== this.#quiet.releases
  }

  async #cycle(signal: AbortSignal): Promise<CycleReport> {
    const { mesh, blocks, shards, log } = this.#components
    await this.#reap(signal)
    const before = await this.#collections(signal)
    const cycle = 1 + Math.max(...before.map((collection) => collection.cycle))
    const members = [mesh.self, ...mesh.others()]
    const counted = await this.#begin(cycle, members)
    signal.throwIfAborted()
    await this.#atShards((shard) => shards.execute({ shard }, CYCLE, { cycle }, { signal }))
    const releases = releasesOf(await this.#collections(signal))
    const live = new LiveSet({ arcCount: mesh.layout().layout.arcCount })
    const seen = new Set<BlockId>()
    // One after the other: what is read at once is bounded by a page.
    for (let shard = 0; shard < shards.count; shard++) {
      await walkShard(shard, { blocks, shards, live, seen }, { signal })
    }
    blocks.collection.serve({ cycle, pageOf: (fromArc) => live.pageOf(fromArc) })
    const report = { cycle, live: live.count, deleted: 0, deletedBytes: 0 }
    await Promise.all(
      members.map(async (peer) => {
        const about = { cycle, isCounted: counted.has(peer), releases }
        try {
          const { deleted, deletedBytes } = await blocks.collection.sweep(peer, about, { signal })
          report.deleted += deleted
          report.deletedBytes += deletedBytes
        } catch (error) {
          log.debug('collector.unswept', { peer, reason: errorMessage(error) })
        }
      })
    )
    log.info('collector.done', report)
    return report
  }

  /** @returns the members that have noted the beginning: nobody else may be counted. */
  async #begin(cycle: number, members: readonly PeerId[]): Promise<ReadonlySet<PeerId>> {
    const { mesh, blocks, log } = this.#components
    const counted = new Set<PeerId>()
    await Promise.all(
      members.map(async (peer) => {
        if (peer !== mesh.self && !mesh.isReachable(peer)) return
        try {
          await blocks.collection.begin(peer, cycle)
          counted.add(peer)
        } catch (error) {
          log.debug('collector.not_begun', { peer, reason: errorMessage(error) })
        }
      })
    )
    // Whoever answers later is not added: the shards come next.
    return new Set(counted)
  }

  /** Gives back the entries of removed directories, so that their files count no more. */
  async #reap(signal: AbortSignal): Promise<void> {
    const { shards } = this.#components
    await this.#atShards(async (shard) => {
      for (;;) {
        const query = { area: AREAS['file-trash'], limit: 1 }
        const page: Page = (await shards.query({ shard }, SCAN, query, { signal })).result
        const first = page.entries[0]
        if (first === undefined) return
        const target = { space: spaceOf(first.key).slice() }
        const args = { limit: FILE_REAP_COUNT_MAX }
        while ((await shards.execute(target, REAP, args, { signal })).result.hasMore);
      }
    })
  }

  async #collections(signal: AbortSignal): Promise<Collection[]> {
    const { shards } = this.#components
    return await this.#atShards(
      async (shard) => (await shards.query({ shard }, COLLECTION, undefined, { signal })).result
    )
  }

  async #atShards<T>(ask: (shard: number) => Promise<T>): Promise<T[]> {
    const { count } = this.#components.shards
    return await Promise.all(Array.from({ length: count }, (_, shard) => ask(shard)))
  }
}

function releasesOf(collections: readonly Collection[]): number {
  return collections.reduce((sum, { releases }) => sum + releases, 0)
}
