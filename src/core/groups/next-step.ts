// Moves the members of a group toward the layout, one safe step at a time. The group's leader asks
// what to do next; nothing is remembered, so whoever leads next goes on where this one stopped.

import type { PeerId } from '../../base/ids.ts'
import type { ConfigChange, ConfigState, ReplicaId } from '../raft/messages.ts'
import type { Place, Roster } from './roster.ts'

/** What the leader knows of a member's log. */
export type MemberProgress = {
  /** The member's log is durably equal to the leader's up to here. */
  readonly match: number
  /** It was heard since the last check of the quorum. */
  readonly isActive: boolean
  /** It is being sent a snapshot. */
  readonly isSnapshot: boolean
}

/** What a leader knows of its group; everything as far as it has applied changes. */
export type GroupView = {
  /** The leader itself: whoever doesn't lead doesn't ask. */
  readonly self: ReplicaId
  readonly roster: Roster
  readonly config: ConfigState
  /** The owners of the group by the layout, 1 to 7 of different peers. Of none: do nothing. */
  readonly desired: readonly Place[]
  /** Of the layout that says so. */
  readonly layoutVersion: number
  readonly lastIndex: number
  readonly commit: number
  /** A change is in the log and not applied, or leadership is being handed over. */
  readonly isChangePending: boolean
  /** Whether this node may bring another learner up to date now, of whatever group. */
  readonly mayAddLearner: boolean
  /** Who is to lead, if it can be chosen; see `preferredLeaders`. */
  readonly preferred?: PeerId | undefined
  /** Undefined for nobody's id. */
  progress(replica: ReplicaId): MemberProgress | undefined
  /** Whether the peer is connected, as far as this node knows. True for itself. */
  isReachable(peer: PeerId): boolean
  /** Whether its own node said that it has no such replica any more: it never comes back. */
  isDead(replica: ReplicaId): boolean
}

/** What the leader is to do now; afterwards it asks again. */
export type Step =
  | { readonly kind: 'nothing' }
  /** Propose this change. */
  | {
      readonly kind: 'change'
      readonly why: 'add-learner' | 'promote' | 'demote' | 'remove-learner'
      readonly change: ConfigChange
    }
  /** Hand leadership to this voter; the next leader goes on. */
  | { readonly kind: 'transfer'; readonly to: ReplicaId }

const NOTHING: Step = { kind: 'nothing' }

/**
 * Learner first; promoted when it has caught up; who goes is demoted in the same change and removed
 * afterwards. No change is made whose quorum isn't there now. May be asked at any time, as often as
 * one likes: equal views give equal steps.
 */
export function nextStep(_view: GroupView): Step {
  return NOTHING
}
