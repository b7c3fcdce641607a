// The shards as a whole, put together: what a node has of them.

import { sleep } from '../base/clock.ts'
import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { PeerId, StoreId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { CommittedLayout, LayoutMember, LayoutShape } from '../core/groups/committed-layout.ts'
import { placesOf } from '../core/groups/committed-layout.ts'
import type { Place } from '../core/groups/roster.ts'
import type { Network } from '../net/network.ts'
import type { LogStore } from '../storage/log-store.ts'
import type { StateStore } from '../storage/state-store.ts'
import { CallBatcher } from './call-batcher.ts'
import { ShardHost } from './host.ts'
import { LayoutKeeper } from './layout-keeper.ts'
import { LeaderHints } from './leader-hints.ts'
import { LogTrimmer, type Trimming } from './log-trimmer.ts'
import { Reconciler } from './reconciler.ts'
import { Router } from './router.ts'
import { listSetAside, type SetAside } from './set-aside.ts'
import { ShardServer } from './shard-server.ts'

/** A node that stops gives the others so long to take its leaderships. */
const HAND_OVER_MS = 500
const HAND_OVER_POLL_MS = 20

export type ShardLayerParts = {
  readonly network: Network
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly logStore: LogStore
  readonly stateStore: StateStore
  readonly defer: (task: () => void) => void
  /** Members that should own something, as this node knows them. */
  readonly members: () => readonly LayoutMember[]
  /** Whether a member has left, was put out, is gone or wants to go. */
  readonly isOut: (peer: PeerId) => boolean
  /** Other members that haven't left. */
  readonly others: () => readonly PeerId[]
  readonly isReachable: (peer: PeerId) => boolean
  readonly onLayout: (layout: CommittedLayout, encoded: Uint8Array) => void
}

export type ShardLayerOptions = {
  readonly self: PeerId
  readonly store: StoreId
  readonly meshId: string
  /** Shards of the mesh. */
  readonly count: number
  readonly shape: LayoutShape
  /** The layout of the last run. */
  readonly layout?: Uint8Array | undefined
  /** Whether this node founds the mesh, now or at a start that was cut off. */
  readonly isFounding: boolean
  /** How long the logs of groups become. */
  readonly trimming?: Trimming | undefined
}

export class ShardLayer {
  readonly host: ShardHost
  readonly router: Router
  readonly layouts: LayoutKeeper
  readonly #parts: ShardLayerParts
  readonly #options: ShardLayerOptions
  readonly #reconciler: Reconciler
  readonly #trimmer: LogTrimmer
  readonly #stopping = new AbortController()

  /** Registers its protocols, so it is made before the network is started. */
  constructor(parts: ShardLayerParts, options: ShardLayerOptions) {
    const { network, clock, log, defer, others, isReachable } = parts
    const { self, count, meshId, shape } = options
    this.#parts = parts
    this.#options = options
    const owners = (group: number): readonly Place[] => {
      const layout = this.layouts.current()
      return layout === undefined ? [] : placesOf(layout, group)
    }
    const onTick = (): void => {
      this.layouts.tick()
      this.#reconciler.tick()
      this.#trimmer.tick()
    }
    const host = new ShardHost({ ...parts, self, store: options.store, owners, onTick })
    this.host = host
    const batcher = new CallBatcher(network, defer)
    this.layouts = new LayoutKeeper(
      {
        ...parts,
        host,
        batcher,
        router: () => this.router,
        topic: `/atoll/${meshId}/layout`,
        shape,
        others: () => others().filter(isReachable)
      },
      options.layout
    )
    const layoutAfter = (version: number): Uint8Array | undefined => this.layouts.after(version)
    const server = new ShardServer({ network, clock, host, count, layoutAfter })
    const hints = new LeaderHints({
      members: (group) => host.replica(group)?.applied.roster.members.map(({ peer }) => peer) ?? [],
      leader: (group) => host.replica(group)?.leaderPeer(),
      owners: (group) => owners(group).map(({ peer }) => peer),
      others,
      isReachable: (peer) => peer === self || isReachable(peer),
      nowMs: () => clock.monotonicMs()
    })
    const stopping = this.#stopping.signal
    this.router = new Router({ self, clock, count, server, batcher, hints, stopping })
    const layout = (): CommittedLayout | undefined => this.layouts.current()
    const connected = (): readonly PeerId[] => network.connected()
    this.#reconciler = new Reconciler({ clock, log, host, self, layout, connected })
    this.#trimmer = new LogTrimmer({ log, host }, options.trimming)
  }

  /** Opens what is stored, and makes the groups of a mesh that begins here. */
  async open(): Promise<void> {
    const { count, isFounding } = this.#options
    await this.host.open()
    // The system group comes last: when it is there, all are.
    if (isFounding)
      await this.host.found(Array.from({ length: count + 1 }, (_, place) => count - place))
  }

  /** The network must have been started. Resolves when a layout is known. */
  async start(): Promise<void> {
    await this.host.start()
    this.layouts.start()
    await this.layouts.known()
  }

  /** Whether the members of all groups that are led here are those of the layout. */
  get isSettled(): boolean {
    const layout = this.layouts.current()
    return [...this.host.replicas()].every((replica) => {
      if (!replica.isLeader || layout === undefined) return true
      const { configState, roster } = replica.applied
      const wanted = placesOf(layout, replica.group).map(({ peer }) => peer)
      const present = roster.members.map(({ peer }) => peer)
      const isWhole = configState.voters.length === wanted.length
      return isWhole && present.length === wanted.length && wanted.every((p) => present.includes(p))
    })
  }

  /** How many groups this node leads. */
  get ledCount(): number {
    return [...this.host.replicas()].filter(({ isLeader }) => isLeader).length
  }

  /** What is kept here of groups that others founded anew. */
  setAside(): SetAside[] {
    return listSetAside(this.#parts.stateStore)
  }

  /** Whether no group counts on this node any more, nor the layout. */
  get isEmpty(): boolean {
    const { self } = this.#options
    const members = this.layouts.current()?.members ?? []
    return !members.some(({ id }) => id === self) && this.host.isEmpty
  }

  /** Hands leaderships over, where somebody takes them, and ends everything. Idempotent. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    this.#stopping.abort(new MeshError('stopped', 'The node is stopping'))
    this.#reconciler.stop()
    this.layouts.stop()
    await this.#handOver()
    await this.host.stop()
  }

  async #handOver(): Promise<void> {
    const { clock, network } = this.#parts
    const endMs = clock.monotonicMs() + HAND_OVER_MS
    const isAlone = (): boolean => network.connected().length === 0
    while (!isAlone() && this.host.handOverAll() > 0 && clock.monotonicMs() < endMs) {
      await sleep(clock, HAND_OVER_POLL_MS)
    }
  }
}
