// A task that a caller waits for, and how far it is.

import type { TaskOutcome } from '../../wire/job.ts'
import type { JobSpec } from './spec.ts'

export type EphemeralTask = {
  readonly spec: JobSpec
  readonly submitter: string
  readonly input: Uint8Array
  /** How often it is tried again when it fails in a way that may pass. */
  readonly retries: number
  readonly priority: number
  /** A task waits for it, which has a slot meanwhile. */
  readonly isNested?: boolean | undefined
}

export class WaitingTask {
  readonly id: number
  readonly task: EphemeralTask
  readonly signal: AbortSignal
  readonly outcome: Promise<TaskOutcome>
  /** Of its last attempt. */
  token = 0
  /** When it began to wait for a slot. */
  sinceMs = 0
  failures = 0
  /** How often what ran it was lost. */
  losses = 0
  /** Sent with others it had no room in their answer. */
  isAlone = false
  readonly #ending = Promise.withResolvers<TaskOutcome>()
  readonly #onSettled: (waiting: WaitingTask) => void
  #isSettled = false

  /** @param onSettled called once, when it has ended however that went */
  constructor(
    { id, task, signal }: { id: number; task: EphemeralTask; signal: AbortSignal },
    onSettled: (waiting: WaitingTask) => void
  ) {
    this.id = id
    this.task = task
    this.signal = signal
    this.outcome = this.#ending.promise
    this.#onSettled = onSettled
  }

  get isSettled(): boolean {
    return this.#isSettled
  }

  /** What ends it later is passed over. */
  settle(outcome: TaskOutcome): void {
    this.#ending.resolve(outcome)
    this.#settled()
  }

  fail(reason: unknown): void {
    this.#ending.reject(reason)
    this.#settled()
  }

  #settled(): void {
    if (this.#isSettled) return
    this.#isSettled = true
    this.#onSettled(this)
  }
}

/** How often the process or the node that runs a task may be lost until the task is given up. */
const LOSSES_MAX = 3

/** Whether one more loss is the last. */
export function isOnTrial({ losses }: WaitingTask): boolean {
  return losses === LOSSES_MAX - 1
}

/**
 * Counts what an attempt came to.
 *
 * @returns how the task has ended; `again`: it is to be tried at once; `later`: after a pause
 */
export function endOf(waiting: WaitingTask, outcome: TaskOutcome): TaskOutcome | 'again' | 'later' {
  const { id, task } = waiting
  if (outcome.kind === 'busy') return 'again'
  if (outcome.kind === 'lost') {
    waiting.losses += 1
    if (waiting.losses < LOSSES_MAX) return 'again'
    const message = `${LOSSES_MAX} times what ran it was lost, at last: ${outcome.reason}`
    const { durationMs, logs } = outcome
    const failed = { id, durationMs, logs, code: 'poison-task', message, isRetryable: false }
    return { ...failed, kind: 'failed' }
  }
  if (outcome.kind !== 'failed' || !outcome.isRetryable) return outcome
  waiting.failures += 1
  return waiting.failures <= task.retries ? 'later' : outcome
}
