// One run of the simulation: a mesh of nodes with their shards, clients of them and a nemesis, by a
// seed.

import { MeshError } from '../../../src/base/errors.ts'
import { pick, type Random } from '../../../src/base/random.ts'
import { TICK } from '../../../src/core/machine/own-operations.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { Violation, demand } from '../raft/violation.ts'
import { ShardWorkload } from '../shards/workload.ts'
import { Nemesis } from './nemesis.ts'
import { planOf, streamOf, type Fault, type Plan } from './plan.ts'
import { unsettled } from './settled.ts'
import { Tally } from './tally.ts'
import { MeshWorld } from './world.ts'

export type Outcome = {
  readonly seed: number
  /** The kinds of faults that there were. */
  readonly faults: readonly Fault[]
  /** Over everything that happened: the same for the same seed. */
  readonly traceHash: string
  readonly events: number
  /** Operations that were acknowledged. */
  readonly acknowledged: number
  /** From the end of the faults until all was well. */
  readonly healedMs: number | undefined
  /** What went wrong: the invariant, and a sentence. */
  readonly failure: { readonly invariant: string; readonly detail: string } | undefined
  /** The last events, oldest first. */
  readonly tail: readonly string[]
}

/** The mesh is whole within this at first, and again when nothing breaks any more. */
const SETTLE_MS_MAX = 90_000
/** A write that a healed mesh doesn't answer within this is a stall. */
const ANSWER_MS_MAX = 5_000
/** No client asks for long enough, or for so much, that these could be. */
const WRONG_ERRORS =
  /^(?:internal|invalid-data|invalid-argument|client-expired|compacted|too-large):/
const STEP_MS = 100
/** What was applied is on the disks by then. */
const FLUSHED_STEPS: number = Math.ceil(150 / STEP_MS)
const CHECK_EVERY_STEPS = 5

/** @param faults the kinds that there may be; all that the seed says when undefined */
export async function simulate(seed: number, faults?: ReadonlySet<Fault>): Promise<Outcome> {
  return await new Simulation(planOf(seed, faults)).run()
}

class Simulation {
  readonly #plan: Plan
  readonly #world: MeshWorld
  readonly #nemesis: Nemesis
  readonly #workload: ShardWorkload
  readonly #tallies: readonly Tally[]
  #steps = 0

  constructor(plan: Plan) {
    this.#plan = plan
    const world = new MeshWorld(plan)
    this.#world = world
    this.#nemesis = new Nemesis(world)
    const choosing = streamOf(plan.seed, 'clients')
    const shards = (): Shards => this.#anyShards(choosing)
    this.#workload = new ShardWorkload({
      seed: plan.seed,
      clock: world.clock,
      shardsOf: shards,
      options: { kvClients: 3, keys: 4, lockClients: 2, locks: 2, pauseMsMax: 200, ttlMs: 2_000 }
    })
    const random = streamOf(plan.seed, 'tally')
    this.#tallies = [0, 1].map((number) => new Tally(number, { world, random, shards }))
  }

  async run(): Promise<Outcome> {
    let healedMs: number | undefined
    let failure: Outcome['failure']
    try {
      healedMs = await this.#go()
    } catch (error) {
      failure = failureOf(error)
    }
    const { trace } = this.#world
    return {
      seed: this.#plan.seed,
      faults: [...this.#plan.faults],
      traceHash: trace.hash(),
      events: trace.count,
      acknowledged: this.#workload.counts.ok,
      healedMs,
      failure,
      tail: trace.tail()
    }
  }

  async #go(): Promise<number> {
    const { clock } = this.#world
    await this.#begin()
    this.#workload.start()
    for (const tally of this.#tallies) tally.start({ clients: 2, watchers: 2, readers: 1 })
    this.#nemesis.start()
    const endMs = clock.monotonicMs() + this.#plan.chaosMs
    while (clock.monotonicMs() < endMs) await this.#step()
    await this.#nemesis.end()
    const healedMs = await this.#untilSettled()
    await this.#finish()
    return healedMs
  }

  /** The nodes start one after the other. */
  async #begin(): Promise<void> {
    const world = this.#world
    for (let count = 0; count < this.#plan.nodeCount; count++) {
      const node = world.add()
      world.admit(node)
      world.tellAll()
      void world.start(node)
      await this.#step()
    }
    await this.#untilSettled()
  }

  /** @throws unreachable when no node runs */
  #anyShards(random: Random): Shards {
    const layers = this.#world.nodes.flatMap(({ running }) => running?.layer ?? [])
    if (layers.length === 0) throw new MeshError('unreachable', 'No node runs')
    return pick(random, layers).router
  }

  async #step(): Promise<void> {
    const world = this.#world
    await world.clock.advance(STEP_MS)
    this.#nemesis.retire()
    this.#steps += 1
    if (world.failure !== undefined) throw world.failure
    if (this.#steps % CHECK_EVERY_STEPS === 0) world.checker.check()
  }

  async #untilSettled(): Promise<number> {
    const { clock, trace } = this.#world
    const startMs = clock.monotonicMs()
    for (;;) {
      const problem = unsettled(this.#world)
      if (problem === undefined) break
      const passedMs = clock.monotonicMs() - startMs
      demand('Progress', passedMs < SETTLE_MS_MAX, `not settled after ${passedMs} ms: ${problem}`)
      await this.#step()
    }
    // A change of members that a crash takes back may be one that a disk's loss was counted on.
    for (let step = 0; step < FLUSHED_STEPS; step++) await this.#step()
    trace.note('all is well')
    return clock.monotonicMs() - startMs
  }

  /** Everything that was begun ends, new writes are done, and what was told was right. */
  async #finish(): Promise<void> {
    const world = this.#world
    const { clock, checker } = world
    await clock.run(this.#writeEverywhere(), 2 * ANSWER_MS_MAX)
    await clock.run(this.#workload.stop(), 2 * ANSWER_MS_MAX)
    await clock.run(Promise.all(this.#tallies.map((tally) => tally.stop())), 3 * ANSWER_MS_MAX)
    await clock.run(Promise.all(this.#tallies.map((tally) => tally.check())), 4 * ANSWER_MS_MAX)
    checker.check()
    this.#checkErrors()
    const [problem] = this.#workload.problems()
    demand('Linearizability', problem === undefined, problem ?? '')
    await clock.run(Promise.all(world.running.map((node) => world.stop(node))), ANSWER_MS_MAX)
    if (world.failure !== undefined) throw world.failure
  }

  /** What clients were told are things that may happen to them. */
  #checkErrors(): void {
    for (const event of [...this.#workload.kv.events, ...this.#workload.locks.events]) {
      if (event.event !== 'fail' && event.event !== 'unknown') continue
      demand('RightErrors', !WRONG_ERRORS.test(event.reason), `a client was told ${event.reason}`)
    }
  }

  /** Whoever is asked does what is asked, of every shard. */
  async #writeEverywhere(): Promise<void> {
    const { running, plan } = this.#world
    const writes = running.flatMap((node) =>
      Array.from({ length: plan.shardCount }, async (_, shard) => {
        const router = node.running?.layer.router
        try {
          await router?.execute({ shard }, TICK, undefined, { timeoutMs: ANSWER_MS_MAX })
        } catch (error) {
          const reason = error instanceof Error ? error.message : String(error)
          throw new Violation('Progress', `${node.name} can't write to shard ${shard}: ${reason}`)
        }
      })
    )
    await Promise.all(writes)
  }
}

function failureOf(error: unknown): Outcome['failure'] {
  if (error instanceof Violation) return { invariant: error.invariant, detail: error.message }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { invariant: 'Program', detail }
}
