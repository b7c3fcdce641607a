// Members as placement sees them: what the keeper of layouts commits.

import { CAPACITY_UNIT_BYTES, WEIGHT_MAX } from '../base/limits.ts'
import type { LayoutMember } from '../core/groups/committed-layout.ts'
import { isTerminal, type Member } from '../core/membership/member.ts'

/** @returns the placement weight of a capacity: an integer in 1..WEIGHT_MAX. */
function weightOf(capacityBytes: number): number {
  return Math.min(WEIGHT_MAX, Math.max(1, Math.round(capacityBytes / CAPACITY_UNIT_BYTES)))
}

/** Those that are leaving, or out of the mesh, own nothing. */
export function isOut({ record, state }: Member): boolean {
  return isTerminal(state) || record.status !== 'up'
}

/** Down is not gone: a member that doesn't answer keeps its place. */
export function layoutMembers(members: readonly Member[]): LayoutMember[] {
  return members
    .filter((member) => !isOut(member))
    .map(({ record }) => ({
      id: record.peerId,
      weight: weightOf(record.capacityBytes),
      zone: record.zone,
      store: record.storeId,
      revision: record.revision
    }))
}
