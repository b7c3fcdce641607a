// Keys and the spaces they live in. A key is `space/path`; what stands before the first slash is
// its space, and a key without a slash is a space of its own. What shares a space shares a shard.

import { MeshError } from '../../base/errors.ts'
import { KEY_BYTES_MAX, SPACE_BYTES_MAX } from './limits.ts'
import { compareBytes, prefixEnd, startsWith } from './ordered-state.ts'

const SLASH = 0x2f

/** Keys in [from, to). */
export type Span = { readonly from: Uint8Array; readonly to: Uint8Array }

/** @returns a view of what stands before the first slash, or of the whole key. */
export function spaceOf(key: Uint8Array): Uint8Array {
  const slash = key.indexOf(SLASH)
  return slash < 0 ? key : key.subarray(0, slash)
}

/** @throws invalid-argument when it is empty or contains a slash; too-large */
export function checkSpace(space: Uint8Array): void {
  if (space.length === 0) throw new MeshError('invalid-argument', 'A space has a name')
  checkNoSlash(space)
  if (space.length > SPACE_BYTES_MAX) {
    const problem = `has ${space.length} bytes; at most ${SPACE_BYTES_MAX} are accepted`
    throw new MeshError('too-large', `Space "${shown(space)}" ${problem}`)
  }
}

/** @throws invalid-argument */
export function checkNoSlash(space: Uint8Array): void {
  if (!space.includes(SLASH)) return
  throw new MeshError('invalid-argument', `Space "${shown(space)}" contains a slash`)
}

/**
 * @param space without a slash.
 * @throws too-large; invalid-argument when it is empty, or a key of another space
 */
export function checkKey(space: Uint8Array, key: Uint8Array): void {
  if (key.length === 0 || key[0] === SLASH) {
    throw new MeshError('invalid-argument', 'A key begins with its space: space/path')
  }
  let stored = key.length
  if (stored <= KEY_BYTES_MAX) {
    for (let index = 0; index < key.length; index++) if (key[index] === 0) stored += 1
  }
  if (stored > KEY_BYTES_MAX) {
    const problem = `has ${stored} bytes, NUL counted twice; at most ${KEY_BYTES_MAX} are accepted`
    throw new MeshError('too-large', `Key "${shown(key)}" ${problem}`)
  }
  const isInside = key.length === space.length || key[space.length] === SLASH
  if (!isInside || !startsWith(key, space)) throw foreign(space, key)
}

/**
 * A range lies between `space/` and the end of the keys that begin so; the key that is the space's
 * name alone is read by itself.
 *
 * @throws invalid-argument
 */
export function checkSpan(space: Uint8Array, { from, to }: Span): void {
  if (space.length === 0) {
    throw new MeshError('invalid-argument', 'A range lies in a space: space/path')
  }
  const all = spanOfSpace(space)
  if (compareBytes(from, all.from) < 0 || compareBytes(to, all.to) > 0)
    throw foreign(space, compareBytes(from, all.from) < 0 ? from : to)
  if (compareBytes(from, to) > 0) {
    throw new MeshError('invalid-argument', `Range from "${shown(from)}" ends before it begins`)
  }
}

/** @returns all keys that begin with `prefix`, which isn't empty. */
export function spanOfPrefix(prefix: Uint8Array): Span {
  const to = prefixEnd(prefix)
  if (to === undefined) throw new MeshError('invalid-argument', 'A prefix names a space')
  return { from: prefix, to }
}

/** @returns the span that this key alone lies in. */
export function spanOfKey(key: Uint8Array): Span {
  const to = new Uint8Array(key.length + 1)
  to.set(key)
  return { from: key, to }
}

/** @returns whether {@link spanOfKey} made it. */
export function isOneKey({ from, to }: Span): boolean {
  return to.length === from.length + 1 && to[from.length] === 0 && startsWith(to, from)
}

export function isWithin(key: Uint8Array, { from, to }: Span): boolean {
  return compareBytes(key, from) >= 0 && compareBytes(key, to) < 0
}

/** @returns bytes for a message: printable ASCII as it is, the rest as `.`; at most 80. */
export function shown(key: Uint8Array): string {
  let text = ''
  for (const byte of key.subarray(0, 80)) {
    text += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.'
  }
  return key.length > 80 ? `${text}…` : text
}

function spanOfSpace(space: Uint8Array): Span {
  const from = new Uint8Array(space.length + 1)
  from.set(space)
  from[space.length] = SLASH
  return spanOfPrefix(from)
}

function foreign(space: Uint8Array, key: Uint8Array): MeshError {
  const isInside = startsWith(key, space) && key.length === space.length
  const problem = isInside
    ? `a range begins at "${shown(space)}/" or after it`
    : `"${shown(key)}" is outside of space "${shown(space)}"; one operation stays in one space`
  return new MeshError('invalid-argument', `Cannot do that: ${problem}`)
}
