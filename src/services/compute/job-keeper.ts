// What the node that leads a shard does for the jobs there: offers those of which tasks wait, gives
// back what a worker had whose connection broke, and removes what ended long ago, and code that nobody
// needs. Two that do it at once do no harm.

import { sleep, type Clock, type Timer } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import { fromUtf8 } from '../../base/bytes.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import { MINUTE_MS, SECOND_MS } from '../../base/units.ts'
import { JOB_RECALL, JOB_REMOVE } from '../../core/machine/job-calls.ts'
import { JOB_LIST, JOB_OPEN, type OpenJob } from '../../core/machine/job-listings.ts'
import { JOB_WORKERS } from '../../core/machine/job-queries.ts'
import { JOB_PAGE_MAX, JOB_STEP_MAX } from '../../core/machine/limits.ts'
import type { Network, Unsubscribe } from '../../net/network.ts'
import type { Shards } from '../../shard/shards.ts'
import type { JobOffer } from '../../wire/job.ts'
import { shardOfCode, sweepCode, type CodeSweepComponents } from './code-sweep.ts'
import type { JobBoard } from './job-board.ts'
import { workerName } from './task-runner.ts'

/** How often the led shards are looked at. */
const LOOK_MS: number = SECOND_MS
const SWEEP_MS: number = MINUTE_MS
/** A worker that is back within this time keeps its tasks. */
const RECALL_MS = 500

export type JobKeeperComponents = {
  readonly shards: Shards
  readonly network: Pick<Network, 'connected' | 'onDisconnected'>
  readonly clock: Clock
  readonly log: Logger
  readonly board: JobBoard
  readonly files: CodeSweepComponents['files']
  /** Shards of which this node leads the group. */
  readonly ledShards: () => readonly LedShard[]
}

/** A shard, from 0, and how much of its log is applied here. */
export type LedShard = { readonly shard: number; readonly index: number }

export class JobKeeper {
  readonly #components: JobKeeperComponents
  readonly #stopping = new AbortController()
  /** Open jobs of the led shards, as they were at the last look. */
  #seen = new Map<string, JobOffer>()
  /** How much of its log a shard had applied when it had no open job: while it is so, it has none. */
  readonly #without = new Map<number, number>()
  /** Times of led shards, and since when they were seen to be so. */
  readonly #times = new Map<number, { readonly timeMs: number; readonly sinceMs: number }>()
  #unsubscribe: Unsubscribe | undefined
  #sweep: Timer | undefined
  #running: Promise<unknown> = Promise.resolve()

  constructor(components: JobKeeperComponents) {
    this.#components = components
  }

