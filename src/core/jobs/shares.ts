// How much of a worker each submitter had lately. What was long ago counts less and less, so who
// comes back after a while isn't punished for it, and who saved nothing up can't spend it.

import { compareText } from '../../base/ids.ts'
import { MINUTE_MS } from '../../base/units.ts'

/** After so long a use counts half. */
const HALF_LIFE_MS: number = 2 * MINUTE_MS
/** Submitters that are remembered; of more the one with the least is forgotten. */
const SUBMITTERS_MAX = 256

type Use = { slotMs: number; atMs: number }

export class Shares {
  readonly #uses = new Map<string, Use>()
  readonly #weights: ReadonlyMap<string, number>

  /** @param weights of submitters that get more or less than the others, which have 1 */
  constructor(weights: ReadonlyMap<string, number> = new Map()) {
    this.#weights = weights
  }

  /** Notes what a submitter's tasks used. */
  charge(submitter: string, slotMs: number, nowMs: number): void {
    const before = this.#decayed(submitter, nowMs)
    this.#uses.set(submitter, { slotMs: before + slotMs, atMs: nowMs })
    if (this.#uses.size > SUBMITTERS_MAX) this.#forgetOne(nowMs)
  }

  /**
   * @param underWayMs what they will use besides, as far as is known
   * @returns slot-time that counts now, over the submitter's weight: the least goes first
   */
  of(submitter: string, nowMs: number, underWayMs = 0): number {
    const usedMs = this.#decayed(submitter, nowMs) + underWayMs
    return usedMs / (this.#weights.get(submitter) ?? 1)
  }

  #decayed(submitter: string, nowMs: number): number {
    const use = this.#uses.get(submitter)
    if (use === undefined) return 0
    return use.slotMs * 2 ** (-Math.max(0, nowMs - use.atMs) / HALF_LIFE_MS)
  }

  #forgetOne(nowMs: number): void {
    const [least] = [...this.#uses.keys()].toSorted(
      (a, b) => this.#decayed(a, nowMs) - this.#decayed(b, nowMs) || compareText(a, b)
    )
    if (least !== undefined) this.#uses.delete(least)
  }
}
