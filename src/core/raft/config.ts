// The knobs of a replica, their defaults and their ranges.

import { MeshError } from '../../base/errors.ts'
import { KIB, MIB } from '../../base/units.ts'
import { NUMBER_MAX, UNBOUNDED } from './messages.ts'
import type { ReplicaId } from './messages.ts'

export type RaftConfig = {
  readonly id: ReplicaId
  /**
   * A follower that hears nothing from a leader starts an election after this many ticks and up to
   * as many more, drawn anew each time. Above `heartbeatTicks`; ten times that is usual.
   */
  readonly electionTicks: number
  /** A leader says that it is there once in so many ticks. */
  readonly heartbeatTicks: number
  /** After a restart: the last index that the state machine has. At least what its snapshot has. */
  readonly applied: number
  /**
   * False: the driver writes what a Ready asks for and calls `advance`. True: a Ready carries
   * messages to the storage, whose responses the driver delivers in their order; many may be
   * under way.
   */
  readonly asyncStorageWrites: boolean
  /** Ask whether an election could be won before starting one, so that a stray disturbs nobody. */
  readonly preVote: boolean
  /** A leader that hears no quorum for `electionTicks` steps down; followers know it and wait. */
  readonly checkQuorum: boolean
  /**
   * `safe` asks a quorum before each read; `lease` trusts clocks not to drift apart and processes
   * not to pause, needs `checkQuorum`, and can return old data when they do.
   */
  readonly readMode: 'safe' | 'lease'
  /** Bytes of entries in one message to a follower. One entry is always sent. */
  readonly appendBytesMax: number
  /** Bytes of committed entries handed out and not yet applied. One entry is always handed out. */
  readonly committedBytesMax: number
  /** Bytes of proposals that wait to be committed; beyond it they are refused. */
  readonly uncommittedBytesMax: number
  /** Appends on their way to one follower. */
  readonly inflightCountMax: number
  /** Bytes of entries on their way to one follower. */
  readonly inflightBytesMax: number
  /** Reads that wait for their quorum, or for the first commit of a term. */
  readonly pendingReadsMax: number
  /**
   * False: a commit index that rose is told to every follower at once. True: it goes with the next
   * entries or heartbeat, and where there is neither by `tellCommit`, which the driver calls a
   * little later for many groups together.
   */
  readonly tellsCommitLate: boolean
  /** Whether a follower passes proposals on to its leader. */
  readonly forwardProposals: boolean
  /** Whether a leader refuses changes of members that can't be right now. Tests switch it off. */
  readonly validateConfigChanges: boolean
  /** Whether a leader that is no voter any more steps down when that is applied. */
  readonly stepDownOnRemoval: boolean
}

export const RAFT_DEFAULTS: Omit<RaftConfig, 'id'> = {
  electionTicks: 10,
  heartbeatTicks: 1,
  applied: 0,
  asyncStorageWrites: false,
  preVote: true,
  checkQuorum: true,
  readMode: 'safe',
  appendBytesMax: 256 * KIB,
  committedBytesMax: 4 * MIB,
  uncommittedBytesMax: 64 * MIB,
  inflightCountMax: 256,
  inflightBytesMax: 8 * MIB,
  pendingReadsMax: 4_096,
  tellsCommitLate: false,
  forwardProposals: true,
  validateConfigChanges: true,
  stepDownOnRemoval: true
}

const BOUNDS = [
  'appendBytesMax',
  'committedBytesMax',
  'uncommittedBytesMax',
  'inflightCountMax',
  'inflightBytesMax',
  'pendingReadsMax'
] as const

/** @throws invalid-argument that names the knob, its value and what is accepted. */
export function validateRaftConfig(config: RaftConfig): void {
  const { id, electionTicks, heartbeatTicks, applied } = config
  demand(isCount(id), 'id', id, 'a whole number from 1')
  demand(isCount(heartbeatTicks), 'heartbeatTicks', heartbeatTicks, 'a whole number from 1')
  const isLonger = isCount(electionTicks) && electionTicks > heartbeatTicks
  demand(isLonger, 'electionTicks', electionTicks, `a whole number above ${heartbeatTicks}`)
  demand(applied === 0 || isCount(applied), 'applied', applied, 'an index')
  for (const name of BOUNDS) {
    const value = config[name]
    demand(value === UNBOUNDED || isCount(value), name, value, 'a whole number from 1, or Infinity')
  }
  if (config.readMode === 'lease') {
    demand(config.checkQuorum, 'readMode', 'lease', '"safe" unless checkQuorum is on')
  }
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= NUMBER_MAX
}

function demand(holds: boolean, name: string, value: unknown, accepted: string): void {
  if (holds) return
  throw new MeshError(
    'invalid-argument',
    `Cannot make a replica: ${name} is ${String(value)}; accepted is ${accepted}`
  )
}
