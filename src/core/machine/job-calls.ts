// What may be asked of a job: the operations' names, arguments and results. What they do is in
// job-submit.ts, job-grant.ts, job-complete.ts and job-end.ts. The space of each request is the job.

import { flag, label, list, nothing, oneOf, optional, record, uint, variant } from './codec.ts'
import type { Codec } from './codec.ts'
import { jobPolicyCodec } from './job-policy.ts'
import {
  cid,
  jobPhase,
  specCodec,
  stagesCodec,
  taskErrorCodec,
  taskResultCodec
} from './job-records.ts'
import type { JobPhase, JobRecord, TaskError, TaskResult } from './job-records.ts'
import { JOB_GRANT_MAX, JOB_OUTCOMES_MAX, JOB_WORKER_LENGTH_MAX } from './limits.ts'
import type { Operation } from './operation.ts'

/** An operation as it is called. */
type Call<Args, Result> = Omit<Operation<Args, Result>, 'apply'>

const worker = label(JOB_WORKER_LENGTH_MAX)

export type SubmitArgs = Omit<JobRecord, 'createdMs'> & {
  /** Of the collection, as some shard had it before the blocks were touched; see `checkCycle`. */
  readonly cycle: number | undefined
}

export type SubmitResult = {
  /** Whether it was made now. */
  readonly isNew: boolean
  readonly phase: JobPhase
}

/**
 * Makes a job, or finds the same one. Refuses with exists (another job has this name, or what was
 * asked differs), invalid-argument, too-large, conflict (it is being removed, or `cycle`),
 * overloaded (the shard has too many jobs), quota-exceeded.
 */
export const JOB_SUBMIT: Call<SubmitArgs, SubmitResult> = {
  name: 'job.submit',
  version: 2,
  args: record<SubmitArgs>({
    first: uint,
    count: uint,
    stages: stagesCodec,
    manifest: cid,
    code: optional(cid),
    spec: specCodec,
    policy: jobPolicyCodec,
    cycle: optional(uint)
  }),
  result: record<SubmitResult>({ isNew: flag, phase: jobPhase })
}

export type GrantArgs = {
  /** Letters, digits, dots, dashes and underscores, 1 to 128. */
  readonly worker: string
  /**
   * What an earlier grant answered, or 0. With 0 the worker begins anew: what it had is taken for
   * lost with it.
   */
  readonly lease: number
  /** Of a lease that is made; it is as leases are renewed, and by each grant and outcome besides. */
  readonly ttlMs: number
  /** Tasks at most, 1 to 64. A worker has no more than 256 at a time. */
  readonly limit: number
  /** Whether a second attempt of a slow task is welcome when there is nothing else. */
  readonly isSpeculativeAllowed: boolean
}

export type GrantedTask = {
  /** Number within the part. */
  readonly task: number
  /** The fencing token. */
  readonly attempt: number
  readonly isSpeculative: boolean
  /**
   * One more worker lost and the task is given up: nothing is run beside it, of whatever job, or
   * that might be what the worker is lost over.
   */
  readonly isOnTrial: boolean
}

export type GrantResult = {
  /** Under which the tasks are held; the same as before, or a new one. 0: the worker has none. */
  readonly lease: number
  /** Empty when nothing is ready, the worker is unfit or one too many, or the job isn't open. */
  readonly tasks: readonly GrantedTask[]
  /** What is left and could be granted now, of retries those that one grant looks at. */
  readonly readyCount: number
  /** Until a retry or a second attempt is due, or a worker too many may try; undefined: never. */
  readonly nextReadyMs: number | undefined
  readonly phase: JobPhase
  /** Tasks that some worker has. */
  readonly runningCount: number
}

/**
 * Gives tasks to a worker. First those that are to be tried again and due, then those that never
 * were granted, stage by stage; a worker gets one that was lost with it before only when there is
 * nothing else, and one on trial only when it has nothing else, or nobody took it for a minute.
 * While it has no lease a worker asks once at a time, for each time it begins anew. Refuses with
 * not-found (no such job, or the lease has ended: ask with 0), invalid-argument, quota-exceeded.
 */
export const JOB_GRANT: Call<GrantArgs, GrantResult> = {
  name: 'job.grant',
  version: 1,
  args: record<GrantArgs>({
    worker,
    lease: uint,
    ttlMs: uint,
    limit: uint,
    isSpeculativeAllowed: flag
  }),
  result: record<GrantResult>({
    lease: uint,
    tasks: list(
      record<GrantedTask>({ task: uint, attempt: uint, isSpeculative: flag, isOnTrial: flag }),
      JOB_GRANT_MAX
    ),
    readyCount: uint,
    nextReadyMs: optional(uint),
    phase: jobPhase,
    runningCount: uint
  })
}

type Tried = {
  readonly task: number
  readonly attempt: number
}

/** What became of an attempt. */
export type TaskOutcome =
  | (Tried & {
      readonly kind: 'done'
      readonly result: TaskResult
      readonly durationMs: number
      /** Blocks with what it printed. */
      readonly logs: Uint8Array | undefined
    })
  | (Tried & {
      readonly kind: 'failed'
      readonly error: TaskError
      readonly isRetryable: boolean
      readonly durationMs: number
      readonly logs: Uint8Array | undefined
    })
  /** It wasn't begun, or was stopped for no fault of its own: others may have it now. */
  | (Tried & { readonly kind: 'returned' })
  /** The same, and this worker can't do tasks of this job at all. */
  | (Tried & { readonly kind: 'unfit' })
  /** What ran it ended, perhaps over this very task: it counts as a worker that was lost. */
  | (Tried & { readonly kind: 'lost' })
  /** Something that it needs isn't there now: tried again a little later, however often. */
  | (Tried & { readonly kind: 'blocked'; readonly error: TaskError })

