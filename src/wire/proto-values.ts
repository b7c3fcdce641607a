// Values of fields that were read by `readFields`, each held against its kind and its bound.

import { fromUtf8, utf8 } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import { peerId } from '../base/ids.ts'
import type { PeerId } from '../base/ids.ts'
import { malformed } from './proto.ts'
import type { ProtoField } from './proto-writer.ts'

const PEER_BYTES_MAX = 128

/** @throws invalid-data unless it is a number up to `max` */
export function numberOf(
  field: ProtoField,
  what: string,
  max: number = Number.MAX_SAFE_INTEGER
): number {
  if (field.kind !== 'number') throw malformed(what, `field ${field.field} is no number`)
  if (field.number > max) throw malformed(what, `${field.number} is out of range`)
  return field.number
}

export function flagOf(field: ProtoField, what: string): boolean {
  return numberOf(field, what) !== 0
}

/** @returns a view. @throws invalid-data unless it is bytes, at most `bytesMax` of them */
export function bytesOf(field: ProtoField, what: string, bytesMax: number): Uint8Array {
  if (field.kind !== 'bytes') throw malformed(what, `field ${field.field} is a number`)
  if (field.bytes.length > bytesMax) {
    const problem = `has ${field.bytes.length} bytes; at most ${bytesMax} are accepted`
    throw malformed(what, `field ${field.field} ${problem}`)
  }
  return field.bytes
}

/** @throws invalid-data unless it is UTF-8, at most `bytesMax` bytes of it */
export function textOf(field: ProtoField, what: string, bytesMax: number): string {
  const bytes = bytesOf(field, what, bytesMax)
  try {
    return fromUtf8(bytes)
  } catch (error) {
    throw malformed(what, `field ${field.field} is not UTF-8`, error)
  }
}

/** @throws invalid-data, invalid-argument */
export function peerOf(field: ProtoField, what: string): PeerId {
  return peerId(textOf(field, what, PEER_BYTES_MAX))
}

/** What is to be written: the far end would refuse all that it comes with. @throws too-large */
export function bounded(bytes: Uint8Array, bytesMax: number, what: string): Uint8Array {
  if (bytes.length <= bytesMax) return bytes
  const bound = `at most ${bytesMax} can be sent`
  throw new MeshError('too-large', `${what} has ${bytes.length} bytes; ${bound}`)
}

/** @returns the text in UTF-8, cut between characters to at most `bytesMax` bytes. */
export function cutText(text: string, bytesMax: number): Uint8Array {
  const bytes = utf8(text)
  if (bytes.length <= bytesMax) return bytes
  let end = bytesMax
  // A byte of the form 10xxxxxx goes on with the character before it.
  while (end > 0 && ((bytes[end] as number) & 0xc0) === 0x80) end -= 1
  return bytes.slice(0, end)
}
