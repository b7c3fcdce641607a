// Until when a call must be answered, whoever ends it first: the time, the caller or the node. Every
// command has one, so it costs little until somebody asks for its signal.

import { sleep, type Clock, type Timer } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'

/** Makes deadlines that all end when the node stops. */
export class Deadlines {
  readonly #clock: Clock
  readonly #stopping: AbortSignal
  /** One listener at the node's signal for all of them: each would be searched for at its end. */
  readonly #open = new Set<Deadline>()

  constructor(clock: Clock, stopping: AbortSignal) {
    this.#clock = clock
    this.#stopping = stopping
    stopping.addEventListener('abort', () => {
      for (const deadline of this.#open) deadline.end(stopping.reason as Error)
    })
  }

  start(timeoutMs: number, signal?: AbortSignal): Deadline {
    const onDispose = (deadline: Deadline): void => void this.#open.delete(deadline)
    const deadline = new Deadline(this.#clock, { timeoutMs, signal, onDispose })
    this.#open.add(deadline)
    if (this.#stopping.aborted) deadline.end(this.#stopping.reason as Error)
    return deadline
  }
}

export class Deadline {
  readonly #clock: Clock
  readonly #endMs: number
  readonly #timeoutMs: number
  readonly #timer: Timer
  readonly #caller: AbortSignal | undefined
  readonly #onDispose: (deadline: Deadline) => void
  readonly #listeners = new Set<() => void>()
  #controller: AbortController | undefined
  /** Why the call is over. */
  #reason: Error | undefined
  #isOver = false

  constructor(
    clock: Clock,
    options: {
      timeoutMs: number
      signal: AbortSignal | undefined
      onDispose: (deadline: Deadline) => void
    }
  ) {
    const { timeoutMs, signal, onDispose } = options
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#endMs = clock.monotonicMs() + timeoutMs
    this.#onDispose = onDispose
    this.#caller = signal
    this.#timer = clock.after(timeoutMs, () => {
      this.#isOver = this.#reason === undefined
      this.end(new MeshError('timeout', `No answer within ${timeoutMs} ms`))
    })
    if (signal?.aborted === true) this.#onAbort()
    else signal?.addEventListener('abort', this.#onAbort)
  }

  /** Aborted when the call is over for any reason but its answer. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  leftMs(): number {
    return Math.max(1, this.#endMs - this.#clock.monotonicMs())
  }

  /** Waits for so long, or until the call is over. */
  async pause(durationMs: number): Promise<void> {
    const waitMs = Math.min(durationMs, this.leftMs())
    await sleep(this.#clock, waitMs, { signal: this.signal }).catch(() => {})
  }

  /** The call is over, for the first reason that is given. */
  end(reason: Error): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
    for (const listener of this.#listeners) listener()
  }

  /**
   * @param last why the last attempt failed
   * @param isLeaderless no leader is heard here, so an attempt that nobody answered hadn't one either
   * @throws the caller's or the node's reason; no-quorum or timeout when the time is over
   */
  throwIfEnded(last: MeshError | undefined, isLeaderless = false): void {
    if (this.#reason === undefined) return
    if (!this.#isOver) throw this.#reason
    const within = `within ${this.#timeoutMs} ms`
    const isUnanswered = last === undefined || last.code === 'timeout'
    if (isUnanswered && !isLeaderless) {
      throw new MeshError('timeout', `No answer of the shard ${within}; it may have been done`)
    }
    if (last?.code === 'overloaded') throw last
    const problem = `no leader with a majority of the replicas was found ${within}`
    const reason = `${problem} (${last?.message ?? 'none is heard here'})`
    throw new MeshError('no-quorum', `The shard doesn't answer: ${reason}`, { cause: last })
  }

  /** @returns what `work` does, unless the call is over before. @throws the reason then */
  async race<T>(work: Promise<T>): Promise<T> {
    if (this.#reason !== undefined) {
      work.catch(() => {})
      throw this.#reason
    }
    return await new Promise<T>((resolve, reject) => {
      const onEnd = (): void => reject(this.#reason)
      this.#listeners.add(onEnd)
      work.then(
        (value) => {
          this.#listeners.delete(onEnd)
          resolve(value)
        },
        (error: unknown) => {
          this.#listeners.delete(onEnd)
          reject(error)
        }
      )
    })
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
    this.#caller?.removeEventListener('abort', this.#onAbort)
    this.#onDispose(this)
  }

  readonly #onAbort = (): void => this.end(this.#caller?.reason as Error)
}
