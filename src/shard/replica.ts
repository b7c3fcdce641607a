// One replica of one group, driven: the core of Raft, its log, and what it has applied. Decisions are
// the core's; here they become writes, messages and answers, in the order that the core asks for.

import { MeshError, toMeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Answer, Request } from '../core/machine/command.ts'
import { NO_REPLICA } from '../core/raft/messages.ts'
import type { ConfigChange, Message, ReplicaId } from '../core/raft/messages.ts'
import type { Raft } from '../core/raft/raft.ts'
import type { GroupLog } from '../storage/log-store.ts'
import type { GroupState, StateInstall } from '../storage/state-store.ts'
import { AppliedState } from './applied-state.ts'
import { HeldBack } from './held-back.ts'
import type { Written } from './log-batch.ts'
import { LEADERS, LeaderSilence } from './leader-silence.ts'
import { Leadership } from './leadership.ts'
import { RAFT_TICK_MS, createRaftCore } from './raft-core.ts'
import { ReadWaits } from './read-waits.ts'
import type { ReplicaNote } from './replica-note.ts'
import type { ReplicaHost, ReplicaParts } from './replica-parts.ts'
import { ReplicaWrites } from './replica-writes.ts'
import { RevisionWaits } from './revision-waits.ts'

export class Replica {
  readonly group: number
  readonly generation: number
  readonly id: ReplicaId
  readonly raft: Raft
  readonly applied: AppliedState
  readonly log: GroupLog
  readonly state: GroupState
  readonly #host: ReplicaHost
  readonly #leadership: Leadership
  readonly #reads: ReadWaits
  readonly #writes: ReplicaWrites
  readonly #silence = new LeaderSilence()
  readonly #revisionWaits = new RevisionWaits()
  readonly #heldBack: HeldBack
  #ended: MeshError | undefined

