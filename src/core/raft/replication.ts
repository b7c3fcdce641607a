// A leader's side of replication: what it sends to whom, and what it learns from the answers.
// (Raft, §5.3; dissertation, §10.2.)

import { assert } from '../../base/assert.ts'
import { bytesOf } from './log.ts'
import type { Entry, Message, ReplicaId, Snapshot } from './messages.ts'
import type { Progress } from './progress.ts'
import { jointCommitted } from './quorum.ts'
import type { RaftState } from './state.ts'

/**
 * Sends a member what it lacks: entries, or a snapshot where entries are compacted.
 *
 * @param allowsEmpty whether an append without entries, which carries the commit index, is of use
 * @returns whether anything was sent
 */
export function sendAppend(raft: RaftState, id: ReplicaId, allowsEmpty: boolean): boolean {
  const progress = raft.progressOf(id)
  assert(progress !== undefined && id !== raft.id, 'appends go to other members')
  if (progress.isBlocked) return false
  const index = progress.next - 1
  const logTerm = raft.log.term(index)
  const entries = logTerm === undefined ? undefined : nextEntries(raft, progress)
  if (logTerm === undefined || entries === undefined) return sendSnapshot(raft, id, progress)
  if (entries.length === 0 && !allowsEmpty) return false
  const commit = raft.log.committed
  raft.send({ type: 'append', to: id, index, logTerm, entries, commit })
  progress.noteSent(entries.length, bytesOf(entries))
  progress.sentCommit = commit
  return true
}

function nextEntries(raft: RaftState, progress: Progress): readonly Entry[] | undefined {
  // A full window takes an empty append, which finds out whether what fills it was lost.
  if (progress.state === 'replicate' && progress.inflights.isFull) return []
  return raft.log.slice(progress.next, raft.log.lastIndex + 1, raft.config.appendBytesMax)
}

function sendSnapshot(raft: RaftState, id: ReplicaId, progress: Progress): boolean {
  if (!progress.isActive) {
    raft.trace?.({ type: 'snapshot-withheld', id })
    return false
  }
  const snapshot: Snapshot | undefined = raft.log.unstable.snapshot ?? raft.log.storage.snapshot()
  if (snapshot === undefined || snapshot.index === 0) return false
  const { firstIndex, committed: commit } = raft.log
  raft.trace?.({ type: 'snapshot-sent', id, progress, firstIndex, commit, snapshot })
  progress.becomeSnapshot(snapshot.index)
  raft.trace?.({ type: 'snapshot-paused', id, progress })
  raft.send({ type: 'snapshot', to: id, snapshot })
  return true
}

/** Sends every member what it lacks, and the commit index. */
export function broadcastAppend(raft: RaftState): void {
  raft.forEachPeer((id) => sendAppend(raft, id, true))
}

/** Tells every member that this leader is there, and asks whether it still leads. */
export function broadcastHeartbeat(raft: RaftState): void {
  const readSequence = raft.reads.newest
  raft.forEachPeer((id, progress) => {
    // Beyond what the member has, its log may differ: it must not commit that.
    const commit = Math.min(progress.match, raft.log.committed)
    raft.send({ type: 'heartbeat', to: id, commit, readSequence })
    progress.sentCommit = commit
  })
}

/**
 * Commits what a quorum has. Only an entry of the leader's own term counts; those before it come
 * along. (Raft, §5.4.2 and figure 8.)
 *
 * @returns whether the commit index rose
 */
export function tryCommit(raft: RaftState): boolean {
  const { log } = raft
  const index = jointCommitted(raft.voters, (id) => raft.progressOf(id)?.match)
  if (index <= log.committed || !log.matches(index, raft.term)) return false
  log.commitTo(index)
  return true
}

/**
 * Takes note of a member's answer to an append and sends it what comes next.
 *
 * @returns whether the answer told anything new of the member's log
 */
