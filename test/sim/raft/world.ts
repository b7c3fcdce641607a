// What a simulated machine and the world around it know of each other.

import type { Refused } from '../../../src/core/raft/events.ts'
import type { Entry, Message, ReplicaId } from '../../../src/core/raft/messages.ts'
import type { Raft } from '../../../src/core/raft/raft.ts'
import type { ReadState } from '../../../src/core/raft/state.ts'
import type { Checker } from './checker.ts'
import type { Disk } from './disk.ts'
import type { MachineState } from './machine.ts'
import type { Plan } from './plan.ts'
import type { Schedule } from './schedule.ts'
import type { Trace } from './trace.ts'

/** A machine with a replica on it. */
export type Host = {
  readonly id: ReplicaId
  readonly disk: Disk
  readonly machine: MachineState
  /** Undefined while it is off. */
  readonly raft: Raft | undefined
  /** Goes up with every start and every crash: what an earlier life left under way is void. */
  readonly life: number
  /** Gives the replica something from outside. @returns false when nobody is there */
  input(what: string, detail: Message | number, act: (raft: Raft) => Refused | void): boolean
  /** Does something now, or when the process goes on. */
  whenRunning(act: () => void): void
  /** The machine loses its power. Nothing happens to one that has none. */
  crash(): void
}

export type World = {
  readonly plan: Plan
  readonly schedule: Schedule
  readonly trace: Trace
  readonly checker: () => Checker
  readonly send: (sender: ReplicaId, message: Message) => void
  readonly onApplied: (host: Host, entry: Entry) => void
  readonly onRead: (host: Host, read: ReadState) => void
  readonly onCrash: (host: Host) => void
  /** Whether nothing breaks any more. */
  readonly isCalm: () => boolean
}
