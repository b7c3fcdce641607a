// The consensus simulation in small, for every change; `npm run sim` runs it in large.

import { describe, expect, it } from 'vitest'
import { inWords } from './raft/show.ts'
import { simulate } from './raft/simulation.ts'

const SEEDS = 600
/** Seeds are run in parts, so that a test has an end within its time. */
const PART = 50
/** Seeds that once failed, with what they found. */
const FOUND: Readonly<Record<number, string>> = {
  46: 'a snapshot that came while entries before it were applied brought its own members',
  238: 'a leader that demoted itself had the longest log, and nobody could lead any more'
}

/** @returns what went wrong, in words */
function failuresOf(seeds: readonly number[]): string[] {
  return seeds
    .map((seed) => simulate(seed))
    .filter(({ failure }) => failure !== undefined)
    .flatMap((outcome) => inWords(outcome))
}

describe('simulated groups under faults stay right, and go on once they are healed', () => {
  const parts = Array.from({ length: SEEDS / PART }, (_, part) => 1 + part * PART)

  it.each(parts)('seeds from %i on', (first) => {
    const seeds = Array.from({ length: PART }, (_, index) => first + index)
    expect(failuresOf(seeds)).toEqual([])
  })

  it.each(Object.entries(FOUND))('seed %i, which found: %s', (seed) => {
    expect(failuresOf([Number(seed)])).toEqual([])
  })
})

describe('a simulated run', () => {
  /** Short ones, with nearly every kind of faults between them. */
  const SHORT = [115, 155, 184, 199]

  it('is the same for the same seed, a hundred times over', () => {
    const hashes = SHORT.map((seed) => {
      const same = Array.from({ length: 25 }, () => simulate(seed).traceHash)
      expect(new Set(same).size).toBe(1)
      return same[0]
    })

    expect(new Set(hashes).size).toBe(SHORT.length)
    const again = Array.from({ length: 100 }, () => simulate(115).traceHash)
    expect(new Set(again)).toEqual(new Set([hashes[0]]))
  })

  it('without a kind of faults is a run of its own', () => {
    const { faults } = simulate(115)
    const fewer = simulate(115, new Set(faults.slice(1)))

    expect(fewer.faults).toEqual(faults.slice(1))
    expect(fewer.failure).toBeUndefined()
  })
})
