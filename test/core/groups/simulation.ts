// One group on a few nodes whose layout changes while nodes crash, lose their disks and their
// messages. Real cores, the rules of `core/groups`, and the invariants of the Raft simulation.

import { MeshError } from '../../../src/base/errors.ts'
import { chance, createRandom, pick, shuffle, type Random } from '../../../src/base/random.ts'
import type { PeerId } from '../../../src/base/ids.ts'
import { shouldTransfer } from '../../../src/core/groups/preferred-leaders.ts'
import { nextStep } from '../../../src/core/groups/next-step.ts'
import type { GroupView } from '../../../src/core/groups/next-step.ts'
import { encodeChangeContext, encodeRoster } from '../../../src/core/groups/roster-codec.ts'
import { foundingRoster } from '../../../src/core/groups/roster.ts'
import type { Place, Roster } from '../../../src/core/groups/roster.ts'
import type { Message, ReplicaId } from '../../../src/core/raft/messages.ts'
import { Checker } from '../../sim/raft/checker.ts'
import { bytesOfNumber } from '../../sim/raft/machine.ts'
import { isQuorum } from '../../sim/raft/quorum.ts'
import { demand } from '../../sim/raft/violation.ts'
import { configOf } from '../raft/group.ts'
import { Host, stateBytes } from './host.ts'
import { placeOf } from './view.ts'

const PEERS = ['a', 'b', 'c', 'd', 'e', 'f'] as const
const FOUNDING = { index: 2, term: 1 }
/** Within so many rounds of peace a group with a majority takes an entry, and a move is done. */
const SERVED_ROUNDS = 150
const SETTLED_ROUNDS = 600

type Node = {
  readonly peer: PeerId
  storeNumber: number
  isUp: boolean
  /** The layout that it has heard of. */
  version: number
  /** Replicas that it had and has not any more. */
  readonly removed: Set<ReplicaId>
  /** Replicas of which their nodes said so. */
  readonly dead: Set<ReplicaId>
}

export type Summary = {
  readonly changes: number
  readonly transfers: number
  readonly leaders: number
  readonly probes: number
  readonly lostReplicas: number
  readonly voidChanges: number
}

export class GroupSimulation {
  readonly summary = {
    changes: 0,
    transfers: 0,
    leaders: 0,
    probes: 0,
    lostReplicas: 0,
    voidChanges: 0
  }
  readonly #random: Random
  readonly #nodes: readonly Node[]
  readonly #hosts: Host[] = []
  readonly #checker: Checker
  /** What the layouts want, by version. */
  readonly #layouts: (readonly Place[])[] = []
  readonly #rosters = new Map<number, { readonly bytes: string; readonly roster: Roster }>()
  readonly #cuts = new Set<string>()
  #messages: Message[] = []
  #isCalm = false
  #proposals = 0

