// Which tasks a worker gets.

import { assert } from '../../base/assert.ts'
import { MeshError } from '../../base/errors.ts'
import { SECOND_MS } from '../../base/units.ts'
import { JOB_GRANT } from './job-calls.ts'
import type { GrantArgs, GrantResult } from './job-calls.ts'
import { JobDraft } from './job-draft.ts'
import type { WorkerDraft } from './job-draft.ts'
import { medianMs } from './job-durations.ts'
import { isOnTrial, JOB_TRIAL_MS, loseWorker, taskOfGrant } from './job-loss.ts'
import {
  checkWorker,
  dueSpan,
  notBeforeOfKey,
  spanOfJob,
  taskOfKey,
  workerOfKey
} from './job-names.ts'
import { workerRecordCodec } from './job-records.ts'
import type { Grant, TaskRecord } from './job-records.ts'
import { freshCount, isStageReady } from './job-stages.ts'
import { decode } from './codec.ts'
import { checkTtl } from './leases.ts'
import { JOB_GRANTS_MAX, JOB_GRANT_MAX, JOB_READY_SCAN_MAX, JOB_WORKERS_MAX } from './limits.ts'
import type { Operation } from './operation.ts'
import { AREAS } from './state-keys.ts'

/** A second attempt comes when so much of the job is done, … */
const SPECULATED_FROM = { numerator: 3, denominator: 4 }
/** … for what takes longer than so many times the median, … */
const SLOW = { numerator: 3, denominator: 2 }
/** … and than this, which a grant is worth, … */
const SLOW_MS_MIN = 50
/** … and of a job one in so many tasks, or one. */
const SPECULATED_ONE_IN = 10
/** When a job has as many workers as it may, another one may try again after this. */
const FULL_MS: number = 5 * SECOND_MS

/** A task for the worker, with its record when it has one. */
type Choice = {
  readonly task: number
  readonly record: TaskRecord | undefined
  readonly isSpeculative: boolean
  readonly isOnTrial: boolean
}

export const GRANT_TASKS: Operation<GrantArgs, GrantResult> = {
  ...JOB_GRANT,
  apply: (transaction, args) => {
    checkArgs(args)
    const draft = JobDraft.demand(transaction)
    if (!draft.isOpen) return resultOf(draft, undefined, [])
    const before = workerOf(draft, args)
    // What was lost with the worker may have been the last of the job.
    draft.save()
    if (!draft.isOpen || draft.state.denied.includes(args.worker)) {
      const unfit = resultOf(draft, before, [])
      return { ...unfit, readyCount: 0 }
    }
    if (before === undefined && isFull(draft)) {
      return { ...resultOf(draft, before, []), readyCount: 0, nextReadyMs: FULL_MS }
    }
    const choices = choose(draft, before, args)
    if (choices.length === 0) {
      if (before !== undefined) draft.renew(before)
      return withHelp(resultOf(draft, before, []), draft, args)
    }
    const worker = before ?? draft.addWorker(args.worker, args.ttlMs)
    const grants = choices.map((choice) => grant(draft, args.worker, choice))
    draft.hand(worker, grants)
    draft.save()
    draft.renew(worker)
    return withHelp(resultOf(draft, worker, grants), draft, args)
  }
}

/** @throws invalid-argument */
function checkArgs({ worker, lease, ttlMs, limit }: GrantArgs): void {
  checkWorker(worker)
  if (lease === 0) checkTtl(ttlMs)
  if (limit >= 1 && limit <= JOB_GRANT_MAX) return
  const problem = `limit is ${limit}; accepted is 1 to ${JOB_GRANT_MAX}`
  throw new MeshError('invalid-argument', `Cannot grant tasks: ${problem}`)
}

/** @returns what the worker has, under the lease that it names. @throws not-found */
function workerOf(draft: JobDraft, { worker: name, lease }: GrantArgs): WorkerDraft | undefined {
  if (lease === 0) {
    loseWorker(draft, name)
    return undefined
  }
  const worker = draft.worker(name)
  if (worker?.lease === lease) return worker
  const problem = `lease ${lease} of worker ${name} has ended, and its tasks were given to others`
  throw new MeshError('not-found', `Cannot grant tasks: ${problem}; ask again with lease 0`)
}

