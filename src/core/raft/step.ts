// One message: is it well formed, what does its term say, and whose business is it. (Raft, §5.1,
// "Current terms are exchanged …", and the rules for all servers in figure 2.)

import { ignoreVote, isInLease, onVote, onVoteResponse, rejectVote } from './election.ts'
import type { Refused } from './events.ts'
import { onAppend, onHeartbeat, onSnapshot } from './follower.ts'
import { isFromStorage, isTermless, messageProblem } from './message-check.ts'
import { NO_REPLICA } from './messages.ts'
import type { Message, MessageType } from './messages.ts'
import { onPropose } from './proposal.ts'
import { onReadConfirmed, onReadIndex, onReadIndexResponse } from './read-index.ts'
import { onAppendResponse, onHeartbeatResponse } from './replication.ts'
import { becomeFollower } from './roles.ts'
import type { RaftState } from './state.ts'
import { onAppended, onApplied } from './storage-answers.ts'
import { onCaughtUp, onTimeoutNow, onTransferLeader } from './transfer.ts'

const FROM_LEADER: ReadonlySet<MessageType> = new Set(['append', 'heartbeat', 'snapshot'])
const RESPONSES: ReadonlySet<MessageType> = new Set([
  'append-response',
  'vote-response',
  'pre-vote-response',
  'heartbeat-response',
  'read-index-response'
])

/** Takes in one message. @returns why it was refused; then nothing but its term was believed. */
export function step(raft: RaftState, message: Message): Refused | undefined {
  const refused = stepIfRight(raft, message)
  if (refused !== undefined) raft.trace?.({ type: 'message-refused', ...refused, message })
  return refused
}

function stepIfRight(raft: RaftState, message: Message): Refused | undefined {
  if (message.to !== raft.id) {
    return { refusal: 'misdirected', problem: `it is for ${String(message.to)}` }
  }
  if (isFromStorage(message)) return stepFromStorage(raft, message)
  const problem = messageProblem(message, raft.id)
  if (problem !== undefined) return { refusal: 'malformed', problem }
  if (RESPONSES.has(message.type) && raft.progressOf(message.from) === undefined) {
    return { refusal: 'unknown-replica', problem: `${message.from} is no member here` }
  }
  return stepByTerm(raft, message)
}

/** What the storage of this replica has done. */
export function stepFromStorage(raft: RaftState, message: Message): Refused | undefined {
  return message.type === 'storage-append-response'
    ? onAppended(raft, message)
    : onApplied(raft, message)
}

function stepByTerm(raft: RaftState, message: Message): Refused | undefined {
  const { type, term, from } = message
  if (isTermless(message)) return dispatch(raft, message)
  if (term < raft.term) {
    onLowerTerm(raft, message)
    return undefined
  }
  if (term > raft.term) {
    const isVote = type === 'vote' || type === 'pre-vote'
    if (isVote && !message.isTransfer && isInLease(raft)) {
      ignoreVote(raft, message, type)
      return undefined
    }
    // A trial changes nobody's term; its granted answers carry the term of the election to come.
    if (type !== 'pre-vote' && (type !== 'pre-vote-response' || message.reject)) {
      raft.trace?.({ type: 'higher-term', term: raft.term, message })
      becomeFollower(raft, term, FROM_LEADER.has(type) ? from : NO_REPLICA)
    }
  }
  return dispatch(raft, message)
}

function onLowerTerm(raft: RaftState, message: Message): void {
  const { type, from } = message
  const { checkQuorum, preVote } = raft.config
  if ((checkQuorum || preVote) && (type === 'append' || type === 'heartbeat')) {
    // Our term is higher, yet with these two we ask nobody to vote: tell the old leader by an
    // answer, or it would lead on and we would never hear from another.
    raft.send({ type: 'append-response', to: from })
  } else if (type === 'pre-vote') {
    // Or the candidate would wait for us: it may be the one with the longer log.
    rejectVote(raft, message, 'pre-vote')
  } else {
    raft.trace?.({ type: 'lower-term', term: raft.term, message })
  }
}

function dispatch(raft: RaftState, message: Message): Refused | undefined {
  switch (message.type) {
    case 'append':
    case 'heartbeat':
    case 'snapshot':
      return onLeaderMessage(raft, message)
    case 'append-response':
    case 'heartbeat-response':
      return raft.role === 'leader' ? onFollowerMessage(raft, message) : undefined
    case 'vote':
    case 'pre-vote':
      onVote(raft, message, message.type)
      return undefined
    case 'vote-response':
      onVoteResponse(raft, message, 'vote')
      return undefined
    case 'pre-vote-response':
      onVoteResponse(raft, message, 'pre-vote')
      return undefined
    case 'propose':
      return onPropose(raft, message)
    case 'read-index':
      return onReadIndex(raft, message)
    case 'read-index-response':
      if (raft.role === 'follower') onReadIndexResponse(raft, message)
      return undefined
    case 'transfer-leader':
      onTransferLeader(raft, message)
      return undefined
    case 'timeout-now':
      return onTimeoutNow(raft, message)
    default:
      return { refusal: 'misdirected', problem: `a storage gives no "${message.type}"` }
  }
}

/** The leader of this term speaks: whoever campaigned in it has lost. */
function onLeaderMessage(raft: RaftState, message: Message): Refused | undefined {
  const { type, from } = message
  if (raft.role === 'leader') {
    return { refusal: 'impossible', problem: `this replica leads term ${raft.term}` }
  }
  const isOther = raft.leader !== NO_REPLICA && raft.leader !== from
  if (isOther && type !== 'snapshot') {
    return { refusal: 'impossible', problem: `${raft.leader} leads term ${raft.term}` }
  }
  if (raft.role === 'follower') {
    raft.electionElapsed = 0
    raft.leader = from
  } else {
    becomeFollower(raft, raft.term, from)
  }
  if (type === 'heartbeat') return onHeartbeat(raft, message)
  if (type === 'snapshot') return onSnapshot(raft, message)
  onAppend(raft, message)
  return undefined
}

function onFollowerMessage(raft: RaftState, message: Message): Refused | undefined {
  const { lastIndex } = raft.log
  if (message.type === 'heartbeat-response') {
    onHeartbeatResponse(raft, message)
    return onReadConfirmed(raft, message)
  }
  if (message.index > lastIndex) {
    const problem = `it answers for entry ${message.index}, and the log ends at ${lastIndex}`
    return { refusal: 'impossible', problem }
  }
  if (onAppendResponse(raft, message)) onCaughtUp(raft, message.from)
  return undefined
}
