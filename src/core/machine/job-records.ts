// What is stored of a job; job-names.ts says under which keys.

import { malformed } from './byte-fields.ts'
import { bytes, flag, label, list, oneOf, optional, record, text, uint, variant } from './codec.ts'
import type { Codec } from './codec.ts'
import { durationsCodec } from './job-durations.ts'
import type { Durations } from './job-durations.ts'
import { jobPolicyCodec } from './job-policy.ts'
import type { JobPolicy } from './job-policy.ts'
import {
  JOB_CID_BYTES_MAX,
  JOB_DENIED_MAX,
  JOB_ERROR_BYTES_MAX,
  JOB_ERROR_CODE_LENGTH_MAX,
  JOB_GRANTS_MAX,
  JOB_LOSSES_MAX,
  JOB_RESULT_BYTES_MAX,
  JOB_SPEC_BYTES_MAX,
  JOB_STAGES_MAX,
  JOB_WORKER_LENGTH_MAX
} from './limits.ts'

/** Tasks in [from, to). They begin when all tasks of all stages in `after` are done. */
export type Stage = {
  readonly from: number
  readonly to: number
  /** Places of earlier stages, rising. */
  readonly after: readonly number[]
}

/** A part of a job, as it was submitted. */
export type JobRecord = {
  /** The number that the part's task 0 has in the whole job. */
  readonly first: number
  /** Tasks of this part. */
  readonly count: number
  /** All tasks, in order. */
  readonly stages: readonly Stage[]
  /** Blocks with what the tasks are about; empty for none. */
  readonly manifest: Uint8Array
  /** Blocks with the program. */
  readonly code: Uint8Array | undefined
  /** What services want to know of it. */
  readonly spec: Uint8Array
  readonly policy: JobPolicy
  /** By the shard's time. */
  readonly createdMs: number
}

export type JobPhase = 'open' | 'cancelled' | 'ended'

/**
 * Tasks by what is with them. What these don't count never was granted, or was under way when the
 * job was cancelled.
 */
export type JobCounts = {
  readonly done: number
  /** Given up, those included of which a stage before has failed. */
  readonly failed: number
  /** Some worker has a live attempt. */
  readonly running: number
  /** To be tried again. */
  readonly waiting: number
}

export type StageState = {
  /** The first task that never was granted. */
  readonly cursor: number
  readonly done: number
  /** Given up themselves. */
  readonly failed: number
}

/** How far a part of a job is. */
export type JobState = {
  readonly phase: JobPhase
  /** As the stages of the record. */
  readonly stages: readonly StageState[]
  /**
   * Attempts so far. They are numbered from 1 in the order of grants, over all tasks: of two
   * attempts the one with the higher number was granted later, so it fences the other off.
   */
  readonly attempts: number
  readonly counts: JobCounts
  /** Of attempts whose result was taken. */
  readonly durations: Durations
  /** Second attempts beside live ones so far. */
  readonly speculated: number
  /** By the shard's time. */
  readonly endedMs: number | undefined
  /** Workers that are unfit for it, the oldest first. */
  readonly denied: readonly string[]
  /** It is being removed: it may lack tasks. */
  readonly isRemoved: boolean
}

export type TaskResult =
  | { readonly kind: 'inline'; readonly value: Uint8Array }
  /** Blocks, and the length of what they hold. */
  | { readonly kind: 'blocks'; readonly cid: Uint8Array; readonly bytes: number }

export type TaskError = {
  /** `poison-task` when workers were lost over it; else the task's own, or its worker's. */
  readonly code: string
  readonly message: string
}

/** A live attempt of a task. */
export type Holder = { readonly worker: string; readonly attempt: number }

/** A task that something happened to besides a first grant. */
export type TaskRecord = {
  /** Waiting: neither done nor given up; a worker may have it by now. */
  readonly state: 'waiting' | 'done' | 'failed'
  /** When it is due; undefined unless it is in `job-ready`. */
  readonly notBeforeMs: number | undefined
  /** Who has it now: one, or two when it is speculated. */
  readonly holders: readonly Holder[]
  /** The last attempt that was granted. */
  readonly granted: number
  /** The attempt whose outcome was the last to be taken; 0 for none, … */
  readonly attempt: number
  /** … and who told it. */
  readonly worker: string
  readonly failures: number
  /** Different workers that were lost while they had it, the first ones first. */
  readonly losses: readonly string[]
  /** How often a worker was lost over it, the same ones counted again. */
  readonly lossCount: number
  /** There once it is done. */
  readonly result: TaskResult | undefined
  /** Of the last failure. */
  readonly error: TaskError | undefined
  /** Of the attempt. */
  readonly durationMs: number
  /** Blocks with what the attempt printed. */
  readonly logs: Uint8Array | undefined
}

