// A job that the mesh keeps, as its users see it: how far it is, what came of it, how to end it.

import { fromUtf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { blockIdFromBytes } from '../../core/block/block-id.ts'
import { medianMs } from '../../core/machine/job-durations.ts'
import type { JobRecord, JobState, TaskRecord } from '../../core/machine/job-records.ts'
import type { CallOptions } from '../../shard/shards.ts'
import { ends, merged } from './job-ends.ts'
import type { FoundJob, JobPart, KnownTask } from './job-part.ts'
import { decodeSpec, partsOf } from './spec.ts'
import { decodeValue } from '../../executor/values.ts'

export type JobProgress = {
  /** Ended: with every task done or given up. */
  readonly state: 'open' | 'ended' | 'cancelled'
  readonly total: number
  readonly done: number
  /** Given up: `deadLetters` tells why. */
  readonly failed: number
  /** Some worker has them. */
  readonly running: number
  /** To be tried again. */
  readonly waiting: number
  /** Of tasks that are done; off by a factor of two at most. */
  readonly medianMs: number | undefined
}

export type DeadLetter = {
  readonly task: number
  /** `poison-task` when workers were lost over it; else the task's own. */
  readonly code: string
  readonly message: string
  /** How often it failed, and how many workers were lost over it. */
  readonly failures: number
  readonly losses: number
}

/** What came of a task: its value, by its number in the job. */
export type TaskValue<Value> = { readonly task: number; readonly value: Value }

export type ResultsOptions = CallOptions & {
  /** In the order of tasks, and not as they end; on unless false. */
  readonly ordered?: boolean | undefined
}

/** Reads what was too large for the shard. */
export type BlobReader = (cid: string, options: CallOptions) => Promise<Uint8Array>

/** Rejects as {@link Shards} does, besides what each method says. */
export class Job<Value = unknown> {
  readonly id: string
  readonly #partOf: (part: number) => JobPart
  readonly #read: BlobReader
  readonly #submittedCount: number

  /** Made by `Jobs`. @param components.submittedCount parts, when it was submitted just now */
  constructor(
    id: string,
    components: {
      partOf: (part: number) => JobPart
      read: BlobReader
      submittedCount: number
    }
  ) {
    this.id = id
    this.#partOf = components.partOf
    this.#read = components.read
    this.#submittedCount = components.submittedCount
  }

  /** @throws not-found */
  async progress(options: CallOptions = {}): Promise<JobProgress> {
    const parts = await Promise.all(
      (await this.#parts(options)).map(async (part) => await part.demand(options))
    )
    return progressOf(parts)
  }

  /**
   * Resolves when the job has ended or was cancelled, however long its shard is without a majority.
   *
   * @param options.onProgress is called at once, and when something changed, at most once for each entry
   * @throws not-found (it was removed), or the signal's reason
   */
  async wait(
    options: CallOptions & { onProgress?: ((progress: JobProgress) => void) | undefined } = {}
  ): Promise<JobProgress> {
    const { onProgress, ...calls } = options
    const parts = this.#submitted ?? (await this.#parts(calls, { isPatient: true }))
    if (onProgress === undefined) {
      return progressOf(await Promise.all(parts.map(async (part) => await endOf(part, calls))))
    }
    const found = await Promise.all(parts.map(async (part) => await part.demandPatiently(calls)))
    onProgress(progressOf(found))
    await Promise.all(
      parts.map(async (part, index) => {
        await following(calls, async (signal) => {
          const known = found[index] as FoundJob
          if (known.state.phase !== 'open') return
          for await (const state of part.states(known.revision, signal)) {
            if (state === undefined) throw removed(this.id)
            found[index] = { ...known, state }
            onProgress(progressOf(found))
            if (state.phase !== 'open') return
          }
        })
      })
    )
    return progressOf(found)
  }

  /**
   * The values that tasks returned, each as soon as it is there; ends when the job does. Tasks that
   * were given up are left out.
   *
   * @throws not-found, invalid-data
   */
  async *results(options: ResultsOptions = {}): AsyncGenerator<TaskValue<Value>> {
    const parts = this.#submitted ?? (await this.#parts(options))
    if (options.ordered === false)
      yield* merged(parts.map((part) => this.#asTheyEnd(part, options)))
    else for (const part of parts) yield* this.#inOrder(part, options)
  }

  /** Tasks that were given up. @throws not-found */
  async *deadLetters(options: CallOptions = {}): AsyncGenerator<DeadLetter> {
    for (const part of await this.#parts(options)) {
      const { record: job } = await part.demand(options)
      for await (const { task, record } of part.tasks(options)) {
        if (record.state !== 'failed') continue
        const { error, failures, losses } = record
        const { code = 'task-failed', message = '' } = error ?? {}
        yield { task: job.first + task, code, message, failures, losses: losses.length }
      }
    }
  }

  /** What the last attempt of a task printed that is known. @throws not-found */
  async logs(task: number, options: CallOptions = {}): Promise<string> {
    const record = await this.#task(task, options)
    if (record?.logs === undefined) return ''
    const cid = blockIdFromBytes(record.logs)
    return fromUtf8(await this.#read(cid, options))
  }

  /** Ends it: what runs is stopped, what wasn't begun never is. Idempotent. @throws not-found */
  async cancel(options: CallOptions = {}): Promise<void> {
    for (const part of await this.#parts(options)) await part.cancel(options)
  }

  /** Tries again what was given up. @returns how many tasks @throws not-found, conflict */
  async retry(options: CallOptions = {}): Promise<number> {
    let count = 0
    for (const part of await this.#parts(options)) count += await part.retry(options)
    return count
  }

  /** Forgets an ended job with its results. @throws not-found, conflict while it is open */
  async remove(options: CallOptions = {}): Promise<void> {
    // The first part last: it says how many there are.
    for (const part of (await this.#parts(options)).toReversed()) await part.remove(options)
  }

  /** All parts, of which nothing must be looked up to follow them; undefined when that is long ago. */
  get #submitted(): JobPart[] | undefined {
    const parts = Array.from({ length: this.#submittedCount }, (_, part) => this.#partOf(part))
    const isKnown = parts.length > 0 && parts.every(({ submitted }) => submitted !== undefined)
    return isKnown ? parts : undefined
  }

  async #parts(
    options: CallOptions,
    { isPatient }: { isPatient: boolean } = { isPatient: false }
  ): Promise<JobPart[]> {
    const first = this.#partOf(0)
    const { record } = await (isPatient ? first.demandPatiently(options) : first.demand(options))
    const parts = partsOf(decodeSpec(record.spec))
    return Array.from({ length: parts }, (_, part) => this.#partOf(part))
  }

  async #task(task: number, options: CallOptions): Promise<TaskRecord | undefined> {
    for (const part of (await this.#parts(options)).toReversed()) {
      const { record } = await part.demand(options)
      if (task < record.first) continue
      if (task < record.first + record.count) return await part.task(task - record.first, options)
    }
    throw new MeshError('not-found', `Job "${this.id}" has no task ${task}`)
  }

  async #value(first: number, { task, record }: KnownTask, options: CallOptions): Promise<unknown> {
    const { result } = record
    if (result === undefined)
      throw new MeshError('invalid-data', `Task ${first + task} has no value`)
    if (result.kind === 'inline') return decodeValue(result.value)
    return decodeValue(await this.#read(blockIdFromBytes(result.cid), options))
  }

  async *#asTheyEnd(part: JobPart, options: CallOptions): AsyncGenerator<TaskValue<Value>> {
    const seen = new Set<number>()
    for await (const { first, known } of ends(part, options)) {
      if (seen.has(known.task)) continue
      seen.add(known.task)
      if (known.record.state === 'failed') continue
      const value = (await this.#value(first, known, options)) as Value
      yield { task: first + known.task, value }
    }
  }

  async *#inOrder(part: JobPart, options: CallOptions): AsyncGenerator<TaskValue<Value>> {
    const early = new Map<number, KnownTask>()
    let next = 0
    let first = 0
    for await (const end of ends(part, options)) {
      first = end.first
      if (end.known.task >= next) early.set(end.known.task, end.known)
      for (let known = early.get(next); known !== undefined; known = early.get(next)) {
        early.delete(next)
        next += 1
        if (known.record.state === 'failed') continue
        yield {
          task: first + known.task,
          value: (await this.#value(first, known, options)) as Value
        }
      }
    }
    // Behind one that never ended: the job was cancelled, or a stage before has failed.
    for (const known of [...early.values()].toSorted((a, b) => a.task - b.task)) {
      if (known.record.state === 'failed') continue
      yield { task: first + known.task, value: (await this.#value(first, known, options)) as Value }
    }
  }
}

/** @returns a part when it isn't open any more. @throws not-found */
async function endOf(part: JobPart, options: CallOptions): Promise<FoundJob> {
  for (let revision = part.submitted?.revision; ;) {
    const after = revision
    if (after !== undefined) {
      await following(options, async (signal) => await part.over(after, signal))
    }
    const found = await part.demandPatiently(options)
    if (found.state.phase !== 'open') return found
    revision = found.revision
  }
}

/** Ends with what is followed what is still asked for it. */
async function following(
  options: CallOptions,
  follow: (signal: AbortSignal) => Promise<void>
): Promise<void> {
  const ended = new AbortController()
  const signals = options.signal === undefined ? [] : [options.signal]
  try {
    await follow(AbortSignal.any([ended.signal, ...signals]))
  } finally {
    ended.abort()
  }
}

function progressOf(
  parts: readonly { readonly record: JobRecord; readonly state: JobState }[]
): JobProgress {
  const sum = (of: (part: (typeof parts)[number]) => number): number =>
    parts.reduce((total, part) => total + of(part), 0)
  const isOpen = parts.some(({ state }) => state.phase === 'open')
  const isCancelled = parts.some(({ state }) => state.phase === 'cancelled')
  const durations = Array.from({ length: 32 }, (_, bucket) =>
    sum(({ state }) => state.durations[bucket] ?? 0)
  )
  return {
    state: isOpen ? 'open' : isCancelled ? 'cancelled' : 'ended',
    total: sum(({ record }) => record.count),
    done: sum(({ state }) => state.counts.done),
    failed: sum(({ state }) => state.counts.failed),
    running: sum(({ state }) => state.counts.running),
    waiting: sum(({ state }) => state.counts.waiting),
    medianMs: medianMs(durations)
  }
}

function removed(id: string): MeshError {
  return new MeshError('not-found', `Job "${id}" was removed`)
}
