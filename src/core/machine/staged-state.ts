// What one entry wants to write, before it is sure that it may: an overlay that reads see, and that
// is then written as a whole or dropped. So an operation that is refused halfway leaves no trace.

import { compareBytes } from './ordered-state.ts'
import type { KeyRange, OrderedState, Pair } from './ordered-state.ts'

type Staged = {
  readonly key: Uint8Array
  /** undefined: to be deleted. */
  value: Uint8Array | undefined
  /** Bytes of the value below; undefined when the key isn't there. */
  readonly baseBytes: number | undefined
}

/** An overlay of a state. Iterations see what was staged when they began. */
export class StagedState implements OrderedState {
  readonly #base: OrderedState
  readonly #isCounted: (key: Uint8Array) => boolean
  /** In the order of keys. */
  #staged: Staged[] = []
  #growthBytes = 0
  #lastKey: Uint8Array | undefined
  #lastValue: Uint8Array | undefined

  /** @param isCounted which keys count for `growthBytes`. */
  constructor(base: OrderedState, isCounted: (key: Uint8Array) => boolean) {
    this.#base = base
    this.#isCounted = isCounted
  }

  /** By how much the counted keys and their values will grow; below 0 when they shrink. */
  get growthBytes(): number {
    return this.#growthBytes
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const staged = this.#staged[this.#indexOf(key)]
    if (staged !== undefined && compareBytes(staged.key, key) === 0) return staged.value
    return this.#read(key)
  }

  /** Puts a key that isn't below, which saves looking. */
  insert(key: Uint8Array, value: Uint8Array): void {
    const index = this.#indexOf(key)
    const staged = this.#staged[index]
    if (staged !== undefined && compareBytes(staged.key, key) === 0) this.#set(key, value)
    else {
      this.#staged.splice(index, 0, { key, value, baseBytes: undefined })
      if (this.#isCounted(key)) this.#growthBytes += sizeOf(key, value)
    }
  }

  put(key: Uint8Array, value: Uint8Array): void {
    this.#set(key, value)
  }

  /** Replaces or deletes a key that is below and isn't counted, which saves looking. */
  replace(key: Uint8Array, value: Uint8Array | undefined): void {
    const index = this.#indexOf(key)
    const staged = this.#staged[index]
    if (staged !== undefined && compareBytes(staged.key, key) === 0) staged.value = value
    else this.#staged.splice(index, 0, { key, value, baseBytes: 0 })
  }

  delete(key: Uint8Array): void {
    this.#set(key, undefined)
  }

  range(range: KeyRange): Iterable<Pair> {
    const { from, to, reverse } = range
    const first = from === undefined ? 0 : this.#indexOf(from)
    const end = to === undefined ? this.#staged.length : this.#indexOf(to)
    if (first >= end) return this.#base.range(range)
    const staged = this.#staged.slice(first, end).map(({ key, value }) => ({ key, value }))
    if (reverse === true) staged.reverse()
    return merged(this.#base, staged, range)
  }

  /** Writes everything below, in the order of keys. @returns what `growthBytes` was. */
  commit(): number {
    for (const { key, value, baseBytes } of this.#staged) {
      if (value === undefined) {
        if (baseBytes !== undefined) this.#base.delete(key)
      } else if (baseBytes === undefined) this.#base.insert(key, value)
      else this.#base.put(key, value)
    }
    const growth = this.#growthBytes
    this.discard()
    return growth
  }

  discard(): void {
    if (this.#staged.length > 0) this.#staged = []
    this.#lastKey = undefined
    this.#growthBytes = 0
  }

  #set(key: Uint8Array, value: Uint8Array | undefined): void {
    const index = this.#indexOf(key)
    let staged = this.#staged[index]
    if (staged === undefined || compareBytes(staged.key, key) !== 0) {
      const base = this.#read(key)
      staged = { key, value: base, baseBytes: base?.length }
      this.#staged.splice(index, 0, staged)
    }
    if (this.#isCounted(key)) {
      this.#growthBytes += sizeOf(key, value) - sizeOf(key, staged.value)
    }
    staged.value = value
  }

  /** What was read is often written next, with the same array for a key. */
  #read(key: Uint8Array): Uint8Array | undefined {
    if (key !== this.#lastKey) {
      this.#lastValue = this.#base.get(key)
      this.#lastKey = key
    }
    return this.#lastValue
  }

  #indexOf(key: Uint8Array): number {
    let low = 0
    let high = this.#staged.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compareBytes((this.#staged[middle] as Staged).key, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

function sizeOf(key: Uint8Array, value: Uint8Array | undefined): number {
  return value === undefined ? 0 : key.length + value.length
}

type Overlay = { readonly key: Uint8Array; readonly value: Uint8Array | undefined }

function* merged(
  base: OrderedState,
  overlays: readonly Overlay[],
  { limit, ...range }: KeyRange
): Generator<Pair> {
  let left = limit ?? Infinity
  const sign = range.reverse === true ? -1 : 1
  let next = 0
  for (const pair of base.range(range)) {
    let isReplaced = false
    while (next < overlays.length) {
      const overlay = overlays[next] as Overlay
      const order = compareBytes(overlay.key, pair.key) * sign
      if (order > 0) break
      next += 1
      isReplaced = order === 0
      if (overlay.value === undefined) continue
      if (left-- <= 0) return
      yield { key: overlay.key, value: overlay.value }
    }
    if (isReplaced) continue
    if (left-- <= 0) return
    yield pair
  }
  for (const { key, value } of overlays.slice(next)) {
    if (value === undefined) continue
    if (left-- <= 0) return
    yield { key, value }
  }
}
