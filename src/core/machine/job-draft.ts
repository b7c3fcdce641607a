// A job while an operation changes it: its state and its workers are read once and written once,
// tasks one by one. What an operation does is put together from the steps here; each keeps counts,
// holders and workers' records in step with each other.

import { equalBytes } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { decode, encode } from './codec.ts'
import {
  checkJobSpace,
  parseJobSpace,
  readyKey,
  spanOfJob,
  taskKey,
  workerKey,
  workerOfKey
} from './job-names.ts'
import { jobRecordCodec, jobStateCodec, taskRecordCodec, workerRecordCodec } from './job-records.ts'
import type {
  Grant,
  Holder,
  JobPhase,
  JobRecord,
  JobState,
  StageState,
  TaskError,
  TaskRecord
} from './job-records.ts'
import { failedCount, stageOf } from './job-stages.ts'
import { deleteLease, demandLease, putLease, readLease } from './leases.ts'
import { AREAS } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

type Draft<T> = { -readonly [K in keyof T]: T[K] }
type StateDraft = Draft<Omit<JobState, 'counts' | 'stages'>> & {
  readonly counts: Draft<JobState['counts']>
  readonly stages: readonly Draft<StageState>[]
}
/** What a worker has, while it is changed. */
export type WorkerDraft = { readonly lease: number; readonly grants: Grant[]; isChanged: boolean }

const NO_BYTES = new Uint8Array(0)

/** What is known of a task that was granted once and nothing else. */
export function taskOfHolder(holder: Holder): TaskRecord {
  return {
    state: 'waiting',
    notBeforeMs: undefined,
    holders: [holder],
    granted: holder.attempt,
    attempt: 0,
    worker: '',
    failures: 0,
    losses: [],
    lossCount: 0,
    result: undefined,
    error: undefined,
    durationMs: 0,
    logs: undefined
  }
}

export class JobDraft {
  readonly transaction: Transaction
  readonly job: JobRecord
  readonly state: StateDraft
  readonly #workers = new Map<string, WorkerDraft | undefined>()
  /** The state as it is written. */
  #stored: Uint8Array

  private constructor(transaction: Transaction, job: JobRecord, stored: Uint8Array) {
    this.transaction = transaction
    this.job = job
    this.state = decode(jobStateCodec, stored) as StateDraft
    this.#stored = stored
  }

  /** @returns the job of the request; undefined when there is none. */
  static find(transaction: Transaction): JobDraft | undefined {
    const { space } = transaction
    const job = transaction.get(AREAS.job, space)
    const state = transaction.get(AREAS['job-state'], space)
    if (job === undefined || state === undefined) return undefined
    return new JobDraft(transaction, decode(jobRecordCodec, job.value), state.value)
  }

  /** @throws not-found, invalid-argument */
  static demand(transaction: Transaction): JobDraft {
    checkJobSpace(transaction.space)
    const draft = JobDraft.find(transaction)
    if (draft !== undefined) return draft
    const id = parseJobSpace(transaction.space)?.id
    throw new MeshError('not-found', `There is no job "${id}" here; it may have been removed`)
  }

  get space(): Uint8Array {
    return this.transaction.space
  }

  get timeMs(): number {
    return this.transaction.timeMs
  }

  get isOpen(): boolean {
    return this.state.phase === 'open'
  }

  task(task: number): TaskRecord | undefined {
    const stored = this.transaction.get(AREAS['job-task'], taskKey(this.space, task))
    return stored === undefined ? undefined : decode(taskRecordCodec, stored.value)
  }

  putTask(task: number, record: TaskRecord): void {
    const value = encode(taskRecordCodec, record)
    this.transaction.put(AREAS['job-task'], taskKey(this.space, task), { value })
  }

