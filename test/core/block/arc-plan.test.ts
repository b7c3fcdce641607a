import { describe, expect, it } from 'vitest'
import { peerId, type BlockId, type PeerId } from '../../../src/base/ids.ts'
import { planArc, type OwnerAnswer } from '../../../src/core/block/arc-plan.ts'

const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(peerId) as [PeerId, PeerId, PeerId, PeerId]
const block = `b${'a'.repeat(58)}` as BlockId

const has = (sameLayout = true): OwnerAnswer => ({
  reached: true,
  sameLayout,
  held: new Set([block])
})
const lacks: OwnerAnswer = { reached: true, sameLayout: true, held: new Set() }
const silent: OwnerAnswer = { reached: false }

function plan(
  self: PeerId,
  answers: [PeerId, OwnerAnswer][],
  round = 0
): ReturnType<typeof planArc> {
  return planArc({ self, owners: [a, b, c], holding: [block], answers: new Map(answers), round })
}

describe('planArc()', () => {
  it('drops a copy that is owned elsewhere when every owner has it under the same layout', () => {
    expect(
      plan(d, [
        [a, has()],
        [b, has()],
        [c, has()]
      ])
    ).toEqual({
      sends: [],
      drops: [block],
      underReplicated: 0,
      again: false
    })
  })

  it('keeps it while one owner acts on another layout: that one may be about to drop its own', () => {
    expect(
      plan(d, [
        [a, has()],
        [b, has(false)],
        [c, has()]
      ])
    ).toMatchObject({
      drops: [],
      again: true
    })
  })

  it('keeps it while one owner lacks it or is silent, and sends to the one that answers', () => {
    expect(
      plan(
        d,
        [
          [a, has()],
          [b, lacks],
          [c, silent]
        ],
        1
      )
    ).toEqual({
      sends: [{ id: block, to: b }],
      drops: [],
      underReplicated: 0,
      again: true
    })
  })

  it('lets the first holder send and count, the next one only in a later round', () => {
    const first = plan(a, [
      [b, has()],
      [c, lacks]
    ])
    const second = plan(b, [
      [a, has()],
      [c, lacks]
    ])

    expect(first).toMatchObject({ sends: [{ id: block, to: c }], underReplicated: 1 })
    expect(second).toMatchObject({ sends: [], underReplicated: 0, again: true })
    expect(
      plan(
        b,
        [
          [a, has()],
          [c, lacks]
        ],
        1
      ).sends
    ).toEqual([{ id: block, to: c }])
  })

  it('never drops what it owns, and is done when all have it', () => {
    expect(
      plan(a, [
        [b, has(false)],
        [c, has()]
      ])
    ).toMatchObject({ drops: [], again: false })
  })
})
