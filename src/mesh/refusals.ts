// Why a peer may not come in, or a node can't go on; the same words wherever it shows.

import { MeshError } from '../base/errors.ts'
import type { PeerId, SessionId } from '../base/ids.ts'
import { MEMBER_COUNT_MAX } from '../base/limits.ts'
import { isTerminal, type Member } from '../core/membership/member.ts'

/**
 * @param member what is known of the peer.
 * @param memberCount members now, this node included.
 * @returns why a peer of this mesh may not come in, or undefined when it may
 */
export function refusalOf(
  peer: PeerId,
  member: Member | undefined,
  memberCount: number
): MeshError | undefined {
  if (member?.state === 'evicted') {
    return new MeshError(
      'evicted',
      `${peer} was evicted from this mesh; to come back, start it with an empty data folder`
    )
  }
  const isIn = member !== undefined && !isTerminal(member.state)
  if (isIn || memberCount < MEMBER_COUNT_MAX) return undefined
  return new MeshError('overloaded', `The mesh is full: ${MEMBER_COUNT_MAX} members`)
}

export function selfEvicted(): MeshError {
  return new MeshError(
    'evicted',
    'This node was evicted from its mesh; to join again, use an empty data folder (--data)'
  )
}

export function clonedIdentity(self: PeerId, session: SessionId): MeshError {
  return new MeshError(
    'cloned-identity',
    `Another running node has the identity of this one (${self}, session ${session}): its data ` +
      'folder is a copy. Stop one of the two and start it again with an empty data folder'
  )
}
