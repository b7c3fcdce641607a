// One run of the simulation: a mesh of whole nodes that work on jobs, programs and a nemesis, by a
// seed.

import { decodeValue } from '../../../src/executor/values.ts'
import { demand, Violation } from '../raft/violation.ts'
import { Clients } from './clients.ts'
import { Nemesis } from './nemesis.ts'
import { planOf, workMs, type Fault, type JobPlan, type Plan } from './plan.ts'
import { nodeOf, Patience, restless } from './rest.ts'
import { allJobs, type SeenJob } from './seen-jobs.ts'
import type { TaskValue } from './tasks.ts'
import { JobsWorld } from './world.ts'

export type Outcome = {
  readonly seed: number
  /** The kinds of faults that there were. */
  readonly faults: readonly Fault[]
  /** Over everything that happened: the same for the same seed. */
  readonly traceHash: string
  readonly events: number
  /** Of all jobs. */
  readonly tasks: number
  readonly grants: number
  readonly stale: number
  /** Tasks that were given up. */
  readonly deadLetters: number
  /** From the end of the faults until all was at rest. */
  readonly restedMs: number | undefined
  /** What went wrong: the invariant, and a sentence. */
  readonly failure: { readonly invariant: string; readonly detail: string } | undefined
  /** The last events, oldest first. */
  readonly tail: readonly string[]
}

const STEP_MS = 100
const CHECK_EVERY_STEPS = 5
const START_MS_MAX = 60_000
/** A mesh on which nothing breaks any more is done so long after what its work takes one machine. */
const REST_MS_MAX = 300_000
const STOP_MS_MAX = 30_000
/** Codes of dead letters, besides what tasks say themselves. */
const OUTSIDE_CODES = ['poison-task', 'disk-full']

/** @param faults the kinds that there may be; all that the seed says when undefined */
export async function simulate(seed: number, faults?: ReadonlySet<Fault>): Promise<Outcome> {
  return await new Simulation(planOf(seed, faults)).run()
}

class Simulation {
  readonly #plan: Plan
  readonly #world: JobsWorld
  readonly #nemesis: Nemesis
  readonly #clients: Clients
  #steps = 0
  #deadLetters = 0

  constructor(plan: Plan) {
    this.#plan = plan
    this.#world = new JobsWorld(plan)
    this.#nemesis = new Nemesis(this.#world)
    this.#clients = new Clients(this.#world)
  }

  async run(): Promise<Outcome> {
    let restedMs: number | undefined
    let failure: Outcome['failure']
    try {
      restedMs = await this.#go()
    } catch (error) {
      failure = failureOf(error)
    }
    this.#world.end()
    const { trace, witness, plan } = this.#world
    const { grants, stale } = witness.counts
    return {
      seed: plan.seed,
      faults: [...plan.faults],
      traceHash: trace.hash(),
      events: trace.count,
      tasks: plan.jobs.reduce((sum, { kinds }) => sum + kinds.length, 0),
      grants,
      stale,
      deadLetters: this.#deadLetters,
      restedMs,
      failure,
      tail: trace.tail()
    }
  }

  async #go(): Promise<number> {
    const { clock } = this.#world
    await this.#begin()
    this.#clients.start()
    this.#nemesis.start()
    const endMs = clock.monotonicMs() + this.#plan.chaosMs
    while (clock.monotonicMs() < endMs) await this.#step()
    await this.#nemesis.end()
    const restedMs = await this.#untilRest()
    this.#checkEnds()
    const stops = this.#world.running.map((node) => this.#world.stop(node))
    await clock.run(Promise.all(stops), STOP_MS_MAX)
    if (this.#world.failure !== undefined) throw this.#world.failure
    return restedMs
  }

  /** The nodes start one after the other. */
  async #begin(): Promise<void> {
    const world = this.#world
    for (let count = 0; count < this.#plan.nodeCount; count++) {
      const node = world.add()
      await world.clock.run(world.start(node), START_MS_MAX)
      demand('Progress', node.isReady, `${node.name} starts`)
    }
  }

  async #step(): Promise<void> {
    const world = this.#world
    await world.clock.advance(STEP_MS)
    this.#steps += 1
    if (world.failure !== undefined) throw world.failure
    if (this.#steps % CHECK_EVERY_STEPS === 0) world.witness.check()
  }

  async #untilRest(): Promise<number> {
    const { clock, trace, witness } = this.#world
    const patience = new Patience(this.#world)
    const startMs = clock.monotonicMs()
    const restMsMax = REST_MS_MAX + workMs(this.#plan)
    this.#clients.end()
    for (;;) {
      await this.#step()
      const isLooked = this.#steps % CHECK_EVERY_STEPS === 0
      if (isLooked) patience.check()
      const { acknowledged } = this.#clients
      const why = (): string | undefined => restless(this.#world, acknowledged)
      const unfinished = this.#clients.unfinished()
      const problem = unfinished ?? (isLooked ? why() : 'it was not looked')
      if (problem === undefined) break
      const passedMs = clock.monotonicMs() - startMs
      if (passedMs < restMsMax) continue
      throw new Violation('Progress', `not at rest after ${passedMs} ms: ${why() ?? problem}`)
    }
    witness.check()
    trace.note('all is at rest')
    return clock.monotonicMs() - startMs
  }

  /** Every task of every job has ended once, in a way that it may end. */
  #checkEnds(): void {
    const jobs = allJobs(this.#world)
    for (const job of this.#plan.jobs) {
      const seen = jobs.get(job.id)
      if (seen === undefined) throw new Violation('NoneLost', `${job.id} is nowhere`)
      const { phase, counts } = seen.view.state
      const isCancelled = this.#clients.cancelled.has(job.id)
      demand('Ends', phase === (isCancelled ? 'cancelled' : 'ended'), `${job.id} is ${phase}`)
      if (!isCancelled) {
        const { done, failed } = counts
        const all = done + failed
        demand('Ends', all === job.kinds.length, `${all} tasks of ${job.id} have ended`)
      }
      this.#checkTasks(job, seen)
    }
  }

  #checkTasks(job: JobPlan, { tasks }: SeenJob): void {
    const isMended = this.#world.tasks.mended.has(job.id)
    for (const [task, { state, attempt, granted, worker, result, error }] of tasks) {
      const name = `task ${task} of ${job.id}`
      const kind = job.kinds[task] ?? 'plain'
      if (state === 'done') {
        const isNewest = attempt === granted
        demand('Fenced', job.isPure || isNewest, `${name}: ${attempt} was taken, not ${granted}`)
        const isBad = kind === 'broken' || kind === 'endless'
        demand('Ends', !isBad || isMended, `${name} is ${kind}, and done`)
        if (result?.kind !== 'inline') continue
        const value = decodeValue(result.value) as TaskValue
        const where = nodeOf(this.#world, worker).name
        const isRight = value.attempt === attempt && value.node === where && value.task === task
        demand('Results', isRight, `${name} is of ${value.node}/${value.attempt}, not ${where}`)
      } else if (state === 'failed') {
        this.#deadLetters += 1
        const own = kind === 'endless' ? 'task-timeout' : 'task-failed'
        const code = error?.code ?? ''
        const isOwn = kind !== 'plain' && kind !== 'poison' && kind !== 'killer' && code === own
        const may = isOwn || OUTSIDE_CODES.includes(code)
        demand('Ends', may, `${name} is ${kind}, and was given up with ${code}`)
      }
    }
  }
}

function failureOf(error: unknown): Outcome['failure'] {
  if (error instanceof Violation) return { invariant: error.invariant, detail: error.message }
  const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return { invariant: 'Program', detail }
}
