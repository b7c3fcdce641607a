// How long a job is left alone that gave nothing: longer each time, until it gives something.

import type { Random } from '../../base/random.ts'
import { SECOND_MS } from '../../base/units.ts'
import { Backoff } from './backoff.ts'

/** After a grant that gave nothing although something was ready, or was refused. */
const REFUSED = { minMs: SECOND_MS / 4, maxMs: 30 * SECOND_MS }
/** After one with nothing left to give: all who were told when to come again will. */
const EMPTY = { minMs: 10, maxMs: 30 * SECOND_MS }

export class JobPauses {
  readonly #refused: Backoff
  readonly #empty: Backoff

  constructor(random: Random) {
    this.#refused = new Backoff(REFUSED, random)
    this.#empty = new Backoff(EMPTY, random)
  }

  /** @returns milliseconds after a refusal */
  refused(): number {
    return this.#refused.next()
  }

  /** @returns milliseconds after there was nothing left */
  empty(): number {
    return this.#empty.next()
  }

  reset(): void {
    this.#refused.reset()
    this.#empty.reset()
  }
}
