// Waiting longer after each time that nothing came of it.

import type { Random } from '../../base/random.ts'

export type BackoffOptions = { readonly minMs: number; readonly maxMs: number }

/** Pauses that double, each with jitter of a half, so that many who wait don't come at once. */
export class Backoff {
  readonly #options: BackoffOptions
  readonly #random: Random
  #boundMs: number

  constructor(options: BackoffOptions, random: Random) {
    this.#options = options
    this.#random = random
    this.#boundMs = options.minMs
  }

  /** @returns the next pause: from half of a bound, which doubles with each, to all of it */
  next(): number {
    const boundMs = this.#boundMs
    this.#boundMs = Math.min(this.#options.maxMs, 2 * boundMs)
    const half = Math.floor(boundMs / 2)
    return half + this.#random.below(boundMs - half + 1)
  }

  /** Something came of it. */
  reset(): void {
    this.#boundMs = this.#options.minMs
  }
}
