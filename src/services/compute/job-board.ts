// The open jobs that this node knows of: hints that come by gossip, and what shards say when they are
// asked. Nothing here decides; what is out of date costs a question.

import { sleep, type Clock } from '../../base/clock.ts'
import { errorMessage, isMeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import { SECOND_MS } from '../../base/units.ts'
import { utf8, fromUtf8 } from '../../base/bytes.ts'
import { JOB_OPEN, type OpenJobsResult } from '../../core/machine/job-listings.ts'
import { parseJobSpace } from '../../core/machine/job-names.ts'
import { JOB_GET } from '../../core/machine/job-queries.ts'
import type { JobPolicy, Stage } from '../../core/machine/job-records.ts'
import { JOB_PAGE_MAX } from '../../core/machine/limits.ts'
import type { Network, Unsubscribe } from '../../net/network.ts'
import type { Shards } from '../../shard/shards.ts'
import { decodeJobOffers, encodeJobOffers, type JobOffer } from '../../wire/job.ts'
import { decodeSpec, type JobSpec } from './spec.ts'

/** Open jobs that a node keeps in mind; the rest is found when these are done. */
const JOBS_MAX = 4_096
/** How often shards are asked while nothing is heard: twice as long each time, up to the last. */
const ASK_MS_MIN: number = SECOND_MS
const ASK_MS_MAX: number = 30 * SECOND_MS

/** What a node knows of an open job. */
export type KnownJob = {
  readonly name: string
  readonly id: string
  readonly space: Uint8Array
  readonly spec: JobSpec
  readonly policy: JobPolicy
  readonly stages: readonly Stage[]
  /** By this node's monotonic clock: when it was first heard of. */
  readonly sinceMs: number
  /** Of a task. */
  readonly medianMs: number | undefined
  /** Tasks that could be granted when it was last asked. */
  ready: number
  /** Nothing is to be had of it before then, by this node's monotonic clock. */
  notBeforeMs: number
}

export type BoardComponents = {
  readonly shards: Shards
  readonly network: Pick<Network, 'subscribe' | 'publish'>
  readonly clock: Clock
  readonly log: Logger
  readonly self: PeerId
}

export class JobBoard {
  readonly #components: BoardComponents
  readonly #topic: string
  readonly #jobs = new Map<string, KnownJob>()
  readonly #listeners = new Set<(job: string) => void>()
  readonly #stopping = new AbortController()
  readonly #asking = new Set<string>()
  #unsubscribe: Unsubscribe | undefined
  #askMs = ASK_MS_MIN
  #wake = new AbortController()

  constructor(components: BoardComponents, options: { topic: string }) {
    this.#components = components
    this.#topic = options.topic
  }

  start(): void {
    this.#unsubscribe = this.#components.network.subscribe(this.#topic, (data) => this.#hear(data))
    void this.#askAgainAndAgain()
  }

  stop(): void {
    this.#unsubscribe?.()
    this.#stopping.abort()
  }

  jobs(): Iterable<KnownJob> {
    return this.#jobs.values()
  }

  /** Calls with the name of a job that became known, or of which something changed. */
  onChanged(listener: (job: string) => void): Unsubscribe {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Tells all nodes, this one too. Never rejects. */
  async offer(offers: readonly JobOffer[]): Promise<void> {
    for (const offer of offers) this.#hearOffer(offer)
    try {
      await this.#components.network.publish(this.#topic, encodeJobOffers(offers))
    } catch (error) {
      this.#components.log.debug('offer.unpublished', { reason: errorMessage(error) })
    }
  }

  /** Looks at a job now. Never rejects. */
  async look(name: string): Promise<void> {
    if (this.#asking.has(name) || this.#stopping.signal.aborted) return
    this.#asking.add(name)
    try {
      const space = utf8(name)
      const { signal } = this.#stopping
      const { result } = await this.#components.shards.query(
        { space },
        JOB_GET,
        { space },
        { signal }
      )
      const { job, state, readyCount, nextReadyMs } = result
      if (state.phase === 'open') this.#learn({ ...job, space, readyCount, nextReadyMs })
      else this.forget(name)
    } catch (error) {
      if (isMeshError(error, 'not-found')) this.forget(name)
      else this.#components.log.debug('board.unknown', { job: name, reason: errorMessage(error) })
    } finally {
      this.#asking.delete(name)
    }
  }

  forget(name: string): void {
    if (this.#jobs.delete(name)) this.#changed(name)
  }

  /** Something is going on: shards are asked soon again. */
  hurry(): void {
    this.#askMs = ASK_MS_MIN
    this.#wake.abort()
  }

  #hear(data: Uint8Array): void {
    try {
      for (const offer of decodeJobOffers(data)) this.#hearOffer(offer)
    } catch (error) {
      this.#components.log.warn('offer.malformed', { reason: errorMessage(error) })
    }
  }

  #hearOffer({ space, ready }: JobOffer): void {
    const known = this.#jobs.get(space)
    // None: it was cancelled, or somebody has them all.
    if (known === undefined || ready === 0) void this.look(space)
    else {
      known.ready = Math.max(known.ready, ready)
      known.notBeforeMs = 0
      this.#changed(space)
    }
  }

  #learn(
    found: Pick<KnownJob, 'space' | 'policy'> & {
      spec: Uint8Array
      count: number
      stages?: readonly Stage[]
      medianMs?: number | undefined
      readyCount: number
      nextReadyMs: number | undefined
    }
  ): void {
    const { clock, log } = this.#components
    const name = fromUtf8(found.space)
    const id = parseJobSpace(found.space)?.id
    const before = this.#jobs.get(name)
    if (id === undefined || (before === undefined && this.#jobs.size >= JOBS_MAX)) return
    const nowMs = clock.monotonicMs()
    const waitMs = found.readyCount > 0 ? 0 : (found.nextReadyMs ?? Infinity)
    try {
      const { policy, count, medianMs } = found
      this.#jobs.set(name, {
        name,
        id,
        space: found.space.slice(),
        spec: before?.spec ?? decodeSpec(found.spec),
        policy,
        stages: found.stages ?? before?.stages ?? [{ from: 0, to: count, after: [] }],
        sinceMs: before?.sinceMs ?? nowMs,
        medianMs,
        ready: found.readyCount,
        notBeforeMs: nowMs + waitMs
      })
      this.#changed(name)
    } catch (error) {
      log.warn('board.unreadable', { job: name, reason: errorMessage(error) })
    }
  }

  async #askAgainAndAgain(): Promise<void> {
    const { clock, log } = this.#components
    const { signal } = this.#stopping
    while (!signal.aborted) {
      this.#wake = new AbortController()
      try {
        await this.#askAll()
      } catch (error) {
        if (signal.aborted) return
        log.debug('board.unasked', { reason: errorMessage(error) })
      }
      const woken = AbortSignal.any([signal, this.#wake.signal])
      await sleep(clock, this.#askMs, { signal: woken }).catch(() => {})
      this.#askMs = this.#jobs.size > 0 ? ASK_MS_MIN * 2 : Math.min(2 * this.#askMs, ASK_MS_MAX)
    }
  }

  async #askAll(): Promise<void> {
    const { shards } = this.#components
    const { signal } = this.#stopping
    const seen = new Set<string>()
    for (let shard = 0; shard < shards.count; shard++) {
      let after: Uint8Array | undefined
      do {
        const args = { after, limit: JOB_PAGE_MAX }
        const page: OpenJobsResult = (
          await shards.query({ shard }, JOB_OPEN, args, { signal, isStale: true })
        ).result
        for (const job of page.jobs) {
          const name = fromUtf8(job.space)
          seen.add(name)
          // Of one with stages only the job itself tells which they are.
          if (this.#jobs.has(name) || decodeSpec(job.spec).stages === undefined) this.#learn(job)
          else await this.look(name)
        }
        after = page.next?.slice()
      } while (after !== undefined)
    }
    // A replica that lags may not show what others know: only what is looked at is forgotten.
    for (const name of this.#jobs.keys()) if (!seen.has(name)) await this.look(name)
  }

  #changed(name: string): void {
    for (const listener of this.#listeners) listener(name)
  }
}
