import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { grantSize } from '../../../src/core/jobs/grant-size.ts'

const USUAL = { remaining: 1_000, freeSlots: 4, estimateMs: 10, speed: 1, speedSum: 4 }

describe('grantSize()', () => {
  it('is a third of the worker’s share of what is left, by its speed', () => {
    expect(grantSize({ ...USUAL, remaining: 120 })).toBe(10)
    expect(grantSize({ ...USUAL, remaining: 120, speed: 2 })).toBe(20)
    expect(grantSize({ ...USUAL, remaining: 13 })).toBe(2)
    expect(grantSize({ ...USUAL, remaining: 12 })).toBe(1)
    expect(grantSize({ ...USUAL, remaining: 1 })).toBe(1)
  })

  it('is at most 64, and what free slots do in half a second', () => {
    expect(grantSize(USUAL)).toBe(64)
    expect(grantSize({ ...USUAL, estimateMs: 50 })).toBe(40)
    expect(grantSize({ ...USUAL, estimateMs: 9_000 })).toBe(4)
    expect(grantSize({ ...USUAL, estimateMs: 0 })).toBe(64)
    expect(grantSize({ ...USUAL, estimateMs: 50, freeSlots: 1 })).toBe(10)
  })

  it('is the free slots while nothing is known', () => {
    expect(grantSize({ ...USUAL, estimateMs: undefined })).toBe(4)
    expect(grantSize({ ...USUAL, estimateMs: undefined, remaining: 3, speedSum: 1 })).toBe(1)
  })

  it('is nothing without room or work, and else something', () => {
    expect(grantSize({ ...USUAL, freeSlots: 0 })).toBe(0)
    expect(grantSize({ ...USUAL, freeSlots: 0.9 })).toBe(0)
    expect(grantSize({ ...USUAL, remaining: 0 })).toBe(0)
    const any = fc.record({
      remaining: fc.integer({ min: 1, max: 1e6 }),
      freeSlots: fc.integer({ min: 1, max: 1_000 }),
      estimateMs: fc.option(fc.nat(1e6), { nil: undefined }),
      speed: fc.nat(1_000),
      speedSum: fc.nat(1_000)
    })
    fc.assert(
      fc.property(any, (input) => {
        const size = grantSize(input)
        expect(Number.isInteger(size) && size >= 1 && size <= 64).toBe(true)
        expect(size).toBeLessThanOrEqual(input.remaining)
      })
    )
  })
})
