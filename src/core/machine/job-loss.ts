// A worker is lost with what it has: its lease ended, it begins anew, or somebody saw it go. Its
// tasks are for others then. A task that workers are lost over again and again may be what does it,
// so it is given up; and before it comes to that it is tried alone, for it may as well only have been
// beside what did it.

import { MINUTE_MS } from '../../base/units.ts'
import { JobDraft } from './job-draft.ts'
import type { WorkerDraft } from './job-draft.ts'
import type { JobPolicy } from './job-policy.ts'
import type { Grant, TaskRecord } from './job-records.ts'
import { taskOfHolder } from './job-draft.ts'
import { workerOfKey } from './job-names.ts'
import { AREAS } from './state-keys.ts'
import type { Area } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

/** A mesh may have fewer workers than a task must lose to be given up. */
const SAME_LOSSES = 4

/**
 * How long a task that is tried alone waits until it is tried beside others after all, and has who
 * tries it for itself.
 */
export const JOB_TRIAL_MS: number = MINUTE_MS

/**
 * A task of a lasting job that ran for so long is none that ends its workers, nor one that can only
 * fail; what it does at once, again and again, still is.
 */
export const JOB_RAN_WELL_MS: number = 10 * MINUTE_MS

export const POISON_TASK = 'poison-task'

type Losses = Pick<TaskRecord, 'losses' | 'lossCount'>

/** @returns whether one more loss, at this worker, is the last. Not before the first one. */
export function isOnTrial(record: Losses, worker: string, policy: JobPolicy): boolean {
  return record.lossCount > 0 && isTooMuch(withLoss(record, worker), policy)
}

/** Gives back all that a worker has, and drops it. @returns how many attempts it had. */
export function loseWorker(draft: JobDraft, name: string): number {
  const worker = draft.worker(name)
  if (worker === undefined) return 0
  const grants = [...worker.grants]
  for (const grant of grants) loseGrant(draft, name, grant)
  draft.dropWorker(name)
  return grants.length
}

/** For the end of a lease. */
export function onJobLeaseEnd(transaction: Transaction, area: Area, key: Uint8Array): void {
  const draft = area === AREAS['job-worker'] ? JobDraft.find(transaction) : undefined
  if (draft === undefined) {
    transaction.delete(area, key)
    return
  }
  loseWorker(draft, workerOfKey(key))
  draft.save()
}

/**
 * @param stored the task's record, if it has one
 * @returns the task of a worker's attempt, as it is or as it would be stored.
 */
export function taskOfGrant(
  draft: JobDraft,
  worker: string,
  { attempt, grantedMs }: Grant,
  stored: TaskRecord | undefined
): TaskRecord {
  const found = stored ?? taskOfHolder({ worker, attempt })
  const ranWell = draft.timeMs - grantedMs >= JOB_RAN_WELL_MS
  if (!draft.job.policy.isLasting || !ranWell) return found
  return { ...found, failures: 0, losses: [], lossCount: 0 }
}

/** @returns the grant with which a worker has a task. */
export function grantOf(
  worker: WorkerDraft | undefined,
  { task, attempt }: { readonly task: number; readonly attempt: number }
): Grant | undefined {
  return worker?.grants.find((grant) => grant.attempt === attempt && grant.task === task)
}

/** Gives back one attempt, as lost with its worker. */
export function loseGrant(draft: JobDraft, worker: string, grant: Grant): void {
  const { task, attempt } = grant
  const found = taskOfGrant(draft, worker, grant, draft.task(task))
  const record = { ...draft.release(found, attempt), ...withLoss(found, worker) }
  // Another worker has it, too.
  if (record.holders.length > 0) draft.putTask(task, record)
  else if (isTooMuch(record, draft.job.policy)) {
    const message = `${record.lossCount} times a worker was lost while it had this task`
    draft.giveUp(task, record, { code: POISON_TASK, message })
  } else draft.queue(task, record, draft.timeMs)
}

function withLoss({ losses, lossCount }: Losses, worker: string): Losses {
  const isKnown = losses.includes(worker)
  return { losses: isKnown ? losses : [...losses, worker], lossCount: lossCount + 1 }
}

function isTooMuch({ losses, lossCount }: Losses, { lossesMax }: JobPolicy): boolean {
  return losses.length >= lossesMax || lossCount >= SAME_LOSSES * lossesMax
}
