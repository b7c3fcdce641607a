// Does work of the mesh on this node: while there is room it chooses among the open jobs, pulls tasks
// of one, and runs them. Nobody sends it anything.

import type { Clock, Timer } from '../../base/clock.ts'
import { errorMessage, isMeshError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { chooseJob } from '../../core/jobs/choose-job.ts'
import { grantSize } from '../../core/jobs/grant-size.ts'
import { Shares } from '../../core/jobs/shares.ts'
import type { JobBoard, KnownJob } from './job-board.ts'
import { PulledJob, type PulledComponents } from './pulled-job.ts'

/** Tasks that weren't begun for so long are given back: others may be idle. */
const UNBEGUN_MS = 500
const GIVE_BACK_MS = 250
/** A job of which there was nothing to be had is asked again after this. */
const EMPTY_MS = 500
const FAILED_MS = 1_000
/** The next tasks are pulled while those here last for less than this. */
const AHEAD_MS = 30

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
  readonly #pulling = new Set<string>()
  readonly #shares = new Shares()
  /** When a job last gave tasks to this node. */
  readonly #grantedMs = new Map<string, number>()
  #unsubscribe: (() => void)[] = []
  #timer: Timer | undefined
  #isTurnDue = false
  #isStopped = false

  constructor(
    components: WorkerComponents,
    options: { shareOf: () => { speed: number; speedSum: number } }
  ) {
    this.#components = components
    this.#shareOf = options.shareOf
  }

  start(): void {
    const { board, runner } = this.#components
    this.#unsubscribe = [
      board.onChanged((name) => {
        this.#lookAfter(name)
        this.#turnSoon()
      }),
      runner.onFree(() => this.#turnSoon())
    ]
    this.#tickSoon()
  }

  /** What runs is given back to the mesh. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    await Promise.all([...this.#pulled.values()].map(async (job) => await job.stop()))
  }

  /** Tasks of a job that run here. */
  runningOf(name: string): number {
    return this.#pulled.get(name)?.running ?? 0
  }

  /** A job that was heard of and isn't open any more: what runs of it here may be in vain. */
  #lookAfter(name: string): void {
    const isKnown = [...this.#components.board.jobs()].some((job) => job.name === name)
    const pulled = this.#pulled.get(name)
    if (isKnown || pulled === undefined || pulled.isIdle) return
    // It has ended, or was cancelled: by its own lease it would hear of that later.
    pulled.cancel()
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
      if (this.#hasDueJob()) this.#turnSoon()
    })
  }

  #hasDueJob(): boolean {
    const nowMs = this.#components.clock.monotonicMs()
    return [...this.#components.board.jobs()].some(({ notBeforeMs }) => notBeforeMs <= nowMs)
  }

  #end(name: string, job: PulledJob): void {
    this.#pulled.delete(name)
    this.#grantedMs.delete(name)
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
    for (const job of this.#pulled.values()) while (job.startNext());
    // One pull at a time: what the one brings decides about the next.
    if (this.#pulling.size > 0) return
    const job = this.#choose()
    if (job !== undefined) void this.#pull(job)
  }

  #choose(): KnownJob | undefined {
    const { board, clock, runner, random } = this.#components
    const nowMs = clock.monotonicMs()
    const candidates = [...board.jobs()].filter((job) => {
      if (job.notBeforeMs > nowMs || this.#pulling.has(job.name)) return false
      const pulled = this.#pulled.get(job.name)
      const submitter = job.policy.submitter
      if (pulled !== undefined && pulled.queued > 0) return this.#isRunningOut(pulled)
      return runner.lacks(job.spec, { submitter, isFreeCounted: true }).length === 0
    })
    const views = candidates.map((job) => ({
      job,
      space: job.name,
      priority: job.policy.priority,
      submitter: job.policy.submitter,
      waitedMs: nowMs - (this.#grantedMs.get(job.name) ?? job.sinceMs),
      // A retry that is due now isn't counted in what was heard.
      readyCount: Math.max(1, job.ready),
      localInputs: this.#pulled.has(job.name) ? 1 : 0
    }))
    return chooseJob(views, { shares: this.#shares, nowMs, random })?.job
  }

  /** Whether the tasks that are here will soon all have begun. */
  #isRunningOut(pulled: PulledJob): boolean {
    const { estimateMs = Infinity } = pulled
    const slots = Math.max(1, this.#components.runner.offer.cpuMilli / 1_000)
    return (pulled.queued * estimateMs) / slots < AHEAD_MS
  }

  async #pull(known: KnownJob): Promise<void> {
    const { clock, log, runner } = this.#components
    const { name } = known
    const job = this.#pulledJob(known)
    const slots = Math.max(1, runner.freeSlots)
    const limit = grantSize({
      ...this.#shareOf(),
      remaining: Math.max(known.ready, slots),
      freeSlots: slots,
      estimateMs: job.estimateMs ?? known.medianMs
    })
    this.#pulling.add(name)
    try {
      const { tasks, readyCount, nextReadyMs, phase } = await job.pull(limit, true)
      const nowMs = clock.monotonicMs()
      known.ready = readyCount
      if (phase !== 'open') this.#components.board.forget(name)
      else if (tasks.length === 0) known.notBeforeMs = nowMs + (nextReadyMs ?? EMPTY_MS)
      else this.#noteUse(known, tasks.length, job)
    } catch (error) {
      known.notBeforeMs = clock.monotonicMs() + FAILED_MS
      if (isMeshError(error, 'not-found')) this.#components.board.forget(name)
      else if (!this.#isStopped)
        log.debug('worker.not_granted', { job: name, reason: errorMessage(error) })
    } finally {
      this.#pulling.delete(name)
      this.#turnSoon()
    }
  }

  #noteUse({ name, policy, medianMs }: KnownJob, count: number, job: PulledJob): void {
    const nowMs = this.#components.clock.monotonicMs()
    this.#grantedMs.set(name, nowMs)
    const usedMs = count * Math.max(1, job.estimateMs ?? medianMs ?? 1)
    this.#shares.charge(policy.submitter, usedMs, nowMs)
  }

  #pulledJob(known: KnownJob): PulledJob {
    const there = this.#pulled.get(known.name)
    if (there !== undefined) return there
    const { name, id, space, spec, stages, policy } = known
    const about = { name, id, space, spec, stages, submitter: policy.submitter }
    const job = new PulledJob(this.#components, about, () => this.#turnSoon())
    this.#pulled.set(name, job)
    return job
  }
}