export function onAppendResponse(raft: RaftState, message: Message): boolean {
  const progress = raft.progressOf(message.from)
  assert(progress !== undefined, 'answers of others than members are refused before')
  progress.isActive = true
  if (message.reject) {
    onRejection(raft, message, progress)
    return false
  }
  const isProbed = progress.state === 'probe' && progress.match === message.index
  if (!progress.acknowledge(message.index) && !isProbed) return false
  onProgress(raft, message, progress)
  const { committed } = raft.log
  const isCommitted = tryCommit(raft)
  // A change of members is waited for, and so is the first commit of a term.
  const isLate = raft.config.tellsCommitLate && committed > raft.pendingConfigIndex
  if (isCommitted && isLate) raft.isCommitUntold = true
  else if (isCommitted) broadcastAppend(raft)
  if (message.from === raft.id) return true
  if (!isCommitted && !isLate && lacksCommit(raft, progress)) sendAppend(raft, message.from, true)
  // Now there may be room for several appends at once.
  while (sendAppend(raft, message.from, false));
  return true
}

function onProgress(raft: RaftState, message: Message, progress: Progress): void {
  if (progress.state === 'probe') {
    progress.becomeReplicate()
  } else if (progress.state === 'replicate') {
    progress.inflights.freeTo(message.index)
  } else if (progress.match + 1 >= raft.log.firstIndex) {
    // It has reached our log, by the snapshot or otherwise.
    raft.trace?.({ type: 'snapshot-recovered', id: message.from, progress })
    progress.becomeReplicate()
  }
}

/** Tells the commit index to those members that could take it over and may not have heard of it. */
export function tellCommit(raft: RaftState): void {
  raft.isCommitUntold = false
  raft.forEachPeer((id) => tellCommitTo(raft, id))
}

/** As {@link tellCommit}, to one member. */
export function tellCommitTo(raft: RaftState, id: ReplicaId): void {
  const progress = raft.progressOf(id)
  if (progress !== undefined && lacksCommit(raft, progress)) sendAppend(raft, id, true)
}

/** @returns whether the member may not have heard of the commit index, and could take it over. */
function lacksCommit(raft: RaftState, progress: Progress): boolean {
  const { sentCommit, next } = progress
  return raft.log.committed > sentCommit && sentCommit < next - 1
}

function onRejection(raft: RaftState, message: Message, progress: Progress): void {
  raft.trace?.({ type: 'append-rejection', message })
  const { index, rejectHint, logTerm } = message
  const hint = logTerm > 0 ? raft.log.findConflictByTerm(rejectHint, logTerm).index : rejectHint
  if (!progress.decrease(index, hint)) return
  raft.trace?.({ type: 'progress-decreased', id: message.from, progress })
  if (progress.state === 'replicate') progress.becomeProbe()
  sendAppend(raft, message.from, true)
}

/** The member is there. If it lacks something, this wakes a flow whose appends were lost. */
export function onHeartbeatResponse(raft: RaftState, message: Message): void {
  const progress = raft.progressOf(message.from)
  assert(progress !== undefined, 'answers of others than members are refused before')
  progress.isActive = true
  progress.isPaused = false
  if (progress.match < raft.log.lastIndex || progress.state === 'probe') {
    sendAppend(raft, message.from, true)
  }
}

/** The driver could not send: what is on its way may be lost. */
export function onUnreachable(raft: RaftState, id: ReplicaId): void {
  const progress = raft.progressOf(id)
  if (raft.role !== 'leader' || progress === undefined) return
  if (progress.state === 'replicate') progress.becomeProbe()
  raft.trace?.({ type: 'unreachable', id, progress })
}

/**
 * The driver knows how the sending of a snapshot ended. Until the member's next word nothing more
 * is sent: after a success it answers by itself, after a failure a heartbeat's answer wakes it.
 */
export function onSnapshotReport(raft: RaftState, id: ReplicaId, isSuccess: boolean): void {
  const progress = raft.progressOf(id)
  if (raft.role !== 'leader' || progress?.state !== 'snapshot') return
  if (!isSuccess) progress.pendingSnapshot = 0
  progress.becomeProbe()
  progress.isPaused = true
  raft.trace?.({ type: 'snapshot-reported', id, progress })
}
