// A part of a job where its shard has it: what may be asked of it, and what it goes through.

import { sleep, type Clock } from '../../base/clock.ts'
import { SECOND_MS } from '../../base/units.ts'
import { decode } from '../../core/machine/codec.ts'
import { COLLECTION } from '../../core/machine/file-collection.ts'
import {
  JOB_CANCEL,
  JOB_REMOVE,
  JOB_RETRY,
  JOB_SUBMIT,
  type RetryArgs,
  type RetryResult,
  type SubmitArgs
} from '../../core/machine/job-calls.ts'
import { START_JOB, type Claim, type StartResult } from '../../core/machine/job-start.ts'
import { jobSpace, spanOfJob, taskKey, taskOfKey } from '../../core/machine/job-names.ts'
import {
  jobStateCodec,
  taskRecordCodec,
  type JobPhase,
  type JobRecord,
  type JobState,
  type TaskRecord
} from '../../core/machine/job-records.ts'
import { JOB_GET } from '../../core/machine/job-queries.ts'
import { JOB_PAGE_MAX, JOB_STEP_MAX } from '../../core/machine/limits.ts'
import { GET, RANGE } from '../../core/machine/own-queries.ts'
import type { Page } from '../../core/machine/reads.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { Answered, CallOptions, Shards, Target } from '../../shard/shards.ts'
import { followChanges } from '../follow-changes.ts'
import { askPatiently } from '../patience.ts'

/** A task of which something is known, by its number within the part. */
export type KnownTask = { readonly task: number; readonly record: TaskRecord }

/** A job as it is at a revision of its shard. */
export type FoundJob = {
  readonly record: JobRecord
  readonly state: JobState
  readonly revision: number
}

/** What must be known of a part to follow its tasks. */
export type SeenPart = {
  /** The number that its task 0 has in the whole job. */
  readonly first: number
  readonly count: number
  readonly isOpen: boolean
  /** At which it was so. */
  readonly revision: number
}

type Components = { readonly shards: Shards; readonly clock: Clock }

/** What became of a part is read from its first revision on for so long; it is all there still. */
const YOUNG_MS: number = SECOND_MS

/** Rejects as {@link Shards} does, besides what each method says. */
export class JobPart {
  readonly id: string
  readonly part: number
  readonly space: Uint8Array
  readonly #components: Components
  readonly #submitted: (SeenPart & { readonly youngUntilMs: number }) | undefined

  /**
   * @param name.submitted as it was made just now
   * @throws invalid-argument when no job can be called so
   */
  constructor(
    components: Components,
    name: { id: string; part: number; submitted?: SeenPart | undefined }
  ) {
    this.#components = components
    this.id = name.id
    this.part = name.part
    this.space = jobSpace(name)
    const youngUntilMs = components.clock.monotonicMs() + YOUNG_MS
    this.#submitted = name.submitted && { ...name.submitted, youngUntilMs }
  }

  /** As it was submitted, unless that is long ago: all that became of it came after. */
  get submitted(): SeenPart | undefined {
    const { youngUntilMs = 0 } = this.#submitted ?? {}
    return this.#components.clock.monotonicMs() < youngUntilMs ? this.#submitted : undefined
  }

  /** @param claim who begins with it at once @throws exists, overloaded, quota-exceeded, conflict */
  async submit(
    args: SubmitArgs,
    claim: Claim | undefined,
    options: CallOptions
  ): Promise<Answered<StartResult>> {
    if (claim !== undefined) {
      const start = { submit: args, claim }
      return await this.#shards.execute(this.#target, START_JOB, start, options)
    }
    const answered = await this.#shards.execute(this.#target, JOB_SUBMIT, args, options)
    return { ...answered, result: { submitted: answered.result, granted: undefined } }
  }

  /** @throws not-found */
  async demand(options: CallOptions): Promise<FoundJob> {
    const args = { space: this.space }
    const { result, revision } = await this.#shards.query(this.#target, JOB_GET, args, options)
    return { record: result.job, state: result.state, revision }
  }

  /** As {@link demand}, however long the shard has no majority. */
  async demandPatiently(options: CallOptions): Promise<FoundJob> {
    const { clock } = this.#components
    return await askPatiently(clock, options.signal, async () => await this.demand(options))
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

  /** What its tasks go through after a revision, at once for a while; ends never by itself. @throws the signal's reason */
  async *taskChanges(revision: number, signal: AbortSignal): AsyncGenerator<readonly KnownTask[]> {
    const query = { area: AREAS['job-task'], ...spanOfJob(this.space), revision: revision + 1 }
    for await (const page of followChanges(this.#components, {
      target: this.#target,
      query,
      signal,
      isPrompt: true
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
    const query = { area: AREAS['job-state'], ...this.#ownKey, revision: revision + 1 }
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

  /**
   * Resolves when it isn't open any more, after a revision.
   *
   * @param delayMs how much later that may be @throws the signal's reason
   */
  async over(revision: number, signal: AbortSignal, delayMs = 0): Promise<void> {
    if (delayMs > 0) await sleep(this.#components.clock, delayMs, { signal })
    const query = { area: AREAS['job-open'], ...this.#ownKey, revision: revision + 1 }
    const options = { target: this.#target, query, signal, isPrompt: true }
    for await (const { revisions } of followChanges(this.#components, options)) {
      const events = revisions.flatMap((one) => one.events)
      if (events.some(({ current }) => current === undefined)) return
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

  get #ownKey(): { from: Uint8Array; to: Uint8Array } {
    return { from: this.space, to: Uint8Array.from([...this.space, 0]) }
  }

  get #shards(): Shards {
    return this.#components.shards
  }

  get #target(): Target {
    return { space: this.space }
  }
}
