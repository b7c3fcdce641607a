import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isMeshError } from '../../../src/base/errors.ts'
import { peerId, storeId } from '../../../src/base/ids.ts'
import {
  MEMBERS_MAX,
  decodeChangeContext,
  decodeRoster,
  encodeChangeContext,
  encodeRoster
} from '../../../src/core/groups/roster-codec.ts'
import { applyToRoster, checkChange, foundingRoster } from '../../../src/core/groups/roster.ts'
import type { ChangeContext, GroupMember, Roster } from '../../../src/core/groups/roster.ts'
import { LEAVE_JOINT } from '../../../src/core/raft/roles.ts'
import type { ConfigChange } from '../../../src/core/raft/messages.ts'
import { changeOf, configOf } from '../raft/group.ts'
import { membersOf } from './view.ts'

const ORIGIN = { layoutVersion: 7, generation: 2 }
const ROSTER = foundingRoster(membersOf('1a 2b 3c'), ORIGIN)

const contextOf = (added: string, more: Partial<ChangeContext> = {}): ChangeContext => ({
  ...ORIGIN,
  added: membersOf(added),
  ...more
})

function change(words: string, context: ChangeContext): ConfigChange {
  return { ...changeOf(words), context: encodeChangeContext(context) }
}

function problemOf(checked: ReturnType<typeof checkChange>): string | undefined {
  return checked.kind === 'void' ? checked.problem : undefined
}

describe('foundingRoster()', () => {
  it('gives out ids above those of the first members', () => {
    expect(foundingRoster(membersOf('9a 4b'), ORIGIN)).toEqual({
      ...ORIGIN,
      members: membersOf('4b 9a'),
      nextReplica: 10
    })
  })
})

describe('checkChange()', () => {
  const problem = (words: string, context: ChangeContext): string | undefined =>
    problemOf(checkChange(ROSTER, change(words, context)))

  it('takes a change that adds the next replica, by this layout or a later one', () => {
    expect(checkChange(ROSTER, change('add-learner 4', contextOf('4d')))).toEqual({
      kind: 'valid',
      context: contextOf('4d')
    })
    expect(problem('add-learner 4', contextOf('4d', { layoutVersion: 8 }))).toBeUndefined()
    expect(problem('add-voter 4', contextOf('4d 9e'))).toBeUndefined()
  })

  it('takes leaving a joint configuration, which has no context', () => {
    expect(checkChange(ROSTER, LEAVE_JOINT)).toEqual({ kind: 'valid', context: undefined })
  })

  it('finds void what an older layout or another generation says', () => {
    expect(problem('remove 3', contextOf('', { layoutVersion: 6 }))).toContain('follows layout 6')
    expect(problem('remove 3', contextOf('', { generation: 1 }))).toContain('generation 1')
    expect(problem('remove 3', contextOf('', { generation: 3 }))).toContain('generation 3')
  })

  it('finds void what gives an id out again', () => {
    expect(problem('add-learner 3', contextOf('3d'))).toContain('replica id 3')
    const later = { ...ROSTER, nextReplica: 6 }
    expect(problemOf(checkChange(later, change('add-learner 5', contextOf('5d'))))).toContain('5')
  })

  it('finds void what adds a replica that is nowhere', () => {
    expect(problem('add-learner 5', contextOf('4d'))).toContain('replica 5')
    expect(problem('add-voter 4', contextOf(''))).toContain('replica 4')
    expect(problem('remove 4', contextOf(''))).toBeUndefined()
  })

  it('finds void what has no context, or one that is damaged', () => {
    expect(problemOf(checkChange(ROSTER, changeOf('remove 3')))).toContain('Cannot decode')
    const damaged = { ...changeOf('remove 3'), context: Uint8Array.of(1, 7, 2, 9) }
    expect(problemOf(checkChange(ROSTER, damaged))).toContain('Cannot decode')
    const future = { ...changeOf('remove 3'), context: Uint8Array.of(2, 7, 2, 0) }
    expect(problemOf(checkChange(ROSTER, future))).toContain('version 2')
  })
})

