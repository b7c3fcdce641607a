// What holds for the jobs of a shard after every entry: counts are what a recount gives, and no task
// is lost. Tests and simulations check it; a node doesn't.

import { assert, present } from '../../base/assert.ts'
import { toHex } from '../../base/bytes.ts'
import { decode } from './codec.ts'
import { readJobCount } from './job-count.ts'
import { notBeforeOfKey, taskOfKey, workerOfKey } from './job-names.ts'
import { jobRecordCodec, jobStateCodec, taskRecordCodec, workerRecordCodec } from './job-records.ts'
import type { Holder, JobRecord, JobState, Stage, StageState, TaskRecord } from './job-records.ts'
import { blockedStages, isStageReady, wasGranted } from './job-stages.ts'
import {
  JOBS_MAX,
  JOB_DENIED_MAX,
  JOB_GRANTS_MAX,
  JOB_LOSSES_MAX,
  JOB_WORKERS_MAX
} from './limits.ts'
import type { OrderedReads } from './ordered-state.ts'
import { spaceOf } from './space.ts'
import { AREAS } from './state-keys.ts'
import type { Area } from './state-keys.ts'

/** A key of a service, as it is. */
export type CurrentKey = {
  readonly area: Area
  readonly key: Uint8Array
  readonly lease: number
  readonly value: Uint8Array
}

/** All keys of one job. */
type Parts = {
  readonly job: JobRecord
  readonly state: JobState
  readonly isListed: boolean
  readonly tasks: ReadonlyMap<number, TaskRecord>
  /** Times before which tasks of `job-ready` aren't due. */
  readonly ready: ReadonlyMap<number, number>
  /** Live attempts of each task, in no order. */
  readonly holders: ReadonlyMap<number, readonly Holder[]>
}

/** Crashes when an invariant is broken. @param current all keys, in order */
export function checkJobs(state: OrderedReads, current: readonly CurrentKey[]): void {
  const jobs = Map.groupBy(
    current.filter(({ area }) => area >= AREAS.job && area <= AREAS['job-open']),
    ({ key }) => toHex(spaceOf(key))
  )
  assert(jobs.size === readJobCount(state), 'jobs are counted')
  assert(jobs.size <= JOBS_MAX, 'jobs are bounded')
  for (const keys of jobs.values()) {
    const parts = partsOf(keys)
    assert(parts.isListed === (parts.state.phase === 'open'), 'open jobs are listed, no other')
    assert((parts.state.endedMs === undefined) === parts.isListed, 'a job ends at some time')
    assert(parts.state.denied.length <= JOB_DENIED_MAX, 'the unfit are bounded')
    if (parts.state.isRemoved) continue
    checkCounts(parts)
    checkTasks(parts)
    if (parts.isListed) checkReach(parts)
  }
}

function partsOf(keys: readonly CurrentKey[]): Parts {
  const inArea = (area: Area): CurrentKey[] => keys.filter((each) => each.area === area)
  const one = (area: Area): Uint8Array => present(inArea(area)[0], 'a job has all its keys').value
  const state = decode(jobStateCodec, one(AREAS['job-state']))
  const holders = new Map<number, Holder[]>()
  const workers = inArea(AREAS['job-worker'])
  assert(workers.length <= JOB_WORKERS_MAX, 'workers are bounded')
  assert(workers.length === 0 || state.phase === 'open', 'nobody works on a job that has ended')
  const attempts = new Set<number>()
  for (const { key, lease, value } of workers) {
    assert(lease !== 0, 'what a worker has goes with a lease')
    const { grants } = decode(workerRecordCodec, value)
    assert(grants.length <= JOB_GRANTS_MAX, 'what a worker has is bounded')
    for (const { task, attempt } of grants) {
      assert(attempt >= 1 && attempt <= state.attempts, 'attempts are counted')
      assert(!attempts.has(attempt), 'an attempt is of one worker')
      attempts.add(attempt)
      holders.set(task, [...(holders.get(task) ?? []), { worker: workerOfKey(key), attempt }])
    }
    const trials = grants.filter(({ isOnTrial }) => isOnTrial)
    assert(trials.length <= 1, 'a worker has one task on trial at most')
  }
  const ready = inArea(AREAS['job-ready']).map(({ key }): [number, number] => {
    return [taskOfKey(key), notBeforeOfKey(key)]
  })
  assert(new Set(ready.map(([task]) => task)).size === ready.length, 'a task waits once')
  const tasks = inArea(AREAS['job-task']).map(({ key, value }): [number, TaskRecord] => {
    return [taskOfKey(key), decode(taskRecordCodec, value)]
  })
  return {
    job: decode(jobRecordCodec, one(AREAS.job)),
    state,
    isListed: inArea(AREAS['job-open']).length === 1,
    tasks: new Map(tasks),
    ready: new Map(ready),
    holders
  }
}

