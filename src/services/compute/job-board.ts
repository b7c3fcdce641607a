// What a node knows of open jobs, kept by the pure board of core/jobs: gossip tells of new ones, and
// shards are asked. All of it is hints; a grant decides.

import type { Clock, Timer } from '../../base/clock.ts'
import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { errorMessage, isMeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { Board, type BoardEffect, type BoardInput, type JobNews } from '../../core/jobs/board.ts'
import type { GrantResult } from '../../core/machine/job-calls.ts'
import { JOB_OPEN, type OpenJob, type OpenJobsResult } from '../../core/machine/job-listings.ts'
import { medianMs } from '../../core/machine/job-durations.ts'
import { JOB_GET, type JobView } from '../../core/machine/job-queries.ts'
import { JOB_PAGE_MAX } from '../../core/machine/limits.ts'
import type { Network, Unsubscribe } from '../../net/network.ts'
import type { Shards } from '../../shard/shards.ts'
import { decodeJobOffers, encodeJobOffers, type JobOffer } from '../../wire/job.ts'
import { knownJob, newsOf, type FoundJob, type KnownJob } from './known-job.ts'
import { workerName } from './task-runner.ts'

/** How long a node that has room for a whole job may take to have all of its tasks. */
const ALONE_MS = 100

/** A job of which tasks may be had now. */
export type OpenCandidate = {
  readonly job: KnownJob
  readonly readyCount: number
  readonly waitedMs: number
}

export type BoardComponents = {
  readonly shards: Shards
  readonly network: Pick<Network, 'subscribe' | 'publish' | 'onConnected'>
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly self: PeerId
}

type Listeners = {
  /** Something may be had of some job. */
  readonly onNews: () => void
  /** A job isn't open any more. */
  readonly onOver: (name: string) => void
}

export class JobBoard {
  readonly #components: BoardComponents
  readonly #topic: string
  readonly #board: Board
  readonly #jobs = new Map<string, KnownJob>()
  /** What this node tells of jobs. */
  readonly #own = new Map<string, JobOffer>()
  readonly #stopping = new AbortController()
  #hasRoom = false
  #published = 0
  #listeners: Listeners = { onNews: () => {}, onOver: () => {} }
  #unsubscribe: Unsubscribe[] = []
  #timer: Timer | undefined

  constructor(components: BoardComponents, options: { topic: string }) {
    const { shards, random } = components
    this.#components = components
    this.#topic = options.topic
    const shardOf = (name: string): number => shards.shardOf(utf8(name))
    this.#board = new Board({ random, shardCount: shards.count, shardOf })
  }

  start(listeners: Listeners): void {
    const { network } = this.#components
    this.#listeners = listeners
    this.#unsubscribe = [
      network.subscribe(this.#topic, (data) => this.#hear(data)),
      network.onConnected(() => this.#step({ kind: 'reached' }))
    ]
    this.#step({ kind: 'reached' })
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.#timer?.cancel()
    this.#stopping.abort()
  }

  /** Messages with offers that this node has gossiped. */
  get published(): number {
    return this.#published
  }

  /** While there is no room for a task nobody is asked. */
  setRoom(hasRoom: boolean): void {
    // Mostly it is as before: this is said whenever a task ends.
    if (hasRoom === this.#hasRoom) return
    this.#hasRoom = hasRoom
    this.#step({ kind: 'room', hasRoom })
  }

  candidates(): OpenCandidate[] {
    return this.#board.candidates().flatMap(({ name, readyCount, waitedMs }) => {
      const job = this.#jobs.get(name)
      return job === undefined ? [] : [{ job, readyCount, waitedMs }]
    })
  }

  /** What a grant of this node was answered. */
  granted({ name }: KnownJob, result: GrantResult): void {
    const known = this.#jobs.get(name)
    if (known === undefined) return
    if (result.phase !== 'open') {
      this.forget(name)
      return
    }
    const counts = { ...known.counts, running: result.runningCount }
    this.#jobs.set(name, { ...known, counts })
    const news = newsOf({ ...known, counts }, { ...result, ageMs: 0 })
    this.#step({ kind: 'granted', news, taskCount: result.tasks.length })
  }

  /** A grant was refused, or not answered. */
  refused(name: string): void {
    this.#step({ kind: 'refused', name })
  }

  /** Tells all nodes of a job, this one too. @param isLasting again and again, until it is withdrawn */
  offer(offer: JobOffer, isLasting: boolean): void {
    this.#hearOffer(offer)
    this.#own.set(offer.space, offer)
    this.#step({ kind: 'offer', name: offer.space, isLasting })
  }

  /**
   * Tells all nodes of a job that was submitted here just now: this one needn't look at it.
   *
   * @param options.ready tasks that may be had now
   * @param options.mayAlone whether this node has room for all of it: then others hear of it a little
   *   later, if there is still something to be had
   */
  submitted(known: KnownJob, options: { ready: number; mayAlone: boolean }): void {
    const { name, policy } = known
    const { ready, mayAlone } = options
    this.#jobs.set(name, known)
    const news = newsOf(known, { readyCount: ready, nextReadyMs: undefined, ageMs: 0 })
    this.#step({ kind: 'seen', name, news })
    if (ready === 0) return
    const { priority, submitter } = policy
    this.#own.set(name, { space: name, priority, submitter, ready, estimateMs: undefined })
    const delayMs = mayAlone ? ALONE_MS : 0
    this.#step({ kind: 'offer', name, isLasting: false, delayMs })
  }

  withdraw(name: string): void {
    if (this.#own.delete(name)) this.#step({ kind: 'withdraw', name })
  }

  /** A job isn't open any more. */
  forget(name: string): void {
    this.#step({ kind: 'seen', name, news: undefined })
    this.#over(name)
  }

  #step(input: BoardInput): void {
    if (this.#stopping.signal.aborted) return
    this.#board.tick(this.#components.clock.monotonicMs())
    this.#board.step(input)
    this.#take()
  }

  #take(): void {
    for (const effect of this.#board.take()) this.#do(effect)
    const { clock } = this.#components
    const { nextMs } = this.#board
    this.#timer?.cancel()
    if (nextMs === undefined) return
    this.#timer = clock.after(Math.max(0, nextMs - clock.monotonicMs()), () => {
      this.#board.tick(clock.monotonicMs())
      this.#take()
    })
  }

  #do(effect: BoardEffect): void {
    switch (effect.kind) {
      case 'ask':
        void this.#ask(effect.shard)
        break
      case 'look':
        void this.#look(effect.name)
        break
      case 'offer':
        void this.#publish(effect.names)
        break
      case 'choose':
        this.#listeners.onNews()
    }
  }

  async #publish(names: readonly string[]): Promise<void> {
    const offers = names.flatMap((name) => this.#own.get(name) ?? [])
    if (offers.length === 0) return
    try {
      this.#published += 1
      await this.#components.network.publish(this.#topic, encodeJobOffers(offers))
    } catch (error) {
      this.#components.log.debug('offer.unpublished', { reason: errorMessage(error) })
    }
  }

  #hear(data: Uint8Array): void {
    try {
      for (const offer of decodeJobOffers(data)) this.#hearOffer(offer)
    } catch (error) {
      this.#components.log.warn('offer.malformed', { reason: errorMessage(error) })
    }
  }

  #hearOffer({ space, ready }: JobOffer): void {
    this.#step({ kind: 'offered', name: space, readyCount: ready })
  }

  async #look(name: string): Promise<void> {
    const { shards, log } = this.#components
    const space = utf8(name)
    const { signal } = this.#stopping
    try {
      const { result } = await shards.query({ space }, JOB_GET, { space }, { signal })
      const news = result.state.phase === 'open' ? this.#seen(space, result) : undefined
      this.#step({ kind: 'seen', name, news })
      if (news === undefined) this.#over(name)
    } catch (error) {
      if (isMeshError(error, 'not-found')) this.forget(name)
      else {
        this.#step({ kind: 'unseen', name })
        log.debug('board.unseen', { job: name, reason: errorMessage(error) })
      }
    }
  }

  async #ask(shard: number): Promise<void> {
    const { shards, log } = this.#components
    const options = { signal: this.#stopping.signal, isStale: true }
    const found: JobNews[] = []
    try {
      let after: Uint8Array | undefined
      do {
        const args = { after, limit: JOB_PAGE_MAX }
        const page: OpenJobsResult = (await shards.query({ shard }, JOB_OPEN, args, options)).result
        for (const job of page.jobs) found.push(...this.#listed(job, page.timeMs))
        after = page.next?.slice()
      } while (after !== undefined)
      this.#step({ kind: 'listed', shard, jobs: found })
    } catch (error) {
      this.#step({ kind: 'unanswered', shard })
      log.debug('board.unanswered', { shard, reason: errorMessage(error) })
    }
    for (const name of this.#jobs.keys()) if (!this.#board.has(name)) this.#jobs.delete(name)
    for (const name of this.#own.keys()) if (!this.#board.has(name)) this.#own.delete(name)
  }

  #listed(job: OpenJob, timeMs: number): JobNews[] {
    const name = fromUtf8(job.space)
    const stages = this.#jobs.get(name)?.stages
    const one = [{ from: 0, to: job.count, after: [] }]
    const known = this.#note({ ...job, stages: stages ?? one })
    if (known === undefined) return []
    // Of one with stages only the job itself tells which they are.
    if (stages === undefined && known.spec.stages !== undefined) {
      this.#jobs.delete(name)
      this.#step({ kind: 'offered', name, readyCount: 0 })
      return []
    }
    return [newsOf(known, { ...job, ageMs: timeMs - job.createdMs })]
  }

  #seen(space: Uint8Array, view: JobView): JobNews | undefined {
    const { job, state, timeMs } = view
    const { counts, denied } = state
    const known = this.#note({ ...job, space, counts, denied, medianMs: medianMs(state.durations) })
    if (known === undefined) return undefined
    return newsOf(known, { ...view, ageMs: timeMs - job.createdMs })
  }

  /** @returns undefined when it can't be read */
  #note(found: FoundJob): KnownJob | undefined {
    const { self, log } = this.#components
    const name = fromUtf8(found.space)
    try {
      const known = knownJob(found, { self: workerName(self), spec: this.#jobs.get(name)?.spec })
      this.#jobs.set(name, known)
      return known
    } catch (error) {
      log.warn('board.unreadable', { job: name, reason: errorMessage(error) })
      return undefined
    }
  }

  #over(name: string): void {
    this.#jobs.delete(name)
    if (!this.#stopping.signal.aborted) this.#listeners.onOver(name)
  }
}
