// Breaks things: each kind of fault of a plan at its own random times.

import { chance, pick, shuffle, type Random } from '../../../src/base/random.ts'
import { createMessage } from '../../../src/core/raft/messages.ts'
import type { ReplicaId } from '../../../src/core/raft/messages.ts'
import type { Network } from './network.ts'
import { streamOf, type Fault, type Plan } from './plan.ts'
import type { Replica } from './replica.ts'
import { UNITS_PER_TICK, type Schedule } from './schedule.ts'

export type NemesisParts = {
  readonly plan: Plan
  readonly schedule: Schedule
  readonly network: Network
  readonly replicas: readonly Replica[]
}

export class Nemesis {
  readonly #parts: NemesisParts
  readonly #hunting: Random
  readonly #returning: Random
  #isOver = false

  constructor(parts: NemesisParts) {
    this.#parts = parts
    this.#hunting = streamOf(parts.plan.seed, 'hunting')
    this.#returning = streamOf(parts.plan.seed, 'returning')
  }

  start(): void {
    const { network, replicas } = this.#parts
    this.#often('crash', 2, (random) => this.#victim(random).crash())
    this.#often('pause', 2, (random) => this.#pause(random, this.#victim(random)))
    this.#often('partition', 2, (random) => this.#partition(random, true))
    this.#often('one-way', 2, (random) => this.#partition(random, false))
    this.#often('flapping', 3, (random) => this.#flap(random, 3 + random.below(12)))
    this.#often('rotation', 4, (random) => this.#rotate(random, 2 + random.below(5)))
    this.#often('lag', 2, (random) => this.#lag(random, this.#victim(random).id))
    this.#often('replay', 0.2, (random) => network.replay(random))
    this.#often('garbage', 1, (random) => this.#garble(random))
    this.#often('compaction', 0.25, (random) => pick(random, replicas).compact(random))
    this.#often('campaign', 1, (random) => {
      pick(random, replicas).input('campaigns', 0, (raft) => raft.campaign())
    })
    this.#often('transfer', 1, (random) => {
      const to = this.#anyId(random)
      this.#victim(random).input('hands over to', to, (raft) => raft.transferLeader(to))
    })
    this.#often('forget-leader', 1, (random) => {
      pick(random, replicas).input('forgets its leader', 0, (raft) => raft.forgetLeader())
    })
    this.#often('connection-lost', 1, (random) => this.#disconnect(random))
    this.#often('unreachable', 1, (random) => {
      const id = this.#anyId(random)
      pick(random, replicas).input('cannot reach', id, (raft) => raft.reportUnreachable(id))
    })
  }

  stop(): void {
    this.#isOver = true
  }

  /** A replica has come to lead: the most delicate moment. */
  onLeader(id: ReplicaId): void {
    const { plan, schedule, replicas } = this.#parts
    const random = this.#hunting
    if (this.#isOver || !plan.faults.has('leader-hunt') || !chance(random, 1, 3)) return
    const leader = replicas[id - 1] as Replica
    const { life } = leader
    const kind = random.below(4)
    // At once: what it sends first is still under way.
    const delay = chance(random, 1, 2) ? random.below(3) : random.below(4 * UNITS_PER_TICK)
    schedule.after(delay, () => {
      if (this.#isOver || leader.life !== life) return
      if (kind === 0) leader.crash()
      else if (kind === 1) this.#pause(random, leader)
      else this.#isolate(random, leader.id)
    })
  }

  /** @param rarity how many times longer than usual it takes from one to the next */
  #often(fault: Fault, rarity: number, act: (random: Random) => void): void {
    const { plan, schedule } = this.#parts
    if (!plan.faults.has(fault)) return
    const random = streamOf(plan.seed, fault)
    const mean = Math.max(1, Math.floor(plan.faultTicks * UNITS_PER_TICK * rarity))
    const again = (): void => {
      schedule.after(1 + random.below(2 * mean), () => {
        if (this.#isOver) return
        act(random)
        again()
      })
    }
    again()
  }

  /** Whoever leads, or anybody. */
  #victim(random: Random): Replica {
    const { replicas } = this.#parts
    const leaders = replicas.filter(({ raft }) => raft?.state.role === 'leader')
    return leaders.length > 0 && chance(random, 1, 2)
      ? pick(random, leaders)
      : pick(random, replicas)
  }

  #anyId(random: Random): ReplicaId {
    return 1 + random.below(this.#parts.plan.replicaCount)
  }

  #during(random: Random, undo: () => void): void {
    const ticks = chance(random, 1, 4) ? 1 + random.below(5) : 5 + random.below(60)
    this.#parts.schedule.after(ticks * UNITS_PER_TICK, () => {
      if (!this.#isOver) undo()
    })
  }

  /** A machine that has crashed comes back after a while. */
  onCrash(id: ReplicaId): void {
    const replica = this.#parts.replicas[id - 1] as Replica
    if (this.#isOver) return
    this.#during(this.#returning, () => {
      if (!replica.isRunning) replica.start()
    })
  }

  #pause(random: Random, replica: Replica): void {
    replica.pause()
    this.#during(random, () => replica.resume())
  }

  /** Cuts a replica off, but for one other, as a rule: both then have what nobody else has. */
  #isolate(random: Random, id: ReplicaId): void {
    const others = this.#parts.replicas.map((replica) => replica.id).filter((other) => other !== id)
    const confidant = chance(random, 2, 3) ? this.#anyId(random) : id
    const right = others.filter((other) => other !== confidant)
    this.#separate(random, { left: [id], right, isSymmetric: chance(random, 3, 4) })
  }

  #partition(random: Random, isSymmetric: boolean): void {
    const ids = shuffle(
      random,
      this.#parts.replicas.map(({ id }) => id)
    )
    const cut = random.below(ids.length)
    this.#separate(random, { left: ids.slice(0, cut), right: ids.slice(cut), isSymmetric })
  }

  #separate(
    random: Random,
    sides: { left: readonly ReplicaId[]; right: readonly ReplicaId[]; isSymmetric: boolean }
  ): void {
    const { network } = this.#parts
    const pairs = sides.left.flatMap((from) => sides.right.map((to) => ({ from, to })))
    for (const { from, to } of pairs) {
      network.cut(from, to)
      if (sides.isSymmetric) network.cut(to, from)
    }
    this.#during(random, () => {
      for (const { from, to } of pairs) {
        network.mend(from, to)
        if (sides.isSymmetric) network.mend(to, from)
      }
    })
  }

  /**
   * A replica lives ever more in the past, so slowly that it never misses a word: at last it hears
   * answers of those who have left it long since.
   */
  #lag(random: Random, id: ReplicaId): void {
    const { network, replicas, schedule } = this.#parts
    const most = (5 + random.below(40)) * UNITS_PER_TICK
    const others = replicas.map((replica) => replica.id).filter((other) => other !== id)
    const isUnheard = chance(random, 2, 3)
    const grow = (units: number): void => {
      if (this.#isOver) return
      network.lag(id, units)
      if (units < most) {
        schedule.after(UNITS_PER_TICK, () => grow(units + 6))
        return
      }
      if (isUnheard) this.#separate(random, { left: [id], right: others, isSymmetric: false })
      this.#during(random, () => network.lag(id, 0))
    }
    grow(0)
  }

  /** A link that comes and goes. */
  #flap(random: Random, times: number): void {
    const { network, schedule } = this.#parts
    const from = this.#anyId(random)
    const to = this.#anyId(random)
    const toggle = (left: number, isCut: boolean): void => {
      if (this.#isOver) return
      if (isCut) network.mend(from, to)
      else network.cut(from, to)
      if (left > 0 || !isCut) {
        schedule.after(1 + random.below(3 * UNITS_PER_TICK), () => toggle(left - 1, !isCut))
      }
    }
    toggle(times, false)
  }

  /** One partition after another, each as long as an election takes: leaders follow fast. */
  #rotate(random: Random, times: number): void {
    const { network, plan, schedule, replicas } = this.#parts
    if (this.#isOver || times === 0) return
    // One that all can reach, as a rule: it hears every leader.
    const common = chance(random, 3, 4) ? this.#anyId(random) : 0
    const isLeft = replicas.map(() => chance(random, 1, 2))
    const isByLink = chance(random, 1, 3)
    const isCut = (from: ReplicaId, to: ReplicaId): boolean =>
      isByLink ? chance(random, 1, 2) : isLeft[from - 1] !== isLeft[to - 1]
    const pairs = replicas.flatMap(({ id: from }) =>
      replicas
        .filter(({ id: to }) => from !== common && to !== common && isCut(from, to))
        .map(({ id: to }) => ({ from, to }))
    )
    for (const { from, to } of pairs) network.cut(from, to)
    const ticks = plan.knobs.electionTicks + random.below(plan.knobs.electionTicks * 2)
    schedule.after(ticks * UNITS_PER_TICK, () => {
      if (this.#isOver) return
      for (const { from, to } of pairs) network.mend(from, to)
      this.#rotate(random, times - 1)
    })
  }

  #disconnect(random: Random): void {
    const { replicas } = this.#parts
    // Mostly of the leader: of another nobody takes notice.
    const id = chance(random, 2, 3) ? this.#victim(random).id : this.#anyId(random)
    for (const replica of replicas) {
      if (replica.id === id || chance(random, 1, 3)) continue
      replica.input('is disconnected from', id, (raft) => raft.connectionLost(id))
    }
  }

  /** What no replica sends must be refused, and change nothing. */
  #garble(random: Random): void {
    const replica = pick(random, this.#parts.replicas)
    const { raft } = replica
    if (raft === undefined) return
    const { term, log } = raft.state
    const draft = { from: replica.id === 1 ? 2 : 1, to: replica.id, term: term + 1 }
    const broken = [
      createMessage({ ...draft, type: 'append', index: -1 }),
      createMessage({ ...draft, type: 'append', term: Number.NaN }),
      createMessage({ ...draft, type: 'append', index: log.lastIndex, logTerm: term + 2 }),
      createMessage({ ...draft, type: 'vote', to: replica.id + 1 }),
      createMessage({ ...draft, type: 'vote', from: 0 }),
      createMessage({ ...draft, type: 'snapshot' }),
      createMessage({ ...draft, type: 'storage-append-response', index: log.lastIndex }),
      createMessage({ ...draft, type: 'heartbeat', from: replica.id })
    ]
    replica.inputGarbage(pick(random, broken))
  }
}
