// A run in words; of a failed one what broke, the fewest kinds of faults that still break it, and the
// last events before it.

import type { Fault } from './plan.ts'
import { simulate, type Outcome } from './simulation.ts'

/**
 * Leaves out kinds of faults one after another, as long as the same invariant is broken.
 *
 * @returns the smallest run found
 */
async function shrink(outcome: Outcome): Promise<Outcome> {
  let smallest = outcome
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false
    for (const fault of smallest.faults) {
      const fewer = new Set<Fault>(smallest.faults.filter((kind) => kind !== fault))
      const other = await simulate(outcome.seed, fewer)
      if (other.failure?.invariant !== outcome.failure?.invariant) continue
      smallest = other
      isSmaller = true
    }
  }
  return smallest
}

/** @returns lines for people. */
export async function inWords(outcome: Outcome): Promise<string[]> {
  const { seed, failure, traceHash, restedMs, events, faults, tasks, grants } = outcome
  if (failure === undefined) {
    const done = `${tasks} tasks, ${grants} grants, ${outcome.stale} stale, ${events} events`
    return [`jobs seed ${seed}: ok, ${done}, at rest after ${restedMs} ms, trace ${traceHash}`]
  }
  const smallest = await shrink(outcome)
  return [
    `jobs seed ${seed}: FAILED, trace ${traceHash}`,
    `  ${failure.detail}`,
    `  with ${faults.join(', ') || 'no faults'}`,
    `  The same with ${smallest.faults.join(', ') || 'no faults'} alone:`,
    `  ${smallest.failure?.detail ?? ''}`,
    `  the last of ${smallest.events} events (milliseconds, node, event):`,
    ...smallest.tail.map((line) => `    ${line}`)
  ]
}
