// Until when a call must be answered, whoever ends it first: the time, the caller or the node.

import type { Clock, Timer } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'

export class Deadline {
  readonly #clock: Clock
  readonly #endMs: number
  readonly #timeoutMs: number
  readonly #ended = new AbortController()
  readonly #timer: Timer
  readonly #sources: readonly AbortSignal[]
  readonly #onAbort: () => void
  #isOver = false

  constructor(
    clock: Clock,
    options: { timeoutMs: number; signal: AbortSignal | undefined; stopping: AbortSignal }
  ) {
    const { timeoutMs, signal, stopping } = options
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#endMs = clock.monotonicMs() + timeoutMs
    this.#sources = signal === undefined ? [stopping] : [stopping, signal]
    this.#onAbort = () => {
      const source = this.#sources.find(({ aborted }) => aborted)
      this.#ended.abort(source?.reason)
    }
    this.#timer = clock.after(timeoutMs, () => {
      this.#isOver = true
      this.#ended.abort(new MeshError('timeout', `No answer within ${timeoutMs} ms`))
    })
    for (const source of this.#sources) {
      if (source.aborted) this.#onAbort()
      else source.addEventListener('abort', this.#onAbort)
    }
  }

  /** Aborted when the call is over for any reason but its answer. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  leftMs(): number {
    return Math.max(1, this.#endMs - this.#clock.monotonicMs())
  }

  /**
   * @param last why the last attempt failed
   * @param isLeaderless no leader is heard here, so an attempt that nobody answered hadn't one either
   * @throws the caller's or the node's reason; no-quorum or timeout when the time is over
   */
  throwIfEnded(last: MeshError | undefined, isLeaderless = false): void {
    const { signal } = this.#ended
    if (!signal.aborted) return
    if (!this.#isOver) throw signal.reason as Error
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
    const { signal } = this.#ended
    signal.throwIfAborted()
    return await new Promise<T>((resolve, reject) => {
      const onAbort = (): void => reject(signal.reason as Error)
      signal.addEventListener('abort', onAbort)
      work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
    })
  }

  [Symbol.dispose](): void {
    this.#timer.cancel()
    for (const source of this.#sources) source.removeEventListener('abort', this.#onAbort)
  }
}