  start(): void {
    const { network, clock } = this.#components
    this.#unsubscribe = network.onDisconnected((peer) => {
      void this.#guarded(async () => {
        await sleep(clock, RECALL_MS, { signal: this.#stopping.signal })
        if (!network.connected().includes(peer)) await this.#recall(peer)
      })
    })
    this.#running = this.#lookAgainAndAgain()
    this.#sweepSoon()
  }

  async stop(): Promise<void> {
    this.#unsubscribe?.()
    this.#sweep?.cancel()
    this.#stopping.abort()
    await this.#running
  }

  async #lookAgainAndAgain(): Promise<void> {
    const { clock } = this.#components
    const { signal } = this.#stopping
    while (!signal.aborted) {
      await sleep(clock, LOOK_MS, { signal }).catch(() => {})
      if (!signal.aborted) await this.#guarded(() => this.#offerAll())
    }
  }

  async #offerAll(): Promise<void> {
    const { board } = this.#components
    const seen = new Map<string, JobOffer>()
    for await (const job of this.#openJobs()) {
      const space = fromUtf8(job.space)
      const isDue = job.nextReadyMs !== undefined && job.nextReadyMs <= 0
      const ready = Math.max(job.readyCount, isDue ? 1 : 0)
      const { priority, submitter } = job.policy
      const offer = { space, priority, submitter, ready, estimateMs: job.medianMs }
      seen.set(space, offer)
      // What nobody takes is offered ever more seldom, what is new at once.
      if (ready === 0) board.withdraw(space)
      else if (ready > (this.#seen.get(space)?.ready ?? 0)) board.offer(offer, true)
    }
    for (const [space, offer] of this.#seen) {
      // Whoever still runs tasks of it should know.
      if (!seen.has(space)) board.offer({ ...offer, ready: 0 }, false)
    }
    this.#seen = seen
  }

  /** Of the led shards, as the replicas here have them. */
  async *#openJobs(): AsyncGenerator<OpenJob> {
    const { shards, ledShards } = this.#components
    const options = { signal: this.#stopping.signal, isStale: true }
    for (const { shard, index } of ledShards()) {
      if (this.#without.get(shard) === index) continue
      let after: Uint8Array | undefined
      let count = 0
      do {
        const args = { after, limit: JOB_PAGE_MAX }
        const page = (await shards.query({ shard }, JOB_OPEN, args, options)).result
        yield* page.jobs
        count += page.jobs.length
        after = page.next?.slice()
      } while (after !== undefined)
      if (count === 0) this.#without.set(shard, index)
      else this.#without.delete(shard)
    }
  }

  async #recall(peer: PeerId): Promise<void> {
    const { shards, log } = this.#components
    const { signal } = this.#stopping
    const worker = workerName(peer)
    for await (const { space, counts } of this.#openJobs()) {
      if (counts.running === 0) continue
      const args = { space, after: undefined, limit: JOB_PAGE_MAX }
      const options = { signal, isStale: true }
      const { workers } = (await shards.query({ space }, JOB_WORKERS, args, options)).result
      const held = workers.find((one) => one.worker === worker)
      if (held === undefined) continue
      const recalled = { worker, lease: held.lease }
      const { result } = await shards.execute({ space }, JOB_RECALL, recalled, { signal })
      log.info('job.recalled', { job: fromUtf8(space), worker, count: result.count })
    }
  }

  #sweepSoon(): void {
    this.#sweep = this.#components.clock.after(SWEEP_MS, () => {
      if (this.#stopping.signal.aborted) return
      this.#sweepSoon()
      void this.#guarded(() => this.#removeOld())
    })
  }

  /** Jobs are kept for a while after their end, as they say themselves. */
  async #removeOld(): Promise<void> {
    const { shards, files, ledShards } = this.#components
    const { signal } = this.#stopping
    for (const { shard } of ledShards()) {
      let timeMs = 0
      let after: Uint8Array | undefined
      do {
        const args = { after, limit: JOB_PAGE_MAX }
        const options = { signal, isStale: true }
        const page = (await shards.query({ shard }, JOB_LIST, args, options)).result
        timeMs = this.#timeOf(shard, page.timeMs)
        for (const { space, endedMs, policy } of page.jobs) {
          if (endedMs === undefined || timeMs - endedMs < policy.retainMs) continue
          const target = { space: space.slice() }
          const step = { limit: JOB_STEP_MAX }
          while ((await shards.execute(target, JOB_REMOVE, step, { signal })).result.hasMore);
        }
        after = page.next?.slice()
      } while (after !== undefined)
      if (shard === shardOfCode(shards)) await sweepCode({ shards, files }, timeMs, { signal })
    }
  }

  /** A shard's time stands still while nothing happens there; what passed since it was seen counts. */
  #timeOf(shard: number, timeMs: number): number {
    const nowMs = this.#components.clock.monotonicMs()
    const seen = this.#times.get(shard)
    if (seen?.timeMs === timeMs) return timeMs + nowMs - seen.sinceMs
    this.#times.set(shard, { timeMs, sinceMs: nowMs })
    return timeMs
  }

  /** What fails is tried again with the next look. */
  async #guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#components.log.debug('job_keeper.failed', { reason: errorMessage(error) })
    }
  }
}