/**
 * What was made of an outcome. Stale: the attempt isn't live any more, or the job isn't open, so it
 * counts for nothing. Repeated: this very outcome was taken before.
 */
export type Verdict = 'accepted' | 'stale' | 'repeated'

export type CompleteArgs = {
  readonly worker: string
  /** 256 at most, and no more than a command holds. None is fine: it renews the worker's lease. */
  readonly outcomes: readonly TaskOutcome[]
  /** As for {@link JOB_SUBMIT}: where blocks with results and logs are to stay. */
  readonly cycle: number | undefined
}

export type CompleteResult = {
  /** One for each outcome, in the same order. */
  readonly verdicts: readonly Verdict[]
  readonly phase: JobPhase
  /** Attempts that the worker still has: fewer than it knows of means that some were taken away. */
  readonly liveCount: number
}

const done = record<Omit<Extract<TaskOutcome, { kind: 'done' }>, 'kind'>>({
  task: uint,
  attempt: uint,
  result: taskResultCodec,
  durationMs: uint,
  logs: optional(cid)
})
const failed = record<Omit<Extract<TaskOutcome, { kind: 'failed' }>, 'kind'>>({
  task: uint,
  attempt: uint,
  error: taskErrorCodec,
  isRetryable: flag,
  durationMs: uint,
  logs: optional(cid)
})
const tried: Codec<Tried> = record<Tried>({ task: uint, attempt: uint })
const blocked = record<Tried & { readonly error: TaskError }>({
  task: uint,
  attempt: uint,
  error: taskErrorCodec
})

/**
 * Tells what became of attempts. A result is taken when the task has none and the attempt is live at
 * this worker, or the job is pure and the attempt was granted at all. A failure is taken from a live
 * attempt only, and the task is tried again later or given up. Refuses with not-found (no such job),
 * invalid-argument, conflict (`cycle`).
 */
export const JOB_COMPLETE: Call<CompleteArgs, CompleteResult> = {
  name: 'job.complete',
  version: 1,
  args: record<CompleteArgs>({
    worker,
    outcomes: list(
      variant<TaskOutcome>({ done, failed, returned: tried, unfit: tried, lost: tried, blocked }),
      JOB_OUTCOMES_MAX
    ),
    cycle: optional(uint)
  }),
  result: record<CompleteResult>({
    verdicts: list(oneOf<Verdict>(['accepted', 'stale', 'repeated']), JOB_OUTCOMES_MAX),
    phase: jobPhase,
    liveCount: uint
  }),
  isFreeing: true
}

export type RecallArgs = {
  readonly worker: string
  /** Only what it has under this lease; 0: whatever it has. */
  readonly lease: number
}

/**
 * Gives back all that a worker has, as the end of its lease does: it is lost with those tasks. Of a
 * worker without any it gives back none. @returns how many. Refuses with not-found (no such job),
 * invalid-argument.
 */
export const JOB_RECALL: Call<RecallArgs, { readonly count: number }> = {
  name: 'job.recall',
  version: 1,
  args: record<RecallArgs>({ worker, lease: uint }),
  result: record<{ readonly count: number }>({ count: uint }),
  isFreeing: true
}

/**
 * Ends a job: nothing of it is granted or taken any more, and its workers' leases end. Of one that
 * isn't open it changes nothing. Refuses with not-found.
 */
export const JOB_CANCEL: Call<undefined, { readonly phase: JobPhase }> = {
  name: 'job.cancel',
  version: 1,
  args: nothing,
  result: record<{ readonly phase: JobPhase }>({ phase: jobPhase }),
  isFreeing: true
}

export type RetryArgs = {
  /** The first task that is looked at: 0, then what the call before answered. */
  readonly from: number
  /** Tasks at most, 1 to 1000. */
  readonly limit: number
}

export type RetryResult = {
  readonly count: number
  /** Where to go on; undefined: there are no more. */
  readonly next: number | undefined
  readonly phase: JobPhase
}

/**
 * Opens a job again for tasks that were given up: they are ready at once, as if nothing had
 * happened to them, and nobody is unfit any more. Tasks that only waited for them follow. Refuses
 * with not-found, conflict (it was cancelled, or is being removed), invalid-argument,
 * quota-exceeded.
 */
export const JOB_RETRY: Call<RetryArgs, RetryResult> = {
  name: 'job.retry',
  version: 1,
  args: record<RetryArgs>({ from: uint, limit: uint }),
  result: record<RetryResult>({ count: uint, next: optional(uint), phase: jobPhase })
}

export type RemoveArgs = { /** Keys at most, 1 to 1000. */ readonly limit: number }

/**
 * Forgets a job that isn't open, a step at a time: its results may be collected then. @returns
 * whether there is more. Refuses with not-found, conflict (it is open: cancel it first),
 * invalid-argument.
 */
export const JOB_REMOVE: Call<RemoveArgs, { readonly hasMore: boolean }> = {
  name: 'job.remove',
  version: 1,
  args: record<RemoveArgs>({ limit: uint }),
  result: record<{ readonly hasMore: boolean }>({ hasMore: flag }),
  isFreeing: true
}
