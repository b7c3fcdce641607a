// What a job should be, in the plainest form: a list of tasks, each with all that ever happened to
// it. No counts, no cursors, no queues; everything is found by looking at all tasks.

import type { JobPolicy } from '../../../src/core/machine/job-policy.ts'
import type { JobState, Stage } from '../../../src/core/machine/job-records.ts'
import type { TaskOutcome, Verdict } from '../../../src/core/machine/job-calls.ts'
import { LEASE_MS } from './job-shard.ts'

/** How long a task waits for what it needs. */
const BLOCKED_MS = 5_000

type ModelTask = {
  status: 'fresh' | 'ready' | 'live' | 'done' | 'failed'
  /** When a ready task is due, at the latest. */
  dueMs: number
  /** All attempts that were ever granted. */
  attempts: number[]
  live: { worker: string; attempt: number }[]
  failures: number
  losses: string[]
  /** The last outcome that was taken. */
  told: { worker: string; attempt: number; kind: string } | undefined
  /** How often it came to an end. */
  ends: number
}
type ModelWorker = { lease: number; deadlineMs: number }

export class JobModel {
  readonly tasks: ModelTask[]
  readonly stages: readonly Stage[]
  readonly policy: JobPolicy
  readonly workers: Map<string, ModelWorker> = new Map()
  readonly denied: Set<string> = new Set()
  phase: JobState['phase'] = 'open'
  attempts = 0

  constructor(stages: readonly Stage[], policy: JobPolicy) {
    this.stages = stages
    this.policy = policy
    this.tasks = Array.from({ length: stages.at(-1)?.to ?? 0 }, () => ({
      status: 'fresh',
      dueMs: 0,
      attempts: [],
      live: [],
      failures: 0,
      losses: [],
      told: undefined,
      ends: 0
    }))
  }

  task(task: number): ModelTask {
    return this.tasks[task] as ModelTask
  }

  of(stage: Stage): ModelTask[] {
    return this.tasks.slice(stage.from, stage.to)
  }

  /** Whether the tasks of a stage can never begin. */
  isBlocked(stage: Stage): boolean {
    return stage.after.some((at) => {
      const before = this.stages[at] as Stage
      return this.isBlocked(before) || this.of(before).some(({ status }) => status === 'failed')
    })
  }

  isReady(stage: Stage): boolean {
    return stage.after.every((at) =>
      this.of(this.stages[at] as Stage).every(({ status }) => status === 'done')
    )
  }

  get counts(): JobState['counts'] {
    const count = (status: ModelTask['status']): number =>
      this.tasks.filter((task) => task.status === status).length
    const blocked = this.stages.filter((stage) => this.isBlocked(stage))
    return {
      done: count('done'),
      failed: count('failed') + blocked.reduce((sum, { from, to }) => sum + to - from, 0),
      running: this.phase === 'open' ? count('live') : 0,
      waiting: count('ready')
    }
  }

  /** Tasks that nobody has and that may be granted, those of stages first that come first. */
  grantable(nowMs: number): number[] {
    const ready = [...this.tasks.keys()].filter((task) => {
      const { status, dueMs } = this.task(task)
      return status === 'ready' && dueMs <= nowMs
    })
    const fresh = this.stages
      .filter((stage) => this.isReady(stage))
      .flatMap(({ from, to }) => [...this.tasks.keys()].slice(from, to))
      .filter((task) => this.task(task).status === 'fresh')
    return [...ready, ...fresh]
  }

  grantsOf(worker: string): { task: number; attempt: number }[] {
    return [...this.tasks.entries()].flatMap(([task, { live }]) =>
      live.filter((one) => one.worker === worker).map(({ attempt }) => ({ task, attempt }))
    )
  }

  /** Whether one more loss at this worker ends the task. */
  isOnTrial(task: number, worker: string): boolean {
    const { losses } = this.task(task)
    return losses.length > 0 && this.isTooMuch([...losses, worker])
  }

  grant(worker: string, task: number, attempt: number): void {
    const model = this.task(task)
    model.status = 'live'
    model.live.push({ worker, attempt })
    model.attempts.push(attempt)
    this.attempts = attempt
  }

  renew(worker: string, nowMs: number): void {
    const known = this.workers.get(worker)
    if (known !== undefined) known.deadlineMs = nowMs + LEASE_MS
  }

