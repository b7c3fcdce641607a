// Tells a job what became of its tasks: many outcomes with one entry of its shard's log, and what is
// too large for the shard as blocks.

import { sleep, type Clock } from '../../base/clock.ts'
import { utf8 } from '../../base/bytes.ts'
import { isMeshError, toMeshError, type ErrorCode, type MeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { KIB, MINUTE_MS } from '../../base/units.ts'
import { blockIdToBytes } from '../../core/block/block-id.ts'
import { COLLECTION } from '../../core/machine/file-collection.ts'
import {
  JOB_COMPLETE,
  type CompleteResult,
  type TaskOutcome,
  type Verdict
} from '../../core/machine/job-calls.ts'
import type { TaskError, TaskResult } from '../../core/machine/job-records.ts'
import { JOB_OUTCOMES_MAX, JOB_RESULT_BYTES_MAX } from '../../core/machine/limits.ts'
import type { Shards } from '../../shard/shards.ts'
import { isPassing } from '../patience.ts'
import { Moment } from './moment.ts'
import type { Keeper } from '../files/uploader.ts'
import type { Uploaded } from '../files/volumes.ts'
import type { Files } from '../files/files.ts'

/** Results and messages told with one entry, together. */
const TOLD_BYTES_MAX: number = 128 * KIB
/** An outcome that nobody takes for so long is given up: by then the task was given to others. */
const TELL_MS_MAX: number = 2 * MINUTE_MS
/** While others are about to end they go together: an entry costs as much as telling of twenty. */
const TOGETHER_MS = 10
const TOGETHER_MAX = 64
const RETRY_MS = 200
const RETRY_MS_MAX = 3_000
/** What doesn't get better by telling it again. */
const FINAL: readonly ErrorCode[] = [
  'not-found',
  'invalid-argument',
  'too-large',
  'conflict',
  'stopped'
]

export type OutcomesComponents = {
  readonly shards: Shards
  readonly clock: Clock
  readonly log: Logger
  readonly files: Pick<Files, 'putFor'>
}

/** What became of an attempt, before it is known what of it the shard takes as it is. */
export type Attempted = {
  readonly task: number
  readonly attempt: number
  readonly durationMs: number
  /** What it printed. */
  readonly logs: string
} & (
  | { readonly kind: 'done'; readonly value: Uint8Array }
  | { readonly kind: 'failed'; readonly error: TaskError; readonly isRetryable: boolean }
)

export class Outcomes {
  readonly #components: OutcomesComponents
  readonly #space: Uint8Array
  readonly #worker: string
  readonly #signal: AbortSignal
  readonly #onTold: (result: CompleteResult) => void
  readonly #onUntold: (reason: string) => void
  readonly #endsSoon: () => boolean
  readonly #moment: Moment
  #waiting: TaskOutcome[] = []
  #isTelling = false
  #idle = Promise.withResolvers<void>()

  /**
   * @param options.signal ends the telling: what wasn't told by then is found out by the lease
   * @param options.onUntold some couldn't be told: only the end of the lease frees their tasks
   * @param options.endsSoon whether another one is about to come
   */
  constructor(
    components: OutcomesComponents,
    options: {
      space: Uint8Array
      worker: string
      signal: AbortSignal
      onTold: (result: CompleteResult) => void
      onUntold: (reason: string) => void
      endsSoon: () => boolean
    }
  ) {
    this.#components = components
    this.#space = options.space
    this.#worker = options.worker
    this.#signal = options.signal
    this.#onTold = options.onTold
    this.#onUntold = options.onUntold
    this.#endsSoon = options.endsSoon
    this.#moment = new Moment(components.clock, TOGETHER_MS)
    this.#idle.resolve()
  }

  /** Whether something is still to be told. */
  get isBusy(): boolean {
    return this.#isTelling || this.#waiting.length > 0
  }

  /** Resolves when all has been told, or given up. */
  async settled(): Promise<void> {
    await this.#idle.promise
  }

  tell(outcome: TaskOutcome): void {
    this.#waiting.push(outcome)
    if (!this.#mayWait()) this.#moment.end()
    if (this.#isTelling) return
    this.#isTelling = true
    this.#idle = Promise.withResolvers<void>()
    // What ends in the same turn goes with the same entry.
    queueMicrotask(() => void this.#run())
  }

  /** A value and a log of any size. */
  async tellAttempt(attempted: Attempted): Promise<void> {
    const isLarge = attempted.kind === 'done' && attempted.value.length > JOB_RESULT_BYTES_MAX
    const blobs = [
      ...(isLarge ? [attempted.value] : []),
      ...(attempted.logs === '' ? [] : [utf8(attempted.logs)])
    ]
    if (blobs.length === 0) {
      this.tell(outcomeOf(attempted, undefined, undefined))
      return
    }
    try {
      await this.#withBlocks(blobs, [], async (files, signal) => {
        const result = isLarge ? files[0] : undefined
        const logs = attempted.logs === '' ? undefined : files.at(-1)
        const cycle = Math.min(...files.map((file) => file.cycle))
        await this.#told([outcomeOf(attempted, result, logs)], { cycle, signal })
      })
    } catch (error) {
      if (this.#signal.aborted) return
      // A log isn't worth a task.
      if (attempted.logs !== '') {
        await this.tellAttempt({ ...attempted, logs: '' })
        return
      }
      this.#tellUnkept(attempted, toMeshError(error))
    }
  }

  /** The mesh can't keep what a task came to. */
  #tellUnkept(attempted: Attempted, reason: MeshError): void {
    const { task, attempt } = attempted
    const { code, message } = reason
    const error = { code, message: `Cannot keep its result: ${message}`.slice(0, 250) }
    const failed = { ...attempted, kind: 'failed', error } as const
    if (code === 'stopped') this.tell({ kind: 'returned', task, attempt })
    // What passes isn't the task's fault, and uses up none of its retries.
    else if (isPassing(reason)) this.tell({ kind: 'blocked', task, attempt, error })
    else this.tell(outcomeOf({ ...failed, isRetryable: true }, undefined, undefined))
  }

  /** Puts one after the other, and uses them when all are there. */
  async #withBlocks(
    blobs: readonly Uint8Array[],
    files: readonly Uploaded[],
    use: (files: readonly Uploaded[], signal: AbortSignal | undefined) => Promise<void>
  ): Promise<void> {
    const [blob, ...rest] = blobs
    if (blob === undefined) return await use(files, this.#signal)
    const target = { space: this.#space }
    const { shards } = this.#components
    const keeper: Keeper = {
      cycle: async (_, options) =>
        (await shards.query(target, COLLECTION, undefined, options)).result.cycle,
      keep: async (file) => {
        await this.#withBlocks(rest, [...files, file], use)
        return undefined
      }
    }
    await this.#components.files.putFor(blob, keeper, { signal: this.#signal })
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0 && !this.#signal.aborted) {
      if (this.#mayWait()) await this.#moment.wait()
      await this.#tellSome(this.#take())
    }
    this.#isTelling = false
    this.#idle.resolve()
  }

  #mayWait(): boolean {
    return this.#waiting.length < TOGETHER_MAX && !this.#signal.aborted && this.#endsSoon()
  }

  async #tellSome(outcomes: readonly TaskOutcome[], isLastTry = false): Promise<void> {
    try {
      await this.#told(outcomes, { signal: this.#signal })
    } catch (error) {
      if (this.#signal.aborted) return
      const { code, message } = toMeshError(error)
      this.#components.log.warn('worker.untold', { count: outcomes.length, reason: message })
      const isOfOne = code === 'invalid-argument' || code === 'too-large'
      if (!isOfOne || isLastTry) this.#onUntold(message)
      else if (outcomes.length > 1) {
        for (const outcome of outcomes) await this.#tellSome([outcome])
      } else {
        const problem = { code, message: `Cannot tell its outcome: ${message}`.slice(0, 250) }
        await this.#tellSome(
          outcomes.map((outcome) => plainFailure(outcome, problem)),
          true
        )
      }
    }
  }

  #take(): TaskOutcome[] {
    let count = 0
    let bytes = 0
    for (const outcome of this.#waiting) {
      bytes += bytesOf(outcome)
      if (count === JOB_OUTCOMES_MAX || (count > 0 && bytes > TOLD_BYTES_MAX)) break
      count += 1
    }
    return this.#waiting.splice(0, count)
  }

  /** Again and again: telling twice is harmless, and the work is done already. */
  async #told(
    outcomes: readonly TaskOutcome[],
    options: { cycle?: number; signal: AbortSignal | undefined }
  ): Promise<void> {
    const { clock } = this.#components
    const { signal } = options
    const untilMs = clock.monotonicMs() + TELL_MS_MAX
    for (let delayMs = RETRY_MS; ; delayMs = Math.min(2 * delayMs, RETRY_MS_MAX)) {
      try {
        await this.#complete(outcomes, options)
        return
      } catch (error) {
        const isFinal = isMeshError(error) && FINAL.includes(error.code)
        if (isFinal || signal?.aborted === true || clock.monotonicMs() > untilMs) throw error
        await sleep(clock, delayMs, { signal })
      }
    }
  }

  async #complete(
    outcomes: readonly TaskOutcome[],
    options: { cycle?: number; signal: AbortSignal | undefined }
  ): Promise<readonly Verdict[]> {
    const { cycle, signal } = options
    const args = { worker: this.#worker, outcomes, cycle }
    const target = { space: this.#space }
    const { result } = await this.#components.shards.execute(target, JOB_COMPLETE, args, { signal })
    this.#onTold(result)
    return result.verdicts
  }
}

function plainFailure({ task, attempt }: TaskOutcome, error: TaskError): TaskOutcome {
  const told = { task, attempt, error, isRetryable: true, durationMs: 0, logs: undefined }
  return { ...told, kind: 'failed' }
}

function bytesOf(outcome: TaskOutcome): number {
  if (outcome.kind === 'failed') return outcome.error.message.length
  if (outcome.kind !== 'done' || outcome.result.kind !== 'inline') return 64
  return 64 + outcome.result.value.length
}

function outcomeOf(
  attempted: Attempted,
  file: Uploaded | undefined,
  logFile: Uploaded | undefined
): TaskOutcome {
  const { task, attempt } = attempted
  const durationMs = Math.max(0, Math.round(attempted.durationMs))
  const logs = logFile === undefined ? undefined : blockIdToBytes(logFile.id)
  const told = { task, attempt, durationMs, logs }
  if (attempted.kind === 'failed') {
    const { error, isRetryable } = attempted
    return { ...told, kind: 'failed', error, isRetryable }
  }
  const result: TaskResult =
    file === undefined
      ? { kind: 'inline', value: attempted.value }
      : { kind: 'blocks', cid: blockIdToBytes(file.id), bytes: file.bytes }
  return { ...told, kind: 'done', result }
}
