import { describe, expect, it } from 'vitest'
import { GroupSimulation } from './simulation.ts'
import type { Summary } from './simulation.ts'

describe('a group that follows its layout', () => {
  it('ends where the layout wants it, and serves whenever it can', () => {
    const sums = new Map<string, number>()
    for (let seed = 1; seed <= 40; seed++) {
      let summary: Summary
      try {
        summary = new GroupSimulation(seed).run(600)
      } catch (error) {
        throw new Error(`Seed ${seed}: ${String(error)}`, { cause: error })
      }
      for (const [name, count] of Object.entries(summary)) {
        sums.set(name, (sums.get(name) ?? 0) + count)
      }
    }
    // Otherwise nothing was shown.
    for (const [name, count] of sums) expect(count, name).toBeGreaterThan(50)
  })
})
