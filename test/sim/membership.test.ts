// The membership simulation in small, for every change; `npm run sim` runs it in large.

import { describe, expect, it } from 'vitest'
import { runMembership, type MembershipOutcome } from './membership.ts'

const SEEDS = [1, 2, 3]

const run = async (seed: number): Promise<MembershipOutcome> =>
  await runMembership({ seed, peers: 40, leave: 4, crash: 4 })

describe('40 simulated members, 4 of which leave and 4 crash', () => {
  const runs = new Map<number, Promise<MembershipOutcome>>()
  /** Each seed is run once for all tests. */
  const outcomeOf = async (seed: number): Promise<MembershipOutcome> => {
    const known = runs.get(seed) ?? run(seed)
    runs.set(seed, known)
    return await known
  }

  it.each(SEEDS)('seed %i: all that run agree in the end, and nobody was wronged', async (seed) => {
    const { violations, convergedMs } = await outcomeOf(seed)

    expect(violations).toEqual([])
    expect(convergedMs).toBeDefined()
  })

  it('the same seed gives the same run, another seed another', async () => {
    const hashes = new Set<string>()
    for (const seed of SEEDS) hashes.add((await outcomeOf(seed)).traceHash)

    expect((await run(1)).traceHash).toBe((await outcomeOf(1)).traceHash)
    expect(hashes.size).toBe(SEEDS.length)
  })
})
