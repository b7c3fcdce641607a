// Work on the mesh as programs ask for it: run one task, map many, submit a job that goes on alone.

import type { Random } from '../../base/random.ts'
import { MeshError, type ErrorCode } from '../../base/errors.ts'
import { decodeValue, encodeValue } from '../../executor/values.ts'
import type { CallOptions } from '../../shard/shards.ts'
import type { CodeRef, TaskOutcome } from '../../wire/job.ts'
import { codeOf } from './code/code-of.ts'
import type { TaskDefinition } from './code/task.ts'
import type { CodeShelf } from './code-shelf.ts'
import { orderNodes, type DagNode } from './dag.ts'
import type { EphemeralTask } from './ephemeral.ts'
import type { Job } from './job.ts'
import { LASTING_POLICY, POLICY_DEFAULTS, type JobInfo, type Jobs } from './jobs.ts'
import type { JobRequest } from './job-request.ts'
import { mapReduceTasks, type MapReduceOptions, type MeshFiles } from './map-reduce.ts'
import type { MapOutput, ReduceOutput } from './map-reduce-task.ts'
import type { JobSpec } from './spec.ts'
import { neediest, needsOf, type TaskNeeds, type TaskOptions } from './task-options.ts'
import { UnderWay } from './under-way.ts'

const NO_INPUTS = { kind: 'inline', inputs: [] } as const

export type RunOptions = CallOptions & {
  /** 0 to 9; higher goes first. */
  readonly priority?: number | undefined
}

export type MapOptions = RunOptions & {
  /** In the order of the inputs; on unless false. */
  readonly ordered?: boolean | undefined
  /** Tasks under way at one time; 128 to 512 unless given: as many as don't only wait. */
  readonly concurrency?: number | undefined
}

export type SubmitOptions = RunOptions & {
  /** Names the job: submitting the same again finds it. Made up unless given. */
  readonly id?: string | undefined
  /** How long it is remembered after its end, milliseconds; a day unless given. */
  readonly retainMs?: number | undefined
  /** Its tasks go on until they are told to end: see `LASTING_POLICY`. */
  readonly lasting?: boolean | undefined
}

/** A program that was put together already, such as from a file. */
export type Bundle<Input = unknown, Output = unknown> = {
  readonly source: Uint8Array
  readonly exportName: string
  readonly options: TaskOptions
  /** Only for the types of what goes in and comes out. */
  readonly types?: (input: Input) => Output
}

/** What can be run: a task of this program, or a bundle. */
export type Runnable<Input, Output> = TaskDefinition<Input, Output> | Bundle<Input, Output>

export type ExecOptions = RunOptions & {
  /** What the command reads. */
  readonly input?: Uint8Array | undefined
  readonly task?: TaskOptions | undefined
}

/** What stands behind: a node, or a connection to one. */
export type ComputeBackend = {
  readonly files: MeshFiles
  readonly shelf: CodeShelf
  readonly jobs: Jobs
  readonly random: Random
  /** Whose share the work counts to. */
  readonly submitter: string
  /** @returns how it ended: done or failed @throws overloaded, stopped, or the signal's reason */
  runEphemeral(task: EphemeralTask, signal: AbortSignal): Promise<TaskOutcome>
  /** Whether tasks wait here to begin. */
  isCrowded(): boolean
}

/** A task that is ready to be run: its code is in the mesh. */
export type Prepared = TaskNeeds & { readonly spec: JobSpec; readonly code: CodeRef }

export class Compute {
  readonly #backend: ComputeBackend
  readonly #prepared = new WeakMap<Runnable<never, unknown>, Prepared>()
  readonly #preparing = new WeakMap<Runnable<never, unknown>, Promise<Prepared>>()

  constructor(backend: ComputeBackend) {
    this.#backend = backend
  }

