// One replica of one group, driven: the core of Raft, its log, and what it has applied. Decisions are
// the core's; here they become writes, messages and answers, in the order that the core asks for.

import type { Clock } from '../base/clock.ts'
import { MeshError, toMeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Random } from '../base/random.ts'
import type { Answer, Request } from '../core/machine/command.ts'
import { encodeCommand } from '../core/machine/command.ts'
import { LeaderClock } from '../core/machine/machine-time.ts'
import { TICK } from '../core/machine/own-operations.ts'
import { encode } from '../core/machine/codec.ts'
import { capability } from '../core/machine/operation.ts'
import { RAFT_DEFAULTS } from '../core/raft/config.ts'
import type { Trace } from '../core/raft/events.ts'
import { NO_BYTES, NO_REPLICA, createMessage } from '../core/raft/messages.ts'
import type { ConfigChange, Entry, Message, ReplicaId } from '../core/raft/messages.ts'
import { Raft } from '../core/raft/raft.ts'
import type { GroupLog, GroupWrite } from '../storage/log-store.ts'
import type { GroupState, StateInstall } from '../storage/state-store.ts'
import { AppliedState } from './applied-state.ts'
import { LogWriter } from './log-writer.ts'
import { Proposals } from './proposals.ts'
import { ReadWaits } from './read-waits.ts'
import type { ReplicaNote } from './replica-note.ts'

/** Ticks of the core; the host calls `tick` this often. */
export const RAFT_TICK_MS = 100
/** A leader speaks this often, in ticks; a follower waits so long, and up to twice that. */
const HEARTBEAT_TICKS = 3
const ELECTION_TICKS = 12
/** A replica that hears no leader asks so often whether it is still a member. */
const SILENT_TICKS = 20

/** What a replica asks of its host. */
export type ReplicaHost = {
  /** Writes to the log of the node, with what other groups write in this turn. */
  write(write: GroupWrite): Promise<void>
  send(replica: Replica, message: Message): void
  /** The replica has something to do at the end of this turn. */
  wake(replica: Replica): void
  /** A leader came, went or became known. */
  ledBy(replica: Replica): void
  /** A member of the group was added or removed. */
  membersChanged(replica: Replica): void
  /** The replica can't go on: its disk or its program failed it. */
  failed(replica: Replica, error: MeshError): void
}

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

export class Replica {
  readonly group: number
  readonly generation: number
  readonly id: ReplicaId
  readonly raft: Raft
  readonly applied: AppliedState
  readonly log: GroupLog
  readonly state: GroupState
  readonly #host: ReplicaHost
  readonly #clock: Clock
  readonly #proposals = new Proposals()
  readonly #reads: ReadWaits
  readonly #writer: LogWriter
  #leaderClock: LeaderClock | undefined
  #silentTicks = 0
  #revisionWaits: (() => void)[] = []
  #ended: MeshError | undefined
  #install: { readonly index: number; readonly install: StateInstall; readonly note: Uint8Array } | undefined