/** An attempt that a worker has. */
export type Grant = {
  readonly task: number
  readonly attempt: number
  /** By the shard's time. */
  readonly grantedMs: number
  /** Another attempt was live when it was granted. */
  readonly isSpeculative: boolean
  /** One more worker lost and the task is given up. A worker has one such task at most. */
  readonly isOnTrial: boolean
}

/** What a worker has of a job. Goes with a lease: when it ends the tasks are given back. */
export type WorkerRecord = { readonly grants: readonly Grant[] }

export const cid: Codec<Uint8Array> = bytes(JOB_CID_BYTES_MAX)
export const worker: Codec<string> = label(JOB_WORKER_LENGTH_MAX)
export const jobPhase: Codec<JobPhase> = oneOf<JobPhase>(['open', 'cancelled', 'ended'])

const stageCodec: Codec<Stage> = record<Stage>({
  from: uint,
  to: uint,
  after: list(uint, JOB_STAGES_MAX)
})

export const stagesCodec: Codec<readonly Stage[]> = list(stageCodec, JOB_STAGES_MAX)
export const specCodec: Codec<Uint8Array> = bytes(JOB_SPEC_BYTES_MAX)

export const jobRecordCodec: Codec<JobRecord> = record<JobRecord>({
  first: uint,
  count: uint,
  stages: stagesCodec,
  manifest: cid,
  code: optional(cid),
  spec: specCodec,
  policy: jobPolicyCodec,
  createdMs: uint
})

export const jobCountsCodec: Codec<JobCounts> = record<JobCounts>({
  done: uint,
  failed: uint,
  running: uint,
  waiting: uint
})

const stageStateCodec: Codec<StageState> = record<StageState>({
  cursor: uint,
  done: uint,
  failed: uint
})

export const jobStateCodec: Codec<JobState> = record<JobState>({
  phase: jobPhase,
  stages: list(stageStateCodec, JOB_STAGES_MAX),
  attempts: uint,
  counts: jobCountsCodec,
  durations: durationsCodec,
  speculated: uint,
  endedMs: optional(uint),
  denied: list(worker, JOB_DENIED_MAX),
  isRemoved: flag
})

export const taskResultCodec: Codec<TaskResult> = variant<TaskResult>({
  inline: record({ value: bytes(JOB_RESULT_BYTES_MAX) }),
  blocks: record({ cid, bytes: uint })
})

export const taskErrorCodec: Codec<TaskError> = record<TaskError>({
  code: text(JOB_ERROR_CODE_LENGTH_MAX),
  message: text(JOB_ERROR_BYTES_MAX)
})

export const taskRecordCodec: Codec<TaskRecord> = record<TaskRecord>({
  state: oneOf<TaskRecord['state']>(['waiting', 'done', 'failed']),
  notBeforeMs: optional(uint),
  holders: list(record<Holder>({ worker, attempt: uint }), 2),
  granted: uint,
  attempt: uint,
  worker,
  failures: uint,
  losses: list(worker, JOB_LOSSES_MAX),
  lossCount: uint,
  result: optional(taskResultCodec),
  error: optional(taskErrorCodec),
  durationMs: uint,
  logs: optional(cid)
})

/** Written out, because each grant and each outcome writes a list of them. */
export const grantCodec: Codec<Grant> = {
  write: (writer, grant) => {
    writer.uint(grant.task)
    writer.uint(grant.attempt)
    writer.uint(grant.grantedMs)
    writer.byte((grant.isSpeculative ? 1 : 0) + (grant.isOnTrial ? 2 : 0))
  },
  read: (reader) => {
    const task = reader.uint()
    const attempt = reader.uint()
    const grantedMs = reader.uint()
    const flags = reader.byte()
    if (flags > 3) throw malformed('a grant has unknown flags')
    return { task, attempt, grantedMs, isSpeculative: flags % 2 === 1, isOnTrial: flags >= 2 }
  }
}

export const workerRecordCodec: Codec<WorkerRecord> = record<WorkerRecord>({
  grants: list(grantCodec, JOB_GRANTS_MAX)
})
