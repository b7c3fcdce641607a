// The pairs of a store, read once: each is unsealed and checked as it is read, which takes longer than
// looking at it.

import {
  compareBytes,
  type KeyRange,
  type OrderedReads,
  type Pair
} from '../../../src/core/machine/ordered-state.ts'

export class ReadPairs implements OrderedReads {
  readonly #pairs: readonly Pair[]

  constructor(state: OrderedReads) {
    this.#pairs = [...state.range({})]
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const pair = this.#pairs[this.#indexOf(key)]
    return pair !== undefined && compareBytes(pair.key, key) === 0 ? pair.value : undefined
  }

  range({ from, to, limit, reverse }: KeyRange): readonly Pair[] {
    const first = from === undefined ? 0 : this.#indexOf(from)
    const end = to === undefined ? this.#pairs.length : this.#indexOf(to)
    const pairs = this.#pairs.slice(first, Math.max(first, end))
    return (reverse === true ? pairs.toReversed() : pairs).slice(0, limit)
  }

  /** @returns where the key is or belongs */
  #indexOf(key: Uint8Array): number {
    let low = 0
    let high = this.#pairs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareBytes((this.#pairs[middle] as Pair).key, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}
