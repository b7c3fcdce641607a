// The second half of a run ("safety first, then liveness", as TigerBeetle's simulator does it):
// nothing breaks any more, a part of the replicas that must be able to go on is connected, and it
// must: a leader, a new entry applied by every member, a read answered, no joint members left.

import { chance, pick, shuffle, type Random } from '../../../src/base/random.ts'
import { applyChange, restoreMembers } from '../../../src/core/raft/config-change.ts'
import { UNBOUNDED } from '../../../src/core/raft/messages.ts'
import type { ConfigState, ReplicaId } from '../../../src/core/raft/messages.ts'
import type { RaftState } from '../../../src/core/raft/state.ts'
import type { Clients } from './clients.ts'
import { LEAVE } from './members.ts'
import type { Network } from './network.ts'
import { streamOf, type Plan } from './plan.ts'
import { configInWords, isQuorum, membersOf } from './quorum.ts'
import type { Replica } from './replica.ts'
import { UNITS_PER_TICK, type Schedule } from './schedule.ts'
import { Violation } from './violation.ts'

/** How often the clients ask again, in ticks. */
const RETRY_TICKS = 5

export type HealingParts = {
  readonly plan: Plan
  readonly schedule: Schedule
  readonly network: Network
  readonly replicas: readonly Replica[]
  readonly clients: Clients
}

export class Healing {
  readonly #parts: HealingParts
  readonly #random: Random
  /** Those that go on. */
  #core: Replica[] = []
  readonly #proposals: number[] = []
  readonly #reads: number[] = []
  #isRead = false
  /** The proposal that all have to apply, once it was acknowledged: its index. */
  #goal: number | undefined

  constructor(parts: HealingParts) {
    this.#parts = parts
    this.#random = streamOf(parts.plan.seed, 'healing')
  }

  /**
   * Heals, and waits.
   *
   * @returns how many ticks it took; undefined when nobody could be asked to go on
   */
  run(): number | undefined {
    const { plan, schedule, network, replicas } = this.#parts
    for (const replica of replicas) {
      if (replica.isRunning) replica.resume()
      else replica.start()
    }
    network.calm()
    const chosen = this.#choose()
    // Without pre-votes two that count by different members may both campaign for ever: a request of
    // a lower term is not answered, and neither asks the other. Pre-votes are the answer to that.
    const isHopeless = plan.faults.has('members') && !plan.knobs.preVote
    if (chosen === undefined || isHopeless) return undefined
    this.#core = replicas.filter(({ id }) => chosen.has(id))
    for (const replica of replicas) if (!chosen.has(replica.id)) replica.crash()
    if (plan.faults.has('transfer')) this.#handOver()
    const startTick = schedule.tick
    const bound = this.#boundTicks()
    for (let ticks = 0; ticks < bound; ticks += RETRY_TICKS) {
      this.#ask()
      schedule.runUntil(schedule.now + RETRY_TICKS * UNITS_PER_TICK, () => false)
      if (this.#isDone()) {
        this.#parts.clients.checkNothingLost(latestOf(this.#running).machine.applied)
        return schedule.tick - startTick
      }
      this.#retire()
    }
    throw new Violation('Progress', `none in ${bound} ticks: ${this.#inWords()}`)
  }

  /** Somebody wants another leader, perhaps one that is gone: the group gets over it. */
  #handOver(): void {
    const to = pick(this.#random, this.#parts.replicas).id
    for (const replica of this.#running) {
      replica.input('hands over to', to, (raft) => raft.transferLeader(to))
    }
  }