  /** @returns what a worker has of the job; undefined when it has no lease. */
  worker(name: string): WorkerDraft | undefined {
    if (this.#workers.has(name)) return this.#workers.get(name)
    const stored = this.transaction.get(AREAS['job-worker'], workerKey(this.space, name))
    const draft: WorkerDraft | undefined =
      stored === undefined
        ? undefined
        : {
            lease: stored.lease,
            grants: [...decode(workerRecordCodec, stored.value).grants],
            isChanged: false
          }
    this.#workers.set(name, draft)
    return draft
  }

  /** A worker that has nothing yet, under a new lease. The id of the lease is the entry's index. */
  addWorker(name: string, ttlMs: number): WorkerDraft {
    const { state, index: lease, timeMs, space } = this.transaction
    putLease(state, lease, { ttlMs, deadlineMs: timeMs + ttlMs, keyCount: 0, space })
    this.transaction.noteGrowth()
    const draft = { lease, grants: [], isChanged: true }
    this.#workers.set(name, draft)
    return draft
  }

  /** Gives a worker's lease its full time again. */
  renew({ lease: id }: WorkerDraft): void {
    const { state, timeMs } = this.transaction
    const lease = demandLease(state, id)
    putLease(state, id, { ...lease, deadlineMs: timeMs + lease.ttlMs })
  }

  /** A worker has nothing more to do with the job, and its lease nothing more to hold. */
  dropWorker(name: string): void {
    const { transaction } = this
    const draft = this.worker(name)
    this.#workers.set(name, undefined)
    if (draft === undefined) return
    transaction.delete(AREAS['job-worker'], workerKey(this.space, name))
    const lease = readLease(transaction.state, draft.lease)
    if (lease?.keyCount === 0) deleteLease(transaction.state, draft.lease, lease)
  }

  /** Notes that a worker has these besides what it has. */
  hand(worker: WorkerDraft, grants: readonly Grant[]): void {
    worker.grants.push(...grants)
    worker.isChanged = true
  }

  /** Takes a live attempt from its worker. @returns the task without it, to be put. */
  release(record: TaskRecord, attempt: number): TaskRecord {
    const holder = record.holders.find((each) => each.attempt === attempt)
    if (holder === undefined) return record
    const worker = this.worker(holder.worker)
    if (worker !== undefined) {
      // In place: there may be hundreds of them, and as many outcomes.
      const at = worker.grants.findIndex((grant) => grant.attempt === attempt)
      if (at >= 0) worker.grants.splice(at, 1)
      worker.isChanged = true
    }
    const holders = record.holders.filter((each) => each !== holder)
    if (holders.length === 0) this.state.counts.running -= 1
    return { ...record, holders }
  }

  /** Takes a task out of `job-ready`. @returns the task without it, to be put. */
  unqueue(task: number, record: TaskRecord): TaskRecord {
    if (record.notBeforeMs === undefined) return record
    const key = readyKey(this.space, record.notBeforeMs, task)
    this.transaction.delete(AREAS['job-ready'], key)
    this.state.counts.waiting -= 1
    return { ...record, notBeforeMs: undefined }
  }

  /** Puts a task that no worker has, to be tried again. @param notBeforeMs by the shard's time */
  queue(task: number, record: TaskRecord, notBeforeMs: number): void {
    const key = readyKey(this.space, notBeforeMs, task)
    this.transaction.put(AREAS['job-ready'], key, { value: NO_BYTES })
    this.state.counts.waiting += 1
    this.putTask(task, { ...record, notBeforeMs })
  }

  /** Ends a task: no worker has it any more. */
  finish(task: number, record: TaskRecord): void {
    let left = this.unqueue(task, record)
    for (const { attempt } of record.holders) left = this.release(left, attempt)
    const { counts, stages } = this.state
    const stage = stages[stageOf(this.job, task)] as Draft<StageState>
    if (left.state === 'done') {
      stage.done += 1
      counts.done += 1
    } else {
      stage.failed += 1
      counts.failed = failedCount(this.job, this.state)
    }
    this.putTask(task, left)
  }

  /** Gives a task up. */
  giveUp(task: number, record: TaskRecord, error: TaskError | undefined): void {
    this.finish(task, { ...record, state: 'failed', error })
  }

  /** Tasks are granted from now on. */
  open(): void {
    this.state.phase = 'open'
    this.state.endedMs = undefined
    this.transaction.put(AREAS['job-open'], this.space, { value: NO_BYTES })
  }

  /** Nothing is granted from now on. */
  end(phase: Exclude<JobPhase, 'open'>): void {
    const { transaction, state } = this
    state.phase = phase
    state.endedMs = this.timeMs
    state.counts.running = 0
    transaction.delete(AREAS['job-open'], this.space)
    const entries = transaction.range(AREAS['job-worker'], spanOfJob(this.space))
    const names = Array.from(entries, ({ key }) => workerOfKey(key))
    for (const name of [...names, ...this.#workers.keys()]) this.dropWorker(name)
  }

  /** Writes what was changed besides tasks, and ends the job when nothing is left of it. */
  save(): void {
    const { state, job, transaction } = this
    if (this.isOpen && state.counts.done + state.counts.failed === job.count) this.end('ended')
    for (const [name, worker] of this.#workers) {
      if (worker?.isChanged !== true) continue
      const value = encode(workerRecordCodec, { grants: worker.grants })
      const key = workerKey(this.space, name)
      transaction.put(AREAS['job-worker'], key, { value, lease: worker.lease })
      worker.isChanged = false
    }
    const value = encode(jobStateCodec, state)
    if (equalBytes(value, this.#stored)) return
    transaction.put(AREAS['job-state'], this.space, { value })
    this.#stored = value
  }
}
