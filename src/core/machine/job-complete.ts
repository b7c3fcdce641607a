// What becomes of a task when a worker tells what became of an attempt.

import { MeshError } from '../../base/errors.ts'
import { SECOND_MS } from '../../base/units.ts'
import { checkCycle } from './file-collection.ts'
import { JOB_COMPLETE } from './job-calls.ts'
import type { CompleteArgs, CompleteResult, TaskOutcome, Verdict } from './job-calls.ts'
import { JobDraft } from './job-draft.ts'
import { addDuration } from './job-durations.ts'
import { grantOf, loseGrant, taskOfGrant } from './job-loss.ts'
import { checkWorker } from './job-names.ts'
import type { TaskRecord } from './job-records.ts'
import { retryDelayMs } from './job-retry-delay.ts'
import { JOB_DENIED_MAX } from './limits.ts'
import type { Operation } from './operation.ts'

/** What a task needs may be there again after this. */
const BLOCKED_MS: number = 5 * SECOND_MS

type Done = Extract<TaskOutcome, { kind: 'done' }>
type Failed = Extract<TaskOutcome, { kind: 'failed' }>

export const COMPLETE_TASKS: Operation<CompleteArgs, CompleteResult> = {
  ...JOB_COMPLETE,
  apply: (transaction, { worker, outcomes, cycle }) => {
    checkWorker(worker)
    const draft = JobDraft.demand(transaction)
    for (const { task } of outcomes) checkTask(draft, task)
    if (cycle !== undefined) checkCycle(transaction, cycle)
    const verdicts = outcomes.map((outcome) => take(draft, worker, outcome))
    draft.save()
    const left = draft.worker(worker)
    if (left !== undefined) draft.renew(left)
    return { verdicts, phase: draft.state.phase, liveCount: left?.grants.length ?? 0 }
  }
}

/** @throws invalid-argument */
function checkTask({ job }: JobDraft, task: number): void {
  if (task < job.count) return
  const problem = `there is no task ${task}; this part of the job has ${job.count}`
  throw new MeshError('invalid-argument', `Cannot tell of a task: ${problem}`)
}

function take(draft: JobDraft, worker: string, outcome: TaskOutcome): Verdict {
  const { task, attempt } = outcome
  const stored = draft.task(task)
  if (isRepeated(stored, worker, outcome)) return 'repeated'
  if (!draft.isOpen || (stored !== undefined && stored.state !== 'waiting')) return 'stale'
  const grant = grantOf(draft.worker(worker), outcome)
  if (grant === undefined) {
    // An attempt that is over. Of a task without a record the only one there was is live elsewhere.
    const isLate = stored !== undefined && attempt >= 1 && attempt <= stored.granted
    if (outcome.kind !== 'done' || !isLate || !draft.job.policy.isPure) return 'stale'
    takeResult(draft, stored, { worker, outcome })
    return 'accepted'
  }
  const record = taskOfGrant(draft, worker, grant, stored)
  switch (outcome.kind) {
    case 'done':
      takeResult(draft, record, { worker, outcome })
      break
    case 'failed':
      takeFailure(draft, record, { worker, outcome })
      break
    case 'lost':
      loseGrant(draft, worker, grant)
      break
    case 'blocked':
      giveBack(draft, { ...record, error: outcome.error }, outcome, BLOCKED_MS)
      break
    case 'unfit':
      deny(draft, worker)
      giveBack(draft, record, outcome)
      break
    case 'returned':
      giveBack(draft, record, outcome)
  }
  return 'accepted'
}

function isRepeated(
  stored: TaskRecord | undefined,
  worker: string,
  { kind, attempt }: TaskOutcome
): boolean {
  if (stored?.attempt !== attempt || attempt === 0 || stored.worker !== worker) return false
  return stored.state === 'done' ? kind === 'done' : kind === 'failed'
}

function takeResult(
  draft: JobDraft,
  record: TaskRecord,
  { worker, outcome }: { worker: string; outcome: Done }
): void {
  const { task, attempt, result, durationMs, logs } = outcome
  const { state } = draft
  state.durations = addDuration(state.durations, durationMs)
  const told = { attempt, worker, durationMs, logs, result, error: undefined }
  draft.finish(task, { ...record, ...told, state: 'done' })
}

function takeFailure(
  draft: JobDraft,
  record: TaskRecord,
  { worker, outcome }: { worker: string; outcome: Failed }
): void {
  const { task, attempt, error, isRetryable, durationMs, logs } = outcome
  const { policy } = draft.job
  const failures = record.failures + 1
  const told = { attempt, worker, durationMs, logs, error, failures }
  const left = { ...draft.release(record, attempt), ...told }
  if (!isRetryable || failures > policy.retries) draft.giveUp(task, left, error)
  else if (left.holders.length > 0) draft.putTask(task, left)
  else {
    const delayMs = retryDelayMs(policy, { space: draft.space, task, failures })
    draft.queue(task, left, draft.timeMs + delayMs)
  }
}

/** Others may have it, at once or after a while; to the task it is as if nothing had happened. */
function giveBack(
  draft: JobDraft,
  record: TaskRecord,
  { task, attempt }: Pick<TaskOutcome, 'task' | 'attempt'>,
  delayMs = 0
): void {
  const left = draft.release(record, attempt)
  if (left.holders.length > 0) draft.putTask(task, left)
  else draft.queue(task, left, draft.timeMs + delayMs)
}

function deny({ state }: JobDraft, worker: string): void {
  const others = state.denied.filter((name) => name !== worker)
  state.denied = [...others, worker].slice(-JOB_DENIED_MAX)
}
