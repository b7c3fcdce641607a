// The keys, or the locks, that clients work on. Each is used for a while only: a long history of one key, or one
// with many operations that nobody knows of, takes the checker too long.

import { pick } from '../../../src/base/random.ts'
import type { Random } from '../../../src/base/random.ts'

export type KeyPoolOptions = {
  /** At one time. */
  readonly keys: number
  /** Then another key takes its place. */
  readonly operationsPerKeyMax: number
  /** Likewise; what is under way comes on top. */
  readonly unknownsPerKeyMax: number
}

type Slot = { generation: number; operations: number; unknowns: number }

export class KeyPool {
  readonly #options: KeyPoolOptions
  readonly #slots: Slot[]
  readonly #name: string

  /** @param name what their spaces begin with */
  constructor(name: string, options: KeyPoolOptions) {
    this.#name = name
    this.#options = options
    const blank = { generation: 1, operations: 0, unknowns: 0 }
    this.#slots = Array.from({ length: options.keys }, () => ({ ...blank }))
  }

  /** @returns a key for one operation. Each has a space of its own, to be spread over the shards. */
  take(random: Random): string {
    const slot = pick(random, this.#slots)
    const { operationsPerKeyMax, unknownsPerKeyMax } = this.#options
    if (slot.operations >= operationsPerKeyMax || slot.unknowns >= unknownsPerKeyMax) {
      Object.assign(slot, { generation: slot.generation + 1, operations: 0, unknowns: 0 })
    }
    slot.operations += 1
    return this.#keyOf(slot)
  }

  /** An operation on this key has ended, and nobody knows how. */
  noteUnknown(key: string): void {
    const slot = this.#slots.find((candidate) => this.#keyOf(candidate) === key)
    if (slot !== undefined) slot.unknowns += 1
  }

  #keyOf(slot: Slot): string {
    return `${this.#name}-${this.#slots.indexOf(slot)}-${slot.generation}/key`
  }
}
