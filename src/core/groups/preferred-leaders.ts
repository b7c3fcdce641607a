// Who should lead which group, so that every peer leads about as many. A pure function of the
// layout: liveness has no part in it, so nothing that comes and goes moves leaders around.

import type { PeerId } from '../../base/ids.ts'
import type { ReplicaId } from '../raft/messages.ts'
import type { GroupView } from './next-step.ts'

/**
 * @param owners of each group, by its number; of different peers
 * @returns the peer that should lead each group; undefined for a group without owners. The numbers
 *   of groups that peers lead differ by as little as the owners allow.
 */
export function preferredLeaders(
  owners: readonly (readonly PeerId[])[]
): readonly (PeerId | undefined)[] {
  return owners.map((peers) => peers[0])
}

/** A leader hands over only when nothing has changed for so many ticks. */
export const TRANSFER_QUIET_TICKS = 100

/**
 * Whether a leader should make room for the preferred one: a voter that is there and has caught up.
 * Never while members change or should.
 *
 * @param quietTicks since this leader was elected, its members changed, or the preferred peer was
 *   out of reach, whichever was last
 * @returns whom to hand leadership to; undefined to go on leading
 */
export function shouldTransfer(_view: GroupView, _quietTicks: number): ReplicaId | undefined {
  return undefined
}