  /** @throws corrupt when log and state contradict each other */
  constructor(parts: ReplicaParts) {
    const { group, note, log, state, host, clock, random, trace } = parts
    this.group = group
    this.generation = note.roster.generation
    this.id = note.replica
    this.log = log
    this.state = state
    this.#host = host
    this.#clock = clock
    this.applied = new AppliedState(state, note)
    log.setSnapshotSource(() => {
      const { index, term, configState } = this.applied
      return index === 0 ? undefined : { index, term, configState, data: NO_BYTES }
    })
    const { configState } = this.applied
    this.raft = new Raft({
      config: {
        ...RAFT_DEFAULTS,
        id: this.id,
        electionTicks: ELECTION_TICKS,
        heartbeatTicks: HEARTBEAT_TICKS,
        applied: this.applied.index,
        asyncStorageWrites: true,
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
    this.#reads = new ReadWaits(Uint8Array.from({ length: 8 }, () => random.below(256)))
    this.#writer = new LogWriter({
      group,
      write: (write) => host.write(write),
      deliver: (messages) => this.#deliver(messages),
      failed: (error) => this.#fail(error)
    })
  }

  get isLeader(): boolean {
    return this.raft.state.role === 'leader'
  }

  /** Whether it leads, or has heard its leader lately. */
  get isLed(): boolean {
    return this.leader !== NO_REPLICA && this.#silentTicks < SILENT_TICKS
  }

  /** It leads, and has applied all that leaders before it committed. */
  get isReadyToLead(): boolean {
    return this.isLeader && this.#leaderClock !== undefined
  }

  get leader(): ReplicaId {
    return this.raft.state.leader
  }

  get term(): number {
    return this.raft.state.term
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined
  }

  /** @returns where the leader lives, as far as is known here. */
  leaderPeer(): PeerId | undefined {
    return this.leader === NO_REPLICA ? undefined : this.applied.peerOf(this.leader)
  }

  /** A unit of {@link RAFT_TICK_MS} has passed. */
  tick(): void {
    this.#guard(() => {
      this.raft.tick()
      this.#tickMachine()
      this.#askWhetherMember()
      if (this.#reads.tick() || this.raft.hasReady()) this.#host.wake(this)
    })
  }

