import { describe, expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { createRandom } from '../../../src/base/random.ts'
import { assertLayout } from '../../../src/core/ring/invariants.ts'
import {
  arcsOf,
  type Layout,
  layoutHash,
  loadsOf,
  NO_OWNER,
  ownersOf,
  type RingMember
} from '../../../src/core/ring/layout.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import { fewestMoves } from './min-cost-flow.ts'
import { countSets, member, mixedMesh, movesBetween, netChange } from './scenarios.ts'

const P = 4_096
const OPTIONS = { arcCount: P, replication: 3 }

function equals(count: number, zone = ''): RingMember[] {
  return Array.from({ length: count }, (_, index) => member(index, 1, zone))
}

/** The layout reached from nothing through these lists of members, each checked. */
function follow(...stages: (readonly RingMember[])[]): Layout {
  let layout: Layout | null = null
  for (const members of stages) {
    layout = nextLayout(layout, members, OPTIONS)
    assertLayout(layout)
  }
  return layout as Layout
}

describe('with no active member', () => {
  test.each([{ members: [] }, { members: [member(1, 0, 'a'), member(2, 0, 'b')] }])(
    'all sets are empty: $members.length idle members',
    ({ members }) => {
      const layout = follow(members)
      expect(layout.owners.every((owner) => owner === NO_OWNER)).toBe(true)
      expect(ownersOf(layout, 0)).toEqual([])
    }
  )

  test('the last one leaves and others come later', () => {
    const layout = follow(equals(3), [], equals(5))
    expect(layoutHash(layout)).toBe(layoutHash(follow(equals(5))))
  })
})

describe('with fewer members than copies', () => {
  test('every member holds every arc', () => {
    const layout = follow([member(1, 1, 'a'), member(2, 9, 'b')])
    expect([...loadsOf(layout)]).toEqual([P, P])
  })

  test('the next one fills the holes: from 2 to 3 moves one replica per arc, all new copies', () => {
    const two = follow(equals(2))
    const three = nextLayout(two, equals(3), OPTIONS)
    expect(movesBetween(two, three)).toBe(P)
    expect([...loadsOf(three)]).toEqual([P, P, P])
  })

  test('a loss leaves holes, and no replica moves', () => {
    const three = follow(equals(3))
    const two = nextLayout(three, equals(2), OPTIONS)
    assertLayout(two)
    expect(movesBetween(three, two)).toBe(0)
  })
})

test('a fourth equal member gets three quarters of a ring at once', () => {
  const three = follow(equals(3))
  const four = nextLayout(three, equals(4), OPTIONS)
  assertLayout(four)
  expect(movesBetween(three, four)).toBe((P * 3) / 4)
  expect([...loadsOf(four)]).toEqual([3_072, 3_072, 3_072, 3_072])
})

describe('one member a hundred times heavier', () => {
  const giant = member(500, 100, '')
  const small = [1, 2, 3, 4].map((weight) => member(weight, weight, ''))

  test('is capped at one replica of every arc; the others share the rest by weight', () => {
    const loads = loadsOf(follow([...small, giant]))
    expect(loads[4]).toBe(P)
    expect(loads.slice(0, 4)).toEqual(Int32Array.from([819, 1_638, 2_458, 3_277]))
  })

  test('moves exactly one replica per arc by leaving', () => {
    const many = Array.from({ length: 12 }, (_, index) => member(index, 1 + (index % 2), ''))
    const before = follow([...many, giant])
    const after = nextLayout(before, many, OPTIONS)
    assertLayout(after)
    expect(movesBetween(before, after)).toBe(P)
  })
})

describe('weights', () => {
  test('a weight of 0 owns nothing, just as if the member had left', () => {
    const { members } = mixedMesh(createRandom(4), 12, 3)
    const before = follow(members)
    const [first, ...rest] = members as [RingMember, ...RingMember[]]

    const drained = nextLayout(before, [{ ...first, weight: 0 }, ...rest], OPTIONS)
    const left = nextLayout(before, rest, OPTIONS)

    expect(arcsOf(drained, first.id)).toEqual([])
    for (let arc = 0; arc < P; arc++) expect(ownersOf(drained, arc)).toEqual(ownersOf(left, arc))
  })

  test('of equals, those who hold one replica more keep it', () => {
    let layout = follow(equals(7))
    for (let round = 0; round < 5; round++) {
      const held = loadsOf(layout)
      const grown = nextLayout(layout, [...equals(7), member(100 + round, 1, '')], OPTIONS)
      const back = nextLayout(grown, equals(7), OPTIONS)
      expect(movesBetween(layout, grown)).toBe(netChange(layout, grown))
      for (const [index, load] of loadsOf(back).entries()) {
        expect(Math.abs(load - (held[index] as number))).toBeLessThanOrEqual(1)
      }
      layout = back
    }
  })

  test('that differ by a factor of 65535 are placed exactly', () => {
    const members = [1, 65_535, 65_535, 65_535, 65_535, 2].map((w, index) => member(index, w, ''))
    assertLayout(follow(members))
  })

  test('that are all the largest leave nothing to rounding', () => {
    const members = Array.from({ length: 1_000 }, (_, index) => member(index, 65_535, ''))
    const layout = nextLayout(null, members, { arcCount: 16_384, replication: 3 })
    assertLayout(layout)
  })
})

describe('zones', () => {
  test.each([3, 5])(
    'a lost one of %d is refilled elsewhere, and its return costs little',
    (zones) => {
      const { members } = mixedMesh(createRandom(zones), 60, zones)
      const whole = follow(members)
      const rest = members.filter(({ zone }) => zone !== 'z0')

      const lost = nextLayout(whole, rest, OPTIONS)
      const back = nextLayout(lost, members, OPTIONS)

      assertLayout(lost)
      assertLayout(back)
      expect(movesBetween(whole, lost)).toBeLessThanOrEqual(netChange(whole, lost) * 1.05)
      expect(movesBetween(lost, back)).toBeLessThanOrEqual(netChange(lost, back) * 1.04)
    }
  )

  test('a lost one of ten costs what it has to: more than the change of loads', () => {
    // With at most one replica of an arc in a zone, the free places are often in the wrong zone.
    const { members } = mixedMesh(createRandom(10), 60, 10)
    const options = { arcCount: 256, replication: 3 }
    const whole = nextLayout(null, members, options)
    const rest = members.filter(({ zone }) => zone !== 'z0')
    const lost = nextLayout(whole, rest, options)
    expect(movesBetween(whole, lost)).toBeGreaterThan(netChange(whole, lost))
    expect(movesBetween(whole, lost)).toBe(fewestMoves(whole, lost))
  })

  test('every member in a zone of its own', () => {
    const { members } = mixedMesh(createRandom(9), 200, 1)
    const alone = members.map((held, index) => ({ ...held, zone: `zone${index}` }))
    const before = follow(alone)
    const after = nextLayout(before, alone.slice(1), OPTIONS)
    assertLayout(after)
    expect(movesBetween(before, after)).toBe(netChange(before, after))
  })

  test('members of one zone move to two', () => {
    const together = equals(6, 'a')
    const apart = together.map((held, index) => ({ ...held, zone: index % 2 === 0 ? 'a' : 'b' }))
    assertLayout(follow(together, apart, together))
  })

  test('one whose only member is capped', () => {
    assertLayout(follow([...equals(6, 'a'), member(50, 1_000, 'b')]))
  })
})

describe('replacing', () => {
  test('everyone is a new deal', () => {
    const others = Array.from({ length: 30 }, (_, index) => member(500 + index, 1, ''))
    const layout = follow(equals(30), others)
    expect(layoutHash(layout)).toBe(layoutHash(follow(others)))
    expect(countSets(layout)).toBeLessThanOrEqual(32)
  })

  test('everyone but one keeps what that one holds, as far as its new quota goes', () => {
    const survivor = member(17, 1, '')
    const others = Array.from({ length: 29 }, (_, index) => member(500 + index, 1, ''))
    const before = follow(equals(30))
    const held = arcsOf(before, survivor.id)

    const after = nextLayout(before, [survivor, ...others], OPTIONS)

    assertLayout(after)
    const kept = arcsOf(after, survivor.id).filter((arc) => held.includes(arc))
    expect(kept.length).toBe(Math.min(held.length, arcsOf(after, survivor.id).length))
  })
})

test('flapping: who leaves and comes back has the same load, not the same arcs', () => {
  const { members } = mixedMesh(createRandom(6), 20, 1)
  const flapping = members[7] as RingMember
  const before = follow(members)

  const away = nextLayout(before, members.toSpliced(7, 1), OPTIONS)
  const back = nextLayout(away, members, OPTIONS)

  const load = arcsOf(before, flapping.id).length
  expect(movesBetween(before, away)).toBe(load)
  expect(Math.abs(arcsOf(back, flapping.id).length - load)).toBeLessThanOrEqual(load * 0.02)
  expect(arcsOf(back, flapping.id)).not.toEqual(arcsOf(before, flapping.id))
})

describe('few arcs', () => {
  test.each([1, 2, 5, 32])('%d of them, for up to 50 members in 3 zones and back', (arcCount) => {
    const { members } = mixedMesh(createRandom(arcCount), 50, 3)
    let layout: Layout | null = null
    for (const count of [...members.keys(), ...[...members.keys()].toReversed()]) {
      layout = nextLayout(layout, members.slice(0, count + 1), { arcCount, replication: 3 })
      assertLayout(layout)
    }
  })
})

test('ids are ordered by code unit, not by locale', () => {
  const ids = ['a', 'B', 'Z', '1', 'aa', 'A'].map((id) => peerId(id))
  const members = ids.map((id) => ({ id, weight: 1, zone: '' }))
  expect(follow(members).members.map(({ id }) => id)).toEqual(['1', 'A', 'B', 'Z', 'a', 'aa'])
})
