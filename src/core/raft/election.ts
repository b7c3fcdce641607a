// How a leader comes to be: campaigns, votes and their counting. (Raft, §5.2 and §5.4.1;
// dissertation, §9.6 for the trial vote and §6.2 for the check of the quorum.)

import { isVoter } from './config-change.ts'
import { NO_REPLICA, NUMBER_MAX } from './messages.ts'
import type { Message, ReplicaId } from './messages.ts'
import { jointVote } from './quorum.ts'
import type { VoteResult } from './quorum.ts'
import { broadcastAppend } from './replication.ts'
import { becomeCandidate, becomeFollower, becomeLeader, becomePreCandidate } from './roles.ts'
import type { RaftState } from './state.ts'

type VoteKind = 'vote' | 'pre-vote'

/** Starts an election, or its trial where pre-votes are on; unless this replica may not lead. */
export function campaign(raft: RaftState): void {
  start(raft, raft.config.preVote ? 'pre-vote' : 'vote', false)
}

/** Starts an election that the leader ordered: no trial, and nobody waits for its lease to end. */
export function campaignForTransfer(raft: RaftState): void {
  start(raft, 'vote', true)
}

function start(raft: RaftState, kind: VoteKind, isTransfer: boolean): void {
  const reason = campaignProblem(raft)
  if (reason !== undefined) {
    raft.trace?.({ type: 'campaign-refused', reason })
    return
  }
  raft.trace?.({ type: 'election-started', term: raft.term })
  askForVotes(raft, kind, isTransfer)
}

function campaignProblem(raft: RaftState): 'leader' | 'unpromotable' | 'unapplied' | undefined {
  if (raft.role === 'leader') return 'leader'
  const isAtEnd = raft.term >= NUMBER_MAX - 1 || raft.log.lastIndex >= NUMBER_MAX - 1
  if (!raft.isPromotable || isAtEnd) return 'unpromotable'
  // Its own members may be out of date: it could win by a majority that is none any more.
  return hasUnappliedChange(raft) ? 'unapplied' : undefined
}

/** How much of the log is looked at in one piece. */
const SCAN_BYTES = 64 * 1_024

function hasUnappliedChange({ log }: RaftState): boolean {
  let low = log.applied + 1
  while (low <= log.committed) {
    const entries = log.slice(low, log.committed + 1, SCAN_BYTES)
    // What can't be read may be a change.
    if (entries === undefined || entries.length === 0) return true
    if (entries.some(({ type }) => type === 'config-change')) return true
    low += entries.length
  }
  return false
}

function askForVotes(raft: RaftState, kind: VoteKind, isTransfer: boolean): void {
  if (kind === 'pre-vote') becomePreCandidate(raft)
  else becomeCandidate(raft)
  const term = kind === 'pre-vote' ? raft.term + 1 : raft.term
  const { lastIndex, lastTerm } = raft.log
  for (const [id] of raft.members.progress) {
    if (!isVoter(raft.members.config, id)) continue
    if (id === raft.id) {
      // Its own vote counts when it is durable, like every other.
      raft.send({ type: `${kind}-response`, to: id, term })
      continue
    }
    raft.trace?.({ type: 'vote-requested', kind, to: id, term: raft.term, lastTerm, lastIndex })
    raft.send({ type: kind, to: id, term, index: lastIndex, logTerm: lastTerm, isTransfer })
  }
}

/** Whether a leader was heard so lately that no other can have been elected by right. */
export function isInLease(raft: RaftState): boolean {
  const { electionTicks, checkQuorum } = raft.config
  return checkQuorum && raft.leader !== NO_REPLICA && raft.electionElapsed < electionTicks
}

/** The lease holds, so the request is as good as not received. */
export function ignoreVote(raft: RaftState, message: Message, kind: VoteKind): void {
  const remainingTicks = raft.config.electionTicks - raft.electionElapsed
  raft.trace?.({ type: 'vote-ignored', remainingTicks, ...weighed(raft, message, kind) })
}

/**
 * Answers a request for a vote of this term, or for a trial vote of a later one. The answer carries
 * the term that was asked for, or this replica's own when it refuses.
 */
export function onVote(raft: RaftState, message: Message, kind: VoteKind): void {
  const { from, term, index, logTerm } = message
  const isFree =
    raft.vote === from ||
    (raft.vote === NO_REPLICA && raft.leader === NO_REPLICA) ||
    (kind === 'pre-vote' && term > raft.term)
  // A replica that never had members may stand in for one that lost its disk and had voted.
  const isBlank = raft.voters.incoming.length === 0
  if (!isFree || isBlank || !raft.log.isUpToDate(index, logTerm)) {
    rejectVote(raft, message, kind)
    return
  }
  raft.trace?.({ type: 'vote-cast', ...weighed(raft, message, kind) })
  raft.send({ type: `${kind}-response`, to: from, term })
  if (kind === 'vote') {
    raft.electionElapsed = 0
    raft.vote = from
  }
}

