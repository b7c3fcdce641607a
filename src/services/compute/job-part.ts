// A part of a job where its shard has it: what may be asked of it, and what it goes through.

import type { Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import { decode } from '../../core/machine/codec.ts'
import { COLLECTION } from '../../core/machine/file-collection.ts'
import {
  JOB_CANCEL,
  JOB_REMOVE,
  JOB_RETRY,
  JOB_SUBMIT,
  type RetryArgs,
  type RetryResult,
  type SubmitArgs,
  type SubmitResult
} from '../../core/machine/job-calls.ts'
import { jobSpace, spanOfJob, taskKey, taskOfKey } from '../../core/machine/job-names.ts'
import {
  jobRecordCodec,
  jobStateCodec,
  taskRecordCodec,
  type JobPhase,
  type JobRecord,
  type JobState,
  type TaskRecord
} from '../../core/machine/job-records.ts'
import { JOB_PAGE_MAX, JOB_STEP_MAX } from '../../core/machine/limits.ts'
import { GET, RANGE } from '../../core/machine/own-queries.ts'
import type { Page } from '../../core/machine/reads.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { CallOptions, Shards, Target } from '../../shard/shards.ts'
import { followChanges } from '../follow-changes.ts'

/** A task of which something is known, by its number within the part. */
export type KnownTask = { readonly task: number; readonly record: TaskRecord }

/** A job as it is at a revision of its shard. */
export type FoundJob = {
  readonly record: JobRecord
  readonly state: JobState
  readonly revision: number
}

type Components = { readonly shards: Shards; readonly clock: Clock }

/** Rejects as {@link Shards} does, besides what each method says. */
export class JobPart {
  readonly id: string
  readonly part: number
  readonly space: Uint8Array
  readonly #components: Components

  /** @throws invalid-argument when no job can be called so */
  constructor(components: Components, name: { id: string; part: number }) {
    this.#components = components
    this.id = name.id
    this.part = name.part
    this.space = jobSpace(name)
  }

  /** @throws exists, overloaded, quota-exceeded, conflict */
  async submit(args: SubmitArgs, options: CallOptions): Promise<SubmitResult> {
    return (await this.#shards.execute(this.#target, JOB_SUBMIT, args, options)).result
  }

  /** @returns undefined when there is no such job */
  async find(options: CallOptions): Promise<FoundJob | undefined> {
    const { result: said } = await this.#get(AREAS.job, options)
    if (said.entry === undefined) return undefined
    const { result: now } = await this.#get(AREAS['job-state'], options)
    // It was removed between the two.
    if (now.entry === undefined) return undefined
    const record = decode(jobRecordCodec, said.entry.value)
    return { record, state: decode(jobStateCodec, now.entry.value), revision: now.revision }
  }

  /** @throws not-found */
  async demand(options: CallOptions): Promise<FoundJob> {
    const found = await this.find(options)
    if (found !== undefined) return found
    throw new MeshError(
      'not-found',
      `There is no job "${this.id}"; "atoll jobs" shows what there is`
    )
  }

  /** @returns what is known of a task; undefined while nothing happened but a first grant */
  async task(task: number, options: CallOptions): Promise<TaskRecord | undefined> {
    const query = { area: AREAS['job-task'], key: taskKey(this.space, task), revision: undefined }
    const { result } = await this.#shards.query(this.#target, GET, query, options)
    return result.entry === undefined ? undefined : decode(taskRecordCodec, result.entry.value)
  }

  /** All tasks of which something is known, in order, as they are at one revision. */
  async *tasks(options: CallOptions): AsyncGenerator<KnownTask & { revision: number }> {
    const { from, to } = spanOfJob(this.space)
    let next: Uint8Array | undefined = from
    let at: { revision: number } | undefined
    while (next !== undefined) {
      const query = { area: AREAS['job-task'], from: next, to, limit: JOB_PAGE_MAX, ...at }
      const page: Page = (await this.#shards.query(this.#target, RANGE, query, options)).result
      at = { revision: page.revision }
      for (const { key, value } of page.entries) {
        yield { task: taskOfKey(key), record: decode(taskRecordCodec, value), ...at }
      }
      next = page.next?.slice()
    }
  }

  /** What its tasks go through after a revision; ends never by itself. @throws the signal's reason */
  async *taskChanges(revision: number, signal: AbortSignal): AsyncGenerator<readonly KnownTask[]> {
    const query = { area: AREAS['job-task'], ...spanOfJob(this.space), revision: revision + 1 }
    for await (const page of followChanges(this.#components, {
      target: this.#target,
      query,
      signal
    })) {
      const events = page.revisions.flatMap((one) => one.events)
      yield events.flatMap(({ key, current }) =>
        current === undefined
          ? []
          : [{ task: taskOfKey(key), record: decode(taskRecordCodec, current.value) }]
      )
    }
  }

  /** How far it is, from a revision on, as often as that changes; undefined when it was removed. */
  async *states(revision: number, signal: AbortSignal): AsyncGenerator<JobState | undefined> {
    const { space } = this
    const end = Uint8Array.from([...space, 0])
    const query = { area: AREAS['job-state'], from: space, to: end, revision: revision + 1 }
    for await (const page of followChanges(this.#components, {
      target: this.#target,
      query,
      signal
    })) {
      const last = page.revisions.at(-1)?.events.at(-1)
      if (last === undefined) continue
      yield last.current === undefined ? undefined : decode(jobStateCodec, last.current.value)
    }
  }

  /** @throws not-found */
  async cancel(options: CallOptions): Promise<JobPhase> {
    return (await this.#shards.execute(this.#target, JOB_CANCEL, undefined, options)).result.phase
  }

  /** Tries again what was given up. @returns how many tasks @throws not-found, conflict */
  async retry(options: CallOptions): Promise<number> {
    let count = 0
    let from: number | undefined = 0
    while (from !== undefined) {
      const args: RetryArgs = { from, limit: JOB_STEP_MAX }
      const answer: { result: RetryResult } = await this.#shards.execute(
        this.#target,
        JOB_RETRY,
        args,
        options
      )
      const { result } = answer
      count += result.count
      from = result.next
    }
    return count
  }

  /** @throws not-found, conflict while it is open */
  async remove(options: CallOptions): Promise<void> {
    const args = { limit: JOB_STEP_MAX }
    while ((await this.#shards.execute(this.#target, JOB_REMOVE, args, options)).result.hasMore);
  }

  /** The collection's cycle at its shard. */
  async cycle(options: CallOptions): Promise<number> {
    return (await this.#shards.query(this.#target, COLLECTION, undefined, options)).result.cycle
  }

  async #get(
    area: number,
    options: CallOptions
  ): Promise<{ result: { revision: number; entry: Page['entries'][number] | undefined } }> {
    const query = { area, key: this.space, revision: undefined }
    return await this.#shards.query(this.#target, GET, query, options)
  }

  get #shards(): Shards {
    return this.#components.shards
  }

  get #target(): Target {
    return { space: this.space }
  }
}
