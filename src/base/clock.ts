// Time as an interface, so that a simulation can own it.

export type Timer = { cancel(): void }

/**
 * The only source of time. Durations and deadlines are measured on `monotonicMs`; `nowMs` is for
 * people (logs, records) and decides nothing.
 */
export type Clock = {
  /** Milliseconds since an arbitrary start; never runs backwards. */
  monotonicMs(): number
  /** Milliseconds since the Unix epoch. */
  nowMs(): number
  /** Calls `run` once after `delayMs` (≥ 0), unless cancelled. The owner cancels it on stop. */
  after(delayMs: number, run: () => void): Timer
}

/** Resolves after `delayMs`; rejects with `signal.reason` when aborted first. */
export async function sleep(
  clock: Clock,
  delayMs: number,
  options: { signal?: AbortSignal | undefined } = {}
): Promise<void> {
  const { signal } = options
  signal?.throwIfAborted()
  await new Promise<void>((resolve, reject) => {
    const onAbort = (): void => {
      timer.cancel()
      reject(signal?.reason as Error)
    }
    const timer = clock.after(delayMs, () => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    })
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}
