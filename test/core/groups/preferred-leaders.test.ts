import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { PeerId } from '../../../src/base/ids.ts'
import {
  TRANSFER_QUIET_TICKS,
  preferredLeaders,
  shouldTransfer
} from '../../../src/core/groups/preferred-leaders.ts'
import { placesOf, viewOf } from './view.ts'
import type { ViewInWords } from './view.ts'

const owners = (...words: string[]): PeerId[][] =>
  words.map((word) => placesOf(word).map(({ peer }) => peer))

function loads(leaders: readonly (PeerId | undefined)[]): Map<PeerId, number> {
  const counts = new Map<PeerId, number>()
  for (const peer of leaders) {
    if (peer !== undefined) counts.set(peer, (counts.get(peer) ?? 0) + 1)
  }
  return counts
}

/** @returns the smallest sum of squares of loads that any choice of leaders has. */
function leastSquares(groups: readonly (readonly PeerId[])[]): number {
  let least = Number.POSITIVE_INFINITY
  const choose = (group: number, counts: Map<PeerId, number>): void => {
    const peers = groups[group]
    if (peers === undefined) {
      least = Math.min(least, squares(counts))
      return
    }
    if (peers.length === 0) choose(group + 1, counts)
    for (const peer of peers) {
      choose(group + 1, new Map(counts).set(peer, (counts.get(peer) ?? 0) + 1))
    }
  }
  choose(0, new Map())
  return least
}

const squares = (counts: Map<PeerId, number>): number =>
  [...counts.values()].reduce((sum, count) => sum + count * count, 0)

describe('preferredLeaders()', () => {
  it('chooses an owner of each group', () => {
    expect(preferredLeaders(owners('a', '', 'b c'))).toEqual(['a', undefined, 'b'])
  })

  it('passes groups on along a chain', () => {
    // Placed one by one a leads the first two; then only by way of b can c take one over.
    const leaders = preferredLeaders(owners('a b', 'b c', 'a', 'a', 'a b', 'b c'))
    expect([...loads(leaders).values()]).toEqual([2, 2, 2])
  })

  it('does not depend on the order in which owners are named', () => {
    const groups = owners('a b c', 'c d a', 'd b a', 'c b d', 'a c d')
    expect(preferredLeaders(groups.map((peers) => peers.toReversed()))).toEqual(
      preferredLeaders(groups)
    )
  })

  it('spreads as evenly as any choice could', () => {
    const peers = owners('a b c d e')[0] as PeerId[]
    const groups = fc.array(fc.subarray(peers, { maxLength: 3 }), { maxLength: 7 })
    fc.assert(
      fc.property(groups, (sets) => {
        const leaders = preferredLeaders(sets)
        for (const [group, peer] of leaders.entries()) {
          if (peer === undefined) expect(sets[group]).toEqual([])
          else expect(sets[group]).toContain(peer)
        }
        expect(squares(loads(leaders))).toBe(leastSquares(sets))
      }),
      { numRuns: 300 }
    )
  })

  it('gives everyone as many, or one more, where three of a few own each of many groups', () => {
    const peers = owners('a b c d e f g')[0] as PeerId[]
    const groups = Array.from({ length: 256 }, (_, group) =>
      [0, 1, 3].map((step) => peers[(group * 5 + step * (1 + (group % 2))) % 7] as PeerId)
    )
    const counts = [...loads(preferredLeaders(groups)).values()].toSorted((a, b) => a - b)
    expect(counts).toEqual([36, 36, 36, 37, 37, 37, 37])
  })
})

describe('shouldTransfer()', () => {
  const ask = (words: Partial<ViewInWords>, quietTicks = TRANSFER_QUIET_TICKS) =>
    shouldTransfer(
      viewOf({ voters: '1a 2b 3c', desired: 'a b c', preferred: 'b', ...words }),
      quietTicks
    )

  it('hands over to the preferred voter', () => {
    expect(ask({})).toBe(2)
    expect(ask({ preferred: 'c' })).toBe(3)
  })

  it('not when this one is preferred, or nobody is', () => {
    expect(ask({ preferred: 'a' })).toBeUndefined()
    expect(shouldTransfer(viewOf({ voters: '1a 2b', desired: 'a b' }), 1_000)).toBeUndefined()
  })

  it('not before all has been quiet for long', () => {
    expect(ask({}, TRANSFER_QUIET_TICKS - 1)).toBeUndefined()
  })

  it('not to one that is away, behind, a learner, dead or not wanted', () => {
    expect(ask({ away: 'b' })).toBeUndefined()
    expect(ask({ progress: { 2: { match: 1 } } })).toBeUndefined()
    expect(ask({ progress: { 2: { isActive: false } } })).toBeUndefined()
    expect(ask({ voters: '1a 3c', learners: '2b', progress: { 2: { match: 1 } } })).toBeUndefined()
    expect(ask({ dead: [2] })).toBeUndefined()
    expect(ask({ desired: 'a c d', away: 'd' })).toBeUndefined()
  })

  it('not while members change or should', () => {
    expect(ask({ isChangePending: true })).toBeUndefined()
    expect(ask({ desired: 'a b d' })).toBeUndefined()
    expect(ask({ layoutVersion: 3 })).toBeUndefined()
    const config = {
      voters: [1, 2],
      votersOutgoing: [1, 2, 3],
      learners: [],
      learnersNext: [],
      autoLeave: true
    }
    expect(ask({ config })).toBeUndefined()
  })
})
