// What the storage says it has done: entries and a snapshot that are durable, entries that the
// state machine has.

import type { Refused } from './events.ts'
import { bytesOf } from './log.ts'
import { payloadBytes } from './messages.ts'
import type { Message } from './messages.ts'
import { tryAutoLeave } from './proposal.ts'
import type { RaftState } from './state.ts'

/** Entries up to `index` of term `logTerm` are durable, and the snapshot if there is one. */
export function onAppended(raft: RaftState, message: Message): Refused | undefined {
  const { term, index, logTerm, snapshot, batch } = message
  const { unstable } = raft.log
  // Only of entries that stand here in this term. A late word of ones that were cut off is right,
  // and means nothing any more.
  const isCurrent = term >= raft.term && unstable.term(index) === logTerm
  if (isCurrent && index >= unstable.offsetInProgress) {
    return { refusal: 'impossible', problem: `entry ${index} was never given to the storage` }
  }
  if (index > 0 && term < raft.term) {
    // Another leader may have replaced these entries and brought them back: the same index and
    // term here don't prove that the storage has what stands here now.
    raft.trace?.({ type: 'stale-append-ack', term: raft.term, ackTerm: term })
  } else if (index > 0) {
    unstable.stableTo({ index, term: logTerm, batch })
  }
  if (snapshot !== undefined) {
    if (snapshot.index > raft.log.committed) {
      return { refusal: 'impossible', problem: `snapshot ${snapshot.index} is not from here` }
    }
    unstable.snapshotStableTo(snapshot.index)
    appliedTo(raft, snapshot.index, 0)
  }
  return undefined
}

/** The state machine has these entries. */
export function onApplied(raft: RaftState, message: Message): Refused | undefined {
  const last = message.entries.at(-1)
  if (last === undefined) return undefined
  if (last.index > raft.log.applying) {
    return { refusal: 'impossible', problem: `entry ${last.index} was never given to be applied` }
  }
  const payload = message.entries.reduce((sum, entry) => sum + payloadBytes(entry), 0)
  raft.uncommittedBytes = Math.max(0, raft.uncommittedBytes - payload)
  appliedTo(raft, last.index, bytesOf(message.entries))
  return undefined
}

function appliedTo(raft: RaftState, index: number, bytes: number): void {
  raft.log.appliedTo(index, bytes)
  tryAutoLeave(raft)
}
