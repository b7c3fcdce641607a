// Jobs against a model that anybody can check by reading, whatever is asked of them and however they
// lose their workers.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { JOB_COMPLETE } from '../../../src/core/machine/job-calls.ts'
import type { CompleteArgs, GrantResult, TaskOutcome } from '../../../src/core/machine/job-calls.ts'
import { JOB_TRIAL_MS } from '../../../src/core/machine/job-loss.ts'
import type { Grant } from '../../../src/core/machine/job-records.ts'
import { Machine } from '../../../src/core/machine/machine.ts'
import { MemoryState } from '../../../src/core/machine/memory-state.ts'
import { KEEP_ALIVE } from '../../../src/core/machine/own-operations.ts'
import { stateHash } from '../../../src/core/machine/snapshot.ts'
import { JobModel } from './job-model.ts'
import { JobShard, POLICY, blocked, done, failed, lost, returned, unfit } from './job-shard.ts'
import type { Tried } from './job-shard.ts'
import { codeOf } from './shard.ts'

const anyWorker: fc.Arbitrary<string> = fc.constantFrom('a', 'b', 'c', 'd')
const anyKind = fc.oneof(
  { weight: 12, arbitrary: fc.constant('done') },
  { weight: 5, arbitrary: fc.constantFrom('failed', 'returned') },
  { weight: 1, arbitrary: fc.constantFrom('fatal', 'unfit') },
  { weight: 2, arbitrary: fc.constantFrom('lost', 'blocked') }
)
const anyReport = fc.record({
  kind: anyKind,
  /** Of the attempts that the worker has, had, or that anybody had. */
  from: fc.constantFrom('has', 'has', 'has', 'has', 'has', 'had', 'any', 'made up'),
  place: fc.nat(20)
})
const step = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constant('grant' as const),
      worker: anyWorker,
      limit: fc.integer({ min: 1, max: 6 }),
      isAnew: fc.constantFrom(false, false, false, false, true),
      isSpeculativeAllowed: fc.boolean()
    })
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constant('tell' as const),
      worker: anyWorker,
      reports: fc.array(anyReport, { maxLength: 4 })
    })
  },
  {
    weight: 2,
    arbitrary: fc.record({
      /** Does what there is, but for one task that it keeps. */
      kind: fc.constant('work' as const),
      worker: anyWorker,
      turns: fc.integer({ min: 1, max: 5 })
    })
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('again' as const) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('recall' as const), worker: anyWorker }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('renew' as const), worker: anyWorker }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('retry' as const) }) },
  {
    weight: 7,
    arbitrary: fc.record({
      kind: fc.constant('pass' as const),
      ms: fc.constantFrom<number[]>(1, 90, 90, 300, 300, 1_100, 1_100, 2_500, 6_000)
    })
  }
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

const anyJob = fc.record({
  sizes: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 }),
  /** Which earlier stages each waits for, a bit each. */
  edges: fc.array(fc.nat(7), { minLength: 4, maxLength: 4 }),
  isPure: fc.boolean(),
  retries: fc.nat(3),
  lossesMax: fc.integer({ min: 1, max: 3 }),
  /** Before anything else most is done, but for so many tasks that are kept; 9: nothing is. */
  kept: fc.constantFrom(9, 9, 1, 2, 3)
})

/** A job, its model, and what was asked of both. */
class Run {
  readonly job = new JobShard()
  readonly model: JobModel
  readonly had = new Map<string, Tried[]>()
  /** What came of it, for a look at what the property goes through. */
  readonly seen = new Map<string, number>()
  last: CompleteArgs | undefined

  constructor({
    sizes,
    edges,
    kept,
    ...policy
  }: typeof anyJob extends fc.Arbitrary<infer T> ? T : never) {
    let from = 0
    const stages = sizes.map((size, place) => {
      const after = [0, 1, 2].filter((at) => at < place && ((edges[place] ?? 0) >> at) % 2 === 1)
      const stage = { from, to: from + size, after }
      from += size
      return stage
    })
    const whole = { ...POLICY, ...policy, retryBaseMs: 200, retryMaxMs: 500 }
    // What is checked after every step is the present.
    this.job.shard.configure({ retainCountMin: 0, retainCountMax: 5, retainMs: 0 })
    this.job.submit({ stages, count: from, policy: whole })
    this.model = new JobModel(stages, whole)
    if (kept < 9) for (let turn = 0; turn < 9; turn++) this.work('a', kept)
  }

