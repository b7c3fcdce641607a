// A job of one shard, for tests: each call one entry, each answer as it travels between nodes.

import { utf8 } from '../../../src/base/bytes.ts'
import { decode, encode } from '../../../src/core/machine/codec.ts'
import {
  JOB_CANCEL,
  JOB_COMPLETE,
  JOB_GRANT,
  JOB_RECALL,
  JOB_REMOVE,
  JOB_RETRY,
  JOB_SUBMIT
} from '../../../src/core/machine/job-calls.ts'
import type {
  CompleteResult,
  GrantArgs,
  GrantResult,
  RetryResult,
  SubmitArgs,
  SubmitResult,
  TaskOutcome,
  Verdict
} from '../../../src/core/machine/job-calls.ts'
import { JOB_OPEN } from '../../../src/core/machine/job-listings.ts'
import type { OpenJob } from '../../../src/core/machine/job-listings.ts'
import { JOB_GET, JOB_TASKS, JOB_WORKERS } from '../../../src/core/machine/job-queries.ts'
import type { JobView, WorkerView } from '../../../src/core/machine/job-queries.ts'
import type { JobPolicy } from '../../../src/core/machine/job-policy.ts'
import type { JobState, TaskRecord } from '../../../src/core/machine/job-records.ts'
import { START_JOB } from '../../../src/core/machine/job-start.ts'
import type { StartResult } from '../../../src/core/machine/job-start.ts'
import { queriesOf } from '../../../src/core/machine/own-queries.ts'
import { Queries } from '../../../src/core/machine/query.ts'
import type { Query } from '../../../src/core/machine/query.ts'
import { SERVICES } from '../../../src/core/machine/services.ts'
import { Shard } from './shard.ts'

export const LEASE_MS = 6_000

export const POLICY: JobPolicy = {
  isPure: true,
  isLasting: false,
  retries: 3,
  retryBaseMs: 100,
  retryMaxMs: 1_000,
  lossesMax: 3,
  priority: 0,
  submitter: 'somebody',
  retainMs: 0,
  timeoutMs: 0
}

export type Asked = Partial<Omit<SubmitArgs, 'policy'>> & { policy?: Partial<JobPolicy> }
/** What a worker was given. */
export type Tried = { readonly task: number; readonly attempt: number }

/** @returns stages that follow each other, of so many tasks each. */
export function chain(...sizes: number[]): SubmitArgs['stages'] {
  let from = 0
  return sizes.map((size, place) => {
    const stage = { from, to: from + size, after: place === 0 ? [] : [place - 1] }
    from += size
    return stage
  })
}

export function submitArgs({ policy, ...asked }: Asked = {}): SubmitArgs {
  const count = asked.count ?? asked.stages?.at(-1)?.to ?? 10
  return {
    first: 0,
    count,
    stages: chain(count),
    manifest: utf8('manifest'),
    code: undefined,
    spec: utf8('spec'),
    cycle: undefined,
    ...asked,
    policy: { ...POLICY, ...policy }
  }
}

export function done(tried: Tried, value = 'ok', durationMs = 10): TaskOutcome {
  const result = { kind: 'inline', value: utf8(value) } as const
  return { kind: 'done', ...only(tried), result, durationMs, logs: undefined }
}

export function failed(tried: Tried, isRetryable = true): TaskOutcome {
  const error = { code: 'task-failed', message: 'no' }
  return { kind: 'failed', ...only(tried), error, isRetryable, durationMs: 10, logs: undefined }
}

export function returned(tried: Tried): TaskOutcome {
  return { kind: 'returned', ...only(tried) }
}

export function unfit(tried: Tried): TaskOutcome {
  return { kind: 'unfit', ...only(tried) }
}

export function lost(tried: Tried): TaskOutcome {
  return { kind: 'lost', ...only(tried) }
}

export function blocked(tried: Tried): TaskOutcome {
  return { kind: 'blocked', ...only(tried), error: { code: 'not-found', message: 'no input' } }
}

