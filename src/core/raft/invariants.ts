// What holds for one replica after every step, whatever was heard. Tests and simulations check it;
// a node doesn't. What holds between replicas is checked by the simulation.

import { assert } from '../../base/assert.ts'
import { configProblem, isVoter } from './config-change.ts'
import type { Role } from './events.ts'
import { NO_REPLICA, NUMBER_MAX } from './messages.ts'
import type { ReplicaId } from './messages.ts'
import type { Progress } from './progress.ts'
import type { Raft } from './raft.ts'
import type { RaftState } from './state.ts'

/** What a check remembers for the next one of the same replica, from one start to the next. */
export type Remembered = {
  readonly term: number
  readonly vote: ReplicaId
  readonly role: Role
  readonly leader: ReplicaId
  readonly commit: number
  readonly applied: number
  readonly lastIndex: number
  readonly transferTo: ReplicaId
}

/**
 * Crashes when an invariant is broken.
 *
 * @param before what the last check returned; undefined after a start
 * @returns what is to be remembered
 */
export function checkInvariants({ state }: Raft, before?: Remembered): Remembered {
  checkLog(state)
  checkMembers(state)
  checkRole(state)
  if (state.role === 'leader') checkLeader(state)
  const { term, vote, role, leader, transferTo } = state
  const { committed: commit, applied, lastIndex } = state.log
  const now = { term, vote, role, leader, commit, applied, lastIndex, transferTo }
  if (before !== undefined) checkSince(before, now)
  return now
}

function checkSince(before: Remembered, now: Remembered): void {
  assert(now.term >= before.term, 'terms never fall')
  assert(now.commit >= before.commit, 'what is committed stays committed')
  assert(now.applied >= before.applied, 'what is applied stays applied')
  if (now.term !== before.term) return
  assert(before.vote === NO_REPLICA || now.vote === before.vote, 'one vote for each term')
  if (before.role !== 'leader' || now.role !== 'leader') return
  assert(now.lastIndex >= before.lastIndex, 'a leader only appends')
  const isHandingOver = before.transferTo !== NO_REPLICA && now.transferTo === before.transferTo
  assert(!isHandingOver || now.lastIndex === before.lastIndex, 'who hands over takes no entries')
}

function checkLog({ log, term }: RaftState): void {
  const { unstable, storage } = log
  assert(log.applied <= log.applying, 'only what was handed out is applied')
  assert(log.applying <= log.committed, 'only what is committed is handed out')
  assert(log.committed <= log.lastIndex, 'only what is in the log is committed')
  assert(log.firstIndex <= log.committed + 1, 'only what is committed is compacted')
  assert(log.lastIndex <= NUMBER_MAX, 'indexes are exact')
  assert(log.lastTerm <= term, 'no entry is of a term to come')
  const { entries, offset, offsetInProgress, snapshot } = unstable
  const end = offset + entries.length
  assert(offset <= offsetInProgress && offsetInProgress <= end, 'what is under way is in the log')
  assert(offset <= storage.lastIndex() + 1 || snapshot !== undefined, 'the log has no gap')
  let last = log.termAt(offset - 1)
  for (let position = 0; position < entries.length; position++) {
    const entry = entries[position] as { index: number; term: number }
    assert(entry.index === offset + position, 'indexes have no gap')
    assert(entry.term >= last, 'terms never fall from one entry to the next')
    last = entry.term
  }
  if (snapshot === undefined) return
  assert(snapshot.index < offset && snapshot.index <= log.committed, 'a snapshot is committed')
  assert(!log.hasNextCommitted(true), 'nothing is applied before the snapshot is installed')
}

function checkMembers({ members, voters }: RaftState): void {
  const { config, progress } = members
  assert(voters.incoming === config.voters, 'quorums are those of the members')
  assert(voters.outgoing === config.votersOutgoing, 'quorums are those of the members, both')
  const ids = new Set([...config.voters, ...config.votersOutgoing, ...config.learners])
  assert(ids.size === progress.size, 'every member has a progress, and nobody else')
  if (ids.size === 0) return
  assert(configProblem(config) === undefined, 'the members are in order')
  for (const [id, { isLearner }] of progress) {
    assert(ids.has(id), 'nobody but members has a progress')
    // A voter of the outgoing half that is to go stays what it was until that half is left.
    assert(isLearner !== isVoter(config, id), 'a member is a voter or a learner')
  }
}

function checkRole(raft: RaftState): void {
  const { role, leader, id, transferTo, reads, votes } = raft
  assert((role === 'leader') === (leader === id), 'who leads knows it')
  const isAsking = role === 'candidate' || role === 'pre-candidate'
  assert(!isAsking || leader === NO_REPLICA, 'who campaigns follows nobody')
  assert(role !== 'candidate' || raft.vote === id, 'a candidate votes for itself')
  assert(role !== 'leader' || raft.vote === id, 'a leader has voted for itself')
  assert(isAsking || votes.size === 0, 'only who campaigns counts votes')
  assert(role === 'leader' || transferTo === NO_REPLICA, 'only a leader hands over')
  assert(role === 'leader' || reads.count === 0, 'only a leader confirms reads')
  assert(reads.count <= raft.config.pendingReadsMax, 'waiting reads are bounded')
  assert(raft.uncommittedBytes >= 0, 'uncommitted bytes are counted')
  for (const message of raft.outbox) assert(message.to !== id, 'nothing is sent to itself')
}

function checkLeader(raft: RaftState): void {
  const { log, id, members, transferTo } = raft
  assert(log.lastTerm === raft.term, 'a term opens with an entry of its own')
  assert(raft.pendingConfigIndex <= log.lastIndex, 'a pending change is in the log')
  assert(transferTo !== id, 'nobody hands over to itself')
  // One that leads on although it is no voter any more has nothing to hand over for long.
  const isFree = transferTo === NO_REPLICA || !isVoter(members.config, id)
  assert(isFree || isVoter(members.config, transferTo), 'only a voter is to lead')
  for (const [member, progress] of members.progress) {
    if (member !== id) checkProgress(raft, progress)
    else checkOwnProgress(raft, progress)
  }
}

function checkOwnProgress({ log, term }: RaftState, { match }: Progress): void {
  // Entries of earlier terms are not counted, and those of this term are written after them.
  if (match < log.firstIndex || log.term(match) !== term) return
  assert(log.storage.term(match) === log.term(match), 'an entry counts when it is durable')
}

function checkProgress({ log, config }: RaftState, progress: Progress): void {
  const { match, next, state, pendingSnapshot, inflights } = progress
  assert(match >= 0 && match < next, 'what is sent next is not known to be there')
  assert(match <= log.lastIndex, 'nobody has more of the log than its leader')
  assert(next <= log.lastIndex + 1, 'nothing beyond the log is sent')
  assert((state === 'snapshot') === pendingSnapshot > 0, 'a snapshot is under way, or none')
  assert(state === 'replicate' || inflights.count === 0, 'only a known log is sent ahead')
  assert(inflights.count <= config.inflightCountMax, 'appends under way are bounded')
}