function checkCounts({ job, state, tasks, ready, holders }: Parts): void {
  const ended = (state: TaskRecord['state'], stage: Stage): number =>
    [...tasks].filter(
      ([task, record]) => record.state === state && task >= stage.from && task < stage.to
    ).length
  const blocked = blockedStages(job, state)
  let done = 0
  let failed = 0
  for (const [place, stage] of job.stages.entries()) {
    const counted = state.stages[place] as StageState
    assert(counted.done === ended('done', stage), 'what is done of a stage is counted')
    assert(counted.failed === ended('failed', stage), 'what was given up of a stage is counted')
    assert(counted.cursor >= stage.from && counted.cursor <= stage.to, 'a cursor is in its stage')
    const isBegun = counted.cursor > stage.from
    assert(!isBegun || isStageReady(job, state, place), 'a stage begins after those before')
    done += counted.done
    failed += blocked[place] === true ? stage.to - stage.from : counted.failed
  }
  const { counts } = state
  assert(counts.done === done, `${done} tasks are done, not ${counts.done}`)
  assert(counts.failed === failed, `${failed} tasks have failed, not ${counts.failed}`)
  assert(counts.running === holders.size, `${holders.size} tasks run, not ${counts.running}`)
  assert(counts.waiting === ready.size, `${ready.size} tasks wait, not ${counts.waiting}`)
  const isOver = done + failed === job.count
  if (state.phase !== 'cancelled') {
    assert(isOver === (state.phase === 'ended'), 'a job ends with its last task')
  }
}

function checkTasks({ job, state, tasks, ready, holders }: Parts): void {
  for (const [task, record] of tasks) {
    assert(task < job.count, 'a task is one of the job')
    assert(wasGranted(job, state, task), 'nothing happens to a task before it is granted')
    assert(record.granted >= 1 && record.granted <= state.attempts, 'attempts are counted')
    assert(record.attempt <= record.granted, 'an outcome is of an attempt')
    assert(record.losses.length <= JOB_LOSSES_MAX, 'losses are bounded')
    assert(record.losses.length <= record.lossCount, 'losses are counted')
    assert((record.result !== undefined) === (record.state === 'done'), 'what is done has a result')
    if (record.state === 'failed') assert(record.error !== undefined, 'what failed says why')
    const isOver = record.state !== 'waiting'
    const isQueued = record.notBeforeMs !== undefined
    assert(!isOver || (!isQueued && record.holders.length === 0), 'what is over is nowhere else')
    assert(record.notBeforeMs === ready.get(task), 'a task knows when it is due')
    if (state.phase !== 'open') continue
    const live = (holders.get(task) ?? []).map(shown).toSorted()
    assert(String(record.holders.map(shown).toSorted()) === String(live), 'a task knows who has it')
    assert(isOver || isQueued !== live.length > 0, 'a task waits or is with a worker')
    for (const { attempt } of record.holders) assert(attempt <= record.granted, 'it was granted')
  }
  for (const task of ready.keys()) assert(tasks.has(task), 'what waits has a record')
}

/** Every task of an open job that isn't over can be come by. */
function checkReach({ job, state, tasks, ready, holders }: Parts): void {
  for (let task = 0; task < job.count; task++) {
    const record = tasks.get(task)
    if (record !== undefined && record.state !== 'waiting') continue
    const live = holders.get(task)?.length ?? 0
    const ways = [live > 0, ready.has(task), !wasGranted(job, state, task)]
    assert(ways.filter(Boolean).length === 1, `there is one way to task ${task}`)
    assert(record !== undefined || live <= 1, 'a task that two have has a record')
    assert(live <= 2, 'at most two have a task')
  }
}

function shown({ worker, attempt }: Holder): string {
  return `${worker} ${attempt}`
}
