// The member table as a node keeps it on disk: protocols/disk and protocols/membership.

import { MIB } from '../base/units.ts'
import { isTerminal, type MemberUpdate } from '../core/membership/member.ts'
import { RememberedSchema } from './generated/membership/v1_pb.ts'
import { decodeUpdates, encodeUpdate } from './membership.ts'
import { decode, encode } from './proto.ts'

/** The table on disk, at most; see protocols/disk. */
export const REMEMBERED_BYTES_MAX: number = 4 * MIB
/** Field number and length of one update in it. */
const UPDATE_OVERHEAD_BYTES = 5

/**
 * Of a table that is too long to be read again only a part is kept: evictions, which nothing else
 * may undo, then members, then other tombstones.
 */
export function encodeRemembered(updates: readonly MemberUpdate[]): Uint8Array {
  const encoded = updates.map(encodeUpdate)
  const rank = ({ state }: MemberUpdate): number =>
    state === 'evicted' ? 0 : isTerminal(state) ? 2 : 1
  const kept = new Set<Uint8Array>()
  let bytes = 0
  for (const wanted of [0, 1, 2]) {
    for (const [index, part] of encoded.entries()) {
      if (rank(updates[index] as MemberUpdate) !== wanted) continue
      if (bytes + part.length + UPDATE_OVERHEAD_BYTES > REMEMBERED_BYTES_MAX) continue
      bytes += part.length + UPDATE_OVERHEAD_BYTES
      kept.add(part)
    }
  }
  return encode(RememberedSchema, { updates: encoded.filter((part) => kept.has(part)) })
}

/** @throws invalid-data when the whole can't be read; a single bad update is left out. */
export function decodeRemembered(bytes: Uint8Array): MemberUpdate[] {
  const { updates } = decode(RememberedSchema, bytes)
  return decodeUpdates(updates, { onMalformed: () => {} })
}
