import { describe, expect, it } from 'vitest'
import { delayAfter, UNSEEN, type Outcome } from '../../src/blocks/arc-work.ts'

const RETRY_MS = 5_000

/** @returns after how long an arc is looked at again, and the round then, look by look. */
function looks(outcomes: readonly Outcome[]): [delayMs: number, round: number][] {
  const work = { ...UNSEEN }
  return outcomes.map((outcome) => [delayAfter(work, outcome, RETRY_MS), work.round])
}

describe('delayAfter()', () => {
  it('looks soon and ever less often while others are at work, in the same round', () => {
    expect(looks(Array.from({ length: 6 }, () => 'waiting'))).toEqual(
      [50, 100, 200, 400, 800, 1_600].map((delayMs) => [delayMs, 0])
    )
  })

  it('ends a round after retryMs, however often it looked', () => {
    const waiting = looks(Array.from({ length: 7 }, () => 'waiting'))

    expect(waiting.reduce((sum, [delayMs]) => sum + delayMs, 0)).toBe(RETRY_MS)
    expect(waiting.at(-1)?.[1]).toBe(1)
    expect(looks(['waiting', 'waiting', 'later'])).toEqual([
      [50, 0],
      [100, 0],
      [RETRY_MS - 150, 1]
    ])
  })

  it('slows down for an owner that is away, up to 32 times', () => {
    const delays = looks(Array.from({ length: 7 }, () => 'later')).map(([delayMs]) => delayMs)

    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 32].map((times) => times * RETRY_MS))
  })

  it('looks again at once when all was sent', () => {
    expect(looks(['soon', 'later'])).toEqual([
      [50, 1],
      [2 * RETRY_MS, 2]
    ])
  })
})
