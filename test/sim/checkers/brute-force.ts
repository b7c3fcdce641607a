// Linearizability as it is defined, by trying every order: right because there is nothing to it, and
// usable for a handful of operations. What the checker is checked against.

import type { Operation } from './history.ts'
import type { Model } from './linearizability.ts'

/** @param operations of one key */
export function isLinearizable<State, Input, Output>(
  model: Model<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  state: State = model.initial
): boolean {
  if (operations.every((operation) => operation.output === undefined)) return true
  return operations.some((operation) => {
    const others = operations.filter((other) => other !== operation)
    // Whoever returned before this was called comes first.
    if (others.some((other) => other.return < operation.call)) return false
    const next = model.step(state, operation.input, operation.output)
    return next !== undefined && isLinearizable(model, others, next)
  })
}
