// How a program says what a topology is.

import { callerFile } from '../compute/code/caller-file.ts'
import { registry } from '../../executor/task-registry.ts'
import {
  checkTopology,
  checkTopologyName,
  taskNameOf,
  type BoltFunction,
  type BoltOptions,
  type OperatorDefinition,
  type OperatorOptions,
  type SpoutFunction,
  type TopologyDefinition,
  type TopologyOptions
} from './definition.ts'
import { runInstance } from './instance.ts'

/** Where a topology is deployed: a node, or a connection to one. */
type Host<Running> = {
  deploy(topology: TopologyDefinition): Promise<Running>
}

/** A topology as it grows: `Outputs` has the type of each operator's tuples. */
export class Topology<Outputs extends object = object> implements TopologyDefinition {
  readonly name: string
  readonly options: TopologyOptions
  readonly operators: readonly OperatorDefinition[]
  readonly file: string | undefined

  /** Made by {@link topology}. */
  constructor(definition: TopologyDefinition) {
    const { name, options, operators, file } = definition
    this.name = name
    this.options = options
    this.operators = operators
    this.file = file
    if (operators.length > 0) checkTopology(this)
    // In a worker: so its tasks are found when the bundle was imported.
    const fn = async (context: never, input: never): Promise<boolean> =>
      await runInstance(this, context, input)
    registry().set(taskNameOf(this), { name: taskNameOf(this), fn, file })
  }

  /**
   * Adds a source. Its function is a generator; what it yields is a tuple, replayed until all that
   * came of it is processed. With `ctx.checkpoint` it says where it can go on after a restart.
   */
  spout<Name extends string, Output>(
    name: Name,
    fn: SpoutFunction<Output>,
    options: OperatorOptions = {}
  ): Topology<Outputs & Record<Name, Output>> {
    const { parallel = 1 } = options
    const more = { name, kind: 'spout', parallel, from: [], fn } as const
    return this.#with({ ...more, groupBy: undefined, flush: undefined })
  }

  /** Adds an operator: a function of a tuple, which returns a list of tuples, a generator or nothing. */
  bolt<Name extends string, From extends keyof Outputs & string, Output>(
    name: Name,
    fn: BoltFunction<Outputs[From], Output>,
    options: BoltOptions<From, Outputs[From]>
  ): Topology<Outputs & Record<Name, Output>> {
    const { parallel = 1, from, groupBy, flush } = options
    const list = typeof from === 'string' ? [from] : from
    return this.#with({ name, kind: 'bolt', parallel, from: list, fn, groupBy, flush })
  }

  /** Has it run by the mesh. See `Topologies.deploy`. */
  async deploy<Running>(mesh: Host<Running>): Promise<Running> {
    return await mesh.deploy(this)
  }

  #with<More extends object>(operator: OperatorDefinition): Topology<More> {
    const { name, options, file } = this
    return new Topology({ name, options, operators: [...this.operators, operator], file })
  }
}

/**
 * Begins a topology: operators that run for long, with streams of tuples between them.
 *
 * @param name letters, digits, dashes and underscores; unique in the mesh
 * @example
 * ```ts
 * export default topology('word_count')
 *   .spout('lines', async function* (ctx) { … yield line; ctx.checkpoint(number) })
 *   .bolt('split', (ctx, line) => line.split(' '), { from: 'lines', parallel: 2 })
 *   .bolt('count', (ctx, word) => ctx.state.set(word, Number(ctx.state.get(word) ?? 0) + 1),
 *     { from: 'split', groupBy: (word) => word, parallel: 4 })
 * ```
 * @throws invalid-argument
 */
export function topology(name: string, options: TopologyOptions = {}): Topology {
  checkTopologyName(name)
  return new Topology({ name, options, operators: [], file: callerFile(import.meta.filename) })
}
