// The time that leases are told by. No clock is read when an entry is applied: the leader stamps
// each entry, and the shard's time is the highest stamp so far. It starts at 0 with the shard, and
// has nothing to do with the time of day.
//
// A lease must not end early because of a clock. So a leader's stamps go on from the shard's time as
// it was when it began to lead, by its monotonic clock: what passed while nobody led is nobody's
// time, and a lease has at least as much left as before. Clocks of two machines are never compared,
// and a wall clock that jumps is never read.

import { SECOND_MS } from '../../base/units.ts'
import { TIME_STEP_MS_MAX } from './limits.ts'

/**
 * The longest pause between two looks at the clock that counts as time. A process that was stopped
 * or a machine that slept renewed nobody's lease meanwhile, and some monotonic clocks run on in
 * sleep. Where others vote, they will have another leader by then; a shard alone has not.
 */
const PAUSE_MS_MAX: number = 2 * SECOND_MS

/**
 * Makes the stamps of one leader in one term. The driver makes it when the first entry of its own
 * term was applied, so that stamps of earlier leaders are behind it, and calls `stampMs` at each tick
 * of the group besides, at most a second apart: what passes unseen counts two seconds at most.
 */
export class LeaderClock {
  #timeMs: number
  #seenMs: number

  /**
   * @param machineTimeMs the shard's time.
   * @param nowMs the monotonic clock.
   */
  constructor({ machineTimeMs, nowMs }: { machineTimeMs: number; nowMs: number }) {
    this.#timeMs = machineTimeMs
    this.#seenMs = nowMs
  }

  /**
   * @param nowMs the same clock; one that runs backwards stands still here.
   * @returns the stamp of an entry that is proposed now, a whole number that never falls.
   */
  stampMs(nowMs: number): number {
    const passed = Math.min(Math.max(nowMs - this.#seenMs, 0), PAUSE_MS_MAX)
    this.#seenMs = nowMs
    this.#timeMs += passed
    return Math.floor(this.#timeMs)
  }
}

/**
 * @param stampMs may be behind, by a leader that was replaced, or far ahead, by a broken one: time
 *   doesn't run backwards, and no entry moves it by more than a day, so none can use it up.
 * @returns the shard's time once an entry with this stamp is applied.
 */
export function advance(timeMs: number, stampMs: number): number {
  return Math.min(Math.max(timeMs, stampMs), timeMs + TIME_STEP_MS_MAX)
}
