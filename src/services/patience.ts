// What may be well again in a moment, and asking again until it is.

import { sleep, type Clock } from '../base/clock.ts'
import { isMeshError, type ErrorCode } from '../base/errors.ts'

const PASSING: readonly ErrorCode[] = ['unreachable', 'no-quorum', 'timeout', 'overloaded']
const RETRY_MS = 200

/** Whether asking again may help. */
export function isPassing(error: unknown): boolean {
  return isMeshError(error) && PASSING.includes(error.code)
}

/**
 * Asks until there is an answer, however long a shard is without a majority.
 *
 * @throws what isn't passing, or the signal's reason
 */
export async function askPatiently<T>(
  clock: Clock,
  signal: AbortSignal | undefined,
  ask: () => Promise<T>
): Promise<T> {
  for (;;) {
    signal?.throwIfAborted()
    try {
      return await ask()
    } catch (error) {
      signal?.throwIfAborted()
      if (!isPassing(error)) throw error
      await sleep(clock, RETRY_MS, { signal })
    }
  }
}
