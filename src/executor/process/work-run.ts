// One work of the executor, from the call to its end.

import { MeshError } from '../../base/errors.ts'
import type { SignalWatch } from '../../base/signal-watch.ts'
import type { RunOptions, Work, WorkResult } from '../executor.ts'

export type RunState =
  /** Its code is being fetched. */
  | 'loading'
  /** It waits for its turn. */
  | 'queued'
  /** A process has it. */
  | 'sent'
  /** It runs. */
  | 'started'
  | 'ended'

export class WorkRun {
  readonly number: number
  readonly work: Work
  readonly result: Promise<WorkResult>
  state: RunState = 'loading'
  /** The file of its code. */
  codePath = ''
  startedMs = 0
  /** What it held when it was last reported. */
  usedBytes = 0
  /** The process group of its command. */
  group = 0
  /** How often a process that had it ended before it began. */
  returnCount = 0
  readonly #options: RunOptions
  readonly #resolve: (result: WorkResult) => void
  readonly #reject: (error: unknown) => void
  readonly #watch: SignalWatch<WorkRun>

  /** @param components.watch tells when the caller gives the work up, unless it has ended */
  constructor(
    { watch }: { watch: SignalWatch<WorkRun> },
    { number, work }: { number: number; work: Work },
    options: RunOptions
  ) {
    this.number = number
    this.work = work
    this.#watch = watch
    this.#options = options
    const { promise, resolve, reject } = Promise.withResolvers<WorkResult>()
    this.result = promise
    this.#resolve = resolve
    this.#reject = reject
    if (options.signal !== undefined) watch.add(options.signal, this)
  }

  get signal(): AbortSignal | undefined {
    return this.#options.signal
  }

  get isCancelled(): boolean {
    return this.signal?.aborted === true
  }

  started(nowMs: number): void {
    if (this.state !== 'sent') return
    this.state = 'started'
    this.startedMs = nowMs
    this.#tell(() => this.#options.onStart?.())
  }

  log(line: string): void {
    this.#tell(() => this.#options.onLog?.(line))
  }

  progress(value: Uint8Array): void {
    this.#tell(() => this.#options.onProgress?.(value))
  }

  /** Whoever gave it up isn't told how it ended. */
  end(result: WorkResult): void {
    if (this.isCancelled) this.refuse(this.#options.signal?.reason)
    else if (this.#endOnce()) this.#resolve(result)
  }

  refuse(error: unknown): void {
    if (this.#endOnce()) this.#reject(error)
  }

  lose(reason: string): void {
    this.end({ kind: 'lost', reason })
  }

  #endOnce(): boolean {
    if (this.state === 'ended') return false
    this.state = 'ended'
    if (this.signal !== undefined) this.#watch.delete(this.signal, this)
    return true
  }

  /** What the caller does with it mustn't keep others from their messages. */
  #tell(call: () => void): void {
    if (this.state === 'ended' || this.isCancelled) return
    try {
      call()
    } catch (error) {
      queueMicrotask(() => {
        throw error
      })
    }
  }
}

export function stoppedError(): MeshError {
  return new MeshError('stopped', 'The executor has stopped, or has not started')
}
