import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isMeshError } from '../../../src/base/errors.ts'
import { MEMBER_COUNT_MAX } from '../../../src/base/limits.ts'
import { createRandom, shuffle } from '../../../src/base/random.ts'
import { assertLayout } from '../../../src/core/ring/invariants.ts'
import {
  type Layout,
  layoutHash,
  loadsOf,
  memberIndex,
  type RingMember
} from '../../../src/core/ring/layout.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import { quotasOf } from '../../../src/core/ring/quotas.ts'
import { createRoster } from '../../../src/core/ring/roster.ts'
import { change, EMPTY_MESH, member, mixedMesh, randomStep, type Step, steps } from './scenarios.ts'

/** Replicas that each of `members`, sorted and active, may keep of `previous`. */
function heldBefore(previous: Layout | null, members: readonly RingMember[]): Int32Array {
  const loads = previous === null ? undefined : loadsOf(previous)
  return Int32Array.from(members, ({ id, weight }) => {
    const index = previous === null ? -1 : memberIndex(previous, id)
    return index < 0 || weight === 0 ? 0 : (loads?.[index] as number)
  })
}

function expectQuotas(previous: Layout | null, next: Layout): void {
  const roster = createRoster(next.members, next)
  const { quota } = quotasOf(roster, next.arcCount, heldBefore(previous, next.members))
  expect(loadsOf(next)).toEqual(quota)
}

function refusal(run: () => unknown): string {
  try {
    run()
  } catch (error) {
    if (isMeshError(error, 'invalid-argument')) return error.message
    throw error
  }
  return 'accepted'
}

const shapes = {
  arcs: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 65, max: 2_048 })),
  replication: fc.integer({ min: 1, max: 3 }),
  zones: fc.integer({ min: 1, max: 7 })
}

describe('nextLayout()', () => {
  test('keeps every invariant and meets every quota through any sequence of changes', () => {
    fc.assert(
      fc.property(
        shapes.arcs,
        shapes.replication,
        shapes.zones,
        fc.array(steps, { minLength: 1, maxLength: 30 }),
        (arcCount, replication, zones, course) => {
          let mesh = EMPTY_MESH
          let layout: Layout | null = null
          for (const step of course) {
            mesh = change(mesh, step, zones)
            const next: Layout = nextLayout(layout, mesh.members, { arcCount, replication })
            assertLayout(next)
            expectQuotas(layout, next)
            layout = next
          }
        }
      ),
      { numRuns: 250 }
    )
  })

  test('keeps them with up to seven copies', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.integer({ min: 4, max: 7 }),
        shapes.zones,
        fc.array(steps, { minLength: 8, maxLength: 24 }),
        (arcCount, replication, zones, course) => {
          let mesh = EMPTY_MESH
          let layout: Layout | null = null
          for (const step of course) {
            mesh = change(mesh, step, zones)
            layout = nextLayout(layout, mesh.members, { arcCount, replication })
            assertLayout(layout)
          }
        }
      ),
      { numRuns: 100 }
    )
  })

  test.each([
    { count: 300, arcCount: 4_096, zones: 3 },
    { count: 1_000, arcCount: 16_384, zones: 1 },
    { count: 1_000, arcCount: 16_384, zones: 5 },
    { count: 1_000, arcCount: 16_384, zones: 1_000 }
  ])('keeps them at $count members in $zones zones', ({ count, arcCount, zones }) => {
    const random = createRandom(count + zones)
    const options = { arcCount, replication: 3 }
    let mesh = mixedMesh(random, count - 4, zones)
    let layout = nextLayout(null, mesh.members, options)
    const kinds: Step['kind'][] = [
      'join',
      'leave',
      'weight',
      'relabel',
      'join',
      'bulk',
      'zone-lost'
    ]

    for (const kind of kinds) {
      mesh = change(mesh, randomStep(random, [kind]), zones)
      const next = nextLayout(layout, mesh.members, options)

      assertLayout(next)
      expectQuotas(layout, next)
      layout = next
    }
  })

  test('changes nothing when no member changed', () => {
    fc.assert(
      fc.property(
        shapes.arcs,
        shapes.zones,
        fc.array(steps, { minLength: 1, maxLength: 20 }),
        (arcCount, zones, course) => {
          let mesh = EMPTY_MESH
          let layout: Layout | null = null
          for (const step of course) {
            mesh = change(mesh, step, zones)
            layout = nextLayout(layout, mesh.members, { arcCount, replication: 3 })
            expect(nextLayout(layout, mesh.members, { arcCount, replication: 3 })).toEqual(layout)
          }
        }
      ),
      { numRuns: 150 }
    )
  })

  test('does not depend on the order in which members are listed', () => {
    fc.assert(
      fc.property(
        shapes.arcs,
        shapes.zones,
        fc.nat(),
        fc.array(steps, { minLength: 1, maxLength: 20 }),
        (arcCount, zones, seed, course) => {
          const random = createRandom(seed)
          let mesh = EMPTY_MESH
          let layout: Layout | null = null
          for (const step of course) {
            mesh = change(mesh, step, zones)
            const mixed = shuffle(random, [...mesh.members])
            const other = nextLayout(layout, mixed, { arcCount, replication: 3 })
            layout = nextLayout(layout, mesh.members, { arcCount, replication: 3 })
            expect(layoutHash(other)).toBe(layoutHash(layout))
          }
        }
      ),
      { numRuns: 80 }
    )
  })

  test('leaves its arguments as they are', () => {
    const members = [member(2, 1, 'b'), member(1, 1, 'a'), member(3, 4, 'a')]
    const options = { arcCount: 64, replication: 2 }
    const first = nextLayout(null, members, options)
    const hash = layoutHash(first)

    nextLayout(first, members.slice(1), options)

    expect(layoutHash(first)).toBe(hash)
    expect(members.map(({ id }) => id)).toEqual(['peer000002', 'peer000001', 'peer000003'])
  })
})

