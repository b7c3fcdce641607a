import { describe, expect, test } from 'vitest'
import { layoutReport } from '../../../src/core/ring/layout-report.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import { countSets, member } from './scenarios.ts'

const OPTIONS = { arcCount: 4_096, replication: 3 }

function crowd(zone: string, count: number, from: number): ReturnType<typeof member>[] {
  return Array.from({ length: count }, (_, index) => member(from + index, 10, zone))
}

describe('layoutReport()', () => {
  test('counts loads, sets and spans', () => {
    const layout = nextLayout(null, [...crowd('a', 5, 0), ...crowd('b', 5, 10)], OPTIONS)
    const report = layoutReport(layout)

    expect(report.peers.reduce((sum, { load }) => sum + load, 0)).toBe(3 * 4_096)
    for (const { load, fair } of report.peers) expect(Math.abs(load - fair)).toBeLessThan(1)
    expect(report.replicaSetCount).toBe(countSets(layout))
    expect(report.arcsBySpan).toEqual([0, 0, 4_096, 0])
    expect(report).toMatchObject({ copies: 3, spanWanted: 2, shortZones: [], weightMissing: 0 })
  })

  test('says which zone is short, and the weight it reports is just enough', () => {
    const members = [...crowd('a', 5, 0), ...crowd('b', 3, 10), ...crowd('c', 2, 20)]
    const report = layoutReport(nextLayout(null, members, OPTIONS))
    expect(report).toMatchObject({ arcsBySpan: [0, 0, 1_024, 3_072], shortZones: ['c'] })

    const missing = report.weightMissing as number
    const enough = nextLayout(null, [...members, member(99, missing, 'c')], OPTIONS)
    const tooLittle = nextLayout(null, [...members, member(99, missing - 1, 'c')], OPTIONS)

    expect(layoutReport(enough).shortZones).toEqual([])
    expect(layoutReport(tooLittle).shortZones).toEqual(['c'])
  })

  test('says when no weight of one more peer would do', () => {
    const heavy = Array.from({ length: 10 }, (_, index) => member(index, 65_535, 'a'))
    const report = layoutReport(nextLayout(null, [...heavy, member(50, 1, 'b')], OPTIONS))
    expect(report).toMatchObject({ shortZones: ['b'], weightMissing: 59_569 })

    const crowded = Array.from({ length: 600 }, (_, index) => member(index, 65_535, 'a'))
    const worse = layoutReport(nextLayout(null, [...crowded, member(700, 1, 'b')], OPTIONS))
    expect(worse).toMatchObject({ shortZones: ['b'], weightMissing: null })
  })

  test('of an empty mesh is empty', () => {
    expect(layoutReport(nextLayout(null, [], OPTIONS))).toEqual({
      peers: [],
      copies: 0,
      replicaSetCount: 0,
      arcsBySpan: [4_096],
      spanWanted: 0,
      shortZones: [],
      weightMissing: 0
    })
  })
})
