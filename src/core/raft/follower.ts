// A follower's side of replication: what it takes from its leader. (Raft, §5.3 and §7.)

import { configProblem, restoreMembers } from './config-change.ts'
import type { Refused } from './events.ts'
import type { Message, Snapshot } from './messages.ts'
import { installMembers } from './reconfigure.ts'
import type { RaftState } from './state.ts'

/** Takes entries over, or says where the logs may agree. */
export function onAppend(raft: RaftState, message: Message): void {
  const { log } = raft
  const { from: to, index, logTerm, entries, commit } = message
  if (index < log.committed) {
    // What is committed is in every leader's log: tell it how far that is.
    raft.send({ type: 'append-response', to, index: log.committed })
    return
  }
  const lastIndex = log.tryAppend(index, logTerm, entries)
  if (lastIndex !== undefined) {
    // No further than what this append has proved equal.
    log.commitTo(Math.min(commit, lastIndex))
    raft.send({ type: 'append-response', to, index: lastIndex })
    return
  }
  raft.trace?.({ type: 'append-rejected', message, term: log.termAt(index) })
  const hint = log.findConflictByTerm(Math.min(index, log.lastIndex), logTerm)
  const draft = { type: 'append-response', to, index, reject: true } as const
  raft.send({ ...draft, rejectHint: hint.index, logTerm: hint.term })
}

export function onHeartbeat(raft: RaftState, message: Message): Refused | undefined {
  const { from: to, commit, readSequence } = message
  if (commit > raft.log.lastIndex) {
    const problem = `the leader was told that ${commit} is here, and the log ends at ${raft.log.lastIndex}`
    return { refusal: 'data-loss', problem }
  }
  raft.log.commitTo(commit)
  raft.send({ type: 'heartbeat-response', to, readSequence })
  return undefined
}

export function onSnapshot(raft: RaftState, message: Message): Refused | undefined {
  const { snapshot, from: to } = message
  if (snapshot === undefined) return { refusal: 'malformed', problem: 'it has no snapshot' }
  const problem = configProblem(snapshot.configState)
  if (problem !== undefined) return { refusal: 'malformed', problem }
  const isRestored = restore(raft, snapshot)
  const { committed: commit, lastIndex } = raft.log
  raft.trace?.({ type: 'snapshot-answered', isRestored, commit, snapshot })
  raft.send({ type: 'append-response', to, index: isRestored ? lastIndex : commit })
  return undefined
}

/** @returns whether the snapshot replaced the log. */
function restore(raft: RaftState, snapshot: Snapshot): boolean {
  const { log } = raft
  if (snapshot.index <= log.committed) return false
  const { voters, votersOutgoing, learners } = snapshot.configState
  // A snapshot without this replica is not for it: it would never hear from the group again.
  if (![...voters, ...votersOutgoing, ...learners].includes(raft.id)) return false
  const event = {
    commit: log.committed,
    lastIndex: log.lastIndex,
    lastTerm: log.lastTerm,
    snapshot
  }
  if (log.matches(snapshot.index, snapshot.term)) {
    // The log has all of it already; what comes after it stays.
    log.commitTo(snapshot.index)
    raft.trace?.({ ...event, type: 'snapshot-fast-forwarded', commit: log.committed })
    return false
  }
  // It doesn't overtake what is being applied now: a change of members among that would be made to
  // the members that the snapshot brings. The leader sends another one.
  if (log.applying > log.applied) return false
  log.restore(snapshot)
  const base = { lastIndex: log.lastIndex, limits: raft.limits }
  installMembers(raft, restoreMembers(snapshot.configState, base))
  const { committed: commit, lastIndex, lastTerm } = log
  raft.trace?.({ type: 'restored', commit, lastIndex, lastTerm, snapshot })
  return true
}
