// Topologies that the mesh runs: deployed once, they go on without whoever did it. Each is a job, a task
// for each instance; so its instances are placed, watched and moved as all tasks are.

import { isMeshError, MeshError } from '../../base/errors.ts'
import { SECOND_MS } from '../../base/units.ts'
import { TIMEOUT_MS_MAX } from '../../executor/executor.ts'
import type { CallOptions } from '../../shard/shards.ts'
import type { Compute } from '../compute/compute.ts'
import type { Job, JobProgress } from '../compute/job.ts'
import type { JobInfo } from '../compute/jobs.ts'
import type { Kv } from '../kv/kv.ts'
import {
  checkTopologyName,
  placesOf,
  taskNameOf,
  type OperatorDefinition,
  type TopologyDefinition
} from './definition.ts'
import { added, NO_FIGURES, type Counters, type InstanceFigures } from './figures.ts'
import { pageEntries } from './instance-state.ts'
import {
  deleteAll,
  figuresKey,
  jobIdOf,
  parsed,
  planKey,
  prefixOf,
  statePrefix,
  stopKey,
  type StopRecord
} from './keys.ts'
import { codeOfTopology, type BundledTopology } from './topology-code.ts'

export type { BundledTopology } from './topology-code.ts'

const DRAIN_MS: number = 30 * SECOND_MS
/** From the end of the spouts until all others have ended, too. */
const END_MS: number = 10 * SECOND_MS
const RETRIES = 100

/** A topology in a list. */
export type TopologyInfo = Pick<JobInfo, 'state' | 'running'> & {
  readonly name: string
  readonly instances: number
}

export type InstanceStatus = Partial<InstanceFigures> & {
  readonly instance: number
  /** Why it was given up; the job's `retry` begins it again. */
  readonly error?: { readonly code: string; readonly message: string } | undefined
}

export type OperatorStatus = Counters & {
  readonly name: string
  readonly kind: 'spout' | 'bolt'
  /** Tuples that came in, a second. */
  readonly rate: number
  readonly pending: number
  readonly instances: readonly InstanceStatus[]
}

export type TopologyStatus = {
  readonly name: string
  /** Stuck: instances were given up, and the others wait for them. */
  readonly state: JobProgress['state'] | 'stuck'
  /** Instances that have a worker. */
  readonly running: number
  readonly operators: readonly OperatorStatus[]
}

/** What is kept of a topology's form. */
type Plan = {
  readonly operators: readonly Pick<OperatorDefinition, 'name' | 'kind' | 'parallel'>[]
}
type Components = { readonly kv: Kv; readonly compute: Compute }

export class Topologies {
  readonly #components: Components

  constructor(components: Components) {
    this.#components = components
  }

  /**
   * Has a topology run by the mesh. One of the same name that has ended is forgotten, with its state;
   * the same one that runs is found.
   *
   * @throws exists (another one runs by this name), not-self-contained, invalid-argument, …
   */
  async deploy(
    topology: TopologyDefinition | BundledTopology,
    options: CallOptions = {}
  ): Promise<RunningTopology> {
    const bundled = 'source' in topology ? topology : await codeOfTopology(topology)
    const { definition, source } = bundled
    const { name, operators } = definition
    const { kv, compute } = this.#components
    const running = this.get(name)
    await running.forget(options)
    const plan = operators.map((one) => {
      return { name: one.name, kind: one.kind, parallel: one.parallel }
    })
    const { cpu, memory, labels } = definition.options
    const task = { cpu, memory, labels, timeout: TIMEOUT_MS_MAX, retries: RETRIES }
    const bundle = { source, exportName: taskNameOf(definition), options: task }
    const inputs = placesOf(operators).map(({ index }) => ({ index }))
    const id = jobIdOf(name)
    await compute.submit(bundle, inputs, { ...options, id, lasting: true })
    await kv.put(planKey(name), JSON.stringify({ operators: plan } satisfies Plan), options)
    return running
  }

