import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createRandom, shuffle } from '../../../src/base/random.ts'
import { MINUTE_MS } from '../../../src/base/units.ts'
import { chooseJob, effectivePriority, nextToBegin } from '../../../src/core/jobs/choose-job.ts'
import type { Candidate } from '../../../src/core/jobs/choose-job.ts'
import { Shares } from '../../../src/core/jobs/shares.ts'

function candidate(space: string, more: Partial<Candidate> = {}): Candidate {
  const usual = { priority: 0, usedMs: 0, waitedMs: 0, readyCount: 1, localInputs: 0 }
  return { space, ...usual, ...more }
}

function choose(jobs: Candidate[], seed = 1): string | undefined {
  return chooseJob(jobs, createRandom(seed))?.space
}

describe('chooseJob()', () => {
  it('takes none when none is ready', () => {
    expect(choose([])).toBeUndefined()
    expect(choose([candidate('a', { readyCount: 0, priority: 9 })])).toBeUndefined()
  })

  it('takes the highest priority, which grows by waiting', () => {
    const jobs = [candidate('a', { priority: 3 }), candidate('b', { priority: 5 })]
    expect(choose(jobs)).toBe('b')
    expect(effectivePriority(candidate('a', { waitedMs: 29_999 }))).toBe(0)
    expect(effectivePriority(candidate('a', { waitedMs: 30_000 }))).toBe(1)
    const aged = [
      candidate('a', { priority: 3, waitedMs: 90_000 }),
      candidate('b', { priority: 5 })
    ]
    expect(choose(aged)).toBe('a')
  })

  it('then the submitter who had least, then what is here, then at random what has most', () => {
    const fair = [candidate('a', { localInputs: 9, usedMs: 1_000 }), candidate('b')]
    expect(choose(fair)).toBe('b')
    const near = [candidate('a', { readyCount: 9 }), candidate('b', { localInputs: 1 })]
    expect(choose(near)).toBe('b')

    const many = ['a', 'b', 'c', 'd'].map((space, index) =>
      candidate(space, { readyCount: 1 + index })
    )
    const taken = Array.from({ length: 1_000 }, (_, seed) => choose(many, seed))
    const counts = ['a', 'b', 'c', 'd'].map((space) => taken.filter((one) => one === space).length)
    // The better of two: 1, 3, 5 and 7 of 16.
    for (const [index, count] of counts.entries()) {
      expect(Math.abs(count - (1_000 * (2 * index + 1)) / 16)).toBeLessThan(60)
    }
  })

  it('does not depend on the order in which jobs are known', () => {
    const any = fc.array(
      fc.record({
        space: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
        priority: fc.nat(2),
        usedMs: fc.nat(1),
        waitedMs: fc.nat(100_000),
        readyCount: fc.nat(3),
        localInputs: fc.nat(1)
      })
    )
    fc.assert(
      fc.property(any, fc.nat(), (found, seed) => {
        const jobs = [...new Map(found.map((job) => [job.space, job])).values()]
        const other = shuffle(createRandom(seed), [...jobs])
        expect(choose(jobs, seed)).toBe(choose(other, seed))
      })
    )
  })
})

describe('nextToBegin()', () => {
  it('takes the highest priority, then the submitter who had least', () => {
    expect(nextToBegin([])).toBeUndefined()
    const [low, much, little] = [
      { priority: 0, usedMs: 0 },
      { priority: 1, usedMs: 9 },
      { priority: 1, usedMs: 8 }
    ]
    expect(nextToBegin([low, much, little])).toBe(little)
    expect(nextToBegin([low, much])).toBe(much)
  })
})

describe('shares', () => {
  it('fall by half in two minutes, and are weighed with what is under way', () => {
    const shares = new Shares(new Map([['bob', 4]]))
    shares.charge('ann', 800, 0)
    shares.charge('bob', 800, 0)
    expect([shares.of('ann', 0), shares.of('bob', 0)]).toEqual([800, 200])
    expect(shares.of('ann', 2 * MINUTE_MS)).toBe(400)
    expect(shares.of('bob', 0, 400)).toBe(300)
    expect(shares.of('cat', 0)).toBe(0)
  })

  it('are kept of a bounded number of submitters: those with the most', () => {
    const shares = new Shares()
    for (let index = 0; index < 1_000; index++) shares.charge(`s${index}`, 1 + index, 0)
    expect(shares.of('s0', 0)).toBe(0)
    expect(shares.of('s999', 0)).toBe(1_000)
    const kept = Array.from({ length: 1_000 }, (_, index) => shares.of(`s${index}`, 0))
    expect(kept.filter((slotMs) => slotMs > 0)).toHaveLength(256)
  })
})
