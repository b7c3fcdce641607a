// Reads without a log entry: the leader notes its commit index, makes sure that it still leads, and
// the reader waits until that index is applied. (Dissertation, §6.4 and §6.4.1.)

import { assert } from '../../base/assert.ts'
import type { Refused } from './events.ts'
import { NO_REPLICA } from './messages.ts'
import type { Message } from './messages.ts'
import { jointCommitted } from './quorum.ts'
import type { ConfirmedRead, PendingRead } from './read-queue.ts'
import { broadcastHeartbeat, tellCommitTo } from './replication.ts'
import type { RaftState } from './state.ts'

/** Someone wants to read: this replica, or a follower that passed it on. */
export function onReadIndex(raft: RaftState, message: Message): Refused | undefined {
  const { from, context } = message
  if (raft.role === 'leader') return ask(raft, { from, context })
  if (raft.role !== 'follower' || raft.leader === NO_REPLICA) {
    return { refusal: 'no-leader', problem: 'no leader is known that could be asked' }
  }
  raft.send({ type: 'read-index', from, to: raft.leader, context })
  return undefined
}

/** The leader has confirmed a read of this replica. */
export function onReadIndexResponse(raft: RaftState, message: Message): void {
  raft.readStates.push({ context: message.context, index: message.index })
}

function ask(raft: RaftState, read: PendingRead): Refused | undefined {
  if (raft.reads.count >= raft.config.pendingReadsMax) {
    return { refusal: 'overloaded', problem: `${raft.reads.count} reads wait already` }
  }
  // Before the first commit of its term a leader doesn't know what others have committed.
  if (!isTermCommitted(raft)) raft.reads.postpone(read)
  else admit(raft, read)
  return undefined
}

function isTermCommitted(raft: RaftState): boolean {
  return raft.log.matches(raft.log.committed, raft.term)
}

function admit(raft: RaftState, read: PendingRead): void {
  const confirmed = { ...read, index: raft.log.committed }
  if (raft.config.readMode === 'lease') answer(raft, confirmed)
  else raft.reads.add(confirmed)
}

function answer(raft: RaftState, { from, context, index }: ConfirmedRead): void {
  if (from === raft.id) raft.readStates.push({ context, index })
  else {
    raft.send({ type: 'read-index-response', to: from, index, context })
    // It waits until it has applied that.
    if (raft.config.tellsCommitLate) tellCommitTo(raft, from)
  }
}

/**
 * Asks the quorum about every read that came since the last time: many reads, one heartbeat. Runs
 * when the driver collects what is to be sent.
 */
export function flushReads(raft: RaftState): void {
  if (!hasUnaskedReads(raft)) return
  for (const read of raft.reads.takePostponed()) admit(raft, read)
  const { newest } = raft.reads
  if (newest === 0) return
  const isKnown = raft.reads.confirm(raft.id, newest)
  assert(isKnown, 'the newest read is known')
  broadcastHeartbeat(raft)
  answerConfirmed(raft)
}

/** @returns whether reads wait that {@link flushReads} would ask about. */
export function hasUnaskedReads(raft: RaftState): boolean {
  const { reads } = raft
  if (reads.hasPostponed && isTermCommitted(raft)) return true
  return reads.newest > 0 && reads.confirmedBy(raft.id) !== reads.newest
}

/** A member says that it follows this leader in this term: that confirms what it was asked. */
export function onReadConfirmed(raft: RaftState, message: Message): Refused | undefined {
  const { from, readSequence } = message
  if (readSequence === 0) return undefined
  if (!raft.reads.confirm(from, readSequence)) {
    return { refusal: 'impossible', problem: `read ${readSequence} was never asked` }
  }
  answerConfirmed(raft)
  return undefined
}

/** Answers every read that a quorum has confirmed. */
export function answerConfirmed(raft: RaftState): void {
  if (raft.reads.newest === 0) return
  const sequence = jointCommitted(raft.voters, (id) => raft.reads.confirmedBy(id))
  for (const read of raft.reads.takeConfirmed(sequence)) answer(raft, read)
}
