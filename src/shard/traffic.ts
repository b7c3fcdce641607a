// What goes between the replicas of this node and those of others: whom a message is for, whether
// its sender may say that, and what is answered when either is no member any more.

import type { PeerId, StoreId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import { memberOf } from '../core/groups/roster.ts'
import type { Place } from '../core/groups/roster.ts'
import { NO_REPLICA, createMessage } from '../core/raft/messages.ts'
import type { Message, ReplicaId } from '../core/raft/messages.ts'
import type { Network, Unsubscribe } from '../net/network.ts'
import type { GoneReplica, RaftFrame } from '../wire/shard-frame.ts'
import type { LastReplica, ReplicaName } from './group-folder.ts'
import { LEADERS } from './leader-silence.ts'
import { HurriedElections } from './hurried-elections.ts'
import { PeerLinks } from './peer-links.ts'
import { Places } from './places.ts'
import type { Replica } from './replica.ts'
import type { OutgoingMessage } from './send-queue.ts'
import { SnapshotCourier } from './snapshot-courier.ts'

export type TrafficParts = {
  readonly network: Network
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly defer: (task: () => void) => void
  readonly store: StoreId
}

/** Who has the replicas. */
export type ReplicaKeeper = {
  /** Whether the node is stopping: it takes no leadership. */
  readonly isLeaving: boolean
  replica(group: number): Replica | undefined
  replicas(): Iterable<Replica>
  /** The last replica of a group that was here, also one that is no more. */
  lastOf(group: number): LastReplica | undefined
  /** A leader of the group counts this node as a member, under this name. */
  join(group: number, name: ReplicaName): void
  /** A member of its group was lost by its node. */
  changed(replica: Replica): void
  /** The replica is no member any more, or its group was founded anew by others. */
  discard(replica: Replica, isSuperseded: boolean): void
}

export class Traffic {
  readonly #keeper: ReplicaKeeper
  readonly #self: PeerId
  readonly #connected: () => readonly PeerId[]
  readonly #links: PeerLinks
  readonly #places = new Places()
  readonly #courier: SnapshotCourier
  readonly #elections: HurriedElections
  readonly #unsubscribe: readonly Unsubscribe[]

  constructor(parts: TrafficParts, keeper: ReplicaKeeper) {
    this.#keeper = keeper
    this.#self = parts.network.peerId
    this.#connected = () => parts.network.connected()
    this.#links = new PeerLinks(parts, {
      store: parts.store,
      onFrame: (peer, frame) => this.#onFrame(peer, frame),
      onDropped: (peer, messages) => this.#onDropped(peer, messages)
    })
    this.#elections = new HurriedElections(parts.clock)
    this.#courier = new SnapshotCourier(parts, {
      send: (replica, message) => this.#sendNow(replica, message),
      replica: (group) => keeper.replica(group)
    })
    this.#unsubscribe = [
      parts.network.onConnected((peer) => this.#onConnected(peer)),
      parts.network.onDisconnected((peer) => this.#onDisconnected(peer))
    ]
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.#elections.stop()
    this.#courier.stop()
    this.#links.stop()
  }

  send(replica: Replica, message: Message): void {
    if (message.type === 'snapshot') this.#courier.dispatch(replica, message)
    else this.#sendNow(replica, message)
  }

  /** A tick has passed: answers to heartbeats have waited long enough for a frame to go with. */
  flush(): void {
    this.#links.flush()
  }

  /** The members of a group are others now: who went is told, for nobody else speaks to it. */
  membersChanged(replica: Replica): void {
    const { group, generation, applied } = replica
    for (const { peer, store, replica: id } of this.#places.membersChanged(replica)) {
      const isOut = memberOf(applied.roster, id) === undefined
      if (isOut && replica.isLeader)
        this.#links.sendGone(peer, store, { group, generation, replica: id })
    }
  }

  /**
   * Tells all that may know that a replica is here: they answer if it is no member any more. Its
   * members may be as old as itself, so the owners by the layout are asked too.
   */
  askWhetherMember(replica: Replica, owners: readonly Place[]): void {
    const { group, generation, id, term, applied } = replica
    const { members } = applied.roster
    const strangers = owners.filter(
      ({ peer }) => peer !== this.#self && !members.some((member) => member.peer === peer)
    )
    const asked = [...members, ...strangers.map((place) => ({ ...place, replica: NO_REPLICA }))]
    for (const { peer, store: toStore, replica: to } of asked) {
      if (to === id) continue
      const message = createMessage({ type: 'heartbeat-response', to }, id, term)
      this.#links.send(peer, { toStore, group, generation, message })
    }
  }

  /** A replica has begun; its node may have met others before. */
  began(replica: Replica): void {
    const connected = new Set(this.#connected())
    const hasMet = replica.applied.roster.members.some(({ peer }) => connected.has(peer))
    if (hasMet && replica.leader === NO_REPLICA) this.#elections.met(replica)
  }

  /** The state of a replica is known to be right. */
  checked(replica: Replica): void {
    this.#elections.checked(replica)
  }

  /** A replica has ended. */
  ended(group: number): void {
    this.#courier.forget(group)
  }

  /** Whether its node said that it has no such replica any more. */
  isDead(group: number, replica: ReplicaId): boolean {
    return this.#places.isDead(group, replica)
  }

  #onFrame(peer: PeerId, frame: RaftFrame): void {
    const from = { peer, store: frame.fromStore }
    for (const { group, generation, messages } of frame.groups) {
      for (const message of messages) {
        const gone = this.#onMessage(from, { group, generation, replica: message.to }, message)
        if (gone !== undefined) this.#links.sendGone(peer, from.store, gone)
      }
    }
    for (const name of frame.gone) this.#onGone(peer, name)
  }

  /** @returns who is gone, to be told to the sender: the addressee, or the sender itself */
  #onMessage(from: Place, name: GoneReplica, message: Message): GoneReplica | undefined {
    const { group, generation } = name
    const replica = this.#keeper.replica(group)
    const known = this.#keeper.lastOf(group)
    // Who has nothing of a generation yet has promised nothing either, and may be of any other one.
    const isBound = known !== undefined && !isBlank(replica)
    // The group was founded anew without the sender.
    if (isBound && generation < known.generation) {
      return { ...name, replica: message.from, newest: known.generation }
    }
    const isNew = known === undefined || generation !== known.generation || message.to > known.id
    if (isNew) {
      // Only a leader speaks to a replica that knows nothing yet.
      if (LEADERS.has(message.type)) this.#keeper.join(group, name)
      return undefined
    }
    const sender = replica === undefined ? 'right' : this.#places.check(replica, from, message)
    if (sender === 'removed') return { ...name, replica: message.from }
    if (message.to === NO_REPLICA) return undefined
    if (message.to < known.id) return name
    if (replica === undefined) return known.isGone ? name : undefined
    if (sender === 'wrong') return undefined
    // Two nodes that stop would hand it to and fro.
    if (message.type === 'timeout-now' && this.#keeper.isLeaving) return undefined
    if (message.type === 'snapshot') this.#courier.fetch(replica, from.peer, message)
    else replica.step(message)
    return undefined
  }

  #onGone(peer: PeerId, { group, generation, replica: id, newest = 0 }: GoneReplica): void {
    const replica = this.#keeper.replica(group)
    if (replica === undefined || generation < replica.generation) return
    if (replica.id === id) this.#keeper.discard(replica, newest > generation)
    else if (this.#places.noteDead(replica, id, peer)) this.#keeper.changed(replica)
  }

  #sendNow(replica: Replica, message: Message): void {
    const { group, generation } = replica
    const place = this.#places.of(replica, message.to)
    if (place === undefined) return
    this.#links.send(place.peer, { toStore: place.store, group, generation, message })
  }

  #onDropped(peer: PeerId, dropped: readonly OutgoingMessage[]): void {
    for (const { group, message } of dropped) {
      const replica = this.#keeper.replica(group)
      if (replica?.applied.peerOf(message.to) !== peer) continue
      replica.run((raft) => {
        if (replica.isLeader) raft.reportUnreachable(message.to)
        if (message.type === 'snapshot') raft.reportSnapshot(message.to, false)
      })
    }
  }

  #onConnected(peer: PeerId): void {
    for (const replica of this.#keeper.replicas()) {
      const { members } = replica.applied.roster
      const isMember = members.some((member) => member.peer === peer)
      if (isMember && replica.leader === NO_REPLICA) this.#elections.met(replica)
    }
  }

  #onDisconnected(peer: PeerId): void {
    for (const replica of this.#keeper.replicas()) {
      for (const member of replica.applied.roster.members) {
        if (member.peer !== peer) continue
        const isLeader = replica.leader === member.replica
        replica.run((raft) => {
          raft.connectionLost(member.replica)
          raft.reportUnreachable(member.replica)
        })
        if (isLeader && !replica.isLeader) this.#elections.leaderLost(replica, member.replica)
      }
    }
  }
}

/** Whether it was begun, and has received nothing yet. */
function isBlank(replica: Replica | undefined): boolean {
  return replica?.applied.index === 0 && replica.raft.state.log.lastIndex === 0
}
