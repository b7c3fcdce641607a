import { describe, expect, test } from 'vitest'
import { assertLayout } from '../../../src/core/ring/invariants.ts'
import { layoutReport } from '../../../src/core/ring/layout-report.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import type { RingMember } from '../../../src/core/ring/layout.ts'
import { member } from './scenarios.ts'

/** Each zone by the weights of its members. */
function membersOf(zones: readonly (readonly number[])[]): RingMember[] {
  return zones.flatMap((weights, zone) =>
    weights.map((weight, index) => member(zone * 1_000 + index, weight, `zone-${zone}`))
  )
}

function equal(count: number): number[] {
  return Array.from({ length: count }, () => 1)
}

describe('the zone rule', () => {
  // Percent of arcs that span one, two and three zones.
  test.each([
    { name: '75/25', zones: [equal(30), equal(10)], spans: [0, 100] },
    { name: '90/10', zones: [equal(90), equal(10)], spans: [0, 100] },
    { name: '95/5', zones: [equal(95), equal(5)], spans: [40, 60] },
    { name: '50/30/20', zones: [equal(50), equal(30), equal(20)], spans: [0, 25, 75] },
    { name: '45/45/10', zones: [equal(45), equal(45), equal(10)], spans: [0, 62, 38] },
    { name: '80/15/5, two peers in the 80', zones: [[40, 40], [15], [5]], spans: [0, 75, 25] }
  ])('fills small zones within limits: $name', ({ zones, spans }) => {
    const layout = nextLayout(null, membersOf(zones), { arcCount: 4_096, replication: 3 })

    assertLayout(layout)
    const { arcsBySpan } = layoutReport(layout)
    for (const [index, percent] of spans.entries()) {
      expect(((arcsBySpan[index + 1] as number) * 100) / 4_096).toBeCloseTo(percent, -0.5)
    }
  })

  test('lets no arc keep all its copies in one zone while a second zone can take one each', () => {
    const layout = nextLayout(null, membersOf([equal(60), [1, 2, 4]]), {
      arcCount: 4_096,
      replication: 3
    })
    expect(layoutReport(layout).arcsBySpan).toEqual([0, 0, 4_096, 0])
  })
})
