// One run of the simulation: a group of replicas, its clients and its nemesis, by a seed.

import { chance, pick, type Random } from '../../../src/base/random.ts'
import type {
  ConfigState,
  Entry,
  Message,
  ReplicaId,
  Snapshot
} from '../../../src/core/raft/messages.ts'
import { Checker } from './checker.ts'
import { Clients, drawLengths } from './clients.ts'
import { Healing } from './healing.ts'
import { bytesOfNumber } from './machine.ts'
import { drawChange } from './members.ts'
import { Nemesis } from './nemesis.ts'
import { Network, type Parcel } from './network.ts'
import { planOf, streamOf, type Fault, type Plan } from './plan.ts'
import { Replica } from './replica.ts'
import { Schedule, UNITS_PER_TICK } from './schedule.ts'
import { Trace } from './trace.ts'
import { Violation } from './violation.ts'
import type { World } from './world.ts'

export type Outcome = {
  readonly seed: number
  /** The kinds of faults that there were. */
  readonly faults: readonly Fault[]
  /** Over everything that happened: the same for the same seed. */
  readonly traceHash: string
  readonly events: number
  /** Proposals that were acknowledged. */
  readonly acknowledged: number
  readonly terms: number
  /** Ticks from the end of the faults until everything went on. */
  readonly healedTicks: number | undefined
  /** What went wrong: the invariant, and a sentence. */
  readonly failure: { readonly invariant: string; readonly detail: string } | undefined
  /** The last events, oldest first. */
  readonly tail: readonly string[]
}

/** A group starts from a snapshot that all its first members have. */
const FOUNDING_INDEX = 2
const FOUNDING_TERM = 1

/** @param faults the kinds that there may be; all that the seed says when undefined */
export function simulate(seed: number, faults?: ReadonlySet<Fault>): Outcome {
  return new Simulation(planOf(seed, faults)).run()
}

class Simulation {
  readonly #plan: Plan
  readonly #schedule = new Schedule()
  readonly #trace = new Trace(this.#schedule)
  readonly #network: Network
  readonly #replicas: readonly Replica[]
  readonly #checker: Checker
  readonly #clients: Clients
  readonly #nemesis: Nemesis
  /** What senders learn of their messages. */
  readonly #knowing: Random
  #isCalm = false

