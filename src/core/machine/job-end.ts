// How jobs end, begin again and go.

import { MeshError } from '../../base/errors.ts'
import { decode } from './codec.ts'
import { noteRelease } from './file-collection.ts'
import { JOB_CANCEL, JOB_RECALL, JOB_REMOVE, JOB_RETRY } from './job-calls.ts'
import type { RecallArgs, RemoveArgs, RetryArgs, RetryResult } from './job-calls.ts'
import { addJobCount } from './job-count.ts'
import { JobDraft } from './job-draft.ts'
import { loseWorker } from './job-loss.ts'
import { checkWorker, parseJobSpace, spanOfJob, taskKey, taskOfKey } from './job-names.ts'
import { taskRecordCodec } from './job-records.ts'
import type { JobPhase, StageState, TaskRecord } from './job-records.ts'
import { failedCount, stageOf } from './job-stages.ts'
import { JOB_STEP_MAX } from './limits.ts'
import type { Operation } from './operation.ts'
import { AREAS } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

export const RECALL_WORKER: Operation<RecallArgs, { readonly count: number }> = {
  ...JOB_RECALL,
  apply: (transaction, { worker, lease }) => {
    checkWorker(worker)
    const draft = JobDraft.demand(transaction)
    const isMeant = lease === 0 || draft.worker(worker)?.lease === lease
    const count = isMeant ? loseWorker(draft, worker) : 0
    draft.save()
    return { count }
  }
}

export const CANCEL_JOB: Operation<undefined, { readonly phase: JobPhase }> = {
  ...JOB_CANCEL,
  apply: (transaction) => {
    const draft = JobDraft.demand(transaction)
    if (draft.isOpen) draft.end('cancelled')
    draft.save()
    return { phase: draft.state.phase }
  }
}

export const RETRY_TASKS: Operation<RetryArgs, RetryResult> = {
  ...JOB_RETRY,
  apply: (transaction, { from, limit }) => {
    checkLimit('try tasks again', limit)
    const draft = JobDraft.demand(transaction)
    const { state, job } = draft
    if (state.phase === 'cancelled' || state.isRemoved) {
      const problem = state.isRemoved ? 'it is being removed' : 'it was cancelled'
      throw notNow(draft, `${problem}; submit it again under another name`)
    }
    const found = failedTasks(transaction, Math.min(from, job.count), limit + 1)
    for (const { task, record } of found.slice(0, limit)) reopen(draft, task, record)
    const count = Math.min(found.length, limit)
    if (count > 0) {
      state.counts.failed = failedCount(job, state)
      state.denied = []
      if (!draft.isOpen) draft.open()
      // Of what they printed.
      noteRelease(transaction)
    }
    draft.save()
    return { count, next: found[limit]?.task, phase: state.phase }
  }
}

export const REMOVE_JOB: Operation<RemoveArgs, { readonly hasMore: boolean }> = {
  ...JOB_REMOVE,
  apply: (transaction, { limit }) => {
    checkLimit('remove a job', limit)
    const draft = JobDraft.demand(transaction)
    if (draft.isOpen) throw notNow(draft, 'it is open; cancel it first')
    const { space } = draft
    let left = limit
    for (const area of [AREAS['job-ready'], AREAS['job-task']]) {
      const keys: Uint8Array[] = []
      for (const { key } of transaction.range(area, spanOfJob(space))) {
        if (keys.length === left) break
        keys.push(key)
      }
      for (const key of keys) transaction.delete(area, key)
      left -= keys.length
    }
    noteRelease(transaction)
    if (left > 0) {
      transaction.delete(AREAS['job-state'], space)
      transaction.delete(AREAS.job, space)
      addJobCount(transaction, -1)
    } else {
      draft.state.isRemoved = true
      draft.save()
    }
    return { hasMore: left === 0 }
  }
}

/** @returns tasks that were given up, from one on. */
function failedTasks(
  transaction: Transaction,
  from: number,
  limit: number
): { task: number; record: TaskRecord }[] {
  const found: { task: number; record: TaskRecord }[] = []
  const { space } = transaction
  const span = { ...spanOfJob(space), from: taskKey(space, from) }
  for (const { key, value } of transaction.range(AREAS['job-task'], span)) {
    const record = decode(taskRecordCodec, value)
    if (record.state !== 'failed') continue
    found.push({ task: taskOfKey(key), record })
    if (found.length === limit) break
  }
  return found
}

/** As if nothing had happened to it, but that attempts go on counting. */
function reopen(draft: JobDraft, task: number, record: TaskRecord): void {
  const stage = draft.state.stages[stageOf(draft.job, task)] as {
    -readonly [K in keyof StageState]: number
  }
  stage.failed -= 1
  const unknown = { attempt: 0, worker: '', durationMs: 0, logs: undefined, error: undefined }
  const fresh: TaskRecord = {
    ...record,
    ...unknown,
    state: 'waiting',
    failures: 0,
    losses: [],
    lossCount: 0
  }
  draft.queue(task, fresh, draft.timeMs)
}

function notNow({ space }: JobDraft, problem: string): MeshError {
  return new MeshError(
    'conflict',
    `Cannot do that to job "${parseJobSpace(space)?.id}": ${problem}`
  )
}

/** @throws invalid-argument */
function checkLimit(what: string, limit: number): void {
  if (limit >= 1 && limit <= JOB_STEP_MAX) return
  const problem = `limit is ${limit}; accepted is 1 to ${JOB_STEP_MAX}`
  throw new MeshError('invalid-argument', `Cannot ${what}: ${problem}`)
}
