// Tasks that build on each other: a job with a stage for each.

import { MeshError } from '../../base/errors.ts'
import type { Stage } from '../../core/machine/job-records.ts'
import type { StageSpec } from './spec.ts'

/** A node of the graph: what runs, on what, after which others. */
export type DagNode<Task> = {
  readonly task: Task
  /** Given to the task; what the nodes before it returned is in `ctx.after`, by name. */
  readonly input?: unknown
  readonly after?: readonly string[] | undefined
}

export type OrderedNode<Task> = DagNode<Task> & {
  readonly name: string
  readonly stage: Stage & StageSpec
}

/** @returns nodes so that each comes after those that it builds on @throws invalid-argument */
export function orderNodes<Task>(
  nodes: Readonly<Record<string, DagNode<Task>>>
): OrderedNode<Task>[] {
  const ordered: OrderedNode<Task>[] = []
  const placeOf = new Map<string, number>()
  const onTheWay = new Set<string>()
  const visit = (name: string, path: readonly string[]): void => {
    if (placeOf.has(name)) return
    const node = Object.hasOwn(nodes, name) ? nodes[name] : undefined
    if (node === undefined) {
      throw refuse(`"${path.at(-1)}" comes after "${name}", and there is no such node`)
    }
    if (onTheWay.has(name)) throw refuse(`${[...path, name].join(' → ')} is a circle`)
    onTheWay.add(name)
    const { after = [] } = node
    for (const before of after) visit(before, [...path, name])
    const at = ordered.length
    placeOf.set(name, at)
    const places = [...new Set(after)].map((before) => placeOf.get(before) as number)
    const stage = {
      from: at,
      to: at + 1,
      after: places.toSorted((a, b) => a - b),
      name,
      isOne: true
    }
    ordered.push({ ...node, name, stage })
  }
  for (const name of Object.keys(nodes)) visit(name, [])
  if (ordered.length === 0) throw refuse('it has no nodes')
  return ordered
}

function refuse(problem: string): MeshError {
  return new MeshError('invalid-argument', `Cannot run the graph: ${problem}`)
}