  get #running(): Replica[] {
    return this.#core.filter(({ raft }) => raft !== undefined)
  }

  /** Small limits make a long log slow: one entry for each way there and back. */
  #boundTicks(): number {
    const { plan, replicas } = this.#parts
    const lasts = replicas.map(({ raft }) => raft?.state.log.lastIndex ?? 0)
    return 300 * plan.knobs.electionTicks + 5 * Math.max(...lasts)
  }

  /**
   * Everybody, or as few as still have a quorum of whatever members somebody may count by. A voter
   * that never had members doesn't vote, so it doesn't count.
   *
   * @returns undefined when not even everybody is enough
   */
  #choose(): ReadonlySet<ReplicaId> | undefined {
    const { replicas, plan } = this.#parts
    const configs = replicas.flatMap(({ raft }) =>
      raft === undefined ? [] : configsOf(raft.state)
    )
    const members = new Set(configs.flatMap((config) => [...membersOf(config)]))
    const chosen = new Set(replicas.map(({ id }) => id).filter((id) => members.has(id)))
    const canVote = new Set(
      replicas.filter(({ machine }) => machine.applied > 0).map(({ id }) => id)
    )
    const canGoOn = (): boolean =>
      configs.every((config) => isQuorum(config, (id) => chosen.has(id) && canVote.has(id)))
    if (!canGoOn()) return undefined
    if (!chance(this.#random, 2, 3)) return chosen
    for (const id of shuffle(this.#random, [...chosen])) {
      if (plan.replicaCount > 3 && chance(this.#random, 1, 3)) continue
      chosen.delete(id)
      if (!canGoOn()) chosen.add(id)
    }
    return chosen
  }

  #ask(): void {
    const { clients } = this.#parts
    const running = this.#running
    const latest = latestOf(running)
    const isStuckJoint =
      latest.machine.configState.votersOutgoing.length > 0 && !latest.machine.configState.autoLeave
    const replica = pick(this.#random, running)
    if (isStuckJoint) replica.input('leaves', 0, (raft) => raft.proposeConfigChange(LEAVE))
    if (this.#goal === undefined) this.#proposals.push(clients.propose(replica, [4]))
    if (!this.#isRead) this.#reads.push(clients.read(pick(this.#random, running)))
  }

  #isDone(): boolean {
    const { clients } = this.#parts
    this.#isRead ||= this.#reads.some((name) => clients.answered.has(name))
    const proposal = this.#proposals.find((name) => clients.isAcknowledged(name))
    this.#goal ??= proposal === undefined ? undefined : clients.indexOf(proposal)
    const running = this.#running
    const { configState } = latestOf(running).machine
    const goal = this.#goal ?? UNBOUNDED
    const members = membersOf(configState)
    const needed = running.filter(({ id }) => members.has(id))
    const hasLeader = needed.some(({ raft }) => raft?.state.role === 'leader')
    const isApplied = needed.every(({ machine }) => machine.applied >= goal)
    return this.#isRead && hasLeader && isApplied && configState.votersOutgoing.length === 0
  }

  /** A replica that is no member any more, nor about to be, is ended when all members know it. */
  #retire(): void {
    const running = this.#running
    const { configState } = latestOf(running).machine
    const current = membersOf(configState)
    const words = configInWords(configState)
    const members = running.filter(({ id }) => current.has(id))
    if (members.some(({ machine }) => configInWords(machine.configState) !== words)) return
    const configs = members.flatMap(({ raft }) => (raft === undefined ? [] : configsOf(raft.state)))
    const wanted = new Set(configs.flatMap((config) => [...membersOf(config)]))
    for (const replica of running) if (!wanted.has(replica.id)) replica.crash()
  }

  #inWords(): string {
    const lines = this.#core.map(({ id, raft, machine }) => {
      if (raft === undefined) return `r${id} is off`
      const { role, term, leader, log } = raft.state
      const state = `${role} t${term} of ${leader}, log to ${log.lastIndex}/t${log.lastTerm}`
      const members = configInWords(machine.configState)
      return `r${id} ${state}, commit ${log.committed}, applied ${machine.applied} ${members}`
    })
    return [`goal ${this.#goal}, read ${this.#isRead}`, ...lines].join('; ')
  }
}

function latestOf(replicas: readonly Replica[]): Replica {
  return replicas.reduce((a, b) => (b.machine.applied > a.machine.applied ? b : a))
}

/** @returns the members a replica counts by, and all that its log may make them. */
function configsOf({ members, log, limits }: RaftState): ConfigState[] {
  const configs = [members.config]
  const entries = log.slice(log.applied + 1, log.lastIndex + 1, UNBOUNDED) ?? []
  for (const entry of entries) {
    if (entry.type !== 'config-change') continue
    const base = { lastIndex: log.lastIndex, limits }
    const before = restoreMembers(configs.at(-1) as ConfigState, base)
    const after = applyChange({ ...base, members: before }, entry.change)
    if (typeof after !== 'string') configs.push(after.config)
  }
  return configs.filter(({ voters }) => voters.length > 0)
}
