// A failed run in words: what broke, the fewest kinds of faults that still break it, and the last
// events before it.

import type { Fault } from './plan.ts'
import { simulate, type Outcome } from './simulation.ts'

/** What a run broke when there was no progress; everything else is a violation. */
export const STALL = 'Progress'

/**
 * Leaves out kinds of faults one after another, as long as the same invariant is broken.
 *
 * @returns the smallest run found
 */
function shrink(outcome: Outcome): Outcome {
  let smallest = outcome
  for (let isSmaller = true; isSmaller;) {
    isSmaller = false
    for (const fault of smallest.faults) {
      const fewer = new Set<Fault>(smallest.faults.filter((kind) => kind !== fault))
      const other = simulate(outcome.seed, fewer)
      if (other.failure?.invariant !== outcome.failure?.invariant) continue
      smallest = other
      isSmaller = true
    }
  }
  return smallest
}

/** @returns lines for people. */
export function inWords(outcome: Outcome): string[] {
  const { seed, failure, traceHash, healedTicks, events, faults } = outcome
  if (failure === undefined) {
    const healed = healedTicks === undefined ? 'not healed' : `healed in ${healedTicks} ticks`
    return [`raft seed ${seed}: ok, ${events} events, ${healed}, trace ${traceHash}`]
  }
  const smallest = shrink(outcome)
  return [
    `raft seed ${seed}: FAILED, trace ${traceHash}`,
    `  ${failure.detail}`,
    `  with ${faults.join(', ') || 'no faults'}`,
    `  The same with ${smallest.faults.join(', ') || 'no faults'} alone:`,
    `  ${smallest.failure?.detail ?? ''}`,
    `  the last of ${smallest.events} events (time in tenths of a tick, replica, event):`,
    ...smallest.tail.map((line) => `    ${line}`)
  ]
}
