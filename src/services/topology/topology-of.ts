// A topology whose functions travel without their file.

import type { OperatorDefinition, TopologyOptions } from './definition.ts'
import { Topology } from './topology.ts'

/** What of an operator isn't a function. */
export type PlainOperator = Pick<OperatorDefinition, 'name' | 'kind' | 'parallel' | 'from'>
/** `fn0`, `groupBy0`, `flush0` of the first operator, and so on. */
type Functions = Readonly<Record<string, unknown>>

/** Makes a topology known in a worker. */
export function topologyOf(
  plain: { name: string; options: TopologyOptions; operators: readonly PlainOperator[] },
  functions: Functions
): Topology {
  const operators = plain.operators.map((operator, index) => ({
    ...operator,
    fn: functions[`fn${index}`],
    groupBy: functions[`groupBy${index}`],
    flush: functions[`flush${index}`]
  }))
  return new Topology({
    ...plain,
    operators: operators as readonly OperatorDefinition[],
    file: undefined
  })
}
