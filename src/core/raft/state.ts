// All that a replica knows, and the ways of sending. The other files of this folder say what is
// done with it, each by one idea of the algorithm.

import { MeshError } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import type { InflightLimits, Membership } from './config-change.ts'
import { isVoter, restoreMembers } from './config-change.ts'
import type { RaftConfig } from './config.ts'
import type { Role, Trace } from './events.ts'
import { RaftLog } from './log.ts'
import { NO_REPLICA, createMessage } from './messages.ts'
import type { HardState, Message, MessageDraft, MessageType, ReplicaId } from './messages.ts'
import type { Progress } from './progress.ts'
import type { Voters } from './quorum.ts'
import { ReadQueue } from './read-queue.ts'
import type { RaftStorage } from './storage.ts'

/** A read that may be answered as soon as the state machine has everything up to `index`. */
export type ReadState = { readonly context: Uint8Array; readonly index: number }

/** What a replica is made with. */
export type RaftComponents = {
  readonly config: RaftConfig
  readonly random: Random
  readonly storage: RaftStorage
  readonly trace?: Trace | undefined
}

/** These attest what is durable, so they wait until it is. */
const AFTER_APPEND: ReadonlySet<MessageType> = new Set([
  'append-response',
  'vote-response',
  'pre-vote-response'
])

/** These stand outside of terms. */
const WITHOUT_TERM: ReadonlySet<MessageType> = new Set(['propose', 'read-index'])

/**
 * Invariants: terms and commit indexes never fall; one vote for each term; a leader of a term never
 * stops being the only one of that term; `role === 'leader'` means `leader === id`.
 */
export class RaftState {
  readonly config: RaftConfig
  readonly random: Random
  readonly trace: Trace | undefined
  readonly id: ReplicaId
  readonly limits: InflightLimits
  term: number
  vote: ReplicaId
  role: Role = 'follower'
  leader: ReplicaId = NO_REPLICA
  readonly log: RaftLog
  members: Membership
  voters: Voters = { incoming: [], outgoing: [] }
  /** First answers only: a member that changes its mind isn't believed. */
  readonly votes: Map<ReplicaId, boolean> = new Map()
  /** Ticks since the leader was heard, since the last campaign, or since the last quorum check. */
  electionElapsed = 0
  heartbeatElapsed = 0
  /** When a follower campaigns; drawn anew at every change of role. */
  randomizedElectionTicks = 0
  /** Who is to lead next; set while a leader hands over. */
  transferTo: ReplicaId = NO_REPLICA
  /** No further change of members before this index is applied. */
  pendingConfigIndex = 0
  /** Its driver doesn't trust what it has applied yet: it votes and takes entries, and doesn't lead. */
  isHeldBack = false
  /** The commit index rose, and nobody was told of it yet: see `tellsCommitLate`. */
  isCommitUntold = false
  /** Payload of entries that this leader appended and has not seen applied. */
  uncommittedBytes = 0
  readonly reads: ReadQueue = new ReadQueue()
  /** Outgoing messages, and those that wait for the next append. Never to this replica itself. */
  outbox: Message[] = []
  /** The second outbox: also to this replica itself. */
  afterAppend: Message[] = []
  readStates: ReadState[] = []

  /** @throws corrupt when hard state, log and applied index contradict each other. */
  constructor({ config, random, storage, trace }: RaftComponents) {
    this.config = config
    this.random = random
    this.trace = trace
    this.id = config.id
    const { inflightCountMax, inflightBytesMax } = config
    this.limits = { inflightCountMax, inflightBytesMax }
    this.log = new RaftLog(storage, config.committedBytesMax, trace)
    const { hardState, configState } = storage.initialState()
    this.term = hardState.term
    this.vote = hardState.vote
    const base = { lastIndex: this.log.lastIndex, limits: this.limits }
    this.members = restoreMembers(configState, base)
    // What was applied was committed, whether or not there was time to write that down.
    const applied = Math.max(config.applied, this.log.applied)
    const commit = Math.max(hardState.commit, applied)
    if (commit > this.log.lastIndex) {
      const problem = `entry ${commit} was committed and the log ends at ${this.log.lastIndex}`
      throw new MeshError('corrupt', `Cannot start replica ${config.id}: ${problem}`)
    }
    this.log.commitTo(commit)
    this.log.appliedTo(applied, 0)
  }

  get hardState(): HardState {
    return { term: this.term, vote: this.vote, commit: this.log.committed }
  }

  get isVoter(): boolean {
    return isVoter(this.members.config, this.id)
  }

  /** Only voters campaign, and none whose log waits to be replaced by a snapshot, or that is held back. */
  get isPromotable(): boolean {
    const own = this.members.progress.get(this.id)
    return (
      !this.isHeldBack &&
      own !== undefined &&
      !own.isLearner &&
      this.log.unstable.snapshot === undefined
    )
  }

  progressOf(id: ReplicaId): Progress | undefined {
    return this.members.progress.get(id)
  }

  /** Calls back for every member but this one, in ascending order. */
  forEachPeer(visit: (id: ReplicaId, progress: Progress) => void): void {
    for (const [id, progress] of this.members.progress) if (id !== this.id) visit(id, progress)
  }

  /** Puts a message into its outbox. The term is the present one unless the draft says another. */
  send(draft: MessageDraft): void {
    const term = WITHOUT_TERM.has(draft.type) ? 0 : this.term
    const message = createMessage(draft, this.id, term)
    if (AFTER_APPEND.has(message.type)) this.afterAppend.push(message)
    else this.outbox.push(message)
  }

  /** Forgets all that belongs to a role and a leader. A new term has no vote yet. */
  reset(term: number): void {
    if (this.term !== term) {
      this.term = term
      this.vote = NO_REPLICA
    }
    this.leader = NO_REPLICA
    this.electionElapsed = 0
    this.heartbeatElapsed = 0
    this.drawElectionTimeout()
    this.transferTo = NO_REPLICA
    this.votes.clear()
    this.pendingConfigIndex = 0
    this.isCommitUntold = false
    this.uncommittedBytes = 0
    this.reads.clear()
    const { lastIndex } = this.log
    for (const [id, progress] of this.members.progress) {
      progress.reset(lastIndex + 1, id === this.id ? lastIndex : 0)
    }
  }

  drawElectionTimeout(): void {
    const { electionTicks } = this.config
    this.randomizedElectionTicks = electionTicks + this.random.below(electionTicks)
  }
}