  /**
   * Runs a task somewhere on the mesh, here if there is room, and waits for it. It ends with this
   * program; what should go on without it is submitted.
   *
   * @throws task-failed and other codes of tasks, not-self-contained, overloaded, stopped, or the
   *   signal's reason
   */
  async run<Input, Output>(
    task: Runnable<Input, Output>,
    input?: Input,
    options: RunOptions = {}
  ): Promise<Awaited<Output>> {
    return (await this.#runOne(task, input, options)) as Awaited<Output>
  }

  /**
   * Runs a task for each input, many at one time, and yields what they return.
   *
   * @throws as `run`, of the first task that fails: the others are given up then
   */
  async *map<Input, Output>(
    task: Runnable<Input, Output>,
    inputs: Iterable<Input> | AsyncIterable<Input>,
    options: MapOptions = {}
  ): AsyncGenerator<Awaited<Output>> {
    const { ordered: isOrdered = true, concurrency: countMax } = options
    const over = new AbortController()
    const signals = options.signal === undefined ? [] : [options.signal]
    const signal = AbortSignal.any([over.signal, ...signals])
    const calls = { ...options, signal }
    const underWay = new UnderWay(this.#backend, { isOrdered, countMax })
    const begin = (input: Input): void => underWay.add(this.#runOne(task, input, calls))
    const take = async (): Promise<Awaited<Output>> => (await underWay.take()) as Awaited<Output>
    try {
      if (Symbol.asyncIterator in inputs) {
        for await (const input of inputs) {
          begin(input)
          if (underWay.isFull) yield await take()
        }
      } else {
        for (const input of inputs) {
          begin(input)
          if (underWay.isFull) yield await take()
        }
      }
      while (underWay.count > 0) yield await take()
    } finally {
      over.abort(new MeshError('aborted', 'The map has ended'))
    }
  }

  /**
   * Submits a job: a task for each input, which the mesh keeps and does, whoever goes away.
   *
   * @throws exists (another job has this id), not-self-contained, too-large, no-quorum, …
   */
  async submit<Input, Output>(
    task: Runnable<Input, Output>,
    inputs: Iterable<Input>,
    options: SubmitOptions = {}
  ): Promise<Job<Awaited<Output>>> {
    const prepared = await this.#prepare(task, options)
    const encoded = Array.from(inputs, encodeValue)
    return await this.#submit<Awaited<Output>>(prepared, { inputs: encoded }, options)
  }

  /**
   * Runs tasks that build on each other. Each gets what those before it returned as `ctx.after`.
   *
   * @returns the job; its results are the nodes', in an order in which they may run: see `names`
   * @throws invalid-argument (a circle, a node that isn't there), and as `submit`
   */
  async dag(
    nodes: Readonly<Record<string, DagNode<Runnable<never, unknown>>>>,
    options: SubmitOptions = {}
  ): Promise<{ job: Job; names: readonly string[] }> {
    const ordered = orderNodes(nodes)
    const prepared = await Promise.all(ordered.map(({ task }) => this.#prepare(task, options)))
    const [first] = prepared as [Prepared]
    const stages = ordered.map(({ stage }, index) => {
      const { spec, code } = prepared[index] as Prepared
      return { ...stage, run: { task: spec.task, code } }
    })
    // A node of the mesh that takes one takes all: what the most demanding of them needs.
    const needs = prepared.reduce(neediest, first)
    const inputs = ordered.map(({ input }) => encodeValue(input))
    const job = await this.#submit({ ...first, ...needs }, { inputs, stages }, options)
    return { job, names: ordered.map(({ name }) => name) }
  }

  /**
   * Submits a map-reduce job over files of the mesh: `map` makes pairs of each line, and `reduce` one
   * value of all values of a key. The output has a file for each partition, a `key<TAB>value` a line.
   *
   * @throws not-found, invalid-argument, and as `submit`
   */
  async mapReduce(
    program: Bundle,
    options: MapReduceOptions & SubmitOptions
  ): Promise<Job<MapOutput | ReduceOutput>> {
    const prepared = await this.#prepare(program, options)
    const tasks = await mapReduceTasks(this.#backend.files, options)
    return await this.#submit({ ...prepared, isPure: true }, tasks, options)
  }

  /**
   * Runs a command on a node that allows it.
   *
   * @returns what it wrote to its standard output
   * @throws task-failed when its exit code isn't 0, and as `run`
   */
  async exec(
    command: string,
    args: readonly string[] = [],
    options: ExecOptions = {}
  ): Promise<Uint8Array> {
    const { requirements, limits, retries } = needsOf(options.task ?? {}, true)
    const code = { kind: 'exec', command, args } as const
    const spec = { task: '', code, limits, requirements, manifest: NO_INPUTS }
    const { priority = 0, signal = new AbortController().signal, input } = options
    const { submitter } = this.#backend
    const task = { spec, submitter, input: input ?? new Uint8Array(0), retries, priority }
    return outputOf(await this.#backend.runEphemeral(task, signal))
  }

  /** @returns a job that was submitted, here or elsewhere @throws invalid-argument */
  job<Value = unknown>(id: string): Job<Value> {
    return this.#backend.jobs.job<Value>(id)
  }

  /** All jobs of the mesh. */
  async jobs(options: CallOptions = {}): Promise<JobInfo[]> {
    return await this.#backend.jobs.list(options)
  }

  async #prepare(task: Runnable<never, unknown>, options: CallOptions): Promise<Prepared> {
    const known = this.#ready(task)
    if (known !== undefined) return known
    const preparing = this.#preparing.get(task) ?? this.#prepareNew(task, options)
    this.#preparing.set(task, preparing)
    try {
      const prepared = await preparing
      this.#prepared.set(task, prepared)
      return prepared
    } finally {
      this.#preparing.delete(task)
    }
  }

  /** @returns what was prepared not long ago */
  #ready(task: Runnable<never, unknown>): Prepared | undefined {
    const known = this.#prepared.get(task)
    if (known === undefined || known.code.kind === 'exec') return known
    return this.#backend.shelf.has(known.code.cid) ? known : undefined
  }

  async #prepareNew(task: Runnable<never, unknown>, options: CallOptions): Promise<Prepared> {
    const needs = needsOf(task.options)
    const { source, exportName } = 'source' in task ? task : await codeOf(task)
    const code = { kind: 'bundle', cid: await this.#backend.shelf.keep(source, options) } as const
    const { requirements, limits } = needs
    const spec = { task: exportName, code, limits, requirements, manifest: NO_INPUTS }
    return { ...needs, spec, code }
  }

  /** Without a promise more than it takes: there may be very many. */
  #runOne(task: Runnable<never, unknown>, input: unknown, options: RunOptions): Promise<unknown> {
    const ready = this.#ready(task)
    if (ready !== undefined) return this.#runReady(ready, input, options)
    return this.#prepare(task, options).then((one) => this.#runReady(one, input, options))
  }

  #runReady({ spec, retries }: Prepared, input: unknown, options: RunOptions): Promise<unknown> {
    const { submitter } = this.#backend
    const { priority = 0, signal = new AbortController().signal } = options
    const one = { spec, submitter, input: encodeValue(input), retries, priority }
    return this.#backend.runEphemeral(one, signal).then(valueOf)
  }

  async #submit<Value>(
    { spec, code, requirements, limits, isPure, retries }: Prepared,
    tasks: Pick<JobRequest, 'inputs' | 'stages'>,
    options: SubmitOptions
  ): Promise<Job<Value>> {
    const { id = this.#newId(), retainMs = POLICY_DEFAULTS.retainMs, priority = 0 } = options
    const { submitter, jobs } = this.#backend
    const usual = options.lasting === true ? LASTING_POLICY : POLICY_DEFAULTS
    const policy = { ...usual, submitter, isPure, retries, priority, retainMs }
    const request = { id, code, task: spec.task, limits, requirements, policy, ...tasks }
    return await jobs.submit<Value>(request, options)
  }

  #newId(): string {
    const digits = (): string => this.#backend.random.u32().toString(36).padStart(7, '0')
    return `job-${digits()}${digits()}`
  }
}

function valueOf(outcome: TaskOutcome): unknown {
  return decodeValue(outputOf(outcome))
}

/** @throws what the task failed with */
function outputOf(outcome: TaskOutcome): Uint8Array {
  if (outcome.kind === 'done') return outcome.output
  if (outcome.kind === 'failed') {
    const { code, message, logs } = outcome
    throw new MeshError(code as ErrorCode, message, { details: { logs } })
  }
  throw new MeshError('task-failed', `The task was ${outcome.kind}`)
}
