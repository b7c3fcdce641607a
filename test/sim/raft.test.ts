// The consensus simulation in small, for every change; `npm run sim` runs it in large.

import { describe, expect, it } from 'vitest'
import { inWords } from './raft/show.ts'
import { simulate } from './raft/simulation.ts'

const SEEDS = 400
/** Seeds are run in parts, so that a test has an end within its time. */
const PART = 50
/** Seeds that once failed, with what they found. */
const FOUND: Readonly<Record<number, string>> = {}

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
  it('is the same for the same seed, a hundred times, and another for another seed', () => {
    const first = simulate(5)
    const hashes = new Set<string>()
    for (let time = 0; time < 100; time++) hashes.add(simulate(5).traceHash)

    expect([...hashes]).toEqual([first.traceHash])
    expect(simulate(6).traceHash).not.toBe(first.traceHash)
  })

  it('without a kind of faults is a run of its own', () => {
    const { faults } = simulate(5)
    const fewer = simulate(5, new Set(faults.slice(1)))

    expect(fewer.faults).toEqual(faults.slice(1))
    expect(fewer.failure).toBeUndefined()
  })
})
