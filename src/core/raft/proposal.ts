// New entries, and the rules for those that change the members. (Raft, §5.3 and §6; dissertation,
// §4.1: one change at a time; Ongaro's correction of 2015: none before the term's first commit,
// which `becomeLeader` keeps by taking everything before it for a pending change.)

import { isJoint, isLeave } from './config-change.ts'
import type { Refused } from './events.ts'
import { NO_BYTES, NO_REPLICA } from './messages.ts'
import type { ConfigChange, Entry, Message } from './messages.ts'
import { broadcastAppend } from './replication.ts'
import { LEAVE_JOINT, appendOwn } from './roles.ts'
import type { RaftState } from './state.ts'

/** A leader appends the entries; a follower passes them on; nobody else can take them. */
export function onPropose(raft: RaftState, message: Message): Refused | undefined {
  if (raft.role === 'leader') return append(raft, message.entries)
  if (raft.role !== 'follower' || raft.leader === NO_REPLICA) return drop(raft, 'no-leader')
  if (!raft.config.forwardProposals) return drop(raft, 'forwarding-off')
  raft.send({ type: 'propose', from: message.from, to: raft.leader, entries: message.entries })
  return undefined
}

function append(raft: RaftState, proposed: readonly Entry[]): Refused | undefined {
  if (raft.progressOf(raft.id) === undefined) return drop(raft, 'not-member')
  // What it appended now the next leader might lack.
  if (raft.transferTo !== NO_REPLICA) return drop(raft, 'transfer')
  let pendingIndex = raft.pendingConfigIndex
  const entries: Entry[] = []
  for (const entry of proposed) {
    const isTaken = entry.type === 'normal' || isAllowed(raft, entry.change, pendingIndex)
    // A change that can't be right now leaves an empty entry, so that indexes stay what they were.
    entries.push(isTaken ? entry : { type: 'normal', term: 0, index: 0, data: NO_BYTES })
    if (isTaken && entry.type === 'config-change') {
      pendingIndex = raft.log.lastIndex + entries.length
    }
  }
  if (!appendOwn(raft, entries)) return drop(raft, 'full')
  raft.pendingConfigIndex = pendingIndex
  broadcastAppend(raft)
  return undefined
}

function drop(
  raft: RaftState,
  reason: 'no-leader' | 'forwarding-off' | 'not-member' | 'transfer' | 'full'
): Refused {
  const { term, transferTo } = raft
  raft.trace?.({ type: 'proposal-dropped', term, reason, transferTo })
  return { refusal: 'proposal-dropped', problem: DROP_TEXTS[reason] }
}

const DROP_TEXTS = {
  'no-leader': 'no leader is known',
  'forwarding-off': 'this replica does not lead and does not pass proposals on',
  'not-member': 'this leader is no member of its group any more',
  transfer: 'leadership is being handed over',
  full: 'too many bytes wait to be committed'
} as const

function isAllowed(raft: RaftState, change: ConfigChange, pendingIndex: number): boolean {
  const reason = refusalOf(raft, change, pendingIndex)
  if (reason === undefined || !raft.config.validateConfigChanges) return true
  const { config } = raft.members
  const { applied } = raft.log
  raft.trace?.({ type: 'config-change-refused', change, config, reason, pendingIndex, applied })
  return false
}

function refusalOf(
  raft: RaftState,
  change: ConfigChange,
  pendingIndex: number
): 'unapplied' | 'joint' | 'not-joint' | undefined {
  if (pendingIndex > raft.log.applied) return 'unapplied'
  const isNowJoint = isJoint(raft.members.config)
  if (isNowJoint && !isLeave(change)) return 'joint'
  return !isNowJoint && isLeave(change) ? 'not-joint' : undefined
}

/**
 * A leader whose joint configuration leaves itself proposes that, once the change that entered it
 * is applied. A transfer under way prevents it: then it is tried again with the next applied entry,
 * or when the transfer was given up.
 */
export function tryAutoLeave(raft: RaftState): void {
  const { config } = raft.members
  if (raft.role !== 'leader' || !config.autoLeave) return
  if (raft.log.applied < raft.pendingConfigIndex) return
  const refused = append(raft, [{ type: 'config-change', term: 0, index: 0, change: LEAVE_JOINT }])
  if (refused === undefined) raft.trace?.({ type: 'auto-leave', config })
}
