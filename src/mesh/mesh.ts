// A node's place in its mesh: who is here (membership), who owns what (layouts), how they meet.

import type { Clock } from '../base/clock.ts'
import { Emitter } from '../base/emitter.ts'
import { errorMessage, MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { CommittedLayout } from '../core/groups/committed-layout.ts'
import type { MembershipConfig } from '../core/membership/config.ts'
import type { MembershipEvent, SelfChange } from '../core/membership/effects.ts'
import {
  isAnswering,
  isTerminal,
  type Member,
  type MemberRecord,
  type MemberUpdate
} from '../core/membership/member.ts'
import type { Address, Network, Unsubscribe } from '../net/network.ts'
import { Discovery } from './discovery.ts'
import type { Founding } from './genesis.ts'
import { HelloExchange } from './hello.ts'
import { Layouts } from './layouts.ts'
import { MemberDriver } from './member-driver.ts'
import { clonedIdentity, refusalOf, selfEvicted } from './refusals.ts'
import { TableKeeper } from './table-keeper.ts'
import type { LayoutView, MeshView } from './view.ts'

/** The last words of a member that is out may still be on the way: its connections close later. */
const FORGET_DELAY_MS = 1_000

export type MeshComponents = {
  network: Network
  clock: Clock
  random: Random
  log: Logger
  /** Writes the table to disk, for the next start. */
  remember: (members: readonly Member[]) => Promise<void>
}

export type MeshOptions = {
  founding: Founding
  /** What this node says of itself; its addresses are filled in at start. */
  self: MemberRecord
  membership: MembershipConfig
  /** Addresses that the user gave. */
  join: readonly Address[]
  /** The table of the last run. */
  remembered: readonly MemberUpdate[]
  /** Software version, for people. */
  agent: string
}

export type MeshEvents = {
  member: Extract<MembershipEvent, { member: Member }>
  /** This node's own record has changed. */
  self: MemberRecord
  'layout:changed': LayoutView
  /** The node can't go on: evicted, cloned, or refused at every address that the user gave. */
  fatal: MeshError
}

export class Mesh implements MeshView {
  readonly self: PeerId
  readonly founding: Founding
  readonly #components: MeshComponents
  readonly #options: MeshOptions
  readonly #driver: MemberDriver
  readonly #keeper: TableKeeper
  readonly #layouts: Layouts
  readonly #hello: HelloExchange
  readonly #discovery: Discovery
  readonly #events = new Emitter<MeshEvents>()
  readonly #unsubscribe: Unsubscribe[] = []
  readonly #joined = Promise.withResolvers<void>()
  #running = false

  constructor(components: MeshComponents, options: MeshOptions) {
    const { network, clock, log, random } = components
    this.self = network.peerId
    this.founding = options.founding
    this.#components = components
    this.#options = options
    this.#driver = new MemberDriver(
      {
        network,
        clock,
        random,
        log,
        onEvents: (events) => this.#onEvents(events)
      },
      {
        config: options.membership,
        self: options.self,
        topic: `/atoll/${options.founding.meshId}/members`
      }
    )
    this.#keeper = new TableKeeper({
      clock,
      log,
      members: () => this.members(),
      write: components.remember
    })
    const { arcCount, replication } = options.founding.genesis
    this.#layouts = new Layouts({ arcCount, replication })
    this.#hello = new HelloExchange({
      network,
      log,
      signedGenesis: options.founding.signed,
      onCloned: (error) => this.#events.emit('fatal', error),
      onEvicted: (peer) => this.#driver.hearEviction(peer),
      refusal: (peer) => refusalOf(peer, this.member(peer), this.others().length + 1),
      self: () => {
        const { storeId, session, incarnation } = this.selfRecord()
        const { meshId } = options.founding
        return { meshId, storeId, session, incarnation, agent: options.agent }
      }
    })
    this.#discovery = new Discovery(
      {
        network,
        clock,
        random,
        log,
        admit: async (peer, { signal }) => {
          await this.#hello.admit(peer, { signal })
        },
        wanted: () => this.others(),
        isMember: (peer) => this.member(peer) !== undefined,
        onPeer: (peer) => this.#driver.swapTables(peer),
        onFatal: (error) => this.#events.emit('fatal', error)
      },
      { join: options.join }
    )
  }

  /** The network must have been started. Resolves at once; see {@link joined}. */
  start(): void {
    const { network } = this.#components
    this.#running = true
    this.#unsubscribe.push(
      network.onConnected((peer) => this.#onConnected(peer)),
      this.#layouts.onChanged((view) => this.#events.emit('layout:changed', view))
    )
    this.#driver.start()
    for (const { record } of this.#options.remembered)
      network.learn(record.peerId, record.addresses)
    this.#driver.step({ kind: 'merge', updates: this.#options.remembered })
    this.#driver.step({ kind: 'update-self', change: { addresses: network.addresses() } })
    if (this.others().length > 0 || this.#options.join.length === 0) this.#joined.resolve()
    this.#discovery.start()
  }

  async stop(): Promise<void> {
    if (!this.#running) return
    this.#running = false
    this.#discovery.stop()
    this.#driver.stop()
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    await this.#keeper.stop()
  }

  /** Resolves when this node knows its mesh: from the last run, or by the first answer of a member. */
  async joined(): Promise<void> {
    await this.#joined.promise
    // The next start may not know nobody: it would wait for an address.
    await this.#keeper.flush()
  }

  /** Why nobody could be reached so far. */
  lastFailure(): string | undefined {
    return this.#discovery.lastFailure()
  }

  on<Name extends keyof MeshEvents>(
    name: Name,
    listener: (value: MeshEvents[Name]) => void
  ): Unsubscribe {
    return this.#events.on(name, listener)
  }

  /** All members known, tombstones too, sorted. */
  members(): readonly Member[] {
    return this.#driver.core.members()
  }

  member(peer: PeerId): Member | undefined {
    return this.#driver.core.member(peer)
  }

  selfRecord(): MemberRecord {
    return this.#driver.core.self()
  }

  /** Changes what this node says of itself. */
  update(change: SelfChange): void {
    this.#driver.step({ kind: 'update-self', change })
  }

  /** Says that this node wants out: the next layout is without it. */
  beginLeave(): void {
    this.#driver.step({ kind: 'leave-begin' })
  }

  /** Says that this node has left. */
  async endLeave(): Promise<void> {
    this.#driver.step({ kind: 'leave-end' })
    await this.#driver.publish(this.self)
  }

  /**
   * Puts a member out for good.
   *
   * @throws not-found when it is no member; invalid-argument for this node itself
   */
  async evict(peer: PeerId): Promise<void> {
    const member = this.member(peer)
    if (member === undefined || member.state === 'left' || member.state === 'evicted') {
      throw new MeshError('not-found', `${peer} is no member of this mesh; see: atoll nodes`)
    }
    if (peer === this.self) {
      throw new MeshError('invalid-argument', 'A node cannot evict itself; use: atoll leave')
    }
    this.#driver.step({ kind: 'evict', peer })
    await this.#driver.publish(peer)
  }

  /** A layout was committed. */
  commitLayout({ version, blocks }: CommittedLayout): void {
    this.#layouts.commit(version, blocks)
  }

  layout(): LayoutView {
    return this.#layouts.current()
  }

  earlierLayouts(): readonly LayoutView[] {
    return this.#layouts.earlier()
  }

  isReachable(peer: PeerId): boolean {
    const member = this.member(peer)
    return member !== undefined && isAnswering(member.state)
  }

  others(): readonly PeerId[] {
    return this.members()
      .filter(({ record, state }) => record.peerId !== this.self && !isTerminal(state))
      .map(({ record }) => record.peerId)
  }

  onLayoutChanged(listener: (view: LayoutView) => void): Unsubscribe {
    return this.#layouts.onChanged(listener)
  }

  onReachable(listener: (peer: PeerId) => void): Unsubscribe {
    return this.#events.on('member', ({ kind, member }) => {
      if (kind === 'joined' || kind === 'recovered') listener(member.record.peerId)
    })
  }

  #onConnected(peer: PeerId): void {
    this.#discovery.hurry()
    this.#driver.step({ kind: 'connected', peer })
  }

  #onEvents(events: readonly MembershipEvent[]): void {
    for (const event of events) this.#onEvent(event)
    this.#keeper.changed()
  }

  #onEvent(event: MembershipEvent): void {
    const { network, log } = this.#components
    switch (event.kind) {
      case 'self-changed':
        this.#events.emit('self', event.record)
        void this.#driver.publish(this.self)
        return
      case 'self-evicted':
        this.#events.emit('fatal', selfEvicted())
        return
      case 'cloned':
        this.#events.emit('fatal', clonedIdentity(this.self, event.session))
        return
      default:
    }
    const { record, state } = event.member
    log.info(`member.${event.kind}`, { peer: record.peerId, name: record.name, state })
    if (record.peerId !== this.self) {
      if (isTerminal(state)) {
        this.#components.clock.after(FORGET_DELAY_MS, () => void this.#forget(record.peerId))
      } else {
        network.learn(record.peerId, record.addresses)
        this.#joined.resolve()
      }
    }
    this.#events.emit('member', event)
  }

  async #forget(peer: PeerId): Promise<void> {
    const member = this.member(peer)
    if (!this.#running || (member !== undefined && !isTerminal(member.state))) return
    try {
      await this.#components.network.forget(peer)
    } catch (error) {
      this.#components.log.debug('mesh.forget_failed', { peer, reason: errorMessage(error) })
    }
  }
}
