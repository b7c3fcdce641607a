// What was refused, counted by reason: hostile or broken input shows in status, and does no more.

import type { MessageProblem } from './message-check.ts'
import type { ApplyRefusal } from './table.ts'

export type Refusal =
  | ApplyRefusal
  | MessageProblem
  /** An update that couldn't be decoded; the rest of its message counts. */
  | 'malformed'
  /** A message in this node's own name, or a table exchange with itself. */
  | 'from-self'
  /** An answer to nothing that waits; late ones are common, and harmless. */
  | 'unknown-seq'
  | 'unknown-member'
  /** Too many pings for others wait already. */
  | 'relays-full'
  /** A forger has used up this node's incarnations: it can't deny what is said of it. */
  | 'incarnation-exhausted'

/** Bounded: the reasons are a closed set. */
export class Refusals {
  readonly #counts = new Map<Refusal, number>()

  get counts(): ReadonlyMap<Refusal, number> {
    return this.#counts
  }

  note(reason: Refusal, count = 1): void {
    if (count > 0) this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + count)
  }
}
