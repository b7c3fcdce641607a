import { describe, expect, test } from 'vitest'
import { isMeshError } from '../../../src/base/errors.ts'
import { assertLayout, layoutFault } from '../../../src/core/ring/invariants.ts'
import { type Layout, NO_OWNER, type RingMember } from '../../../src/core/ring/layout.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import { member } from './scenarios.ts'

const members = [
  member(1, 1, 'a'),
  member(2, 1, 'a'),
  member(3, 1, 'b'),
  member(4, 1, 'b'),
  member(5, 0, 'b')
]
const good = nextLayout(null, members, { arcCount: 8, replication: 2 })

function withOwners(...changes: readonly (readonly [slot: number, owner: number])[]): Layout {
  const owners = good.owners.slice()
  for (const [slot, owner] of changes) owners[slot] = owner
  return { ...good, owners }
}

describe('layoutFault()', () => {
  test('finds none in a layout as made', () => {
    expect(layoutFault(good)).toBeNull()
  })

  // Every arc has one owner in each zone: 0 or 1, then 2 or 3.
  test.each<[string, Layout]>([
    ['owners has no slot', { ...good, owners: good.owners.slice(2) }],
    ['fewer owners than', withOwners([1, NO_OWNER])],
    ['fewer owners than', withOwners([1, 5])],
    ['weight 0', withOwners([1, 4])],
    ['not ascending', withOwners([1, good.owners[0] as number])],
    ['above fair', withOwners(...[0, 2, 4, 6, 8, 10, 12, 14].map((s) => [s, 0] as const))],
    ['too many owners in a zone', withOwners([0, 0], [1, 1], [14, 2], [15, 3])],
    ['not sorted by id', { ...good, members: good.members.toReversed() }]
  ])('says "%s …"', (fault, layout) => {
    expect(layoutFault(layout)).toContain(fault)
    expect(() => assertLayout(layout)).toThrow(/a layout is sound/)
  })

  test('says when an arc has more owners than there are members', () => {
    const one = nextLayout(null, members.slice(0, 1), { arcCount: 8, replication: 2 })
    const owners = one.owners.map((owner, slot) => (slot === 1 ? 0 : owner))
    expect(layoutFault({ ...one, owners })).toContain('more owners than')
  })

  test('says when a load is below fair', () => {
    // Shares of 1, 3 and 1 out of 5 arcs; then the first member's goes to the third.
    const uneven: RingMember[] = [member(1, 1, ''), member(2, 3, ''), member(3, 1, '')]
    const layout = nextLayout(null, uneven, { arcCount: 5, replication: 1 })
    const owners = layout.owners.map((owner) => (owner === 0 ? 2 : owner))
    expect(layoutFault(layout)).toBeNull()
    expect(layoutFault({ ...layout, owners })).toContain('below fair')
  })

  test('throws on members out of range', () => {
    const bad = { ...good, members: [member(1, -1, 'a')] }
    expect(() => layoutFault(bad)).toThrow(
      expect.toSatisfy((error) => isMeshError(error, 'invalid-argument'))
    )
  })
})
