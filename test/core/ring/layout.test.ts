import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import { peerId } from '../../../src/base/ids.ts'
import { fingerprint } from '../../../src/core/ring/fingerprint.ts'
import {
  arcsOf,
  type Layout,
  layoutHash,
  loadsOf,
  ownersOf
} from '../../../src/core/ring/layout.ts'
import { nextLayout } from '../../../src/core/ring/next-layout.ts'
import { member } from './scenarios.ts'

const members = [member(1, 1, 'a'), member(2, 2, 'b'), member(3, 3, 'c'), member(4, 0, 'c')]
const layout = nextLayout(null, members, { arcCount: 32, replication: 2 })

describe('layout accessors', () => {
  test('ownersOf() and arcsOf() agree', () => {
    for (const { id } of members) {
      const byOwners = Array.from({ length: 32 }, (_, arc) => arc).filter((arc) =>
        ownersOf(layout, arc).includes(id)
      )
      expect(arcsOf(layout, id)).toEqual(byOwners)
    }
    expect([...loadsOf(layout)]).toEqual(members.map(({ id }) => arcsOf(layout, id).length))
  })

  test('ownersOf() sorts by id', () => {
    for (let arc = 0; arc < 32; arc++) {
      const owners = ownersOf(layout, arc)
      expect(owners).toHaveLength(2)
      expect(owners).toEqual(owners.toSorted())
    }
  })

  test('arcsOf() is empty for a stranger and for weight 0', () => {
    expect(arcsOf(layout, peerId('stranger'))).toEqual([])
    expect(arcsOf(layout, peerId('peer000004'))).toEqual([])
  })

  test.each([-1, 32, 0.5, Number.NaN])('ownersOf() refuses arc %d', (arc) => {
    expect(() => ownersOf(layout, arc)).toThrow(
      expect.toSatisfy((error) => isMeshError(error, 'invalid-argument'))
    )
  })
})

describe('layoutHash()', () => {
  test('tells apart layouts that differ anywhere', () => {
    const swapped = layout.owners.slice()
    swapped.set([swapped[1] as number, swapped[0] as number])
    const [first, ...rest] = layout.members as [Layout['members'][0], ...Layout['members'][0][]]
    const variants: Layout[] = [
      layout,
      { ...layout, owners: swapped },
      { ...layout, members: [{ ...first, weight: 2 }, ...rest] },
      { ...layout, members: [{ ...first, zone: 'é' }, ...rest] },
      { ...layout, members: [{ ...first, id: peerId('peer000000') }, ...rest] },
      { ...layout, members: [{ ...first, id: peerId('peer000001a'), zone: '' }, ...rest] },
      { ...layout, arcCount: 64 },
      { ...layout, replication: 1 }
    ]
    expect(new Set(variants.map(layoutHash)).size).toBe(variants.length)
  })

  // Published values of MurmurHash3_x86_128, seed 0.
  test.each([
    ['', '00000000000000000000000000000000'],
    ['I will not buy this record, it is scratched.', 'a0a9683b25ac5e40d9af2895890dddf5'],
    ["I will not buy this tobacconist's, it is scratched.", '9b5b7ba2ef3f7866889adeaf00f3f98e']
  ])('fingerprint(%j) is the published one', (text, expected) => {
    expect(fingerprint(utf8(text))).toBe(expected)
  })
})
