// What a replica is made of, and what it asks of its host.

import type { Clock } from '../base/clock.ts'
import type { MeshError } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Trace } from '../core/raft/events.ts'
import type { Message } from '../core/raft/messages.ts'
import type { GroupLog, GroupWrite } from '../storage/log-store.ts'
import type { GroupState } from '../storage/state-store.ts'
import type { Written } from './log-batch.ts'
import type { ReplicaNote } from './replica-note.ts'
import type { Replica } from './replica.ts'

export type ReplicaParts = {
  readonly group: number
  readonly note: ReplicaNote
  readonly log: GroupLog
  readonly state: GroupState
  readonly host: ReplicaHost
  readonly clock: Clock
  readonly random: Random
  readonly trace?: Trace | undefined
}

export type ReplicaHost = {
  /** Writes to the log of the node, with what other groups write in this turn. */
  write(write: GroupWrite, done: Written): void
  send(replica: Replica, message: Message): void
  /** The replica has something to do at the end of this turn. */
  wake(replica: Replica): void
  /** It has heard no leader for long: maybe it was removed, and was away when that was told. */
  askWhetherMember(replica: Replica): void
  /** A leader came, went or became known. */
  changed(replica: Replica): void
  /** A member of the group was added or removed. */
  membersChanged(replica: Replica): void
  /** The replica can't go on: its disk or its program failed it. */
  failed(replica: Replica, error: MeshError): void
}