  get nowMs(): number {
    return this.job.shard.nowMs
  }

  do(step: Step): void {
    if (step.kind === 'pass') this.job.shard.nowMs += step.ms
    // An entry finds ended what is due, and retries at the times that the shard has drawn.
    this.model.pass(this.nowMs)
    switch (step.kind) {
      case 'pass':
        this.job.pass(0)
        break
      case 'grant':
        this.grant(step)
        break
      case 'tell':
        this.tell(
          step.worker,
          step.reports.flatMap((report) => this.outcome(step.worker, report) ?? [])
        )
        break
      case 'work':
        for (let turn = 0; turn < step.turns; turn++) this.work(step.worker, 1)
        break
      case 'again':
        if (this.last !== undefined) this.tell(this.last.worker, [...this.last.outcomes])
        break
      case 'recall':
        if (this.model.phase === 'open') {
          expect(this.job.recall(step.worker)).toBe(this.model.lose(step.worker, this.nowMs))
        }
        break
      case 'renew': {
        const lease = this.model.workers.get(step.worker)?.lease
        if (lease !== undefined) this.job.shard.run(KEEP_ALIVE, { lease })
        this.model.renew(step.worker, this.nowMs)
        break
      }
      case 'retry':
        if (this.model.phase === 'cancelled')
          expect(codeOf(() => this.job.retry())).toBe('conflict')
        else expect(this.job.retry().count).toBe(this.model.retry(this.nowMs))
    }
    this.check()
  }

  /** Takes tasks and does them, but for some. */
  work(worker: string, kept: number): void {
    this.grant({ kind: 'grant', worker, limit: 9, isAnew: false, isSpeculativeAllowed: false })
    const rest = this.model.grantsOf(worker).slice(kept)
    this.tell(
      worker,
      rest.map((tried) => this.doneBy(worker, tried))
    )
  }

  grant({ worker, limit, isAnew, isSpeculativeAllowed }: Extract<Step, { kind: 'grant' }>): void {
    const { model, job } = this
    const known = isAnew ? undefined : model.workers.get(worker)
    const lease = known?.lease ?? 0
    if (lease === 0) model.lose(worker, this.nowMs)
    const held = model.grantsOf(worker).length === 0 ? [] : this.grantsOf(worker)
    const result = job.grant(worker, limit, { lease, isSpeculativeAllowed })
    expect(result.phase).toBe(model.phase)
    if (model.phase !== 'open' || model.denied.has(worker)) {
      expect(result.tasks).toEqual([])
      this.note(model.phase === 'open' ? 'denied' : 'over')
      return
    }
    if (known !== undefined) model.renew(worker, this.nowMs)
    else if (result.tasks.length > 0) {
      expect(result.lease).toBe(job.shard.machine.index)
      model.workers.set(worker, { lease: result.lease, deadlineMs: 0 })
      model.renew(worker, this.nowMs)
    }
    this.checkGrant({ worker, limit, held }, result)
  }

  grantsOf(worker: string): readonly Grant[] {
    return this.job.workers.find((one) => one.worker === worker)?.grants ?? []
  }

