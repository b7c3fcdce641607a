// A group as it is read: changes that aren't on the disk yet, newest first, over the pairs that are.

import { MeshError, isMeshError } from '../../base/errors.ts'
import { compareBytes, type OrderedReads } from '../../core/machine/ordered-state.ts'
import type { KeyRange, Pair } from '../../core/machine/ordered-state.ts'
import { DELETED, type ChangeTable } from './change-table.ts'
import { keyOfPair, pairKey, slotRange, sumOf, unseal } from './state-record.ts'

export type Layers = {
  /** The newest first. */
  readonly tables: readonly ChangeTable[]
  readonly stored: OrderedReads | undefined
}

export function readThrough({ tables, stored }: Layers, key: Uint8Array): Uint8Array | undefined {
  for (const table of tables) {
    const change = table.get(key)
    if (change !== undefined) return change === DELETED ? undefined : change
  }
  return stored?.get(key)
}

export function rangeThrough({ tables, stored }: Layers, range: KeyRange): Iterable<Pair> {
  const changed = tables.filter((table) => hasAny(table, range))
  if (changed.length === 0) return stored?.range(range) ?? []
  const { limit, ...bounds } = range
  let pairs: Iterable<Pair> = stored?.range(bounds) ?? []
  const isDown = range.reverse === true
  for (const table of changed.toReversed()) pairs = overlaid(table.range(bounds), pairs, isDown)
  return present(pairs, limit ?? Infinity)
}

function hasAny(table: ChangeTable, range: KeyRange): boolean {
  if (table.bytes === 0) return false
  for (const _ of table.range({ ...range, limit: 1 })) return true
  return false
}

/** Both in the same order; a key of `upper` takes the place of the one in `lower`. */
function* overlaid(upper: Iterable<Pair>, lower: Iterable<Pair>, isDown: boolean): Generator<Pair> {
  const sign = isDown ? -1 : 1
  const changes = upper[Symbol.iterator]()
  let next = changes.next()
  for (const pair of lower) {
    let isReplaced = false
    while (next.done !== true) {
      const order = compareBytes(next.value.key, pair.key) * sign
      if (order > 0) break
      isReplaced ||= order === 0
      yield next.value
      next = changes.next()
    }
    if (!isReplaced) yield pair
  }
  for (; next.done !== true; next = changes.next()) yield next.value
}

function* present(pairs: Iterable<Pair>, limit: number): Generator<Pair> {
  let left = limit
  if (left <= 0) return
  for (const pair of pairs) {
    if (pair.value === DELETED) continue
    yield pair
    left -= 1
    if (left <= 0) return
  }
}

/** The pairs of one slot, each checked. (D-13) */
export class SlotReads implements OrderedReads {
  readonly #medium: OrderedReads
  readonly #slot: number
  readonly #onDamage: (error: MeshError) => MeshError
  #lastKey: Uint8Array | undefined
  #lastSum = 0

  /** @param onDamage is told of damage, and says what to throw for it */
  constructor(medium: OrderedReads, slot: number, onDamage: (error: MeshError) => MeshError) {
    this.#medium = medium
    this.#slot = slot
    this.#onDamage = onDamage
  }

  get(key: Uint8Array): Uint8Array | undefined {
    const whole = pairKey(this.#slot, key)
    let value: Uint8Array | undefined
    try {
      value = this.#medium.get(whole)
    } catch (error) {
      throw this.#told(error)
    }
    if (value === undefined) return undefined
    const payload = this.#checked(whole, value)
    this.#lastKey = key
    this.#lastSum = sumOf(value)
    return payload
  }

  /** @returns the checksum of a pair, if it is the last that was read, by the same array for a key. */
  sumOf(key: Uint8Array): number | undefined {
    return key === this.#lastKey ? this.#lastSum : undefined
  }

  /** What was read may change from now on. */
  forget(): void {
    this.#lastKey = undefined
  }

  *range(range: KeyRange): Generator<Pair> {
    if (range.limit !== undefined && range.limit <= 0) return
    const pairs = this.#medium.range(slotRange(this.#slot, range))[Symbol.iterator]()
    try {
      for (;;) {
        const next = this.#nextOf(pairs)
        if (next === undefined) return
        yield { key: keyOfPair(next.key), value: this.#checked(next.key, next.value) }
      }
    } finally {
      pairs.return?.()
    }
  }

  #nextOf(pairs: Iterator<Pair>): Pair | undefined {
    try {
      const next = pairs.next()
      return next.done === true ? undefined : next.value
    } catch (error) {
      throw this.#told(error)
    }
  }

  #checked(key: Uint8Array, value: Uint8Array): Uint8Array {
    const payload = unseal(key, value)
    if (payload !== undefined) return payload
    throw this.#told(new MeshError('corrupt', 'A pair on disk fails its checksum'))
  }

  #told(error: unknown): unknown {
    return isMeshError(error, 'corrupt') ? this.#onDamage(error) : error
  }
}
