// Which instance of an operator gets a tuple.

/** What tuples are grouped by. */
export type GroupKey = string | number | bigint | boolean

/** @returns the same instance for the same key, in every process; about equally many keys for each */
export function instanceOfKey(key: GroupKey, instances: number): number {
  // FNV-1a, and then the last step of MurmurHash3: alone its low bits are those of the last letters.
  const text = typeof key === 'string' ? key : String(key)
  let hash = 0x811c9dc5
  for (let index = 0; index < text.length; index++) {
    hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) % instances
}

/** One after the other, but for those that aren't ready. */
export class RoundRobin {
  readonly #count: number
  #last = -1

  constructor(count: number) {
    this.#count = count
  }

  /** @returns the next one that is ready; the next one when none is */
  next(isReady: (index: number) => boolean): number {
    for (let step = 1; step <= this.#count; step++) {
      const index = (this.#last + step) % this.#count
      if (!isReady(index)) continue
      this.#last = index
      return index
    }
    this.#last = (this.#last + 1) % this.#count
    return this.#last
  }
}