  /** A message has come; the host has made sure that it is from whom it says. */
  step(message: Message): void {
    this.#guard(() => {
      this.raft.step(message)
      if (message.from === this.leader) this.#silentTicks = 0
      this.#host.wake(this)
    })
  }

  connectionLost(replica: ReplicaId): void {
    this.#guard(() => {
      this.raft.connectionLost(replica)
      this.raft.reportUnreachable(replica)
      if (this.raft.hasReady()) this.#host.wake(this)
    })
  }

  /**
   * Tells all members that it is here, when it has heard no leader for long: they answer if it is
   * no member any more. A learner that was removed would never find out otherwise.
   */
  #askWhetherMember(): void {
    this.#silentTicks = this.isLeader ? 0 : this.#silentTicks + 1
    if (this.#silentTicks === 0) return
    if (this.#silentTicks % SILENT_TICKS !== 0) return
    for (const { replica: to } of this.applied.roster.members) {
      const draft = { type: 'heartbeat-response', to } as const
      if (to !== this.id) this.#host.send(this, createMessage(draft, this.id, this.term))
    }
  }

  /** A message could not be sent. */
  unreachable(replica: ReplicaId): void {
    if (this.isLeader) this.#guard(() => this.raft.reportUnreachable(replica))
  }

  /** Leads at once where nobody else could. */
  campaignIfAlone(): void {
    const { voters, votersOutgoing } = this.applied.configState
    const isAlone = voters.length === 1 && votersOutgoing.length === 0
    if (isAlone && voters[0] === this.id) this.#guard(() => this.raft.campaign())
    this.#host.wake(this)
  }

  /** A leader asks the voter that has most to lead in its place. @returns whether one answers */
  handOver(): boolean {
    if (!this.isLeader) return false
    let best: { id: ReplicaId; match: number } | undefined
    for (const [id, { match, isActive, isLearner }] of this.raft.state.members.progress) {
      if (id === this.id || isLearner || !isActive) continue
      if (best === undefined || match > best.match) best = { id, match }
    }
    if (best !== undefined) this.transferTo(best.id)
    return best !== undefined
  }

  /** Does what the core wants done, until there is nothing left. */
  process(): void {
    this.#guard(() => {
      this.#proposals.flush((data) => this.#propose(data))
      this.#reads.flush((context) => this.raft.readIndex(context) === undefined)
      while (this.raft.hasReady() && this.#ended === undefined) {
        const ready = this.raft.take()
        if (ready.softState !== undefined) this.#onSoftState()
        for (const message of ready.messages) this.#handle(message)
        for (const { context, index } of ready.readStates) {
          this.#reads.answered(context, index, this.applied.index)
        }
      }
    })
  }

  /**
   * Puts a command into the log; resolves when it is applied here.
   *
   * @throws not-leader, overloaded, stopped, too-large; version-mismatch for what isn't known here
   */
  async execute(request: Request): Promise<Answer> {
    this.#checkRunning()
    if (!this.isLeader || this.#leaderClock === undefined) throw this.notLeader()
    const name = capability({ name: request.operation, version: request.version })
    if (!this.applied.machine.capabilities.includes(name)) {
      const problem = `this program doesn't know ${name}; bring it up to date`
      throw new MeshError('version-mismatch', `Cannot do that: ${problem}`)
    }
    const stampMs = this.#leaderClock.stampMs(this.#clock.monotonicMs())
    const answer = this.#proposals.queue(encodeCommand({ ...request, stampMs }))
    this.#host.wake(this)
    return await answer
  }

  /**
   * Resolves when the state shows all that was acknowledged before the call.
   *
   * @throws no-quorum when that isn't known within `timeoutMs`; overloaded, stopped
   */
  async confirm(timeoutMs: number): Promise<void> {
    this.#checkRunning()
    const read = this.#reads.wait(Math.max(1, Math.ceil(timeoutMs / RAFT_TICK_MS)))
    this.#host.wake(this)
    await read
  }

  /** Calls back once, when the revision has grown or the replica ended. @returns how to end that */
  onceRevised(listener: () => void): () => void {
    this.#revisionWaits.push(listener)
    return () => {
      this.#revisionWaits = this.#revisionWaits.filter((other) => other !== listener)
    }
  }

  /** Proposes a change of members. @returns whether it is on its way */
  changeMembers(change: ConfigChange): boolean {
    return this.#guard(() => {
      const isTaken = this.raft.proposeConfigChange(change) === undefined
      this.#host.wake(this)
      return isTaken
    }) ?? false
  }

  transferTo(replica: ReplicaId): void {
    this.#guard(() => {
      this.raft.transferLeader(replica)
      this.#host.wake(this)
    })
  }

  reportSnapshot(replica: ReplicaId, isSuccess: boolean): void {
    this.#guard(() => {
      this.raft.reportSnapshot(replica, isSuccess)
      this.#host.wake(this)
    })
  }

  /** A snapshot has been received: the core decides whether it takes the place of what is here. */
  offerSnapshot(message: Message, install: StateInstall, note: ReplicaNote): void {
    const { snapshot } = message
    if (snapshot === undefined || this.#install !== undefined || this.#ended !== undefined) {
      void install.abort()
      return
    }
    this.#install = { index: snapshot.index, install, note: this.applied.adopt(note, snapshot.index) }
    this.step(message)
    this.process()
    // Unless the core asked for it to be written, it has no use for it.
    if (this.#install !== undefined && !this.#writer.isInstalling) {
      this.#install = undefined
      void install.abort()
    }
  }

  /** Entries that every member has may go, up to an index that is safely in the store. */
  truncate(index: number): Promise<void> {
    const { configState } = this.applied
    return this.#host.write({ group: this.group, truncateTo: index, configState })
  }

  /** Waits for nothing: what is under way is lost to those who asked. */
  end(error: MeshError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#proposals.lost(error)
    this.#reads.end(error)
    this.#notifyRevised()
    if (this.#install !== undefined) void this.#install.install.abort()
  }

  notLeader(): MeshError {
    const peer = this.isLeader ? undefined : this.leaderPeer()
    const who = peer === undefined ? 'nobody known here' : peer
    return new MeshError('not-leader', `This replica doesn't lead its shard; ${who} does`, {
      details: peer === undefined ? {} : { leader: peer }
    })
  }

  #checkRunning(): void {
    if (this.#ended !== undefined) throw this.#ended
  }

  #onSoftState(): void {
    if (!this.isLeader) {
      this.#leaderClock = undefined
      this.#proposals.lost()
    }
    this.#host.ledBy(this)
  }

  #propose(data: readonly Uint8Array[]): { first: number; term: number } | MeshError {
    const { log, term } = this.raft.state
    const first = log.lastIndex + 1
    const refused = this.raft.propose(data)
    if (refused === undefined) return { first, term }
    if (!this.isLeader) return this.notLeader()
    return new MeshError('overloaded', `The shard takes no command now: ${refused.problem}`)
  }

  #handle(message: Message): void {
    if (message.type === 'storage-append') this.#append(message)
    else if (message.type === 'storage-apply') this.#apply(message)
    else this.#host.send(this, message)
  }

  #append(message: Message): void {
    const { snapshot } = message
    const install = this.#install
    if (snapshot === undefined) this.#writer.append(message)
    else if (install?.index === snapshot.index) {
      this.#writer.append(message, async () => {
        await install.install.finish(install.note)
        this.applied.reload()
        this.#install = undefined
        this.#host.membersChanged(this)
      })
    } else this.#fail(new MeshError('internal', `Snapshot ${snapshot.index} was never received`))
  }

  #apply(message: Message): void {
    this.#applyEntries(message.entries)
    for (const response of message.responses) this.raft.step(response)
    this.#reads.applied(this.applied.index)
  }

  #applyEntries(entries: readonly Entry[]): void {
    const before = this.applied.machine.reads.meta.revision
    const roster = this.applied.roster
    const outcomes = this.applied.apply(entries, (change) => this.raft.applyConfigChange(change))
    for (const [place, outcome] of outcomes.entries()) {
      if (outcome.kind === 'halted') {
        this.#fail(outcome.error)
        return
      }
      const { term } = entries[place] as Entry
      if (outcome.kind === 'applied') this.#proposals.applied(outcome.index, term, outcome.answer)
      if (this.isLeader && term === this.term) this.#beginToLead()
    }
    if (this.applied.machine.reads.meta.revision > before) this.#notifyRevised()
    if (this.applied.roster !== roster) this.#host.membersChanged(this)
  }

  #beginToLead(): void {
    if (this.#leaderClock !== undefined) return
    const nowMs = this.#clock.monotonicMs()
    this.#leaderClock = new LeaderClock({ machineTimeMs: this.applied.machine.timeMs, nowMs })
    this.#host.ledBy(this)
  }

  /** Leases end by entries: without other commands the leader proposes a tick. */
  #tickMachine(): void {
    if (!this.isLeader || this.#leaderClock === undefined) return
    const stampMs = this.#leaderClock.stampMs(this.#clock.monotonicMs())
    const { dueMs } = this.applied.machine
    if (dueMs === undefined || dueMs > stampMs || this.#proposals.hasQueued()) return
    const { name: operation, version, args } = TICK
    const request = { client: 0, sequence: 0, answeredBelow: 0, space: NO_BYTES, operation, version }
    this.raft.propose([encodeCommand({ ...request, args: encode(args, undefined), stampMs }).slice()])
  }

  #deliver(messages: readonly Message[]): void {
    this.#guard(() => {
      for (const message of messages) {
        if (message.to === this.id) this.raft.step(message)
        else this.#host.send(this, message)
      }
      if (this.raft.hasReady()) this.#host.wake(this)
    })
  }

  #notifyRevised(): void {
    const waits = this.#revisionWaits
    this.#revisionWaits = []
    for (const wake of waits) wake()
  }

  /** Runs one input. What is stored may turn out to be damaged whenever it is read. */
  #guard<T>(run: () => T): T | undefined {
    if (this.#ended !== undefined) return undefined
    try {
      return run()
    } catch (error) {
      this.#fail(toMeshError(error))
      return undefined
    }
  }

  #fail(error: MeshError): void {
    if (this.#ended !== undefined) return
    this.end(error)
    this.#host.failed(this, error)
  }
}