/** No refusal: whoever is one too many is told when to ask again. */
function isFull({ transaction, space }: JobDraft): boolean {
  const span = spanOfJob(space)
  return transaction.count(AREAS['job-worker'], span, JOB_WORKERS_MAX) === JOB_WORKERS_MAX
}

/** Gives a task to the worker, whose record the caller writes. */
function grant(draft: JobDraft, worker: string, choice: Choice): Grant {
  const { task, record, isSpeculative, isOnTrial } = choice
  const { state, timeMs } = draft
  state.attempts += 1
  const attempt = state.attempts
  if (isSpeculative) state.speculated += 1
  else state.counts.running += 1
  if (record !== undefined) {
    const taken = draft.unqueue(task, record)
    const holders = [...taken.holders, { worker, attempt }]
    draft.putTask(task, { ...taken, holders, granted: attempt })
  }
  return { task, attempt, grantedMs: timeMs, isSpeculative, isOnTrial }
}

/** @returns what the worker gets, without a change of anything but cursors. */
function choose(draft: JobDraft, before: WorkerDraft | undefined, args: GrantArgs): Choice[] {
  const held = before?.grants ?? []
  const limit = Math.min(args.limit, JOB_GRANTS_MAX - held.length)
  if (limit <= 0 || held.some((grant) => isAlone(draft, grant))) return []
  const { fresh, lostHere, trial } = dueTasks(draft, held, { ...args, limit })
  // Nothing is beside it, or that would be given up with it.
  if (trial?.isLostHere === false && held.length === 0) return [trial]
  const choices = fresh.slice(0, limit)
  if (trial?.isLostHere === false && choices.length < limit) choices.push(trial)
  choices.push(...nextOfStages(draft, limit - choices.length))
  if (choices.length > 0) return choices
  if (lostHere.length > 0) return lostHere.slice(0, limit)
  if (trial !== undefined) return [trial]
  const slow = args.isSpeculativeAllowed ? slowTask(draft, args.worker) : undefined
  return slow === undefined ? [] : [slow]
}

/** Whether nothing may be granted beside what a worker has. */
function isAlone({ timeMs }: JobDraft, { isOnTrial, grantedMs }: Grant): boolean {
  return isOnTrial && timeMs - grantedMs < JOB_TRIAL_MS
}

type Due = {
  readonly fresh: Choice[]
  /** With this worker, before. */
  readonly lostHere: Choice[]
  readonly trial: (Choice & { readonly isLostHere: boolean }) | undefined
}

/** Tasks to be tried again that are due, those apart that aren't like others. */
function dueTasks(draft: JobDraft, held: readonly Grant[], { worker, limit }: GrantArgs): Due {
  const fresh: Choice[] = []
  const lostHere: Choice[] = []
  let trial: Due['trial']
  if (draft.state.counts.waiting === 0) return { fresh, lostHere, trial }
  const hasTrial = held.some((grant) => grant.isOnTrial)
  let seen = 0
  const span = dueSpan(draft.space, draft.timeMs)
  for (const { key } of draft.transaction.range(AREAS['job-ready'], span)) {
    if (++seen > JOB_READY_SCAN_MAX || fresh.length === limit) break
    const task = taskOfKey(key)
    const record = draft.task(task)
    assert(record !== undefined, 'a task that is to be tried again has a record')
    const isLostHere = record.losses.includes(worker)
    if (isOnTrial(record, worker, draft.job.policy)) {
      // When nobody has had nothing else for so long, it is tried beside others.
      const isLate = draft.timeMs - notBeforeOfKey(key) >= JOB_TRIAL_MS
      const mayBe = !hasTrial && (held.length === 0 || isLate)
      const isBetter = trial === undefined || (trial.isLostHere && !isLostHere)
      const choice = { task, record, isSpeculative: false, isOnTrial: true, isLostHere }
      if (mayBe && isBetter) trial = choice
      continue
    }
    const choices = isLostHere ? lostHere : fresh
    choices.push({ task, record, isSpeculative: false, isOnTrial: false })
  }
  return { fresh, lostHere, trial }
}

/** Tasks that never were granted, of stages that may begin; the cursors move past them. */
function nextOfStages(draft: JobDraft, limit: number): Choice[] {
  const choices: Choice[] = []
  const { job, state } = draft
  for (const [place, stage] of state.stages.entries()) {
    const { to } = job.stages[place] as { to: number }
    if (stage.cursor === to || !isStageReady(job, state, place)) continue
    while (stage.cursor < to && choices.length < limit) {
      const task = stage.cursor
      stage.cursor += 1
      choices.push({ task, record: undefined, isSpeculative: false, isOnTrial: false })
    }
    if (choices.length === limit) break
  }
  return choices
}

