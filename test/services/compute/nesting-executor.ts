// An executor whose tasks may run other tasks, and hold their slots while they wait for them.

import type { Clock } from '../../../src/base/clock.ts'
import { toMeshError } from '../../../src/base/errors.ts'
import {
  failed,
  type Executor,
  type RunOptions,
  type Work,
  type WorkResult
} from '../../../src/executor/executor.ts'
import { encodeValue } from '../../../src/executor/values.ts'

export type NestingTask = (work: Work, signal: AbortSignal) => Promise<unknown>

export class NestingExecutor implements Executor {
  readonly slots: number
  readonly #clock: Clock
  readonly #task: NestingTask
  readonly #stopping = new AbortController()

  constructor(clock: Clock, options: { slots: number; task: NestingTask }) {
    this.slots = options.slots
    this.#clock = clock
    this.#task = options.task
  }

  async start(): Promise<void> {
    await Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#stopping.abort(new Error('It was stopped'))
    await Promise.resolve()
  }

  freeSlots(): number {
    return this.slots
  }

  onFree(): () => void {
    return () => {}
  }

  async run(work: Work, { signal }: RunOptions = {}): Promise<WorkResult> {
    const late = new AbortController()
    const timer = this.#clock.after(work.limits.timeoutMs, () => late.abort(new Error('Too late')))
    const signals = signal === undefined ? [] : [signal]
    const over = AbortSignal.any([late.signal, this.#stopping.signal, ...signals])
    try {
      const output = encodeValue(await this.#task(work, over))
      return { kind: 'done', output, durationMs: 1 }
    } catch (error) {
      signal?.throwIfAborted()
      if (this.#stopping.signal.aborted) return { kind: 'lost', reason: 'It was stopped' }
      const { code, message } = toMeshError(error)
      const about = late.signal.aborted
        ? { code: 'task-timeout' as const, message }
        : { code, message }
      return failed(about, { isRetryable: late.signal.aborted })
    } finally {
      timer.cancel()
    }
  }
}
