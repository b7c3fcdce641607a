// Handing leadership to another replica. (Dissertation, §3.10.)

import { campaignForTransfer } from './election.ts'
import type { Refused } from './events.ts'
import { NO_REPLICA } from './messages.ts'
import type { Message, ReplicaId } from './messages.ts'
import { tryAutoLeave } from './proposal.ts'
import { sendAppend } from './replication.ts'
import type { RaftState } from './state.ts'

/**
 * `message.vote` is to lead. The leader brings it up to date first and takes no proposals
 * meanwhile; after an election timeout it gives up. A follower passes the wish on.
 */
export function onTransferLeader(raft: RaftState, message: Message): void {
  const target = message.vote
  if (raft.role === 'leader') {
    startTransfer(raft, target)
  } else if (raft.role === 'follower' && raft.leader !== NO_REPLICA) {
    raft.send({ type: 'transfer-leader', to: raft.leader, vote: target })
  }
}

function startTransfer(raft: RaftState, target: ReplicaId): void {
  const progress = raft.progressOf(target)
  if (progress === undefined || progress.isLearner || raft.transferTo === target) return
  raft.transferTo = NO_REPLICA
  if (target === raft.id) return
  raft.trace?.({ type: 'transfer-started', to: target, term: raft.term })
  // The time for it starts now.
  raft.electionElapsed = 0
  raft.transferTo = target
  if (progress.match === raft.log.lastIndex) sendTimeoutNow(raft, 'at-once')
  else sendAppend(raft, target, true)
}

/** The target has everything: it may stop waiting. */
function sendTimeoutNow(raft: RaftState, reason: 'at-once' | 'caught-up'): void {
  const to = raft.transferTo
  raft.send({ type: 'timeout-now', to })
  raft.trace?.({ type: 'timeout-now-sent', to, reason })
}

/** A member's log has grown: perhaps it is the one that waits to lead. */
export function onCaughtUp(raft: RaftState, id: ReplicaId): void {
  if (raft.role !== 'leader' || raft.transferTo !== id) return
  if (raft.progressOf(id)?.match === raft.log.lastIndex) sendTimeoutNow(raft, 'caught-up')
}

/** The target did not take over in time: this leader leads on. */
export function abortTransfer(raft: RaftState): void {
  if (raft.transferTo === NO_REPLICA) return
  raft.transferTo = NO_REPLICA
  tryAutoLeave(raft)
}

/** The leader says: campaign now. */
export function onTimeoutNow(raft: RaftState, message: Message): Refused | undefined {
  if (raft.role !== 'follower') return undefined
  const { from } = message
  if (raft.leader !== NO_REPLICA && raft.leader !== from) {
    return { refusal: 'impossible', problem: `${raft.leader} leads, not ${from}` }
  }
  raft.trace?.({ type: 'timeout-now-received', from, term: raft.term })
  campaignForTransfer(raft)
  return undefined
}
