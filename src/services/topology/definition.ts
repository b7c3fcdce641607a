// What a topology is: spouts that make tuples, bolts that make others of them, and who gets whose.

import { MeshError } from '../../base/errors.ts'
import type { GroupKey } from '../../core/streams/grouping.ts'
import type { TaskContext } from '../compute/code/task-context.ts'

/** What every operator is given. */
export type OperatorContext = Pick<TaskContext, 'signal' | 'log' | 'files' | 'kv' | 'locks'> & {
  readonly topology: string
  readonly operator: string
  /** Which of the operator's instances this is, from 0. */
  readonly instance: number
  /** How many there are. */
  readonly parallel: number
  /** Of two attempts at one instance the later one has the higher. */
  readonly fencingToken: number
}

export type SpoutContext = OperatorContext & {
  /** Where to go on: the last checkpoint before which all is processed. Undefined at the beginning. */
  readonly position: unknown
  /**
   * All that comes after what was yielded so far is yielded again by who begins at this position,
   * a value as JSON has it.
   */
  checkpoint(position: unknown): void
}

/** What an instance remembers: durable before the tuples are acknowledged that led to it. */
export type OperatorState = {
  get(key: string): unknown
  /** @param value as JSON has it */
  set(key: string, value: unknown): void
  delete(key: string): void
  readonly size: number
  entries(): Iterable<[string, unknown]>
}

export type BoltContext = OperatorContext & { readonly state: OperatorState }

/** Values that are emitted one by one; what is undefined emits none. */
export type Emitted<Output> = Iterable<Output> | AsyncIterable<Output> | undefined | void

export type SpoutFunction<Output> = (
  context: SpoutContext
) => Iterable<Output> | AsyncIterable<Output>

export type BoltFunction<Input, Output> = (
  context: BoltContext,
  value: Input
) => Emitted<Output> | Promise<Emitted<Output>>

export type OperatorOptions = {
  /** Instances, each with a slot of a node; 1 unless given. */
  readonly parallel?: number | undefined
}

export type BoltOptions<From, Input> = OperatorOptions & {
  /** Operators whose tuples it gets. */
  readonly from: From | readonly From[]
  /** Tuples of one key go to one instance; else to any that has room. */
  readonly groupBy?: ((value: Input) => GroupKey) | undefined
  /** Called some times a second: what was processed before counts as processed when it resolves. */
  readonly flush?: ((context: BoltContext) => Promise<void>) | undefined
}

/** An operator, whatever its types. */
export type OperatorDefinition = {
  readonly name: string
  readonly kind: 'spout' | 'bolt'
  readonly parallel: number
  /** None for a spout. */
  readonly from: readonly string[]
  readonly fn: (context: never, value: never) => unknown
  readonly groupBy: ((value: never) => GroupKey) | undefined
  readonly flush: ((context: never) => Promise<void>) | undefined
}

export type TopologyOptions = {
  /** Processors for an instance; 1 unless given, and not less. */
  readonly cpu?: number | undefined
  /** What an instance may hold in memory; 128 MiB unless given. */
  readonly memory?: string | number | undefined
  /** Labels that nodes must have. */
  readonly labels?: readonly string[] | undefined
  /** Values of a spout's instance that are under way at one time; 4096 unless given. */
  readonly pendingMax?: number | undefined
  /** A value that isn't processed after so long is emitted again, milliseconds; 10 s unless given. */
  readonly timeoutMs?: number | undefined
}

export type TopologyDefinition = {
  readonly name: string
  readonly options: TopologyOptions
  readonly operators: readonly OperatorDefinition[]
  /** The file in which it was defined; undefined when that isn't known. */
  readonly file: string | undefined
}

/** One of an operator's instances; its place in the list is its task in the job. */
export type InstancePlace = {
  readonly index: number
  readonly operator: OperatorDefinition
  readonly instance: number
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$/
const INSTANCES_MAX = 256

/** @throws invalid-argument */
export function checkTopology({ name, operators, options }: TopologyDefinition): void {
  const refuse = (why: string): never => {
    throw new MeshError('invalid-argument', `Cannot use topology "${name}": ${why}`)
  }
  checkTopologyName(name)
  const known = new Set<string>()
  for (const { name: own, from, kind, parallel } of operators) {
    if (!NAME.test(own)) refuse(`"${own}" is no name of an operator`)
    if (known.has(own)) refuse(`two operators are called "${own}"`)
    if (!Number.isInteger(parallel) || parallel < 1) refuse(`"${own}" has ${parallel} instances`)
    // Only of those before it: so there are no circles.
    const strange = from.find((other) => !known.has(other))
    if (strange !== undefined) refuse(`"${own}" comes after "${strange}", which isn't before it`)
    if (kind === 'bolt' && from.length === 0) refuse(`"${own}" gets tuples of nobody`)
    known.add(own)
  }
  if (operators[0]?.kind !== 'spout') refuse('it begins with a spout')
  const count = placesOf(operators).length
  if (count > INSTANCES_MAX) refuse(`it has ${count} instances; at most ${INSTANCES_MAX} can be`)
  if ((options.cpu ?? 1) < 1) refuse('an instance has a slot of its own: give 1 cpu at least')
}

/** @throws invalid-argument */
export function checkTopologyName(name: string): void {
  if (NAME.test(name)) return
  const rule = 'it has 1 to 64 letters, digits, dashes and underscores'
  throw new MeshError('invalid-argument', `"${name}" is no name of a topology: ${rule}`)
}

/** @returns all instances, those of an operator side by side */
export function placesOf(operators: readonly OperatorDefinition[]): InstancePlace[] {
  const pairs = operators.flatMap((operator) =>
    Array.from({ length: operator.parallel }, (_, instance) => ({ operator, instance }))
  )
  return pairs.map((pair, index) => ({ index, ...pair }))
}

/** What it is called among the tasks of a bundle. */
export function taskNameOf({ name }: Pick<TopologyDefinition, 'name'>): string {
  return `topology.${name}`
}
