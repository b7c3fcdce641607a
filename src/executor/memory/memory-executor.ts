// An executor for simulations: what a task does is a function, and time is the clock's. It waits,
// times out, is cancelled and crashes as the real one does.

import type { Clock, Timer } from '../../base/clock.ts'
import { Emitter } from '../../base/emitter.ts'
import { MeshError } from '../../base/errors.ts'
import {
  GRACE_MS,
  WAITING_COUNT_MAX,
  checkWork,
  failed,
  type Executor,
  type RunOptions,
  type Work,
  type WorkResult
} from '../executor.ts'

/** From a crash until work begins again. */
const RESTART_MS = 200

/** What a task does. */
export type MemoryTask = {
  readonly durationMs: number
  readonly result: WorkResult
  /** Told when it begins. */
  readonly lines?: readonly string[] | undefined
  readonly progress?: Uint8Array | undefined
  /** It ends by itself when its signal is aborted. */
  readonly isAttentive?: boolean | undefined
}

export type MemoryExecutorComponents = {
  readonly clock: Clock
  /** Called when the task begins. */
  readonly behave: (work: Work) => MemoryTask
}

export type MemoryExecutorOptions = {
  readonly slots: number
  readonly allowExec?: boolean | undefined
}

type Run = {
  readonly work: Work
  readonly options: RunOptions
  readonly resolve: (result: WorkResult) => void
  readonly reject: (error: unknown) => void
  readonly onAbort: () => void
  task: MemoryTask | undefined
  timer: Timer | undefined
}

export class MemoryExecutor implements Executor {
  readonly slots: number
  readonly #components: MemoryExecutorComponents
  readonly #allowsExec: boolean
  readonly #emitter = new Emitter<{ free: undefined }>()
  readonly #running = new Set<Run>()
  #waiting: Run[] = []
  #state: 'new' | 'started' | 'stopped' = 'new'
  #restart: Timer | undefined

  constructor(components: MemoryExecutorComponents, options: MemoryExecutorOptions) {
    this.slots = options.slots
    this.#components = components
    this.#allowsExec = options.allowExec === true
  }

  async start(): Promise<void> {
    this.#state = 'started'
    await Promise.resolve()
  }

  async stop(): Promise<void> {
    this.#state = 'stopped'
    this.#restart?.cancel()
    const runs = [...this.#running, ...this.#waiting]
    for (const run of runs) this.#end(run, { kind: 'lost', reason: 'The executor was stopped' })
    await Promise.resolve()
  }

  freeSlots(): number {
    if (this.#state !== 'started') return 0
    return Math.max(0, this.slots - this.#running.size - this.#waiting.length)
  }

  onFree(listener: () => void): () => void {
    return this.#emitter.on('free', listener)
  }

  async run(work: Work, options: RunOptions = {}): Promise<WorkResult> {
    options.signal?.throwIfAborted()
    checkWork(work)
    if (this.#state !== 'started') throw new MeshError('stopped', 'The executor has stopped')
    if (work.code.kind === 'exec' && !this.#allowsExec) {
      throw new MeshError('invalid-argument', 'This node runs no commands')
    }
    if (this.#waiting.length >= WAITING_COUNT_MAX) {
      throw new MeshError('overloaded', `${WAITING_COUNT_MAX} tasks wait already`)
    }
    const { promise, resolve, reject } = Promise.withResolvers<WorkResult>()
    const onAbort = (): void => this.#cancel(run)
    const state = { task: undefined, timer: undefined }
    const run: Run = { work, options, resolve, reject, onAbort, ...state }
    options.signal?.addEventListener('abort', onAbort, { once: true })
    this.#waiting.push(run)
    this.#fill()
    return await promise
  }

  /** The process dies, for a reason that is none of its tasks'. What waits is run by the next one. */
  crash(): void {
    this.#restart?.cancel()
    this.#restart = this.#components.clock.after(RESTART_MS, () => {
      this.#restart = undefined
      this.#fill()
    })
    for (const run of this.#running) this.#end(run, { kind: 'lost', reason: 'It crashed' })
  }

  #fill(): void {
    while (this.#running.size < this.slots && this.#restart === undefined) {
      const run = this.#waiting.shift()
      if (run === undefined) return
      this.#begin(run)
    }
  }

  #begin(run: Run): void {
    const { clock, behave } = this.#components
    const { work, options } = run
    this.#running.add(run)
    options.onStart?.()
    const task = behave(work)
    run.task = task
    for (const line of task.lines ?? []) options.onLog?.(line)
    if (task.progress !== undefined) options.onProgress?.(task.progress)
    const { timeoutMs } = work.limits
    if (task.durationMs <= timeoutMs) {
      run.timer = clock.after(task.durationMs, () => this.#end(run, task.result))
      return
    }
    const durationMs = timeoutMs + (task.isAttentive === true ? 0 : GRACE_MS)
    const message = `The task took longer than ${timeoutMs} ms`
    const late = failed({ code: 'task-timeout', message }, { isRetryable: true, durationMs })
    run.timer = clock.after(durationMs, () => this.#end(run, late))
  }

  #cancel(run: Run): void {
    run.timer?.cancel()
    const lost = { kind: 'lost', reason: 'It was cancelled' } as const
    if (run.task === undefined || run.task.isAttentive === true) this.#end(run, lost)
    else run.timer = this.#components.clock.after(GRACE_MS, () => this.#end(run, lost))
  }

  /** Whoever gave it up isn't told how it ended. */
  #end(run: Run, result: WorkResult): void {
    const { signal } = run.options
    run.timer?.cancel()
    this.#running.delete(run)
    this.#waiting = this.#waiting.filter((other) => other !== run)
    signal?.removeEventListener('abort', run.onAbort)
    if (signal?.aborted === true) run.reject(signal.reason)
    else run.resolve(result)
    this.#fill()
    if (this.freeSlots() > 0) this.#emitter.emit('free', undefined)
  }
}
