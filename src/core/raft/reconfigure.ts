// Members change when the entry that says so is applied. (Dissertation, §4.1, takes them over when
// they are appended; doing it later is safe because of the guards in `proposal.ts`, `roles.ts` and
// `election.ts`: one change at a time, and no campaign with a committed change not applied.)

import { applyChange, isVoter } from './config-change.ts'
import type { ChangeProblem, Membership } from './config-change.ts'
import { NO_REPLICA } from './messages.ts'
import type { ConfigChange } from './messages.ts'
import { answerConfirmed } from './read-index.ts'
import { broadcastAppend, sendAppend, tryCommit } from './replication.ts'
import { becomeFollower } from './roles.ts'
import type { RaftState } from './state.ts'

/** Makes `members` the ones that count from now on. */
export function installMembers(raft: RaftState, members: Membership): void {
  const { config } = members
  raft.members = members
  raft.voters = { incoming: config.voters, outgoing: config.votersOutgoing }
  raft.trace?.({ type: 'config-switched', config })
}

/**
 * Applies a committed change.
 *
 * @returns why nothing changed; every replica comes to the same, because all have the same members
 */
export function changeMembers(raft: RaftState, change: ConfigChange): ChangeProblem | undefined {
  const base = { members: raft.members, lastIndex: raft.log.lastIndex, limits: raft.limits }
  const members = applyChange(base, change)
  if (typeof members === 'string') return members
  installMembers(raft, members)
  if (raft.role === 'leader') onOwnChange(raft)
  return undefined
}

/** What a leader does about its new members. */
function onOwnChange(raft: RaftState): void {
  const own = raft.progressOf(raft.id)
  if (own === undefined || own.isLearner) {
    if (raft.config.stepDownOnRemoval) becomeFollower(raft, raft.term, NO_REPLICA)
    return
  }
  // With fewer voters more may be committed.
  if (tryCommit(raft)) broadcastAppend(raft)
  else raft.forEachPeer((id) => sendAppend(raft, id, false))
  if (!isVoter(raft.members.config, raft.transferTo)) raft.transferTo = NO_REPLICA
  // Those that reads still waited for may be gone.
  answerConfirmed(raft)
}
