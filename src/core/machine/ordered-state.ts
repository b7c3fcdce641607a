// The ordered store that a machine lives in. The driver gives it: LMDB on disk, a tree in memory.

import { utf8 } from '../../base/bytes.ts'

/**
 * A stored key, at most: what LMDB takes with pages of 4 KiB, as `lmdb` for Node.js is built. All
 * keys of the machine are shorter; `state-keys.ts` says why.
 */
export const STORED_KEY_BYTES_MAX = 1_978

export type Pair = { readonly key: Uint8Array; readonly value: Uint8Array }

/** Keys in [from, to); a missing bound is no bound. `limit` counts pairs. */
export type KeyRange = {
  readonly from?: Uint8Array
  readonly to?: Uint8Array
  readonly limit?: number
  /** From the last key down. */
  readonly reverse?: boolean
}

/**
 * What reading needs: the store itself, or a snapshot of it. Keys are ordered as unsigned bytes, a
 * shorter key before a longer one that begins with it. What is returned stays as it is: neither
 * side changes an array that the other has.
 */
export type OrderedReads = {
  get(key: Uint8Array): Uint8Array | undefined
  range(range: KeyRange): Iterable<Pair>
}

/**
 * The store. All calls are synchronous and happen inside one transaction of the driver's; nothing
 * is written while an iteration goes on. Keys have 1 to {@link STORED_KEY_BYTES_MAX} bytes, values
 * may be empty.
 */
export type OrderedState = OrderedReads & {
  put(key: Uint8Array, value: Uint8Array): void
  /** As `put`, of a key that isn't there, which may save looking for it. */
  insert(key: Uint8Array, value: Uint8Array): void
  /** A key that isn't there is no error. */
  delete(key: Uint8Array): void
}

/** @returns less than, equal to or greater than 0, as `a` comes before, is or comes after `b`. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length)
  for (let index = 0; index < length; index++) {
    const difference = (a[index] as number) - (b[index] as number)
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

export function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  if (bytes.length < prefix.length) return false
  for (let index = 0; index < prefix.length; index++) {
    if (bytes[index] !== prefix[index]) return false
  }
  return true
}

/** @returns the first key after all that begin with `prefix`; undefined when there is none. */
export function prefixEnd(prefix: Uint8Array): Uint8Array | undefined {
  let length = prefix.length
  while (length > 0 && prefix[length - 1] === 0xff) length -= 1
  if (length === 0) return undefined
  const end = prefix.slice(0, length)
  end[length - 1] = (end[length - 1] as number) + 1
  return end
}

/** @returns the number in `digits` hexadecimal digits, so that texts sort as numbers do. */
export function sortableDigits(number: number, digits: number): Uint8Array {
  return utf8(number.toString(16).padStart(digits, '0'))
}