  /** Leases end by their deadlines. */
  pass(nowMs: number): void {
    const due = [...this.workers]
      .filter(([, { deadlineMs }]) => deadlineMs <= nowMs)
      .toSorted(([, a], [, b]) => a.deadlineMs - b.deadlineMs || a.lease - b.lease)
    for (const [worker] of due) if (this.workers.has(worker)) this.lose(worker, nowMs)
  }

  lose(worker: string, nowMs: number): number {
    if (this.phase !== 'open') return 0
    const grants = this.grantsOf(worker)
    this.workers.delete(worker)
    for (const { task, attempt } of grants) {
      const model = this.task(task)
      model.live = model.live.filter((one) => one.attempt !== attempt)
      model.losses.push(worker)
      if (model.live.length > 0) continue
      if (this.isTooMuch(model.losses)) this.end(task, 'failed')
      else this.ready(task, nowMs)
    }
    this.settle()
    return grants.length
  }

  verdict(worker: string, outcome: TaskOutcome): Verdict {
    const { kind, task, attempt } = outcome
    const { told, status, live, attempts } = this.task(task)
    const isSame = told?.worker === worker && told.attempt === attempt && told.kind === kind
    // A task that was given up over a worker has an outcome that wasn't the end of it.
    if (isSame && (kind === 'done') === (status === 'done')) return 'repeated'
    if (this.phase !== 'open' || status === 'done' || status === 'failed') return 'stale'
    if (live.some((one) => one.worker === worker && one.attempt === attempt)) return 'accepted'
    const isLate = kind === 'done' && this.policy.isPure && attempts.length > 0
    const last = attempts.at(-1) as number
    // With one attempt only, it is live at somebody else or was never granted.
    const isOver = status === 'ready' || attempts.length > 1 || told !== undefined
    return isLate && isOver && attempt >= 1 && attempt <= last ? 'accepted' : 'stale'
  }

  tell(worker: string, outcome: TaskOutcome, nowMs: number): Verdict {
    const verdict = this.verdict(worker, outcome)
    if (verdict !== 'accepted') return verdict
    const { kind, task, attempt } = outcome
    const model = this.task(task)
    model.live = model.live.filter((one) => one.attempt !== attempt)
    if (kind === 'done' || kind === 'failed') model.told = { worker, attempt, kind }
    if (kind === 'failed') model.failures += 1
    if (kind === 'unfit') this.denied.add(worker)
    if (kind === 'lost') model.losses.push(worker)
    if (kind === 'done') this.end(task, 'done')
    else if (kind === 'lost' && model.live.length === 0 && this.isTooMuch(model.losses)) {
      this.end(task, 'failed')
    } else if (
      kind === 'failed' &&
      (!outcome.isRetryable || model.failures > this.policy.retries)
    ) {
      this.end(task, 'failed')
    } else if (model.live.length === 0) {
      const { retryBaseMs, retryMaxMs } = this.policy
      const waitMs = Math.min(retryMaxMs, retryBaseMs * 2 ** (model.failures - 1))
      const delays: Record<string, number> = { failed: waitMs, blocked: BLOCKED_MS }
      this.ready(task, nowMs + (delays[kind] ?? 0))
    }
    return verdict
  }

  cancel(): void {
    if (this.phase !== 'open') return
    this.phase = 'cancelled'
    this.workers.clear()
  }

  /** @returns how many tasks begin again */
  retry(nowMs: number): number {
    const failed = [...this.tasks.keys()].filter((task) => this.task(task).status === 'failed')
    for (const task of failed) {
      const model = this.task(task)
      Object.assign(model, { failures: 0, losses: [], told: undefined, ends: model.ends - 1 })
      this.ready(task, nowMs)
    }
    if (failed.length > 0) {
      this.phase = 'open'
      this.denied.clear()
    }
    return failed.length
  }

  /** After what may have ended the job. */
  settle(): void {
    const { done, failed } = this.counts
    if (this.phase !== 'open' || done + failed < this.tasks.length) return
    this.phase = 'ended'
    this.workers.clear()
  }

  isTooMuch(losses: readonly string[]): boolean {
    const { lossesMax } = this.policy
    return new Set(losses).size >= lossesMax || losses.length >= 4 * lossesMax
  }

  ready(task: number, dueMs: number): void {
    Object.assign(this.task(task), { status: 'ready', dueMs })
  }

  end(task: number, status: 'done' | 'failed'): void {
    const model = this.task(task)
    model.status = status
    model.live = []
    model.ends += 1
  }
}