describe('nextLayout() refuses', () => {
  const options = { arcCount: 64, replication: 3 }

  test.each([-1, 0.5, Number.NaN, 65_536, Infinity])('the weight %d', (weight) => {
    const said = refusal(() => nextLayout(null, [member(1, weight, '')], options))
    expect(said).toMatch(/^Weight .* of peer000001 is not an integer in 0..65535$/)
  })

  test('an id listed twice', () => {
    const members = [member(1, 1, 'a'), member(2, 1, 'a'), member(1, 2, 'b')]
    expect(refusal(() => nextLayout(null, members, options))).toMatch(/peer000001 is listed twice/)
  })

  test.each([0, -1, 1.5, 16_385, Number.NaN])('an arc count of %d', (arcCount) => {
    expect(refusal(() => nextLayout(null, [], { arcCount, replication: 3 }))).toMatch(/^arcCount/)
  })

  test.each([0, -1, 1.5, 8, Number.NaN])('a replication of %d', (replication) => {
    const said = refusal(() => nextLayout(null, [], { arcCount: 64, replication }))
    expect(said).toMatch(/^replication/)
  })

  test.each(['x'.repeat(64), '\ud800'])('the zone %j', (zone) => {
    expect(refusal(() => nextLayout(null, [member(1, 1, zone)], options))).toMatch(/^The zone/)
  })

  test('more members than a mesh may have', () => {
    const members = Array.from({ length: MEMBER_COUNT_MAX + 1 }, (_, n) => member(n, 1, ''))
    expect(refusal(() => nextLayout(null, members, options))).toMatch(/more than the limit/)
  })

  test('a ring of another shape than the one before', () => {
    const layout = nextLayout(null, [member(1, 1, '')], options)
    expect(refusal(() => nextLayout(layout, [], { ...options, arcCount: 32 }))).toMatch(
      /can't become/
    )
    expect(refusal(() => nextLayout(layout, [], { ...options, replication: 2 }))).toMatch(
      /can't become/
    )
  })
})
