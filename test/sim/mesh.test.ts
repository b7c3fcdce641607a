// The simulation of the shard layer in small, for every change; `npm run sim -- mesh` runs it in large.

import { describe, expect, it } from 'vitest'
import { inWords } from './mesh/show.ts'
import { simulate } from './mesh/simulation.ts'

const SEEDS = 20
/** Seeds are run in parts, so that a test has an end within its time. */
const PART = 4
/** Seeds that once failed, with what they found. */
const FOUND: Readonly<Record<number, string>> = {
  23: 'a damaged log that took all groups of its node with it',
  28: 'reads that lost what a failed flush had',
  178: 'a node that left with a failed disk, and took itself for done',
  6971: 'commands that failed because an earlier one met a leader that was handing over'
}

/** @returns what went wrong, in words */
async function failuresOf(seeds: readonly number[]): Promise<string[]> {
  const failures: string[] = []
  for (const seed of seeds) {
    const outcome = await simulate(seed)
    if (outcome.failure !== undefined) failures.push(...(await inWords(outcome)))
  }
  return failures
}

describe('simulated meshes under faults stay right, and go on once they are healed', () => {
  const parts = Array.from({ length: SEEDS / PART }, (_, part) => 1 + part * PART)

  it.each(parts)('seeds from %i on', async (first) => {
    const seeds = Array.from({ length: PART }, (_, index) => first + index)
    expect(await failuresOf(seeds)).toEqual([])
  })

  it.each(Object.entries(FOUND))('seed %i, which found: %s', async (seed) => {
    expect(await failuresOf([Number(seed)])).toEqual([])
  })
})

describe('a simulated mesh', () => {
  it('is the same for the same seed', async () => {
    for (const seed of [3, 14, 28]) {
      const first = await simulate(seed)
      const second = await simulate(seed)
      expect([seed, second.traceHash]).toEqual([seed, first.traceHash])
      expect(second.acknowledged).toBe(first.acknowledged)
    }
  })

  it('without a kind of faults is a run of its own', async () => {
    const { faults, failure } = await simulate(28)
    expect(failure).toBeUndefined()
    const fewer = await simulate(28, new Set(faults.slice(1)))
    expect(fewer.faults).toEqual(faults.slice(1))
    expect(fewer.failure).toBeUndefined()
  })
})