function only({ task, attempt }: Tried): Tried {
  return { task, attempt }
}

export class JobShard {
  readonly shard: Shard
  /** The lease of each worker, as its last grant said. */
  readonly leases: Map<string, number> = new Map()

  constructor(id = 'job') {
    this.shard = new Shard(`~${id}`)
  }

  get space(): Uint8Array {
    return utf8(this.shard.space)
  }

  submit(asked: Asked = {}): SubmitResult {
    return this.shard.run(JOB_SUBMIT, submitArgs(asked))
  }

  start(worker: string, asked: Asked = {}, limit = 1): StartResult {
    const claim = { worker, ttlMs: LEASE_MS, limit, isSpeculativeAllowed: false }
    const result = this.shard.run(START_JOB, { submit: submitArgs(asked), claim })
    if (result.granted !== undefined) this.leases.set(worker, result.granted.lease)
    return result
  }

  grant(worker: string, limit = 1, more: Partial<GrantArgs> = {}): GrantResult {
    const result = this.shard.run(JOB_GRANT, {
      worker,
      lease: this.leases.get(worker) ?? 0,
      ttlMs: LEASE_MS,
      limit,
      isSpeculativeAllowed: false,
      ...more
    })
    this.leases.set(worker, result.lease)
    return result
  }

  /** The tasks of a grant, as attempts. */
  take(worker: string, limit = 1, more: Partial<GrantArgs> = {}): readonly Tried[] {
    return this.grant(worker, limit, more).tasks
  }

  /** The numbers of the tasks of a grant. */
  tasksFor(worker: string, limit = 1): number[] {
    return this.take(worker, limit).map(({ task }) => task)
  }

  complete(worker: string, outcomes: TaskOutcome[], cycle?: number): CompleteResult {
    const result = this.shard.run(JOB_COMPLETE, { worker, outcomes, cycle })
    if (result.phase !== 'open') this.leases.clear()
    return result
  }

  tell(worker: string, ...outcomes: TaskOutcome[]): Verdict[] {
    return [...this.complete(worker, outcomes).verdicts]
  }

  recall(worker: string, lease = 0): number {
    return this.shard.run(JOB_RECALL, { worker, lease }).count
  }

  cancel(): string {
    return this.shard.run(JOB_CANCEL, undefined).phase
  }

  retry(from = 0, limit = 1_000): RetryResult {
    return this.shard.run(JOB_RETRY, { from, limit })
  }

  remove(limit = 1_000): boolean {
    return this.shard.run(JOB_REMOVE, { limit }).hasMore
  }

  /** Lets a worker's lease end, and nobody else's who has renewed. */
  pass(durationMs: number): void {
    this.shard.pass(durationMs)
  }

  get view(): JobView {
    return this.ask(JOB_GET, { space: this.space })
  }

  get state(): JobState {
    return this.view.state
  }

  get workers(): readonly WorkerView[] {
    return this.ask(JOB_WORKERS, { space: this.space, after: undefined, limit: 256 }).workers
  }

  /** Open jobs of the shard. */
  get open(): readonly OpenJob[] {
    return this.ask(JOB_OPEN, { after: undefined, limit: 256 }).jobs
  }

  /** All records of tasks, by number. */
  get tasks(): Map<number, TaskRecord> {
    const records = new Map<number, TaskRecord>()
    let from: number | undefined = 0
    while (from !== undefined) {
      const page: {
        tasks: readonly { task: number; record: TaskRecord }[]
        next: number | undefined
      } = this.ask(JOB_TASKS, { space: this.space, from, limit: 256, states: [] })
      for (const { task, record } of page.tasks) records.set(task, record)
      from = page.next
    }
    return records
  }

  /** Through bytes, as between nodes. */
  ask<A, R>(query: Query<A, R>, args: A): R {
    const queries = new Queries(this.shard.machine.reads, queriesOf(SERVICES))
    const answer = queries.answer(query.name, query.version, encode(query.args, args))
    return decode(query.result, answer)
  }

  check(): void {
    this.shard.check()
  }
}
