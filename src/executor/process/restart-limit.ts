// One process for one that ended, but not for ever: something that ends each of them would keep the
// machine busy with nothing else.

import { MINUTE_MS, SECOND_MS } from '../../base/units.ts'

export const RESTARTS_MAX = 5
export const RESTARTS_WITHIN_MS: number = 10 * SECOND_MS
const BACK_OFF_MS_MIN: number = SECOND_MS
const BACK_OFF_MS_MAX: number = MINUTE_MS

export class RestartLimit {
  /** When processes ended, on the monotonic clock; the last few. */
  #ends: number[] = []
  /** How often the limit was met, without a quiet time between. */
  #exceeded = 0

  /** A process has ended. @returns how long to wait before the next one, milliseconds */
  ended(nowMs: number): number {
    const last = this.#ends.at(-1)
    if (last !== undefined && nowMs - last > BACK_OFF_MS_MAX + RESTARTS_WITHIN_MS) {
      this.#exceeded = 0
    }
    this.#ends = [...this.#ends.filter((at) => nowMs - at < RESTARTS_WITHIN_MS), nowMs]
    if (this.#ends.length < RESTARTS_MAX) return 0
    const delayMs = Math.min(BACK_OFF_MS_MAX, BACK_OFF_MS_MIN * 2 ** this.#exceeded)
    this.#exceeded += 1
    return delayMs
  }
}