/** @returns the task that another worker has had for longest, when a second attempt is due. */
function slowTask(draft: JobDraft, worker: string): Choice | undefined {
  const { choice, dueMs } = longestHeld(draft, worker) ?? { dueMs: Infinity }
  return dueMs > draft.timeMs ? undefined : choice
}

/** A second attempt, and from when on one is welcome; without a choice while too little is done. */
type Help = { readonly choice?: Choice; readonly dueMs: number }

/** @returns undefined: no second attempts of this job by this worker */
function longestHeld(draft: JobDraft, worker: string): Help | undefined {
  const { job, state, timeMs, transaction } = draft
  const { numerator, denominator } = SPECULATED_FROM
  const bound = Math.max(1, Math.floor(job.count / SPECULATED_ONE_IN))
  const median = medianMs(state.durations)
  if (!job.policy.isPure || state.speculated >= bound || median === undefined) return undefined
  const slowMs = Math.max(SLOW_MS_MIN, Math.floor((SLOW.numerator * median) / SLOW.denominator)) + 1
  const isEarly = denominator * state.counts.done < numerator * job.count
  if (isEarly) return { dueMs: timeMs + slowMs }
  const held: { other: string; grant: Grant }[] = []
  const workers = transaction.range(AREAS['job-worker'], spanOfJob(draft.space))
  for (const { key, value } of workers) {
    const other = workerOfKey(key)
    if (other === worker) continue
    for (const grant of decode(workerRecordCodec, value).grants) {
      if (!grant.isOnTrial) held.push({ other, grant })
    }
  }
  held.sort((a, b) => a.grant.attempt - b.grant.attempt)
  for (const { other, grant } of held.slice(0, JOB_READY_SCAN_MAX)) {
    const record = taskOfGrant(draft, other, grant, draft.task(grant.task))
    if (record.holders.length > 1 || record.losses.includes(worker)) continue
    const choice = { task: grant.task, record, isSpeculative: true, isOnTrial: false }
    return { choice, dueMs: grant.grantedMs + slowMs }
  }
  return undefined
}

/** When nothing is left a worker is told when something that others have may be slow. */
function withHelp(result: GrantResult, draft: JobDraft, args: GrantArgs): GrantResult {
  const { readyCount, nextReadyMs = Infinity, phase } = result
  if (readyCount > 0 || phase !== 'open' || !args.isSpeculativeAllowed) return result
  const { dueMs = Infinity } = longestHeld(draft, args.worker) ?? {}
  const atMs = Math.min(nextReadyMs, Math.max(1, dueMs - draft.timeMs))
  return { ...result, nextReadyMs: atMs === Infinity ? undefined : atMs }
}

function resultOf(
  draft: JobDraft,
  worker: WorkerDraft | undefined,
  grants: readonly Grant[]
): GrantResult {
  const { state, isOpen } = draft
  const { readyCount, nextReadyMs } = readiness(draft)
  return {
    lease: isOpen ? (worker?.lease ?? 0) : 0,
    tasks: grants.map(({ task, attempt, isSpeculative, isOnTrial }) => {
      return { task, attempt, isSpeculative, isOnTrial }
    }),
    readyCount: isOpen ? readyCount : 0,
    nextReadyMs: isOpen ? nextReadyMs : undefined,
    phase: state.phase,
    runningCount: state.counts.running
  }
}

function readiness({ job, state, space, timeMs, transaction }: JobDraft): {
  readyCount: number
  nextReadyMs: number | undefined
} {
  const fresh = freshCount(job, state)
  if (state.counts.waiting === 0) return { readyCount: fresh, nextReadyMs: undefined }
  const due = dueSpan(space, timeMs)
  const count = transaction.count(AREAS['job-ready'], due, JOB_READY_SCAN_MAX)
  const later = { from: due.to, to: spanOfJob(space).to }
  const [next] = transaction.range(AREAS['job-ready'], later)
  const nextReadyMs = next === undefined ? undefined : notBeforeOfKey(next.key) - timeMs
  return { readyCount: fresh + count, nextReadyMs }
}
