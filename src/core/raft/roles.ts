// The changes of role, and what a leader appends. (Raft, §5.1, §5.2; dissertation, §3.4.)

import { assert } from '../../base/assert.ts'
import type { Role } from './events.ts'
import { NO_BYTES, NO_REPLICA, NUMBER_MAX, payloadBytes } from './messages.ts'
import type { ConfigChange, Entry, ReplicaId } from './messages.ts'
import type { RaftState } from './state.ts'

export function becomeFollower(raft: RaftState, term: number, leader: ReplicaId): void {
  raft.reset(term)
  raft.leader = leader
  enter(raft, 'follower')
}

/** A trial before an election: neither term nor vote change. (Dissertation, §9.6.) */
export function becomePreCandidate(raft: RaftState): void {
  assert(raft.role !== 'leader', 'a leader does not campaign')
  raft.votes.clear()
  raft.leader = NO_REPLICA
  enter(raft, 'pre-candidate')
}

export function becomeCandidate(raft: RaftState): void {
  assert(raft.role !== 'leader', 'a leader does not campaign')
  raft.reset(raft.term + 1)
  raft.vote = raft.id
  enter(raft, 'candidate')
}

/**
 * The term opens with an empty entry: when it is committed, so is everything before it, which
 * may not be counted by itself. (Raft, §5.4.2 and §8; figure 8.)
 */
export function becomeLeader(raft: RaftState): void {
  assert(raft.role === 'candidate', 'only a candidate becomes leader')
  raft.reset(raft.term)
  raft.leader = raft.id
  const own = raft.progressOf(raft.id)
  if (own !== undefined) {
    own.becomeReplicate()
    own.isActive = true
  }
  // A change of members may be among the entries that are not applied yet.
  raft.pendingConfigIndex = raft.log.lastIndex
  raft.role = 'leader'
  const isTaken = appendOwn(raft, [{ type: 'normal', term: 0, index: 0, data: NO_BYTES }])
  assert(isTaken, 'the empty entry is never too much')
  raft.trace?.({ type: 'became', role: 'leader', term: raft.term })
}

function enter(raft: RaftState, role: Role): void {
  raft.role = role
  raft.trace?.({ type: 'became', role, term: raft.term })
}

/**
 * Appends a leader's entries to its log, with its term and the next indexes. Its own
 * acknowledgement comes when they are durable, as everybody else's does.
 *
 * @returns false when too much waits to be committed already, and nothing was appended
 */
export function appendOwn(raft: RaftState, entries: readonly Entry[]): boolean {
  const bytes = entries.reduce((sum, entry) => sum + payloadBytes(entry), 0)
  // What carries nothing is never refused: the empty entry of a term, and leaving a joint config.
  const isFull =
    raft.uncommittedBytes > 0 && raft.uncommittedBytes + bytes > raft.config.uncommittedBytesMax
  if (bytes > 0 && isFull) return false
  let index = raft.log.lastIndex
  if (index + entries.length > NUMBER_MAX) return false
  raft.uncommittedBytes += bytes
  raft.log.append(entries.map((entry) => ({ ...entry, term: raft.term, index: ++index })))
  raft.send({ type: 'append-response', to: raft.id, index })
  return true
}

/** A change without steps: it means to leave the joint configuration. */
export const LEAVE_JOINT: ConfigChange = { transition: 'auto', steps: [], context: NO_BYTES }
