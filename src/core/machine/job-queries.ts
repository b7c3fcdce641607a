// Reading one job. What a page has room for ends it, so a page may be shorter than was asked for:
// only that there is no `next` says that there is no more.

import { MeshError } from '../../base/errors.ts'
import { bytes, decode, list, oneOf, optional, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import {
  checkJobSpace,
  dueSpan,
  notBeforeOfKey,
  parseJobSpace,
  spanOfJob,
  taskKey,
  taskOfKey,
  workerKey,
  workerOfKey
} from './job-names.ts'
import {
  grantCodec,
  jobRecordCodec,
  jobStateCodec,
  taskRecordCodec,
  worker,
  workerRecordCodec
} from './job-records.ts'
import type { Grant, JobRecord, JobState, TaskRecord } from './job-records.ts'
import { freshCount } from './job-stages.ts'
import {
  JOB_GRANTS_MAX,
  JOB_PAGE_MAX,
  JOB_READY_SCAN_MAX,
  RANGE_COUNT_MAX,
  SPACE_BYTES_MAX
} from './limits.ts'
import type { Query } from './query.ts'
import type { MachineReads } from './reads.ts'
import { spanOfKey } from './space.ts'
import { AREAS } from './state-keys.ts'

export const jobSpaceCodec: Codec<Uint8Array> = bytes(SPACE_BYTES_MAX)

/** What could be granted. */
export type Readiness = {
  /** Of retries those that one grant looks at. */
  readonly readyCount: number
  /**
   * Until the next retry is due, undefined when none waits for its time. By the shard's time, which
   * stands still while nothing is asked of it: ask for a grant when it has passed.
   */
  readonly nextReadyMs: number | undefined
}

export type JobView = Readiness & {
  readonly job: JobRecord
  readonly state: JobState
  /** The shard's time. */
  readonly timeMs: number
}

type SpaceArgs = { readonly space: Uint8Array }

/** A job and how far it is. Refuses with not-found, invalid-argument. */
export const JOB_GET: Query<SpaceArgs, JobView> = {
  name: 'job.get',
  version: 1,
  args: record<SpaceArgs>({ space: jobSpaceCodec }),
  result: record<JobView>({
    job: jobRecordCodec,
    state: jobStateCodec,
    readyCount: uint,
    nextReadyMs: optional(uint),
    timeMs: uint
  }),
  read: (reads, { space }) => {
    checkJobSpace(space)
    const found = jobOf(reads, space)
    if (found === undefined) throw noJob(space)
    return { ...found, ...readinessOf(reads, space, found), timeMs: reads.meta.timeMs }
  }
}

export type TaskView = { readonly task: number; readonly record: TaskRecord }

export type TasksArgs = {
  readonly space: Uint8Array
  /** The first task that is wanted: 0, then what the page before answered. */
  readonly from: number
  /** 1 to 256. */
  readonly limit: number
  /** Only tasks in one of these; empty for all. */
  readonly states: readonly TaskRecord['state'][]
}

export type TasksResult = {
  readonly tasks: readonly TaskView[]
  /** Where the next page begins, which may have no tasks at all. */
  readonly next: number | undefined
}

/**
 * Tasks that have a record, in order. One without a record waits for its first grant, is with the
 * worker that has it, or never begins because a stage before has failed. Refuses with not-found,
 * invalid-argument.
 */
export const JOB_TASKS: Query<TasksArgs, TasksResult> = {
  name: 'job.tasks',
  version: 1,
  args: record<TasksArgs>({
    space: jobSpaceCodec,
    from: uint,
    limit: uint,
    states: list(oneOf<TaskRecord['state']>(['waiting', 'done', 'failed']), 3)
  }),
  result: record<TasksResult>({
    tasks: list(record<TaskView>({ task: uint, record: taskRecordCodec }), JOB_PAGE_MAX),
    next: optional(uint)
  }),
  read: (reads, { space, from, limit, states }) => {
    checkJobSpace(space)
    checkPage(limit)
    const found = jobOf(reads, space)
    if (found === undefined) throw noJob(space)
    const span = { ...spanOfJob(space), from: taskKey(space, Math.min(from, found.job.count)) }
    const page = reads.range({ area: AREAS['job-task'], ...span, limit: RANGE_COUNT_MAX })
    const tasks: TaskView[] = []
    for (const { key, value } of page.entries) {
      const task = taskOfKey(key)
      if (tasks.length === limit) return { tasks, next: task }
      const record = decode(taskRecordCodec, value)
      if (states.length === 0 || states.includes(record.state)) tasks.push({ task, record })
    }
    return { tasks, next: page.next === undefined ? undefined : taskOfKey(page.next) }
  }
}

export type WorkerView = {
  readonly worker: string
  readonly lease: number
  /** Until its lease ends, by the shard's time. */
  readonly leftMs: number
  readonly grants: readonly Grant[]
}

export type WorkersArgs = {
  readonly space: Uint8Array
  /** The last worker of the page before. */
  readonly after: string | undefined
  /** 1 to 256. */
  readonly limit: number
}

export type WorkersResult = {
  readonly timeMs: number
  readonly workers: readonly WorkerView[]
  /** Give it as `after` for what follows. */
  readonly next: string | undefined
}

/** Workers that hold a lease on a job, by name. Refuses with not-found, invalid-argument. */
export const JOB_WORKERS: Query<WorkersArgs, WorkersResult> = {
  name: 'job.workers',
  version: 1,
  args: record<WorkersArgs>({ space: jobSpaceCodec, after: optional(worker), limit: uint }),
  result: record<WorkersResult>({
    timeMs: uint,
    workers: list(
      record<WorkerView>({
        worker,
        lease: uint,
        leftMs: uint,
        grants: list(grantCodec, JOB_GRANTS_MAX)
      }),
      JOB_PAGE_MAX
    ),
    next: optional(worker)
  }),
  read: (reads, { space, after, limit }) => {
    checkJobSpace(space)
    checkPage(limit)
    if (jobOf(reads, space) === undefined) throw noJob(space)
    const span = spanOfJob(space)
    const from = after === undefined ? span.from : spanOfKey(workerKey(space, after)).to
    const page = reads.range({ area: AREAS['job-worker'], ...span, from, limit })
    const workers = page.entries.map(({ key, value, lease }) => ({
      worker: workerOfKey(key),
      lease,
      leftMs: reads.lease(lease)?.leftMs ?? 0,
      grants: decode(workerRecordCodec, value).grants
    }))
    const next = page.next === undefined ? undefined : workers.at(-1)?.worker
    return { timeMs: reads.meta.timeMs, workers, next }
  }
}

/** A job with its state, as both are stored. */
type Stored = { readonly job: JobRecord; readonly state: JobState }

export function jobOf(reads: MachineReads, space: Uint8Array): Stored | undefined {
  const job = reads.get({ area: AREAS.job, key: space }).entry
  const state = reads.get({ area: AREAS['job-state'], key: space }).entry
  if (job === undefined || state === undefined) return undefined
  return { job: decode(jobRecordCodec, job.value), state: decode(jobStateCodec, state.value) }
}

export function readinessOf(
  reads: MachineReads,
  space: Uint8Array,
  { job, state }: Stored
): Readiness {
  if (state.phase !== 'open') return { readyCount: 0, nextReadyMs: undefined }
  const fresh = freshCount(job, state)
  if (state.counts.waiting === 0) return { readyCount: fresh, nextReadyMs: undefined }
  const { timeMs } = reads.meta
  const area = AREAS['job-ready']
  const due = dueSpan(space, timeMs)
  const { length } = reads.range({ area, ...due, limit: JOB_READY_SCAN_MAX }).entries
  const later = { from: due.to, to: spanOfJob(space).to }
  const [next] = reads.range({ area, ...later, limit: 1 }).entries
  const nextReadyMs = next === undefined ? undefined : notBeforeOfKey(next.key) - timeMs
  return { readyCount: fresh + length, nextReadyMs }
}

/** @throws invalid-argument */
export function checkPage(limit: number): void {
  if (limit >= 1 && limit <= JOB_PAGE_MAX) return
  const problem = `limit is ${limit}; accepted is 1 to ${JOB_PAGE_MAX}`
  throw new MeshError('invalid-argument', `Cannot read jobs: ${problem}`)
}

function noJob(space: Uint8Array): MeshError {
  const id = parseJobSpace(space)?.id
  return new MeshError('not-found', `There is no job "${id}" here; it may have been removed`)
}