  /** A topology that was deployed, here or elsewhere. @throws invalid-argument */
  get(name: string): RunningTopology {
    checkTopologyName(name)
    return new RunningTopology(this.#components, name)
  }

  /** All topologies of the mesh that aren't forgotten. */
  async list(options: CallOptions = {}): Promise<TopologyInfo[]> {
    const before = jobIdOf('')
    return (await this.#components.compute.jobs(options))
      .filter(({ id }) => id.startsWith(before))
      .map(({ id, state, running, total }) => {
        return { name: id.slice(before.length), state, running, instances: total }
      })
  }
}

/** Rejects as `Job` does, besides what each method says. */
export class RunningTopology {
  readonly name: string
  readonly #components: Components

  /** Made by {@link Topologies}. */
  constructor(components: Components, name: string) {
    this.#components = components
    this.name = name
  }

  /** The job behind it: a task for each instance. */
  get job(): Job {
    return this.#components.compute.job(jobIdOf(this.name))
  }

  /** How it is. Figures are those that instances told last, a second ago or so. @throws not-found */
  async status(options: CallOptions = {}): Promise<TopologyStatus> {
    const { kv } = this.#components
    const { state, running, failed } = await this.job.progress(options)
    const errors = failed > 0 ? await this.#errors(options) : undefined
    const entry = await kv.get(planKey(this.name), options)
    const { operators } = entry === undefined ? { operators: [] } : planOf(entry)
    const figures = new Map<string, InstanceFigures>()
    for await (const told of kv.list(figuresKey(this.name, 0).slice(0, -1), options)) {
      figures.set(told.key, parsed(told.text(), told.key) as InstanceFigures)
    }
    let first = 0
    const statuses = operators.map((operator) => {
      const instances = Array.from({ length: operator.parallel }, (_, instance) => {
        const index = first + instance
        return { instance, ...figures.get(figuresKey(this.name, index)), error: errors?.get(index) }
      })
      first += operator.parallel
      return statusOf(operator, instances)
    })
    const isStuck = state === 'open' && failed > 0
    return { name: this.name, state: isStuck ? 'stuck' : state, running, operators: statuses }
  }

  async #errors(options: CallOptions): Promise<Map<number, InstanceStatus['error']>> {
    const errors = new Map<number, InstanceStatus['error']>()
    for await (const { task, code, message } of this.job.deadLetters(options)) {
      errors.set(task, { code, message })
    }
    return errors
  }

  /** What the instances of an operator remember, as it was made durable last. */
  async *state(
    operator: string,
    options: CallOptions = {}
  ): AsyncGenerator<[key: string, value: unknown]> {
    const { kv } = this.#components
    for await (const entry of kv.list(statePrefix(this.name, operator), options)) {
      yield* pageEntries(entry)
    }
  }

  /** Resolves when all its spouts have come to their ends and all is processed. @throws not-found */
  async wait(options: CallOptions = {}): Promise<JobProgress> {
    return await this.job.wait(options)
  }

  /**
   * Ends it: spouts yield no more, what is under way is processed, and all instances end. What isn't
   * processed after `drainMs`, 30 s unless given, isn't waited for.
   *
   * @returns whether all was processed
   * @throws not-found
   */
  async stop(
    options: CallOptions & { readonly drainMs?: number | undefined } = {}
  ): Promise<boolean> {
    const { drainMs = DRAIN_MS, ...calls } = options
    const { state } = await this.job.progress(calls)
    if (state !== 'open') return state === 'ended'
    const record = JSON.stringify({ drainMs } satisfies StopRecord)
    await this.#components.kv.put(stopKey(this.name), record, calls)
    const late = AbortSignal.timeout(drainMs + END_MS)
    const signals = calls.signal === undefined ? [late] : [late, calls.signal]
    try {
      const { failed } = await this.job.wait({ ...calls, signal: AbortSignal.any(signals) })
      return failed === 0 && (await this.#isDrained(calls))
    } catch (error) {
      if (!late.aborted || calls.signal?.aborted === true) throw error
      await this.job.cancel(calls)
      return false
    }
  }

  /** Whether its spouts saw all processed before they ended. */
  async #isDrained(options: CallOptions): Promise<boolean> {
    for await (const { value } of this.job.results(options)) if (value === false) return false
    return true
  }

  /** Forgets one that has ended, with all that it remembers. One that runs stays. */
  async forget(options: CallOptions = {}): Promise<void> {
    try {
      const { state } = await this.job.progress(options)
      if (state === 'open') return
      await this.job.remove(options)
    } catch (error) {
      if (!isMeshError(error, 'not-found')) throw error
    }
    await deleteAll(this.#components.kv, prefixOf(this.name), options)
  }
}

function planOf(entry: { readonly key: string; text(): string }): Plan {
  const plan = parsed(entry.text(), entry.key) as Partial<Plan>
  if (Array.isArray(plan.operators)) return plan as Plan
  throw new MeshError('invalid-data', `What is kept at "${entry.key}" is no plan`)
}

function statusOf(
  { name, kind }: Plan['operators'][number],
  instances: readonly InstanceStatus[]
): OperatorStatus {
  const sum = (of: (figures: InstanceStatus) => number | undefined): number =>
    instances.reduce((total, one) => total + (of(one) ?? 0), 0)
  const counters = instances.reduce<Counters>(
    (total, one) => added(total, { ...NO_FIGURES, ...one }),
    NO_FIGURES
  )
  return {
    name,
    kind,
    ...counters,
    rate: sum(({ rate }) => rate),
    pending: sum(({ pending }) => pending),
    instances
  }
}
