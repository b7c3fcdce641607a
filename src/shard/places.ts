// Where the replicas of each group live, and which of them are no more: by the members that are
// applied here, and by what peers said where those don't say it yet.

import type { PeerId } from '../base/ids.ts'
import type { GroupMember, Place } from '../core/groups/roster.ts'
import { memberOf } from '../core/groups/roster.ts'
import type { Message, ReplicaId } from '../core/raft/messages.ts'
import type { Replica } from './replica.ts'

/** Of a group: replicas that wrote before they were known as members, and those that are no more. */
const HEARD_MAX = 64
const DEAD_MAX = 1_024

export class Places {
  readonly #senders = new Map<number, Map<ReplicaId, Place>>()
  /** The members of each group as they were when they last changed. */
  readonly #rosters = new Map<number, readonly GroupMember[]>()
  readonly #dead = new Map<number, Set<ReplicaId>>()

  of(replica: Replica, id: ReplicaId): Place | undefined {
    return memberOf(replica.applied.roster, id) ?? this.#senders.get(replica.group)?.get(id)
  }

  /** Whether a message may be from whom it says; `removed`: its sender is no member any more. */
  check(replica: Replica, from: Place, message: Message): 'right' | 'wrong' | 'removed' {
    // Passed on under the name of who asked first.
    if (message.type === 'propose' || message.type === 'read-index') return 'right'
    const { roster } = replica.applied
    const member = memberOf(roster, message.from)
    if (member !== undefined) {
      return member.peer === from.peer && member.store === from.store ? 'right' : 'wrong'
    }
    if (message.from < roster.nextReplica) return 'removed'
    const senders = this.#senders.get(replica.group) ?? new Map<ReplicaId, Place>()
    this.#senders.set(replica.group, senders)
    if (senders.size < HEARD_MAX) senders.set(message.from, from)
    return 'right'
  }

  /** A peer says that it has no such replica any more. Believed of its own ones. @returns whether that is new */
  noteDead(replica: Replica, id: ReplicaId, peer: PeerId): boolean {
    if (replica.applied.peerOf(id) !== peer) return false
    const dead = this.#dead.get(replica.group) ?? new Set()
    this.#dead.set(replica.group, dead)
    if (dead.has(id) || dead.size >= DEAD_MAX) return false
    dead.add(id)
    return true
  }

  isDead(group: number, id: ReplicaId): boolean {
    return this.#dead.get(group)?.has(id) === true
  }

  /**
   * The members of a group changed: what was only heard is of no use any more.
   *
   * @returns the members before
   */
  membersChanged(replica: Replica): readonly GroupMember[] {
    const before = this.#rosters.get(replica.group) ?? []
    this.#rosters.set(replica.group, replica.applied.roster.members)
    this.#senders.delete(replica.group)
    const dead = this.#dead.get(replica.group)
    for (const id of dead ?? []) {
      if (memberOf(replica.applied.roster, id) === undefined) dead?.delete(id)
    }
    return before
  }
}
