import { describe, expect, test } from 'vitest'
import { createRandom } from '../../../src/base/random.ts'
import type { Layout } from '../../../src/core/ring/layout.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import {
  change,
  countSets,
  EMPTY_MESH,
  mixedMesh,
  movesBetween,
  netChange,
  randomStep
} from './scenarios.ts'

const OPTIONS = { arcCount: 4_096, replication: 3 }

describe('replica sets', () => {
  test.each([
    [1, 850],
    [4, 580]
  ])('stay few when 100 members join one by one, %d zones', (zones, bound) => {
    const random = createRandom(100 + zones)
    let mesh = EMPTY_MESH
    let layout: Layout | null = null

    for (let joined = 0; joined < 100; joined++) {
      mesh = change(mesh, randomStep(random, ['join']), zones)
      layout = nextLayout(layout, mesh.members, OPTIONS)
    }

    // The bound is 15 % above what it was when this was written.
    expect(countSets(layout as Layout)).toBeLessThanOrEqual(bound)
  })

  test('are about as few as the members after a fresh deal', () => {
    const mesh = mixedMesh(createRandom(3), 100, 4)
    expect(countSets(nextLayout(null, mesh.members, OPTIONS))).toBeLessThanOrEqual(102)
  })

  test('creep up slowly when members come and go, at hardly any cost in moves', () => {
    const random = createRandom(5)
    let mesh = mixedMesh(random, 100, 1)
    let layout = nextLayout(null, mesh.members, OPTIONS)
    let moved = 0
    let net = 0

    for (let round = 0; round < 200; round++) {
      mesh = change(mesh, randomStep(random, [round % 2 === 0 ? 'leave' : 'join']), 1)
      const next = nextLayout(layout, mesh.members, OPTIONS)
      moved += movesBetween(layout, next)
      net += netChange(layout, next)
      layout = next
    }

    expect(countSets(layout)).toBeLessThanOrEqual(920)
    // Where every member below quota is on the arc already, a chain has to copy one replica more.
    expect(moved).toBeLessThanOrEqual(net * 1.002)
  })
})
