// How well the policies spread work over workers and submitters, in virtual time.

import { describe, expect, it } from 'vitest'
import { createRandom } from '../../../src/base/random.ts'
import type { Random } from '../../../src/base/random.ts'
import { VirtualWorkers, jainIndex } from './virtual-workers.ts'
import type { VirtualJob } from './virtual-workers.ts'

const SPEEDS = [4, 2, 1, 1, 0.5]
const SEEDS = Array.from({ length: 101 }, (_, seed) => seed)

/** Around a mean, and one in fifty takes twelve times as long. */
function taskMs(random: Random, meanMs: number): number {
  const usual = meanMs / 2 + random.below(meanMs)
  return random.below(50) === 0 ? 12 * usual : usual
}

function job(
  random: Random,
  count: number,
  more: Partial<VirtualJob> & { meanMs?: number } = {}
): VirtualJob {
  const { meanMs = 40, ...about } = more
  const left = Array.from({ length: count }, () => taskMs(random, meanMs))
  return { space: '~job', submitter: 'ann', priority: 0, ...about, left }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] as number
}

/** Time that it took over the time that it must take. */
function stretch(count: number, seed: number, sizeOf?: (size: number) => number): number {
  const one = job(createRandom(seed), count)
  const work = one.left.reduce((sum, ms) => sum + ms, 0)
  const bound = Math.max(
    work / SPEEDS.reduce((sum, speed) => sum + speed, 0),
    Math.max(...one.left) / 4
  )
  const workers = new VirtualWorkers([one], { speeds: SPEEDS, seed, ...(sizeOf && { sizeOf }) })
  workers.run()
  return workers.endMs / bound
}

describe('grants by speed and by what is left', () => {
  it('end a job within 15 % of the time that it must take, over unequal workers', () => {
    for (const count of [600, 1_000, 4_000]) {
      const found = median(SEEDS.map((seed) => stretch(count, seed)))
      expect([count, found <= 1.15]).toEqual([count, true])
    }
  })

  it('are better than grants of one size', () => {
    const guided = median(SEEDS.map((seed) => stretch(1_000, seed)))
    const large = median(SEEDS.map((seed) => stretch(1_000, seed, () => 64)))
    const single = median(SEEDS.map((seed) => stretch(1_000, seed, () => 1)))
    expect(large).toBeGreaterThan(guided + 0.1)
    expect(single).toBeGreaterThan(guided)
  })

  it('are few', () => {
    const workers = new VirtualWorkers([job(createRandom(1), 4_000, { meanMs: 4 })], {
      speeds: SPEEDS,
      seed: 1
    })
    workers.run()
    expect(workers.grantCount).toBeLessThan(200)
  })
})

describe('the choice of jobs', () => {
  it('gives two submitters the same, whatever they submit', () => {
    const indexes = SEEDS.slice(0, 31).map((seed) => {
      const random = createRandom(seed)
      // One has nine jobs of short tasks, the other has one of long ones.
      const jobs = Array.from({ length: 9 }, (_, index) =>
        job(random, 500, { space: `~a${index}`, meanMs: 20 })
      )
      jobs.push(job(random, 900, { space: '~b', submitter: 'bob', meanMs: 100 }))
      const workers = new VirtualWorkers(jobs, { speeds: SPEEDS, seed })
      const left = (submitter: string): number =>
        workers.jobs.reduce(
          (sum, one) => sum + (one.submitter === submitter ? one.left.length : 0),
          0
        )
      workers.run(() => left('ann') === 0 || left('bob') === 0)
      return jainIndex([workers.usedMs.get('ann') ?? 0, workers.usedMs.get('bob') ?? 0])
    })
    expect(Math.min(...indexes)).toBeGreaterThan(0.95)
    expect(median(indexes)).toBeGreaterThanOrEqual(0.98)
  })

  it('does all of a higher priority first, but keeps nobody waiting for ever', () => {
    const random = createRandom(7)
    const urgent = job(random, 3_000, { space: '~urgent', priority: 2, meanMs: 200 })
    const other = job(random, 500, { space: '~other', submitter: 'bob', meanMs: 200 })
    const workers = new VirtualWorkers([urgent, other], { speeds: SPEEDS, seed: 7 })
    workers.run(() => other.left.length < 500)
    // Two steps of half a minute.
    expect(workers.endMs).toBeGreaterThan(59_000)
    expect(workers.endMs).toBeLessThan(65_000)
    expect(urgent.left.length).toBeGreaterThan(0)
  })
})
