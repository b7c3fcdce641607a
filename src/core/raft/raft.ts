// A replica of one group, as a pure machine. "In Search of an Understandable Consensus Algorithm"
// (Ongaro and Ousterhout, 2014: "Raft" in this folder) and "Consensus: Bridging Theory and Practice"
// (Ongaro, 2014: "dissertation").

import type { ChangeProblem } from './config-change.ts'
import { validateRaftConfig } from './config.ts'
import { campaign, checkQuorum, onConnectionLost } from './election.ts'
import type { Refused } from './events.ts'
import { changeProblem } from './message-check.ts'
import { NO_REPLICA, createMessage } from './messages.ts'
import type { ConfigChange, ConfigState, Entry, Message, ReplicaId } from './messages.ts'
import { onPropose } from './proposal.ts'
import { onReadIndex } from './read-index.ts'
import { Handout } from './ready.ts'
import type { Ready } from './ready.ts'
import { changeMembers, installMembers } from './reconfigure.ts'
import { broadcastHeartbeat, onSnapshotReport, onUnreachable, tellCommit } from './replication.ts'
import { becomeFollower } from './roles.ts'
import { RaftState } from './state.ts'
import type { RaftComponents } from './state.ts'
import { step } from './step.ts'
import { abortTransfer, onTransferLeader } from './transfer.ts'

/**
 * One replica. Its driver calls `tick` at a steady pace, `step` for every message, `take` whenever
 * `hasReady`, and does what the {@link Ready} asks for; then `advance`, unless writes are
 * asynchronous. Nothing that comes from another replica makes it throw.
 */
export class Raft {
  /** All that the replica knows: for tests and invariants, which change nothing. */
  readonly state: RaftState
  readonly #handout: Handout

  /**
   * A replica that starts, or starts again from what its storage has. One whose storage has no
   * members stays passive until a snapshot brings them.
   *
   * @throws invalid-argument for a knob outside its range; corrupt when what is stored contradicts
   *   itself.
   */
  constructor(components: RaftComponents) {
    validateRaftConfig(components.config)
    const raft = new RaftState(components)
    this.state = raft
    installMembers(raft, raft.members)
    becomeFollower(raft, raft.term, NO_REPLICA)
    const { log, term, members } = raft
    const { voters, votersOutgoing } = members.config
    raft.trace?.({
      type: 'started',
      voters: [...new Set([...voters, ...votersOutgoing])].toSorted((a, b) => a - b),
      term,
      commit: log.committed,
      applied: log.applied,
      lastIndex: log.lastIndex,
      lastTerm: log.lastTerm
    })
    this.#handout = new Handout(raft)
  }

  /** One unit of time has passed. */
  tick(): void {
    const raft = this.state
    if (raft.role === 'leader') this.#tickLeader(raft)
    else this.#tickElection(raft)
  }