  /** Whatever is granted may be, and it is as much as may be. */
  checkGrant(
    { worker, limit, held }: { worker: string; limit: number; held: readonly Grant[] },
    { tasks, readyCount }: GrantResult
  ): void {
    const { model } = this
    const open = model.grantable(this.nowMs)
    const isLostHere = (task: number): boolean => model.task(task).losses.includes(worker)
    const isTrial = (task: number): boolean => model.isOnTrial(task, worker)
    const trying = held.filter(({ isOnTrial }) => isOnTrial)
    const mayTry = (task: number): boolean => {
      const isLate = this.nowMs - model.task(task).dueMs >= JOB_TRIAL_MS
      return isTrial(task) && (held.length === 0 || (isLate && trying.length === 0))
    }
    const safe = open.filter((task) => !isTrial(task))
    const trials = open.filter(mayTry)
    const others = [...safe, ...trials].filter((task) => !isLostHere(task))
    for (const { task, attempt, isSpeculative } of tasks) {
      expect(attempt).toBe(model.attempts + 1)
      if (isSpeculative) {
        expect([tasks.length, safe.length + trials.length]).toEqual([1, 0])
        expect(model.policy.isPure).toBe(true)
        expect(model.task(task).live).toHaveLength(1)
        expect(model.task(task).live[0]?.worker).not.toBe(worker)
        this.note('speculative')
      } else {
        expect(isTrial(task) ? trials : safe).toContain(task)
        // One that was lost with this worker only when there is nothing else.
        if (isLostHere(task)) expect(others).toEqual([])
        if (isTrial(task)) this.note('on trial')
      }
      model.grant(worker, task, attempt)
      this.had.set(worker, [...(this.had.get(worker) ?? []), { task, attempt }])
    }
    const tried = tasks.filter(({ isOnTrial }) => isOnTrial)
    const isAlone = tried.length === 1 && held.length === 0
    if (isAlone) expect(tasks).toHaveLength(1)
    else if (trying.some(({ grantedMs }) => this.nowMs - grantedMs < JOB_TRIAL_MS)) {
      expect(tasks).toEqual([])
      this.note('beside one on trial')
    } else {
      expect(tried.length).toBeLessThanOrEqual(1)
      const first = safe.filter((task) => !isLostHere(task))
      expect(tasks.length).toBeGreaterThanOrEqual(Math.min(limit, first.length))
      if (safe.length + trials.length > 0) expect(tasks.length).toBeGreaterThan(0)
    }
    expect(readyCount).toBe(model.grantable(this.nowMs).length)
    this.note(tasks.length > 0 ? 'granted' : 'nothing')
  }

  outcome(
    worker: string,
    { kind, from, place }: { kind: string; from: string; place: number }
  ): TaskOutcome | undefined {
    const has = this.model.grantsOf(worker)
    const had = this.had.get(worker) ?? []
    const any = [...this.had.values()].flat()
    const known = from === 'has' ? has : from === 'had' ? had : any
    if (from !== 'made up' && known.length === 0) return undefined
    const { length } = this.model.tasks
    const madeUp = { task: place % length, attempt: place }
    const tried = from === 'made up' ? madeUp : (known[place % Math.max(1, known.length)] ?? madeUp)
    if (kind === 'done') return this.doneBy(worker, tried)
    if (kind === 'returned') return returned(tried)
    if (kind === 'unfit') return unfit(tried)
    if (kind === 'lost') return lost(tried)
    if (kind === 'blocked') return blocked(tried)
    return failed(tried, kind === 'failed')
  }

  doneBy(worker: string, tried: Tried): TaskOutcome {
    return done(tried, `${worker} ${tried.attempt}`)
  }

  tell(worker: string, outcomes: TaskOutcome[]): void {
    const { model } = this
    const before = this.job.tasks
    this.last = { worker, outcomes, cycle: undefined }
    const expected = outcomes.map((outcome) => model.tell(worker, outcome, this.nowMs))
    const { verdicts, phase } = this.job.shard.run(JOB_COMPLETE, this.last)
    expect(verdicts).toEqual(expected)
    for (const [at, verdict] of verdicts.entries()) this.note(`${outcomes[at]?.kind} ${verdict}`)
    // The shard draws when a retry is due: not later than the model's.
    for (const [task, { notBeforeMs }] of this.job.tasks) {
      if (notBeforeMs === undefined || notBeforeMs === before.get(task)?.notBeforeMs) continue
      expect(notBeforeMs).toBeGreaterThanOrEqual(this.nowMs)
      expect(notBeforeMs).toBeLessThanOrEqual(model.task(task).dueMs)
      model.ready(task, notBeforeMs)
    }
    model.renew(worker, this.nowMs)
    model.settle()
    expect(phase).toBe(model.phase)
  }

