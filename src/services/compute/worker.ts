// Does work of the mesh on this node: while there is room it chooses among the open jobs, pulls tasks
// of one, and runs them. Nobody sends it anything.

import type { Clock, Timer } from '../../base/clock.ts'
import { errorMessage, isMeshError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { SECOND_MS } from '../../base/units.ts'
import { chooseJob, nextToBegin } from '../../core/jobs/choose-job.ts'
import { grantSize } from '../../core/jobs/grant-size.ts'
import type { GrantResult } from '../../core/machine/job-calls.ts'
import type { Claim, StartResult } from '../../core/machine/job-start.ts'
import type { Answered } from '../../shard/shards.ts'
import type { JobBoard, OpenCandidate } from './job-board.ts'
import { JOB_LEASE_MS } from './job-lease.ts'
import { knownJob, readyOf, type FoundJob, type KnownJob } from './known-job.ts'
import type { Give } from './node-submitter.ts'
import { PulledJob, type PulledComponents } from './pulled-job.ts'
import { workerName } from './task-runner.ts'
import { Troubles } from './troubles.ts'

/** Tasks that weren't begun for so long are given back: others may be idle. */
const UNBEGUN_MS = 500
const GIVE_BACK_MS = 250
/** A job that doesn't answer for so long isn't waited for, … */
const LATE_MS: number = SECOND_MS
/** … unless there are so many of them. */
const PULLS_MAX = 64
/** The next tasks are pulled while those here last for less than this, or than pulling takes twice. */
const AHEAD_MS = { min: 30, max: 250 }

export type WorkerComponents = PulledComponents & {
  readonly board: JobBoard
  readonly random: Random
  readonly clock: Clock
}

export class Worker {
  readonly #components: WorkerComponents
  /** Share of the mesh's speed that this node has, asked when tasks are pulled. */
  readonly #shareOf: () => { speed: number; speedSum: number }
  readonly #pulled = new Map<string, PulledJob>()
  readonly #troubles: Troubles
  /** How long a pull took lately. */
  #pullMs = 0
  /** Jobs of which tasks are being pulled, since when. */
  readonly #pulling = new Map<string, number>()
  #unsubscribe: (() => void) | undefined
  #timer: Timer | undefined
  #isTurnDue = false
  #isStopped = false

  constructor(
    components: WorkerComponents,
    options: { shareOf: () => { speed: number; speedSum: number } }
  ) {
    this.#components = components
    this.#shareOf = options.shareOf
    this.#troubles = new Troubles(components.random)
  }

  start(): void {
    const { board, runner } = this.#components
    this.#unsubscribe = runner.onFree(() => this.#turnSoon())
    board.start({ onNews: () => this.#turnSoon(), onOver: (name) => this.#over(name) })
    this.#turnSoon()
    this.#tickSoon()
  }

  /** What runs is given back to the mesh. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#unsubscribe?.()
    await Promise.all([...this.#pulled.values()].map(async (job) => await job.stop()))
  }

  /** Has a job submitted, with what there is room for here at once; others hear of the rest. */
  async begin(found: FoundJob, give: Give): Promise<Answered<StartResult>> {
    const { board, clock, runner, self } = this.#components
    const known = knownJob(found, { self: workerName(self), spec: undefined })
    const { name, count, spec } = known
    const claim = this.#claim(known)
    const cpuMilli = count * spec.requirements.cpuMilli
    const mayAlone = claim !== undefined && cpuMilli <= runner.free.cpuMilli
    const sentMs = clock.monotonicMs()
    if (claim !== undefined) this.#pulling.set(name, sentMs)
    try {
      const answered = await give(claim)
      const { submitted, granted } = answered.result
      if (!submitted.isNew) return answered
      board.submitted(known, { ready: granted?.readyCount ?? readyOf(known), mayAlone })
      if (granted === undefined) return answered
      await this.#granted(known, async (job) => {
        await job.take(granted, sentMs)
        return granted
      })
      return answered
    } finally {
      if (claim !== undefined) this.#pulling.delete(name)
      this.#turnSoon()
    }
  }

  /** Tasks of a job that run here. */
  runningOf(name: string): number {
    return this.#pulled.get(name)?.running ?? 0
  }

  /** A job isn't open any more: what runs of it here is in vain. */
  #over(name: string): void {
    this.#troubles.end(name)
    const pulled = this.#pulled.get(name)
    // By its own lease it would hear of that later.
    if (pulled?.isIdle === false) pulled.cancel()
  }

  #tickSoon(): void {
    const { clock } = this.#components
    this.#timer = clock.after(GIVE_BACK_MS, () => {
      if (this.#isStopped) return
      this.#tickSoon()
      const beforeMs = clock.monotonicMs() - UNBEGUN_MS
      for (const [name, job] of this.#pulled) {
        job.giveBack(beforeMs)
        if (job.isIdle && !this.#pulling.has(name)) this.#end(name, job)
      }
      // A pause may be over.
      this.#turnSoon()
    })
  }

  #end(name: string, job: PulledJob): void {
    this.#pulled.delete(name)
    this.#components.inputs.forget(job.about)
    void job.stop()
  }

  /** All that happened in a turn of the event loop is looked at once. */
  #turnSoon(): void {
    if (this.#isTurnDue || this.#isStopped) return
    this.#isTurnDue = true
    queueMicrotask(() => {
      this.#isTurnDue = false
      if (!this.#isStopped) this.#turn()
    })
  }

  #turn(): void {
    const { board, runner } = this.#components
    this.#beginSome()
    board.setRoom(runner.free.cpuMilli > 0)
    if (!this.#mayPull()) return
    const candidate = this.#choose()
    if (candidate !== undefined) void this.#pull(candidate)
  }

  /** What is here begins as far as there is room, so that submitters get the same. */
  #beginSome(): void {
    const { runner } = this.#components
    const waiting = new Set([...this.#pulled.values()].filter(({ queued }) => queued > 0))
    while (waiting.size > 0) {
      const views = Array.from(waiting, (job) => {
        const { priority, submitter } = job.about
        return { job, priority, usedMs: waiting.size > 1 ? runner.usedMs(submitter, 0) : 0 }
      })
      const { job } = nextToBegin(views) as (typeof views)[number]
      if (!job.startNext()) waiting.delete(job)
    }
  }

  /** One at a time, for what it brings decides about the next; but not all wait for one shard. */
  #mayPull(): boolean {
    if (this.#pulling.size >= PULLS_MAX) return false
    const lateMs = this.#components.clock.monotonicMs() - LATE_MS
    return [...this.#pulling.values()].every((sinceMs) => sinceMs <= lateMs)
  }

  #choose(): OpenCandidate | undefined {
    const { board, clock, runner, random } = this.#components
    const nowMs = clock.monotonicMs()
    const there = [...this.#pulled.values()].filter(({ queued, running }) => queued + running > 0)
    const isAhead = !runner.isHeld && there.length > 0 && this.#isRunningOut(there)
    const candidates = board.candidates().filter(({ job }) => {
      if (job.isDenied || this.#troubles.untilMs(job.name) > nowMs) return false
      if (this.#pulling.has(job.name)) return false
      if (!isAhead && (this.#pulled.get(job.name)?.queued ?? 0) > 0) return false
      const { submitter } = job.policy
      return runner.lacks(job.spec, { submitter, isFreeCounted: !isAhead }).length === 0
    })
    const views = candidates.map((candidate) => {
      const { job, readyCount, waitedMs } = candidate
      const { priority, submitter } = job.policy
      const localInputs = this.#pulled.has(job.name) ? 1 : 0
      const usedMs = this.#usedMs(submitter)
      const about = { priority, usedMs, waitedMs, readyCount, localInputs }
      return { ...about, candidate, space: job.name }
    })
    return chooseJob(views, random)?.candidate
  }

  /** Whether all tasks of jobs that are here will soon have ended: half of what runs is done. */
  #isRunningOut(there: readonly PulledJob[]): boolean {
    const slots = Math.max(1, this.#components.runner.offer.cpuMilli / 1_000)
    const leftMs = there.reduce((sum, { queued, running, estimateMs = Infinity }) => {
      return sum + (queued + running / 2) * estimateMs
    }, 0)
    const aheadMs = Math.min(AHEAD_MS.max, Math.max(AHEAD_MS.min, 2 * this.#pullMs))
    return leftMs / slots < aheadMs
  }

  async #pull({ job: known, readyCount }: OpenCandidate): Promise<void> {
    const { clock } = this.#components
    const limit = this.#limit(known, readyCount)
    const sinceMs = clock.monotonicMs()
    this.#pulling.set(known.name, sinceMs)
    await this.#granted(known, async (job) => {
      const result = await job.pull(limit)
      this.#pullMs += (clock.monotonicMs() - sinceMs - this.#pullMs) / 8
      return result
    })
    this.#pulling.delete(known.name)
    this.#turnSoon()
  }

  /** @param ask what is granted is answered, and taken */
  async #granted(known: KnownJob, ask: (job: PulledJob) => Promise<GrantResult>): Promise<void> {
    const { board, log } = this.#components
    const { name } = known
    const job = this.#pulledJob(known)
    try {
      const result = await ask(job)
      board.granted(known, result)
    } catch (error) {
      if (isMeshError(error, 'not-found')) board.forget(name)
      else board.refused(name)
      if (!this.#isStopped)
        log.debug('worker.not_granted', { job: name, reason: errorMessage(error) })
    }
  }

  /** Slot-time that a submitter had of this node lately, and will have by what waits here. */
  #usedMs(submitter: string): number {
    const queuedMs = [...this.#pulled.values()].reduce((sum, { about, queued, estimateMs = 0 }) => {
      const slots = about.spec.requirements.cpuMilli / 1_000
      return about.submitter === submitter ? sum + queued * slots * estimateMs : sum
    }, 0)
    return this.#components.runner.usedMs(submitter, queuedMs)
  }

  /** What there is room for of a job that isn't there yet; undefined while something is pulled. */
  #claim(known: KnownJob): Claim | undefined {
    const { name, spec, policy } = known
    if (this.#isStopped || !this.#mayPull() || this.#pulled.has(name)) return undefined
    const about = { submitter: policy.submitter, isFreeCounted: true }
    if (this.#components.runner.lacks(spec, about).length > 0) return undefined
    const worker = workerName(this.#components.self)
    const limit = this.#limit(known, readyOf(known))
    return { worker, ttlMs: JOB_LEASE_MS, limit, isSpeculativeAllowed: false }
  }

  /** How many tasks are asked for. */
  #limit({ spec, medianMs }: KnownJob, readyCount: number): number {
    const { runner } = this.#components
    const slots = Math.max(1, runner.freeSlots)
    return grantSize({
      ...this.#shareOf(),
      remaining: Math.max(readyCount, slots),
      freeSlots: slots,
      estimateMs: runner.estimateMs(spec) ?? medianMs
    })
  }

  #pulledJob(known: KnownJob): PulledJob {
    const there = this.#pulled.get(known.name)
    if (there !== undefined) return there
    const { clock, log } = this.#components
    const { name, id, space, spec, stages, policy } = known
    const { submitter, priority } = policy
    const about = { name, id, space, spec, stages, submitter, priority }
    const job = new PulledJob(this.#components, about, {
      onChanged: () => this.#turnSoon(),
      onWell: () => this.#troubles.end(name),
      onTrouble: (reason) => {
        log.warn('worker.trouble', { job: name, reason })
        this.#troubles.note(name, clock.monotonicMs())
      }
    })
    this.#pulled.set(name, job)
    return job
  }
}
