// What a node knows of the open jobs of the mesh, and what it should do to know it: a pure machine.
// All of it is hints: an offer that was gossiped, a shard's list that may be old, the answer to this
// node's own last grant. What is wrong costs a question; nothing is decided here but whom to ask.

import { compareText } from '../../base/ids.ts'
import type { Random } from '../../base/random.ts'
import { JobPauses } from './job-pauses.ts'
import { OwnOffers, type OfferOptions } from './own-offers.ts'
import { ShardAsks } from './shard-asks.ts'

/** Jobs that are kept in mind; the rest is found when these are done. */
const JOBS_MAX = 4_096
/** Jobs that are looked at at one time. */
const LOOKS_MAX = 64

/** What somebody said of a job. */
export type JobNews = {
  /** Its space, as text. */
  readonly name: string
  /** Tasks that could be granted, about. */
  readonly readyCount: number
  /** Until a retry is due or help is welcome, from now; undefined: nothing waits for its time. */
  readonly nextReadyMs: number | undefined
  /** Nothing is ready, but tasks run that may be slow, and a second attempt would be welcome. */
  readonly mayNeedHelp: boolean
  /** Tasks that were granted so far or are done: when it grows, somebody works on the job. */
  readonly progress: number
  /** Since the job was made, by its shard's time. */
  readonly ageMs: number
}

export type BoardInput =
  /** Whether this node has room for a task. Without it asks nobody. */
  | { readonly kind: 'room'; readonly hasRoom: boolean }
  /** Gossip: of a job something is ready, or with 0: nothing any more, perhaps as it is over. */
  | { readonly kind: 'offered'; readonly name: string; readonly readyCount: number }
  /** All open jobs of a shard, as a replica of it had them. */
  | { readonly kind: 'listed'; readonly shard: number; readonly jobs: readonly JobNews[] }
  /** A shard that was asked didn't answer. */
  | { readonly kind: 'unanswered'; readonly shard: number }
  /** A job was looked at. undefined: it isn't open. */
  | { readonly kind: 'seen'; readonly name: string; readonly news: JobNews | undefined }
  /** Looking at a job failed. */
  | { readonly kind: 'unseen'; readonly name: string }
  /** A grant was answered, with so many tasks. */
  | { readonly kind: 'granted'; readonly news: JobNews; readonly taskCount: number }
  /** A grant was refused or not answered. */
  | { readonly kind: 'refused'; readonly name: string }
  /** This node knows of work that others may not: it was submitted or given back here. */
  | ({ readonly kind: 'offer'; readonly name: string } & OfferOptions)
  /** There is nothing more to tell of a job. */
  | { readonly kind: 'withdraw'; readonly name: string }
  /** Others are there whom this node couldn't hear: shards are asked soon. */
  | { readonly kind: 'reached' }

export type BoardEffect =
  /** Ask a shard for its open jobs, and step `listed` or `unanswered`. */
  | { readonly kind: 'ask'; readonly shard: number }
  /** Look at a job, and step `seen` or `unseen`. */
  | { readonly kind: 'look'; readonly name: string }
  /** Gossip one message that offers these. */
  | { readonly kind: 'offer'; readonly names: readonly string[] }
  /** There may be something to be had: choose among {@link Board.candidates}. */
  | { readonly kind: 'choose' }

/** A job of which something may be had now. */
export type BoardCandidate = {
  readonly name: string
  readonly readyCount: number
  /** Since somebody was granted tasks of it, as far as is known here. */
  readonly waitedMs: number
}

type Known = {
  readyCount: number
  /** When something may be ready although nothing was; Infinity: nobody knows. */
  dueMs: number
  /** Nothing is to be had of it here before then. */
  pausedMs: number
  /** When somebody was last granted something. */
  servedMs: number
  progress: number
  readonly pauses: JobPauses
}

/**
 * Call `tick` with the monotonic time before each `step`, and when {@link nextMs} has come; after
 * both `take` what is to be done.
 */
export class Board {
  readonly #random: Random
  readonly #shardOf: (name: string) => number
  readonly #jobs = new Map<string, Known>()
  readonly #asks: ShardAsks
  readonly #offers: OwnOffers
  readonly #looking = new Set<string>()
  #effects: BoardEffect[] = []
  #hasRoom = false
  #hasNews = false
  #nowMs = 0

  /** @param components.shardOf the shard, from 0, that a job is of */
  constructor(components: {
    readonly random: Random
    readonly shardCount: number
    readonly shardOf: (name: string) => number
  }) {
    const { random, shardCount, shardOf } = components
    this.#random = random
    this.#shardOf = shardOf
    this.#asks = new ShardAsks(shardCount, random)
    this.#offers = new OwnOffers(random)
  }

