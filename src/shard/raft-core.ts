// The core of Raft as every replica has it: how fast it ticks, and what it reads of its storage.

import type { Random } from '../base/random.ts'
import { RAFT_DEFAULTS } from '../core/raft/config.ts'
import type { Trace } from '../core/raft/events.ts'
import { NO_BYTES } from '../core/raft/messages.ts'
import type { ReplicaId } from '../core/raft/messages.ts'
import { Raft } from '../core/raft/raft.ts'
import type { GroupLog } from '../storage/log-store.ts'
import type { AppliedState } from './applied-state.ts'

/** A tick of the core. */
export const RAFT_TICK_MS = 250
/** A leader speaks this often, in ticks; a follower waits so long, and up to twice that. */
const HEARTBEAT_TICKS = 1
const ELECTION_TICKS = 4

export type RaftCoreParts = {
  readonly id: ReplicaId
  readonly log: GroupLog
  readonly applied: AppliedState
  readonly random: Random
  readonly trace?: Trace | undefined
}

/** @throws corrupt when log and state contradict each other */
export function createRaftCore({ id, log, applied, random, trace }: RaftCoreParts): Raft {
  log.setSnapshotSource(() => {
    const { index, term, configState } = applied
    return index === 0 ? undefined : { index, term, configState, data: NO_BYTES }
  })
  const { configState } = applied
  return new Raft({
    config: {
      ...RAFT_DEFAULTS,
      id,
      electionTicks: ELECTION_TICKS,
      heartbeatTicks: HEARTBEAT_TICKS,
      applied: applied.index,
      asyncStorageWrites: true,
      tellsCommitLate: true,
      forwardProposals: false
    },
    random,
    storage: {
      initialState: () => ({ hardState: log.initialState().hardState, configState }),
      firstIndex: () => log.firstIndex(),
      lastIndex: () => log.lastIndex(),
      term: (index) => log.term(index),
      entries: (low, high, bytesMax) => log.entries(low, high, bytesMax),
      snapshot: () => log.snapshot()
    },
    trace
  })
}