describe('applyToRoster()', () => {
  it('adds who came and drops who is in no part of the configuration any more', () => {
    const joint = configOf([1, 4], { votersOutgoing: [1, 2, 3], learnersNext: [2] })
    const roster = applyToRoster(ROSTER, contextOf('4d', { layoutVersion: 9 }), joint)
    expect(roster).toEqual({
      members: membersOf('1a 2b 3c 4d'),
      nextReplica: 5,
      layoutVersion: 9,
      generation: 2
    })
    const left = applyToRoster(roster, undefined, configOf([1, 4], { learners: [2] }))
    expect(left).toEqual({ ...roster, members: membersOf('1a 2b 4d') })
  })

  it('changes nothing for a void change', () => {
    const config = configOf([1, 2])
    expect(applyToRoster(ROSTER, contextOf('', { layoutVersion: 6 }), config)).toBe(ROSTER)
    expect(applyToRoster(ROSTER, contextOf('', { generation: 3 }), config)).toBe(ROSTER)
    expect(applyToRoster(ROSTER, contextOf('3d'), config)).toBe(ROSTER)
  })

  it('never gives an id out again, even if the core made no member of it', () => {
    const refused = applyToRoster(ROSTER, contextOf('4d 8e'), configOf([1, 2, 3]))
    expect(refused.members).toEqual(ROSTER.members)
    expect(refused.nextReplica).toBe(9)
  })
})

describe('the bytes of rosters and contexts', () => {
  const hex = (length: number): fc.Arbitrary<string> =>
    fc.string({
      unit: fc.constantFrom(...Array.from('0123456789abcdef')),
      minLength: length,
      maxLength: length
    })
  const members: fc.Arbitrary<GroupMember[]> = fc
    .uniqueArray(fc.integer({ min: 1, max: 2 ** 40 }), { maxLength: 9 })
    .chain((ids) =>
      fc.tuple(
        ...ids
          .toSorted((a, b) => a - b)
          .map((replica) =>
            fc.record({
              replica: fc.constant(replica),
              peer: hex(9).map(peerId),
              store: hex(32).map(storeId)
            })
          )
      )
    )
  const number = fc.integer({ min: 0, max: 2 ** 52 })
  const rosters: fc.Arbitrary<Roster> = fc.record({
    members,
    nextReplica: fc.integer({ min: 2 ** 40 + 1, max: 2 ** 52 }),
    layoutVersion: number,
    generation: number
  })

  it('come back as they were', () => {
    fc.assert(
      fc.property(rosters, (roster) => {
        expect(decodeRoster(encodeRoster(roster))).toEqual(roster)
        const { layoutVersion, generation } = roster
        const context = { layoutVersion, generation, added: roster.members }
        expect(decodeChangeContext(encodeChangeContext(context))).toEqual(context)
      })
    )
  })

  it('are refused, or the only form of what they say', () => {
    const place = fc.nat({ max: 200 })
    fc.assert(
      fc.property(rosters, place, fc.nat({ max: 255 }), (roster, at, byte) => {
        const bytes = encodeRoster(roster)
        bytes[at % bytes.length] = byte
        try {
          expect(encodeRoster(decodeRoster(bytes))).toEqual(bytes)
        } catch (error) {
          if (!isMeshError(error, 'invalid-data')) throw error
        }
      }),
      { numRuns: 500 }
    )
  })

  it('are what they were in version 1', () => {
    const bytes = encodeRoster({ ...ROSTER, members: membersOf('1a'), nextReplica: 300 })
    const store = Array.from(`${'0'.repeat(31)}1`, (digit) => digit.charCodeAt(0))
    expect([...bytes]).toEqual([1, 1, 1, 1, 97, 32, ...store, 0xac, 2, 7, 2])
    expect([...encodeChangeContext(contextOf(''))]).toEqual([1, 7, 2, 0])
  })

  it('have members in one order, of ids that were given out, and not too many', () => {
    const twice = [...membersOf('2b'), ...membersOf('1a')]
    expect(() => encodeRoster({ ...ROSTER, members: twice })).toThrow('in the order of their ids')
    const beyond = encodeRoster({ ...ROSTER, nextReplica: 3 })
    expect(() => decodeRoster(beyond)).toThrow('replica 3 was never given out')
    const many = Array.from({ length: MEMBERS_MAX + 1 }, (_, index) => `${index + 1}a`).join(' ')
    expect(() => encodeRoster(foundingRoster(membersOf(many), ORIGIN))).toThrow('at most 64')
    expect(() => decodeRoster(Uint8Array.of(1, 65))).toThrow('above 64')
    const text = '"../x" is no id'
    const odd = Uint8Array.of(1, 1, 1, 4, 0x2e, 0x2e, 0x2f, 0x78, 32)
    expect(() => decodeRoster(odd)).toThrow(text)
  })
})