  check(): void {
    const { model, job } = this
    job.check()
    const { state } = job
    expect(state.phase).toBe(model.phase)
    expect(state.counts).toEqual(model.counts)
    expect(state.attempts).toBe(model.attempts)
    expect(job.workers.map(({ worker }) => worker)).toEqual([...model.workers.keys()].toSorted())
    for (const { worker, grants } of job.workers) {
      const held = grants.map(({ task, attempt }) => `${task} ${attempt}`).toSorted()
      const expected = model.grantsOf(worker).map(({ task, attempt }) => `${task} ${attempt}`)
      expect(held).toEqual(expected.toSorted())
    }
    const records = job.tasks
    for (const [task, { status, ends, told, attempts }] of model.tasks.entries()) {
      expect(ends).toBeLessThanOrEqual(1)
      expect(attempts).toEqual(attempts.toSorted((a, b) => a - b))
      const record = records.get(task)
      const isOver = status === 'done' || status === 'failed'
      expect(record?.state).toBe(isOver ? status : record === undefined ? undefined : 'waiting')
      if (status !== 'done') continue
      const value = Buffer.from(`${told?.worker} ${told?.attempt}`)
      expect(record?.result).toEqual({ kind: 'inline', value: new Uint8Array(value) })
    }
  }

  note(what: string): void {
    this.seen.set(what, (this.seen.get(what) ?? 0) + 1)
  }
}

describe('a job', () => {
  it('is what a list of tasks says, whatever is asked and whoever is lost', () => {
    const seen = new Map<string, number>()
    fc.assert(
      fc.property(
        anyJob,
        fc.array(step, { minLength: 1, maxLength: 70, size: 'max' }),
        fc.oneof({ weight: 1, arbitrary: fc.nat(70) }, { weight: 4, arbitrary: fc.constant(999) }),
        (about, steps, cancelAt) => {
          const run = new Run(about)
          for (const [at, next] of steps.entries()) {
            if (at === cancelAt) {
              run.model.pass(run.nowMs)
              run.model.cancel()
              expect(run.job.cancel()).toBe(run.model.phase)
              run.note(run.model.phase)
            }
            run.do(next)
          }
          for (const [what, count] of run.seen) seen.set(what, (seen.get(what) ?? 0) + count)
          checkSameBytes(run.job)
        }
      ),
      { numRuns: 250 }
    )
    // All of it was gone through.
    const wanted = [
      'done accepted',
      'done stale',
      'done repeated',
      'failed accepted',
      'speculative'
    ]
    const more = [
      'failed repeated',
      'returned accepted',
      'unfit accepted',
      'lost accepted',
      'blocked accepted',
      'denied',
      'over',
      'on trial',
      'beside one on trial'
    ]
    for (const what of [...wanted, ...more, 'granted', 'nothing', 'cancelled']) {
      expect([what, (seen.get(what) ?? 0) > 0]).toEqual([what, true])
    }
  })

  it('ends, when workers go on and are lost no more', () => {
    const steps = fc.array(step, { maxLength: 40, size: 'max' })
    fc.assert(
      fc.property(anyJob, steps, (about, steps) => {
        const run = new Run(about)
        for (const next of steps) run.do(next)
        // Who was unfit stays so: another worker does the rest.
        for (let turn = 0; turn < 200 && run.model.phase === 'open'; turn++) {
          const grant = { isAnew: false, isSpeculativeAllowed: false, limit: 3 }
          run.do({ kind: 'grant', worker: 'last', ...grant })
          const tried = run.model.grantsOf('last')
          run.tell(
            'last',
            tried.map((one) => run.doneBy('last', one))
          )
          run.check()
          run.do({ kind: 'pass', ms: 500 })
        }
        expect(run.model.phase).not.toBe('open')
      }),
      { numRuns: 150 }
    )
  })
})

/** The same entries give the same bytes, in whatever batches. */
function checkSameBytes({ shard }: JobShard): void {
  const state = new MemoryState()
  const machine = new Machine(state)
  for (let from = 0; from < shard.log.length; from += 7)
    machine.apply(shard.log.slice(from, from + 7))
  expect(stateHash(state)).toBe(stateHash(shard.state))
}
