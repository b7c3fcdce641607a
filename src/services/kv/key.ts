// Keys and values as callers write them: text is UTF-8.

import { utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { compareBytes, prefixEnd } from '../../core/machine/ordered-state.ts'
import { spaceOf, spanOfKey, spanOfPrefix } from '../../core/machine/space.ts'
import type { Span } from '../../core/machine/space.ts'

const SLASH = 0x2f

/** `space/path`; the space is what stands before the first slash. At most 1 KiB. */
export type Key = string | Uint8Array
/** At most 256 KiB; larger things are files. */
export type Value = string | Uint8Array

/** Which keys: those that begin with a text, one, or those from a key to before another. */
export type Selector =
  | Key
  | { readonly prefix: Key }
  | { readonly key: Key }
  | { readonly from: Key; readonly to: Key }

/** Where keys lie: within one space, so in one shard, or anywhere. */
export type Place =
  | { readonly space: Uint8Array; readonly span: Span }
  | { readonly space: undefined; readonly span: Partial<Span> }

/** @throws invalid-argument for a text with half a surrogate pair: two texts would be one key. */
export function toBytes(text: Key | Value): Uint8Array {
  if (typeof text !== 'string') return text
  if (text.isWellFormed()) return utf8(text)
  throw new MeshError('invalid-argument', 'A text has half a surrogate pair; give bytes instead')
}

/** @returns the space of a key. @throws invalid-argument */
export function spaceOfKey(key: Uint8Array): Uint8Array {
  const space = spaceOf(key)
  if (space.length > 0) return space
  throw new MeshError('invalid-argument', 'A key begins with its space: space/path')
}

/** @throws invalid-argument */
export function placeOf(selector: Selector): Place {
  if (typeof selector === 'string' || selector instanceof Uint8Array) {
    return placeOfPrefix(toBytes(selector))
  }
  if ('prefix' in selector) return placeOfPrefix(toBytes(selector.prefix))
  if ('key' in selector) {
    const key = toBytes(selector.key)
    return { space: spaceOfKey(key), span: spanOfKey(key) }
  }
  const span = { from: toBytes(selector.from), to: toBytes(selector.to) }
  if (compareBytes(span.from, span.to) > 0) {
    throw new MeshError('invalid-argument', 'Cannot list: the range ends before it begins')
  }
  const space = spaceOf(span.from)
  const isInside =
    space.length > 0 && space.length < span.from.length && compareBytes(span.to, endOf(space)) <= 0
  return isInside ? { space, span } : { space: undefined, span }
}

function placeOfPrefix(prefix: Uint8Array): Place {
  if (prefix.includes(SLASH)) return { space: spaceOfKey(prefix), span: spanOfPrefix(prefix) }
  const to = prefixEnd(prefix)
  return { space: undefined, span: to === undefined ? { from: prefix } : { from: prefix, to } }
}

/** @returns the first key after all of a space. */
function endOf(space: Uint8Array): Uint8Array {
  const end = new Uint8Array(space.length + 1)
  end.set(space)
  end[space.length] = SLASH + 1
  return end
}