  constructor(seed: number) {
    this.#random = createRandom(seed)
    this.#nodes = PEERS.map((name) => ({
      peer: placeOf(name).peer,
      storeNumber: 1,
      isUp: true,
      version: 0,
      removed: new Set(),
      dead: new Set()
    }))
    const count = pick(this.#random, [1, 1, 3])
    const members = PEERS.slice(0, count).map((name, index) => ({
      replica: index + 1,
      ...placeOf(name)
    }))
    const roster = foundingRoster(members, { layoutVersion: 0, generation: 0 })
    const configState = configOf(members.map(({ replica }) => replica))
    const snapshot = { ...FOUNDING, configState, data: stateBytes(0, roster) }
    this.#layouts.push(members.map(({ peer, store }) => ({ peer, store })))
    this.#noteRoster(FOUNDING.index, roster)
    this.#checker = new Checker(this.#hosts, snapshot)
    this.#checker.onLeader = (id) => {
      this.summary.leaders += 1
      this.#host(id).quietTicks = 0
    }
    for (const host of this.#hosts) {
      host.disk.found(snapshot)
      host.start()
    }
  }

  /** Trouble with spells of peace in it, then peace for good. @throws Violation */
  run(rounds: number): Summary {
    for (let round = 0; round < rounds; round++) {
      this.#round()
      if (chance(this.#random, 1, 60)) this.#probe()
    }
    this.#settle()
    return this.summary
  }

  #round(): void {
    if (!this.#isCalm) this.#trouble()
    for (const node of this.#nodes) {
      if (this.#isCalm || chance(this.#random, 1, 8)) node.version = this.#layouts.length - 1
    }
    const messages = this.#messages
    this.#messages = []
    if (!this.#isCalm) shuffle(this.#random, messages)
    for (const message of messages) this.#deliver(message)
    for (const host of this.#hosts) {
      host.quietTicks += 1
      if (this.#isCalm || chance(this.#random, 9, 10)) host.input((raft) => raft.tick())
      if (host.isLeader && (this.#isCalm || chance(this.#random, 1, 2))) this.#lead(host)
      if (chance(this.#random, 1, 40)) host.compact()
      if (chance(this.#random, 1, 10)) this.#collect(host)
    }
  }

  // What goes wrong.

  #trouble(): void {
    const random = this.#random
    if (chance(random, 1, 50)) {
      const node = pick(random, this.#nodes)
      if (node.isUp) this.#crash(node)
      else this.#restart(node)
    }
    if (chance(random, 1, 25)) {
      const node = pick(random, this.#nodes)
      if (!node.isUp) this.#restart(node)
    }
    if (chance(random, 1, 30)) {
      const [one, other] = [pick(random, this.#nodes), pick(random, this.#nodes)]
      this.#cuts.add(`${one.peer}>${other.peer}`)
      if (chance(random, 1, 2)) this.#cuts.add(`${other.peer}>${one.peer}`)
    }
    if (chance(random, 1, 60)) this.#cuts.clear()
    if (chance(random, 1, 70)) this.#newLayout()
    if (chance(random, 1, 60)) this.#lose(pick(random, this.#nodes))
    if (chance(random, 1, 3)) this.#propose()
    if (chance(random, 1, 60)) this.#proposeOld()
  }

  #crash(node: Node): void {
    node.isUp = false
    for (const host of this.#hostsOf(node)) host.stop()
  }

  #restart(node: Node): void {
    node.isUp = true
    for (const host of this.#hostsOf(node)) if (host.isMade && !host.raft) host.start()
  }

  /** A node loses its disk, or one replica that was damaged, when the group can bear that. */
  #lose(node: Node): void {
    const lost = this.#hostsOf(node)
    const isKept = (id: ReplicaId): boolean => {
      const host = this.#host(id)
      return !lost.includes(host) && this.#exists(host)
    }
    // A learner may become a voter before the leader hears of its loss.
    const { voters, learners } = this.#latest().machine.configState
    const soon = configOf([...voters, ...learners.filter((id) => !isKept(id))])
    if (!this.#hasQuorum(isKept) || !isQuorum(soon, isKept)) return
    this.summary.lostReplicas += lost.length
    for (const host of lost) host.stop()
    for (const host of lost) node.removed.add(host.id)
    if (chance(this.#random, 1, 2)) return
    node.storeNumber += 1
    this.#newLayout(this.#layouts.at(-1)?.map(({ peer }) => peer))
  }

  #newLayout(peers?: readonly PeerId[]): void {
    const all = shuffle(
      this.#random,
      this.#nodes.map(({ peer }) => peer)
    )
    const isBack = chance(this.#random, 1, 4) && this.#layouts.length > 1
    const before = this.#layouts.at(-2)?.map(({ peer }) => peer)
    const count = 1 + this.#random.below(5)
    const wanted = peers ?? (isBack ? before : undefined) ?? all.slice(0, count)
    this.#layouts.push(wanted.map((peer) => this.#placeOf(this.#node(peer))))
  }

  #propose(): void {
    const leader = this.#leader()
    this.#proposals += 1
    leader?.input((raft) => raft.propose([bytesOfNumber(this.#proposals)]))
  }

  /** A change by an old layout must be void, or the group would lose its voters one by one. */
  #proposeOld(): void {
    const leader = this.#leader()
    if (leader === undefined || this.#isPending(leader)) return
    const { layoutVersion, generation } = leader.roster as Roster
    const { voters, votersOutgoing } = leader.machine.configState
    if (layoutVersion === 0 || votersOutgoing.length > 0) return
    const context = { layoutVersion: layoutVersion - 1, generation, added: [] }
    const steps = [{ type: 'remove', id: pick(this.#random, voters) } as const]
    this.summary.voidChanges += 1
    leader.input((raft) =>
      raft.proposeConfigChange({
        transition: 'auto',
        steps,
        context: encodeChangeContext(context)
      })
    )
  }

  // The network.

  #deliver(message: Message): void {
    const [from, to] = [this.#host(message.from), this.#host(message.to)]
    if (!this.#isCalm && chance(this.#random, 1, 8)) {
      this.#messages.push(message)
      return
    }
    const node = this.#node(to.place.peer)
    const isLost = !this.#isCalm && chance(this.#random, 1, 12)
    if (isLost || !node.isUp || this.#cuts.has(`${from.place.peer}>${node.peer}`)) {
      this.#report(from, message, false)
      return
    }
    if (!this.#exists(to)) {
      this.#report(from, message, false)
      this.#node(from.place.peer).dead.add(to.id)
      return
    }
    if (to.raft === undefined) to.start()
    to.input((raft) => raft.step(message))
    this.#report(from, message, true)
  }

  #report(from: Host, { type, to }: Message, isDelivered: boolean): void {
    if (type === 'snapshot') from.input((raft) => raft.reportSnapshot(to, isDelivered))
    else if (!isDelivered) from.input((raft) => raft.reportUnreachable(to))
  }

  // What a leader's node does.

  #lead(host: Host): void {
    const view = this.#viewOf(host)
    if (view.preferred !== undefined && !view.isReachable(view.preferred)) host.quietTicks = 0
    const step = nextStep(view)
    if (step.kind === 'change') {
      this.summary.changes += 1
      this.#checkCount(view, step.change.steps)
      host.input((raft) => raft.proposeConfigChange(step.change))
    } else {
      const to = step.kind === 'transfer' ? step.to : shouldTransfer(view, host.quietTicks)
      if (to === undefined) return
      this.summary.transfers += 1
      host.quietTicks = 0
      host.input((raft) => raft.transferLeader(to))
    }
  }

  /** However long replacements take, as many voters are left as are wanted or are there. */
  #checkCount(view: GroupView, steps: readonly { type: string; id: ReplicaId }[]): void {
    const { voters } = view.config
    const there = voters.filter((id) => {
      const { peer } = this.#host(id).place
      return id === view.self || (view.isReachable(peer) && !view.isDead(id) && !this.#isLost(id))
    })
    const promoted = steps.filter(({ type }) => type === 'add-voter').length
    const demoted = steps.filter(({ type, id }) => type !== 'add-voter' && voters.includes(id))
    const count = voters.length + promoted - demoted.length
    const wanted = Math.min(view.desired.length, there.length)
    demand('EnoughVoters', count >= wanted, `${count} are left of ${there.length} that are there`)
    demand(
      'LeaderStays',
      demoted.every(({ id }) => id !== view.self),
      `r${view.self} goes`
    )
  }

  #viewOf(host: Host): GroupView {
    const { state } = host.raft as NonNullable<Host['raft']>
    const node = this.#node(host.place.peer)
    const desired = this.#layouts[node.version] as readonly Place[]
    return {
      self: host.id,
      roster: host.roster as Roster,
      config: state.members.config,
      desired,
      layoutVersion: node.version,
      lastIndex: state.log.lastIndex,
      commit: state.log.committed,
      isChangePending: this.#isPending(host),
      mayAddLearner: this.#isCalm || chance(this.#random, 3, 4),
      preferred: desired[0]?.peer,
      progress: (replica) => {
        const known = state.progressOf(replica)
        return known === undefined
          ? undefined
          : {
              match: known.match,
              isActive: known.isActive,
              isSnapshot: known.state === 'snapshot'
            }
      },
      isReachable: (peer) => this.#isReachable(node, this.#node(peer)),
      isDead: (replica) => node.dead.has(replica)
    }
  }

  #isPending({ raft }: Host): boolean {
    if (raft === undefined) return true
    const { pendingConfigIndex, log, transferTo } = raft.state
    return pendingConfigIndex > log.applied || transferTo !== 0
  }

  #isReachable(from: Node, to: Node): boolean {
    const isCut = this.#cuts.has(`${from.peer}>${to.peer}`)
    return to.isUp && !isCut && !this.#cuts.has(`${to.peer}>${from.peer}`)
  }

  /** A node removes a replica that is no member any more. */
  #collect(host: Host): void {
    const latest = this.#latest()
    if (latest.roster === undefined || !this.#exists(host)) return
    const { members, nextReplica } = latest.roster
    if (host.id >= nextReplica || members.some(({ replica }) => replica === host.id)) return
    host.stop()
    this.#node(host.place.peer).removed.add(host.id)
  }

  // Checks.

  /** Nothing new breaks for a while: a group with a majority must serve, whatever is moving. */
  #probe(): void {
    const isThere = (id: ReplicaId): boolean => {
      const host = this.#host(id)
      return this.#node(host.place.peer).isUp && this.#exists(host)
    }
    if (!this.#hasQuorum(isThere)) return
    this.summary.probes += 1
    this.#isCalm = true
    this.#cuts.clear()
    for (const node of this.#nodes) if (node.isUp) this.#restart(node)
    const { committed } = this.#checker.ledger
    let rounds = 0
    // More than the entries that open terms, and what was under way.
    while (this.#proposals === 0 || this.#checker.ledger.committed < committed + 12) {
      rounds += 1
      demand('Available', rounds <= SERVED_ROUNDS, `no entries after ${committed}`)
      this.#propose()
      this.#round()
    }
    this.#isCalm = false
  }

  #settle(): void {
    this.#isCalm = true
    this.#cuts.clear()
    for (const node of this.#nodes) this.#restart(node)
    const desired = this.#layouts.at(-1) as readonly Place[]
    let rounds = 0
    while (!this.#isSettled(desired)) {
      rounds += 1
      demand('Settles', rounds <= SETTLED_ROUNDS, this.#describe(desired))
      if (rounds % 5 === 0) this.#propose()
      this.#round()
    }
    const { changes, transfers, leaders } = this.summary
    for (let round = 0; round < SERVED_ROUNDS; round++) this.#round()
    const after = this.summary
    demand('Quiet', after.changes === changes, 'members change for no reason')
    const isSteady = after.transfers === transfers && after.leaders === leaders
    demand('Quiet', isSteady, 'leaders change for no reason')
  }

  /** The voters are where the layout wants them, nobody else is a member, the right one leads. */
  #isSettled(desired: readonly Place[]): boolean {
    const leader = this.#leader()
    if (leader?.raft === undefined || this.#isPending(leader)) return false
    if (leader.place.peer !== desired[0]?.peer) return false
    const { voters, votersOutgoing, learners } = leader.raft.configState
    const found = voters.map((id) => inWords(this.#host(id).place)).toSorted()
    const isThere = found.join() === desired.map(inWords).toSorted().join()
    const isDone = votersOutgoing.length === 0 && learners.length === 0
    const { applied } = leader.machine
    const isWhole = voters.every(
      (id) => !this.#isLost(id) && this.#host(id).machine.applied === applied
    )
    return isThere && isDone && isWhole
  }

  #describe(desired: readonly Place[]): string {
    const leader = this.#leader()
    const members = leader?.roster?.members.map((m) => `${m.replica}:${inWords(m)}`).join(' ')
    const config = JSON.stringify(leader?.raft?.configState)
    return `wanted ${desired.map(inWords).join(' ')}; r${leader?.id} has ${members} ${config}`
  }

  /** The roster after an index is the same everywhere, and an id means one place for ever. */
  #noteRoster(index: number, roster: Roster): void {
    const bytes = encodeRoster(roster).join()
    const known = this.#rosters.get(index)
    if (known !== undefined) {
      demand('SameRoster', known.bytes === bytes, `after ${index}`)
      return
    }
    this.#rosters.set(index, { bytes, roster })
    for (const { replica, peer, store } of roster.members) {
      const host = this.#hosts[replica - 1]
      if (host === undefined) this.#meet(replica, { peer, store })
      else {
        const isSame = inWords(host.place) === inWords({ peer, store })
        demand('IdsAreUsedOnce', isSame, `replica ${replica} is in two places`)
      }
    }
  }

  #meet(id: ReplicaId, place: Place): void {
    demand('IdsAreUsedOnce', id === this.#hosts.length + 1, `replica ${id} comes out of turn`)
    const host: Host = new Host({
      id,
      place,
      random: this.#random,
      checker: () => this.#checker,
      send: (_, message) => void this.#messages.push(message),
      mayCrash: () => !this.#isCalm && chance(this.#random, 1, 800),
      onCrash: () => this.#crash(this.#node(place.peer)),
      onApplied: (one, { index }) => this.#noteRoster(index, one.roster as Roster),
      rosterAt: (index) => this.#rosters.get(index)?.roster
    })
    this.#hosts.push(host)
  }

  // Who is who.

  #host(id: ReplicaId): Host {
    const host = this.#hosts[id - 1]
    if (host === undefined) throw new MeshError('internal', `Nobody knows replica ${id}`)
    return host
  }

  #node(peer: PeerId): Node {
    return this.#nodes.find((node) => node.peer === peer) as Node
  }

  #placeOf({ peer, storeNumber }: Node): Place {
    return { peer, store: placeOf(`a${storeNumber}`).store }
  }

  /** Whether the node of a replica has it, or would make it when it hears of it. */
  #exists(host: Host): boolean {
    return !this.#isLost(host.id)
  }

  #isLost(id: ReplicaId): boolean {
    const { place } = this.#host(id)
    const node = this.#node(place.peer)
    return node.removed.has(id) || this.#placeOf(node).store !== place.store
  }

  #hostsOf(node: Node): Host[] {
    return this.#hosts.filter((host) => host.place.peer === node.peer && this.#exists(host))
  }

  #leader(): Host | undefined {
    const leaders = this.#hosts.filter(({ isLeader }) => isLeader)
    return leaders.toSorted((a, b) => (b.raft?.state.term ?? 0) - (a.raft?.state.term ?? 0))[0]
  }

  #latest(): Host {
    return this.#hosts.reduce((a, b) => (b.machine.applied > a.machine.applied ? b : a))
  }

  /**
   * Whether those of whom `has` is true are a quorum as each voter that is left knows it. A change
   * that is committed and not applied by all of them doesn't count yet: only the old quorum can make
   * it known. False while a change is under way.
   */
  #hasQuorum(has: (id: ReplicaId) => boolean): boolean {
    const { applied, configState } = this.#latest().machine
    for (const host of this.#hosts) {
      const { storage } = host.disk
      const last = storage.lastIndex()
      if (last <= applied || !this.#exists(host)) continue
      const low = Math.max(applied + 1, storage.firstIndex())
      const entries = storage.entries(low, last + 1, Number.POSITIVE_INFINITY) ?? []
      if (entries.some(({ type }) => type === 'config-change')) return false
    }
    const left = configState.voters.filter(has).map((id) => this.#host(id).machine.configState)
    return [configState, ...left].every((config) => isQuorum(config, has))
  }
}

const inWords = ({ peer, store }: Place): string => `${peer}${Number.parseInt(store, 16)}`
