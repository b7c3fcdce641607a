// All replicas of this node: they are made and ended here, get their ticks, and share one log.

import type { Clock } from '../base/clock.ts'
import { isMeshError, MeshError, toMeshError } from '../base/errors.ts'
import type { PeerId, StoreId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import { GENERATION_LOTS, nextGeneration, type Place } from '../core/groups/roster.ts'
import type { Message, ReplicaId } from '../core/raft/messages.ts'
import type { Network, Unsubscribe } from '../net/network.ts'
import type { GroupWrite, LogStore } from '../storage/log-store.ts'
import type { StateStore } from '../storage/state-store.ts'
import { GroupFolder, type LastReplica, type ReplicaName } from './group-folder.ts'
import { GroupTurns } from './group-turns.ts'
import { HostTurn } from './host-turn.ts'
import type { Written } from './log-batch.ts'
import { stallOf } from './log-stall.ts'
import { OwnTimers } from './own-timers.ts'
import { RAFT_TICK_MS } from './raft-core.ts'
import { afterFailure } from './replica-failure.ts'
import { Replica } from './replica.ts'
import type { ReplicaHost } from './replica-parts.ts'
import type { ReplicaNote } from './replica-note.ts'
import { StateChecks } from './state-checks.ts'
import { Traffic, type ReplicaKeeper } from './traffic.ts'

/** A replica that ended for want of disk is tried again. */
const REOPEN_MS = 5_000

export type HostParts = {
  readonly network: Network
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly logStore: LogStore
  readonly stateStore: StateStore
  /** Runs a task at the end of this turn of the event loop: `setImmediate`, or `clock.after(0)`. */
  readonly defer: (task: () => void) => void
  readonly self: PeerId
  readonly store: StoreId
  /** Where the layout wants the replicas of a group. */
  readonly owners: (group: number) => readonly Place[]
  /** Called after each tick of the replicas. */
  readonly onTick?: () => void
}

export class ShardHost implements ReplicaHost, ReplicaKeeper {
  isLeaving = false
  readonly #parts: HostParts
  readonly #folder: GroupFolder
  readonly #turn: HostTurn
  readonly #traffic: Traffic
  readonly #replicas = new Map<number, Replica>()
  readonly #turns = new GroupTurns()
  readonly #listeners = new Set<(group: number) => void>()
  readonly #timers: OwnTimers
  readonly #checks: StateChecks
  #isSilent = false
  #isRunning = false
  #failure: MeshError | undefined

  /** Registers its protocols, so it is made before the network is started. */
  constructor(parts: HostParts) {
    this.#parts = parts
    const { logStore, stateStore, log: logger, self: peer, store } = parts
    this.#folder = new GroupFolder({ logStore, stateStore, logger, place: { peer, store } })
    this.#turn = new HostTurn(parts)
    this.#timers = new OwnTimers(parts.clock)
    this.#checks = new StateChecks(stateStore, (replica) => this.#traffic.checked(replica))
    this.#traffic = new Traffic(parts, this)
  }

  /** Why no group can be kept here any more, once it is so. */
  failure(): MeshError | undefined {
    return this.#failure ?? this.#parts.logStore.failure() ?? this.#parts.stateStore.failure()
  }

  /** Opens what is stored. @throws as the stores do */
  async open(): Promise<void> {
    await this.#parts.logStore.open()
    await this.#parts.stateStore.open()
  }

  /** Makes the groups of a new mesh, of which this node is the only member; those missing. */
  async found(groups: readonly number[]): Promise<void> {
    await this.#folder.found(groups)
  }

  /** Starts the replicas that are stored here. */
  async start(): Promise<void> {
    this.#isRunning = true
    for (const group of this.#folder.groups()) await this.#openReplica(group)
    this.#checks.start()
    this.#timers.after(RAFT_TICK_MS, () => this.#tick())
  }

  /** Ends everything; what was acknowledged is durable already. Idempotent. */
  async stop(): Promise<void> {
    this.#isRunning = false
    this.#timers.stop()
    this.#turn.stop()
    const stopped = new MeshError('stopped', 'The node is stopping')
    for (const replica of this.#replicas.values()) replica.end(stopped)
    this.#traffic.stop()
    await this.#parts.logStore.close()
    await this.#parts.stateStore.close()
  }

  /** Calls back when a leader came or went, members changed, or a replica was made or ended. */
  onChanged(listener: (group: number) => void): Unsubscribe {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  replica(group: number): Replica | undefined {
    return this.#replicas.get(group)
  }

  replicas(): Iterable<Replica> {
    return [...this.#replicas.values()]
  }

  /** Whether no group counts on a replica here: one that failed may still be a member. */
  get isEmpty(): boolean {
    return this.#folder.groups().every((group) => this.lastOf(group)?.isGone !== false)
  }

  lastOf(group: number): LastReplica | undefined {
    return this.#folder.lastOf(group)
  }

  /** Whether its node said that it has no such replica any more. */
  isDead(group: number, replica: ReplicaId): boolean {
    return this.#traffic.isDead(group, replica)
  }

  /** Hands every leadership over, and takes none any more. @returns how many somebody takes */
  handOverAll(): number {
    this.isLeaving = true
    let count = 0
    for (const replica of this.replicas()) if (replica.handOver()) count += 1
    return count
  }

  /** Founds a group anew from a replica. @returns the new generation @throws overloaded */
  async refound(replica: Replica, newest: number): Promise<number> {
    const { group, applied } = replica
    try {
      const name = await this.#turns.run(group, async () => {
        this.#end(replica, new MeshError('stopped', 'The group is founded anew'))
        const lot = this.#parts.random.below(GENERATION_LOTS)
        return await this.#folder.refound(group, applied, nextGeneration(newest, lot))
      })
      if (name !== undefined) return name.generation
      throw new MeshError('overloaded', `Group ${group} is being changed here; ask again`)
    } finally {
      await this.#openReplica(group)
    }
  }

  // What replicas ask for.

  write(write: GroupWrite, done: Written): void {
    this.#turn.write(this.#folder.named(write), done)
  }

  send(replica: Replica, message: Message): void {
    if (!this.#isSilent || !replica.isLeader) this.#traffic.send(replica, message)
  }

  wake(replica: Replica): void {
    this.#turn.wake(replica)
  }

  askWhetherMember(replica: Replica): void {
    this.#traffic.askWhetherMember(replica, this.#parts.owners(replica.group))
  }

  changed({ group }: Pick<Replica, 'group'>): void {
    for (const listener of this.#listeners) listener(group)
  }

  membersChanged(replica: Replica): void {
    this.#traffic.membersChanged(replica)
    this.changed(replica)
  }

  failed(replica: Replica, error: MeshError): void {
    const { group, id } = replica
    if (!this.#isRunning || this.#replicas.get(group) !== replica) return
    this.#end(replica, error)
    const { code, message: reason } = error
    this.#parts.log.warn('shard.replica_failed', { group, replica: id, code, reason })
    const next = afterFailure(code)
    if (next === 'discard') this.discard(replica)
    else if (next === 'reopen') this.#timers.after(REOPEN_MS, () => void this.#openReplica(group))
    else if (next === 'stop') this.#failure ??= error
  }

  // What traffic asks for.

  /** Begins a replica without any state, in place of an older one. */
  join(group: number, name: ReplicaName): void {
    void this.#exclusively(group, async () => {
      // This may be the name that was lost: the leader is told so, and gives another one.
      if (this.#folder.isNameLost(group)) return await this.#folder.discard(group, name)
      const before = this.#replicas.get(group)
      if (before !== undefined) this.#end(before, ended())
      const note = await this.#folder.begin(group, name)
      this.#begin(group, note)
    })
  }

  /** Ends a replica for good; its id is never used again. */
  discard(name: Pick<Replica, 'group' | 'id' | 'generation'>, isSuperseded = false): void {
    const { group, id: replica, generation } = name
    void this.#exclusively(group, async () => {
      const present = this.#replicas.get(group)
      // Another one may have taken its place.
      if (present !== undefined && present.id !== replica) return
      if (present !== undefined) this.#end(present, ended())
      await this.#folder.discard(group, { replica, generation }, isSuperseded)
      this.#parts.log.info('shard.replica_discarded', { group, replica })
    })
  }

  // The host's own.

  #tick(): void {
    this.#timers.after(RAFT_TICK_MS, () => this.#tick())
    const { logStore, clock, onTick } = this.#parts
    const stall = stallOf(logStore, clock)
    this.#isSilent = stall === 'long' || this.failure() !== undefined
    for (const replica of this.replicas()) {
      if (stall !== 'none') replica.handOver()
      replica.tick()
    }
    this.#traffic.flush()
    onTick?.()
  }

  async #openReplica(group: number): Promise<void> {
    if (this.#replicas.has(group)) return
    await this.#exclusively(group, async () => {
      const note = await this.#folder.open(group)
      if (note !== undefined) this.#begin(group, note)
    })
  }

  #begin(group: number, note: ReplicaNote): void {
    if (!this.#isRunning) return
    const { logStore, stateStore, clock, random } = this.#parts
    const parts = { group, note, log: logStore.group(group), state: stateStore.group(group) }
    try {
      const replica = new Replica({ ...parts, host: this, clock, random })
      this.#replicas.set(group, replica)
      this.#checks.add(replica)
      this.#traffic.began(replica)
      this.changed({ group })
    } catch (error) {
      if (!isMeshError(error)) throw error
      this.#parts.log.warn('shard.replica_unusable', { group, reason: error.message })
      if (afterFailure(error.code) !== 'discard') return
      const name = { group, id: note.replica, generation: note.roster.generation }
      this.#timers.after(0, () => this.discard(name))
    }
  }

  #end(replica: Replica, error: MeshError): void {
    replica.end(error)
    // What it wrote last comes before what is written of its group next.
    this.#turn.flush()
    this.#replicas.delete(replica.group)
    this.#traffic.ended(replica.group)
    this.changed(replica)
  }

  /** One at a time for a group; what comes meanwhile comes again. */
  async #exclusively(group: number, task: () => Promise<void>): Promise<void> {
    try {
      await this.#turns.run(group, task)
    } catch (error) {
      const { code, message: reason } = toMeshError(error)
      this.#parts.log.warn('shard.group_failed', { group, code, reason })
      // Opened again, what is damaged is discarded.
      if (afterFailure(code) !== 'stop')
        this.#timers.after(REOPEN_MS, () => void this.#openReplica(group))
      else if (this.#isRunning) this.#failure ??= toMeshError(error)
    }
  }
}

function ended(): MeshError {
  return new MeshError('stopped', 'The replica is no member of its group any more')
}
