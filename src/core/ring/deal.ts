// The first layout, with nothing to keep: owners dealt in strides.

import { NO_OWNER } from './layout.ts'
import type { Quotas } from './quotas.ts'
import type { Roster } from './roster.ts'

/**
 * Lays the members end to end on a line, zone after zone, each as long as its quota; arc `a` takes
 * whoever stands at `a`, `a + arcCount`, `a + 2 × arcCount` … No member is longer than a stride, so
 * none comes twice on an arc; a zone comes as often as its length in strides, rounded down or up;
 * and the replica sets are about as few as the members.
 *
 * @returns the owners, `roster.copies` an arc.
 */
export function deal(roster: Roster, { quota }: Quotas, arcCount: number): Uint16Array {
  const owners = new Uint16Array(arcCount * roster.copies).fill(NO_OWNER)
  let position = 0
  for (const peers of roster.peersOf) {
    for (const peer of peers) {
      for (let left = quota[peer] as number; left > 0; left--) {
        owners[(position % arcCount) * roster.copies + Math.floor(position / arcCount)] = peer
        position++
      }
    }
  }
  return owners
}