  constructor(plan: Plan) {
    this.#plan = plan
    this.#knowing = streamOf(plan.seed, 'knowing')
    const schedule = this.#schedule
    const trace = this.#trace
    this.#network = new Network({
      plan,
      schedule,
      trace,
      deliver: (message) => this.#deliver(message),
      onLost: (parcel) => this.#onLost(parcel),
      onArrived: (parcel) => this.#onArrived(parcel)
    })
    const ids = Array.from({ length: plan.replicaCount }, (_, index) => index + 1)
    const world = this.#world()
    this.#replicas = ids.map((id) => new Replica(id, world))
    const founding = foundingOf(plan)
    this.#checker = new Checker(this.#replicas, founding)
    this.#clients = new Clients(() => this.#checker.ledger)
    const parts = { plan, schedule, network: this.#network, replicas: this.#replicas }
    this.#nemesis = new Nemesis(parts)
    this.#checker.onLeader = (id) => this.#nemesis.onLeader(id)
    const first = new Set<ReplicaId>([...plan.voters, ...plan.learners])
    for (const replica of this.#replicas) {
      if (first.has(replica.id)) replica.disk.found(founding)
    }
  }

  #world(): World {
    return {
      plan: this.#plan,
      schedule: this.#schedule,
      trace: this.#trace,
      checker: () => this.#checker,
      send: (sender, message) => this.#network.send({ sender, message }),
      onApplied: (replica, entry) => this.#clients.onApplied(replica, entry),
      onRead: (replica, read) => this.#clients.onRead(replica, read),
      onCrash: ({ id }) => this.#nemesis.onCrash(id),
      isCalm: () => this.#isCalm
    }
  }

  run(): Outcome {
    let healedTicks: number | undefined
    let failure: Outcome['failure']
    try {
      healedTicks = this.#go()
    } catch (error) {
      failure = failureOf(error)
    }
    return {
      seed: this.#plan.seed,
      faults: [...this.#plan.faults],
      traceHash: this.#trace.hash,
      events: this.#trace.count,
      acknowledged: this.#clients.acknowledgedCount,
      terms: Math.max(...this.#replicas.map(({ raft }) => raft?.state.term ?? 0)),
      healedTicks,
      failure,
      tail: failure === undefined ? [] : this.#trace.tail()
    }
  }

  #go(): number | undefined {
    const schedule = this.#schedule
    const { safetyTicks } = this.#plan
    for (const replica of this.#replicas) replica.start()
    this.#startClients()
    this.#nemesis.start()
    schedule.runUntil(safetyTicks * UNITS_PER_TICK, () => false)
    this.#trace.note(0, 'heals')
    this.#isCalm = true
    this.#nemesis.stop()
    const parts = { plan: this.#plan, network: this.#network, replicas: this.#replicas }
    const healing = new Healing({ ...parts, schedule, clients: this.#clients })
    return healing.run()
  }

  #startClients(): void {
    const { seed, proposalUnits, payloadBytesMax, faults } = this.#plan
    this.#often('proposals', proposalUnits, (random) => {
      this.#clients.propose(pick(random, this.#replicas), drawLengths(random, payloadBytesMax))
    })
    if (faults.has('reads')) {
      // Where reads are rare, heartbeats that nobody asked for are under way between them.
      const isRare = chance(streamOf(seed, 'reads mean'), 1, 3)
      this.#often('reads', proposalUnits * (isRare ? 10 : 1), (random) => {
        // Whoever thinks that it leads may be wrong.
        const leaders = this.#replicas.filter(({ raft }) => raft?.state.role === 'leader')
        const some = leaders.length > 0 && chance(random, 1, 2) ? leaders : this.#replicas
        this.#clients.read(pick(random, some))
      })
    }
    if (faults.has('members')) {
      const mean = streamOf(seed, 'members mean').below(20) + 2
      this.#often('members', mean * UNITS_PER_TICK, (random) => {
        const change = drawChange(random, {
          config: this.#latestConfig(),
          replicaCount: this.#plan.replicaCount,
          blank: this.#blank(),
          joint: faults.has('joint')
        })
        const replica = pick(random, this.#replicas)
        replica.input('proposes a change', change.steps.length, (raft) =>
          raft.proposeConfigChange(change)
        )
      })
    }
  }

  /** Those that have nothing yet. */
  #blank(): ReadonlySet<ReplicaId> {
    const blank = this.#replicas.filter(({ disk }) => disk.machine.applied === 0)
    return new Set(blank.map(({ id }) => id))
  }

  #latestConfig(): ConfigState {
    const latest = this.#replicas.reduce((a, b) => (b.machine.applied > a.machine.applied ? b : a))
    return latest.machine.configState
  }

  #often(use: string, mean: number, act: (random: Random) => void): void {
    const random = streamOf(this.#plan.seed, use)
    const again = (): void => {
      this.#schedule.after(1 + random.below(2 * mean), () => {
        if (this.#isCalm) return
        act(random)
        again()
      })
    }
    again()
  }

  #deliver(message: Message): boolean {
    // Those who go on were chosen by the changes that there are: no new ones come in late.
    if (this.#isCalm && message.type === 'propose' && message.entries.some(isChange)) return false
    const replica = this.#replicas[message.to - 1]
    return replica?.input('gets', message, (raft) => raft.step(message)) ?? false
  }

  // What a sender learns: of snapshots always something, or it would wait for ever; of the rest
  // sometimes. Neither need be true.

  #onLost({ sender, message }: Parcel): void {
    const replica = this.#replicas[sender - 1] as Replica
    const { to } = message
    if (message.type === 'snapshot') {
      const isThought = this.#plan.faults.has('snapshot-loss') && chance(this.#knowing, 1, 8)
      this.#report(replica, to, isThought)
    } else if (chance(this.#knowing, 1, 4)) {
      this.#later(replica, () => {
        replica.input('cannot reach', to, (raft) => raft.reportUnreachable(to))
      })
    }
  }

  #onArrived({ sender, message }: Parcel): void {
    if (message.type !== 'snapshot') return
    const isThought = !this.#plan.faults.has('snapshot-loss') || chance(this.#knowing, 3, 4)
    this.#report(this.#replicas[sender - 1] as Replica, message.to, isThought)
  }

  #report(replica: Replica, to: ReplicaId, isSuccess: boolean): void {
    this.#later(replica, () => {
      const what = isSuccess ? 'sent a snapshot to' : 'failed to send a snapshot to'
      replica.input(what, to, (raft) => raft.reportSnapshot(to, isSuccess))
    })
  }

  #later(replica: Replica, act: () => void): void {
    const { life } = replica
    this.#schedule.after(1 + this.#knowing.below(2 * UNITS_PER_TICK), () => {
      if (replica.life === life) act()
    })
  }
}

/** Leaving joint members is no change that anybody is chosen by. */
function isChange(entry: Entry): boolean {
  return entry.type === 'config-change' && entry.change.steps.length > 0
}

function foundingOf(plan: Plan): Snapshot {
  const configState = {
    voters: plan.voters,
    votersOutgoing: [],
    learners: plan.learners,
    learnersNext: [],
    autoLeave: false
  }
  return {
    index: FOUNDING_INDEX,
    term: FOUNDING_TERM,
    configState,
    data: bytesOfNumber(plan.seed)
  }
}

function failureOf(error: unknown): { invariant: string; detail: string } {
  if (error instanceof Violation) return { invariant: error.invariant, detail: error.message }
  if (!(error instanceof Error)) throw error
  // An assertion of the core or of its invariants: what it says is its name.
  const [, place = ''] = (error.stack ?? '').split('\n').filter((line) => line.includes('.ts:'))
  return { invariant: error.message, detail: `${error.message} ${place.trim()}` }
}