export function rejectVote(raft: RaftState, message: Message, kind: VoteKind): void {
  raft.trace?.({ type: 'vote-rejected', ...weighed(raft, message, kind) })
  const draft = { type: `${kind}-response`, to: message.from, reject: true } as const
  if (raft.isVoter) {
    raft.send({ ...draft, term: raft.term })
    return
  }
  // Who asks doesn't know yet that this replica is no voter any more. It may never hear that from a
  // leader: its election may need this very vote, which a longer log forbids, and this replica may
  // not campaign. So the refusal says what is committed, in a term that isn't too low to be heard.
  const { committed: commit } = raft.log
  const term = Math.max(raft.term, message.term - 1)
  raft.send({ ...draft, term, commit, logTerm: raft.log.termAt(commit) })
}

/**
 * What someone has committed is committed here, as far as the logs agree. A change of members in it
 * has to be applied before this replica may campaign.
 */
function learnCommit(raft: RaftState, { commit, logTerm }: Message): void {
  if (raft.role === 'leader' || !raft.log.matches(commit, logTerm)) return
  raft.log.commitTo(commit)
  const isAsking = raft.role === 'candidate' || raft.role === 'pre-candidate'
  if (isAsking && hasUnappliedChange(raft)) becomeFollower(raft, raft.term, NO_REPLICA)
}

function weighed(
  raft: RaftState,
  message: Message,
  kind: VoteKind
): {
  readonly kind: VoteKind
  readonly from: ReplicaId
  readonly term: number
  readonly lastTerm: number
  readonly lastIndex: number
  readonly vote: ReplicaId
  readonly candidateTerm: number
  readonly candidateIndex: number
} {
  const { lastTerm, lastIndex } = raft.log
  const { from, logTerm: candidateTerm, index: candidateIndex } = message
  const { term, vote } = raft
  return { kind, from, term, lastTerm, lastIndex, vote, candidateTerm, candidateIndex }
}

/** Counts an answer; other roles than the one that asked have no use for it. */
export function onVoteResponse(raft: RaftState, message: Message, kind: VoteKind): void {
  const { from, reject, commit } = message
  if (reject && commit > 0) learnCommit(raft, message)
  if (raft.role !== (kind === 'vote' ? 'candidate' : 'pre-candidate')) return
  raft.trace?.({ type: 'vote-received', kind, from, term: raft.term, reject })
  if (!raft.votes.has(from)) raft.votes.set(from, !reject)
  switch (count(raft, kind)) {
    case 'won':
      onWon(raft, kind)
      break
    case 'lost':
      becomeFollower(raft, raft.term, NO_REPLICA)
      break
    case 'pending':
      break
  }
}

function count(raft: RaftState, kind: VoteKind): VoteResult {
  if (raft.trace !== undefined) {
    let granted = 0
    let rejected = 0
    for (const [id, { isLearner }] of raft.members.progress) {
      const vote = isLearner ? undefined : raft.votes.get(id)
      if (vote === true) granted += 1
      else if (vote === false) rejected += 1
    }
    raft.trace({ type: 'votes-counted', kind, granted, rejected })
  }
  return jointVote(raft.voters, (id) => raft.votes.get(id))
}

function onWon(raft: RaftState, kind: VoteKind): void {
  if (kind === 'pre-vote') {
    askForVotes(raft, 'vote', false)
    return
  }
  becomeLeader(raft)
  broadcastAppend(raft)
}

/** Once an election timeout: a leader that a quorum doesn't answer makes room. */
export function checkQuorum(raft: RaftState): void {
  const isHeard = (id: ReplicaId): boolean =>
    id === raft.id || raft.progressOf(id)?.isActive === true
  if (jointVote(raft.voters, isHeard) !== 'won') {
    raft.trace?.({ type: 'quorum-lost' })
    becomeFollower(raft, raft.term, NO_REPLICA)
  }
  raft.forEachPeer((_, progress) => {
    progress.isActive = false
  })
}

/**
 * The connection to a peer broke. If that was the leader, nobody needs to wait for the timeout: the
 * replica forgets it, so that it may vote, and campaigns, each in its turn so that they don't split
 * the vote: the first voter at once, the next a tick later. Only with pre-votes, by which a replica
 * that alone has lost the leader disturbs nobody; and never where leaders read by their lease.
 */
export function onConnectionLost(raft: RaftState, id: ReplicaId): void {
  const { preVote, readMode } = raft.config
  // A leader that reads by its lease counts on nobody voting before that ends.
  if (!preVote || readMode === 'lease') return
  if (raft.role === 'leader' || raft.leader !== id) return
  raft.trace?.({ type: 'leader-forgotten', leader: id, term: raft.term })
  raft.leader = NO_REPLICA
  const others = [...raft.members.progress.keys()].filter(
    (member) => member !== id && isVoter(raft.members.config, member)
  )
  const rank = others.indexOf(raft.id)
  if (rank === 0) campaign(raft)
  else if (rank > 0) {
    const elapsed = raft.randomizedElectionTicks - rank
    raft.electionElapsed = Math.max(raft.electionElapsed, elapsed)
  }
}