  /** @returns when `tick` has something to do; undefined: not by itself. */
  get nextMs(): number | undefined {
    let next = this.#offers.nextMs
    if (this.#hasRoom) {
      next = Math.min(next, this.#asks.nextMs)
      for (const job of this.#jobs.values()) {
        const atMs = hadAt(job)
        if (atMs > this.#nowMs) next = Math.min(next, atMs)
      }
    }
    return next === Infinity ? undefined : next
  }

  /** @param nowMs never falls */
  tick(nowMs: number): void {
    const beforeMs = this.#nowMs
    this.#nowMs = Math.max(beforeMs, nowMs)
    for (const names of this.#offers.due(this.#nowMs)) {
      this.#effects.push({ kind: 'offer', names })
    }
    if (!this.#hasRoom) return
    for (const shard of this.#asks.due(this.#nowMs)) this.#effects.push({ kind: 'ask', shard })
    for (const job of this.#jobs.values()) {
      const atMs = hadAt(job)
      if (atMs > beforeMs && atMs <= this.#nowMs) this.#hasNews = true
    }
  }

  step(input: BoardInput): void {
    switch (input.kind) {
      case 'room':
        this.#hasNews ||= input.hasRoom && !this.#hasRoom
        this.#hasRoom = input.hasRoom
        break
      case 'offered':
        this.#offered(input.name, input.readyCount)
        break
      case 'listed':
        this.#listed(input.shard, input.jobs)
        break
      case 'unanswered':
        this.#asks.answered(input.shard, { hasWork: false, nowMs: this.#nowMs })
        break
      case 'seen':
        this.#looking.delete(input.name)
        if (input.news === undefined) this.#forget(input.name)
        else this.#learn(input.news)
        break
      case 'unseen':
        this.#looking.delete(input.name)
        break
      case 'granted':
        this.#granted(input.news, input.taskCount)
        break
      case 'refused':
        this.#pause(this.#jobs.get(input.name))
        break
      case 'offer':
        this.#offers.add(input.name, { ...input, nowMs: this.#nowMs })
        break
      case 'withdraw':
        this.#offers.end(input.name)
        break
      case 'reached':
        this.#asks.hurry(this.#nowMs)
    }
    this.tick(this.#nowMs)
  }

  /** @returns what is to be done since it was last called, in this order. */
  take(): BoardEffect[] {
    const effects = this.#effects
    this.#effects = []
    if (this.#hasNews && this.#hasRoom && this.candidates().length > 0) {
      effects.push({ kind: 'choose' })
    }
    this.#hasNews = false
    return effects
  }

  /** @returns jobs of which something may be had now, by name. */
  candidates(): BoardCandidate[] {
    const found: BoardCandidate[] = []
    for (const [name, job] of this.#jobs) {
      if (hadAt(job) > this.#nowMs) continue
      const waitedMs = this.#nowMs - job.servedMs
      found.push({ name, readyCount: Math.max(1, job.readyCount), waitedMs })
    }
    return found.toSorted((a, b) => compareText(a.name, b.name))
  }

  /** @returns whether a job is known to be open. */
  has(name: string): boolean {
    return this.#jobs.has(name)
  }

  /** @returns the names of all jobs that are known to be open. */
  names(): string[] {
    return [...this.#jobs.keys()].toSorted(compareText)
  }

  #offered(name: string, readyCount: number): void {
    const known = this.#jobs.get(name)
    if (known === undefined || readyCount === 0) {
      this.#look(name)
      return
    }
    known.readyCount = Math.max(known.readyCount, readyCount)
    known.pausedMs = this.#nowMs
    known.pauses.reset()
    this.#hasNews = true
  }

  #listed(shard: number, jobs: readonly JobNews[]): void {
    for (const news of jobs) this.#learn(news)
    // A replica that lags doesn't show what others know: what is missing is looked at.
    const listed = new Set(jobs.map(({ name }) => name))
    for (const name of this.#jobs.keys()) {
      if (!listed.has(name) && this.#shardOf(name) === shard) this.#look(name)
    }
    const hasWork = jobs.some(({ readyCount }) => readyCount > 0)
    this.#asks.answered(shard, { hasWork, nowMs: this.#nowMs })
  }

  #learn(news: JobNews): void {
    const { name, readyCount, progress, ageMs } = news
    let known = this.#jobs.get(name)
    if (known === undefined) {
      if (this.#jobs.size >= JOBS_MAX) return
      const pauses = new JobPauses(this.#random)
      // Of a job that somebody works on nobody knows for how long it has waited.
      const servedMs = progress > 0 ? this.#nowMs : this.#nowMs - ageMs
      known = { readyCount, dueMs: Infinity, pausedMs: this.#nowMs, servedMs, progress, pauses }
      this.#jobs.set(name, known)
    }
    if (progress > known.progress) known.servedMs = this.#nowMs
    this.#set(known, news)
    this.#hasNews = true
  }

  #granted(news: JobNews, taskCount: number): void {
    // When help will be welcome was told with the grant.
    this.#learn({ ...news, mayNeedHelp: false })
    const known = this.#jobs.get(news.name)
    if (news.readyCount === 0) this.#offers.endPassing(news.name)
    if (known === undefined) return
    if (taskCount > 0) {
      known.servedMs = this.#nowMs
      known.pauses.reset()
    } else if (known.readyCount > 0) this.#pause(known)
    else known.pausedMs = this.#nowMs + known.pauses.empty()
  }

  #set(known: Known, { readyCount, nextReadyMs, mayNeedHelp, progress }: JobNews): void {
    known.readyCount = readyCount
    known.progress = progress
    // The time of a shard of which nothing is asked stands still: what was heard first is right, and
    // whoever comes too early is told when to come again.
    const dueMs = nextReadyMs === undefined ? Infinity : this.#nowMs + nextReadyMs
    known.dueMs = known.dueMs > this.#nowMs ? Math.min(known.dueMs, dueMs) : dueMs
    if (mayNeedHelp && readyCount === 0) known.dueMs = this.#nowMs
  }

  #pause(known: Known | undefined): void {
    if (known !== undefined) known.pausedMs = this.#nowMs + known.pauses.refused()
  }

  #look(name: string): void {
    if (this.#looking.has(name) || this.#looking.size >= LOOKS_MAX) return
    this.#looking.add(name)
    this.#effects.push({ kind: 'look', name })
  }

  #forget(name: string): void {
    this.#jobs.delete(name)
    this.#offers.end(name)
  }
}

/** When something may be had of a job; Infinity: when there is news of it. */
function hadAt({ readyCount, dueMs, pausedMs }: Known): number {
  return Math.max(pausedMs, readyCount > 0 ? -Infinity : dueMs)
}