  /** @throws corrupt when log and state contradict each other */
  constructor(parts: ReplicaParts) {
    const { group, note, log, state, host, clock, random, trace } = parts
    this.group = group
    this.generation = note.roster.generation
    this.id = note.replica
    this.log = log
    this.state = state
    this.#host = host
    this.applied = new AppliedState(state, note)
    this.raft = createRaftCore({ id: this.id, log, applied: this.applied, random, trace })
    const { applied } = this
    // Of a replica that has nothing nothing can have vanished.
    this.#heldBack = new HeldBack(this.raft, applied.index === 0)
    this.#leadership = new Leadership({ raft: this.raft, applied, clock })
    this.#reads = new ReadWaits(Uint8Array.from({ length: 8 }, () => random.below(256)))
    this.#writes = new ReplicaWrites({
      group,
      applied,
      write: (write, done) => {
        if (this.#ended === undefined) host.write(write, done)
      },
      deliver: (messages) => this.#deliver(messages),
      installed: () => this.#guard(() => this.#installed()),
      failed: (error) => this.fail(error)
    })
  }

  get isLeader(): boolean {
    return this.raft.state.role === 'leader'
  }

  /** Whether it leads, or has heard its leader lately. */
  get isLed(): boolean {
    return this.leader !== NO_REPLICA && !this.#silence.isLong
  }

  /** It leads, and has applied all that leaders before it committed. */
  get isReadyToLead(): boolean {
    return this.#leadership.hasBegun
  }

  get leader(): ReplicaId {
    return this.raft.state.leader
  }

  get term(): number {
    return this.raft.state.term
  }

  leaderPeer(): PeerId | undefined {
    return this.#leadership.leaderPeer()
  }

  /** Whether all that it has applied was read and found to be there: before, it neither serves nor leads. */
  get isChecked(): boolean {
    return this.#heldBack.isOver
  }

  /** Resolves when it is checked, or has ended. */
  async whenChecked(): Promise<void> {
    await this.#heldBack.whenOver()
  }

  get hasEnded(): boolean {
    return this.#ended !== undefined
  }

  /** A unit of {@link RAFT_TICK_MS} has passed. */
  tick(): void {
    this.#guard(() => {
      this.raft.tick()
      this.#leadership.tick()
      if (this.isLeader) this.#silence.end()
      else if (this.#silence.tick()) this.#host.askWhetherMember(this)
      if (this.#reads.tick()) this.#host.wake(this)
    })
  }

  /** A message has come; the host has made sure that it is from whom it says. */
  step(message: Message): void {
    this.#guard(() => {
      const refused = this.raft.step(message)
      // An old state was put back: what it promised since is forgotten, so it may not vote on.
      if (refused?.refusal === 'data-loss') throw new MeshError('corrupt', refused.problem)
      // One that led may speak on, as a replica that asks for its leader.
      if (message.from === this.leader && LEADERS.has(message.type)) this.#silence.end()
    })
  }

  /** Has the core do something, unless the replica has ended. */
  run(input: (raft: Raft) => void): void {
    this.#guard(() => input(this.raft))
  }

  /** Its state is right. */
  checked(): void {
    this.#guard(() => {
      for (const message of this.#heldBack.release()) this.#apply(message)
      // Where nobody else could lead.
      if (this.applied.isOnlyVoter) this.raft.campaign()
    })
  }

  /** A leader asks the voter that has most to lead in its place. @returns whether one answers */
  handOver(): boolean {
    const to = this.#leadership.successor()
    if (to !== undefined) this.run((raft) => raft.transferLeader(to))
    return to !== undefined
  }

  /** Does what the core wants done, until there is nothing left. */
  process(): void {
    this.#guard(() => {
      this.#leadership.flush()
      this.#reads.flush((context) => this.raft.readIndex(context) === undefined)
      while (this.raft.hasReady() && this.#ended === undefined) {
        const ready = this.raft.take()
        if (ready.softState !== undefined) {
          if (!this.isLeader) this.#leadership.end()
          this.#host.changed(this)
        }
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
    const answer = this.#leadership.execute(request)
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
    return this.#revisionWaits.add(listener)
  }

  /** Proposes a change of members. @returns whether it is on its way */
  changeMembers(change: ConfigChange): boolean {
    let isTaken = false
    this.#guard(() => {
      isTaken = this.raft.proposeConfigChange(change) === undefined
    })
    return isTaken
  }

  /** A snapshot has been received: the core decides whether it takes the place of what is here. */
  offerSnapshot(message: Message, install: StateInstall, note: ReplicaNote): void {
    const { snapshot } = message
    if (this.#ended !== undefined || !this.#writes.offer(snapshot?.index, install, note)) {
      void install.abort()
      return
    }
    this.step(message)
    this.process()
    this.#writes.decided()
  }

  /** Entries that every member has may go, up to an index that is safely in the store. */
  truncate(index: number, done: Written): void {
    const { configState } = this.applied
    this.#host.write({ group: this.group, truncateTo: index, configState }, done)
  }

  /** What is under way is lost to those who asked. */
  end(error: MeshError): void {
    if (this.#ended !== undefined) return
    this.#ended = error
    this.#leadership.end(error)
    this.#reads.end(error)
    this.#revisionWaits.notify()
    this.#writes.end()
    this.#heldBack.end()
  }

  notLeader(): MeshError {
    return this.#leadership.notLeader()
  }

  #checkRunning(): void {
    if (this.#ended !== undefined) throw this.#ended
  }

  #handle(message: Message): void {
    if (message.type === 'storage-append') this.#writes.append(message)
    else if (message.type !== 'storage-apply') this.#host.send(this, message)
    else if (!this.#heldBack.keeps(message)) this.#apply(message)
  }

  #apply({ entries, responses }: Message): void {
    const before = this.applied.machine.revision
    const roster = this.applied.roster
    const outcomes = this.applied.apply(entries, (change) => this.raft.applyConfigChange(change))
    if (this.#leadership.applied(entries, outcomes)) this.#host.changed(this)
    const last = outcomes.at(-1)
    if (last?.kind === 'halted') this.fail(last.error)
    if (this.applied.machine.revision > before) this.#revisionWaits.notify()
    if (this.applied.roster !== roster) this.#host.membersChanged(this)
    for (const response of responses) this.raft.step(response)
    this.#reads.applied(this.applied.index)
  }

  #installed(): void {
    this.#revisionWaits.notify()
    this.#host.membersChanged(this)
  }

  #deliver(messages: readonly Message[]): void {
    this.#guard(() => {
      for (const message of messages) {
        if (message.to === this.id) this.raft.step(message)
        else this.#host.send(this, message)
      }
    })
  }

  /** Runs one input. What is stored may turn out to be damaged whenever it is read. */
  #guard(run: () => void): void {
    if (this.#ended !== undefined) return
    try {
      run()
      if (this.raft.hasReady()) this.#host.wake(this)
    } catch (error) {
      this.fail(toMeshError(error))
    }
  }

  /** It can't go on. */
  fail(error: MeshError): void {
    if (this.#ended !== undefined) return
    this.end(error)
    this.#host.failed(this, error)
  }
}