  #tickElection(raft: RaftState): void {
    raft.electionElapsed += 1
    if (!raft.isPromotable || raft.electionElapsed < raft.randomizedElectionTicks) return
    raft.electionElapsed = 0
    campaign(raft)
  }

  #tickLeader(raft: RaftState): void {
    raft.heartbeatElapsed += 1
    raft.electionElapsed += 1
    if (raft.electionElapsed >= raft.config.electionTicks) {
      raft.electionElapsed = 0
      if (raft.config.checkQuorum) checkQuorum(raft)
      if (raft.role === 'leader') abortTransfer(raft)
    }
    if (raft.role !== 'leader' || raft.heartbeatElapsed < raft.config.heartbeatTicks) return
    raft.heartbeatElapsed = 0
    broadcastHeartbeat(raft)
  }

  /**
   * A message has come: from another replica, or a response that a storage message carried. The
   * caller has made sure that it is from whom it says.
   *
   * @returns why it was refused; then nothing that it says has been believed, but its term
   */
  step(message: Message): Refused | undefined {
    return step(this.state, message)
  }

  /** From now on it doesn't campaign, or does again. It votes and takes entries all the same. */
  holdBack(isHeldBack: boolean): void {
    this.state.isHeldBack = isHeldBack
  }

  /** Starts an election now, if this replica may lead. */
  campaign(): void {
    campaign(this.state)
  }

  /**
   * Proposes entries, in this order, all or none.
   *
   * @returns why they were dropped; otherwise they may be committed, or lost with their leader
   */
  propose(data: readonly Uint8Array[]): Refused | undefined {
    return this.#propose(data.map((bytes) => ({ type: 'normal', term: 0, index: 0, data: bytes })))
  }

  /**
   * Proposes a change of members. One that can't be made now becomes an empty entry, so ask
   * `configState` after it was applied.
   */
  proposeConfigChange(change: ConfigChange): Refused | undefined {
    const problem = changeProblem(change)
    if (problem !== undefined) return { refusal: 'malformed', problem }
    return this.#propose([{ type: 'config-change', term: 0, index: 0, change }])
  }

  #propose(entries: readonly Entry[]): Refused | undefined {
    if (entries.length === 0) return { refusal: 'malformed', problem: 'it proposes nothing' }
    const { id } = this.state
    return onPropose(this.state, createMessage({ type: 'propose', from: id, to: id, entries }))
  }

  /**
   * The driver applies the entry that carries this change. It calls this for every such entry
   * unless it decides, from what it has applied alone, that the change is void.
   *
   * @returns the members from now on, to be kept with the applied index; and why the change was
   *   not made, which is the same at every replica
   */
  applyConfigChange(change: ConfigChange): {
    readonly configState: ConfigState
    readonly problem?: ChangeProblem
  } {
    const problem = changeMembers(this.state, change)
    const { configState } = this
    return problem === undefined ? { configState } : { configState, problem }
  }

  /** The members as far as this replica has applied changes. */
  get configState(): ConfigState {
    return this.state.members.config
  }

  /**
   * Asks for a read. When `Ready.readStates` names `context`, and everything up to its index is
   * applied, the state machine shows at least all that was acknowledged before this call.
   *
   * @param context a name that this replica has not used before
   * @returns why it was dropped. It may also be lost with its leader: ask again after a while
   */
  readIndex(context: Uint8Array): Refused | undefined {
    const { id } = this.state
    return onReadIndex(this.state, createMessage({ type: 'read-index', from: id, to: id, context }))
  }

  /** Hands leadership to a voter, if it catches up within an election timeout. */
  transferLeader(to: ReplicaId): void {
    const { id, term } = this.state
    onTransferLeader(
      this.state,
      createMessage({ type: 'transfer-leader', from: id, to: id, vote: to, term })
    )
  }

  /** This follower votes and campaigns as if it had not heard its leader. */
  forgetLeader(): void {
    const raft = this.state
    if (raft.role !== 'follower') return
    if (raft.config.readMode === 'lease') {
      // A leader that reads by its lease counts on nobody voting.
      raft.trace?.({ type: 'forget-leader-refused' })
      return
    }
    if (raft.leader === NO_REPLICA) return
    raft.trace?.({ type: 'leader-forgotten', leader: raft.leader, term: raft.term })
    raft.leader = NO_REPLICA
  }

  /** The connection to a peer broke: if it led, its followers campaign without waiting. */
  connectionLost(id: ReplicaId): void {
    onConnectionLost(this.state, id)
  }

  /** A message to a peer could not be sent. */
  reportUnreachable(id: ReplicaId): void {
    onUnreachable(this.state, id)
  }

  /** The sending of a snapshot has ended. Without this word nothing more is sent to the peer. */
  reportSnapshot(id: ReplicaId, isSuccess: boolean): void {
    onSnapshotReport(this.state, id, isSuccess)
  }

  /** Whether followers wait for {@link tellCommit}, unless entries or a heartbeat come before. */
  get isCommitUntold(): boolean {
    return this.state.isCommitUntold
  }

  /** Tells the followers how far the log is committed, where they may not know it. */
  tellCommit(): void {
    if (this.state.role === 'leader') tellCommit(this.state)
  }

  /** Whether there is anything to be done. */
  hasReady(): boolean {
    return this.#handout.hasReady()
  }

  /** @returns what is to be done now. Nothing of it is given out again. */
  take(): Ready {
    return this.#handout.take()
  }

  /** Everything that the last Ready asked for is done. Not with asynchronous writes. */
  advance(): void {
    this.#handout.advance()
  }
}
