// Limits, refusals and knobs.

import { describe, expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { CAPACITY_BYTES_MAX, MEMBER_COUNT_MAX } from '../../../src/base/limits.ts'
import { createRandom } from '../../../src/base/random.ts'
import { digits, membershipConfig } from '../../../src/core/membership/config.ts'
import { INCARNATION_MAX } from '../../../src/core/membership/member.ts'
import { Membership } from '../../../src/core/membership/membership.ts'
import {
  TOMBSTONE_COUNT_MAX,
  UPDATES_PER_MESSAGE_MAX
} from '../../../src/core/membership/messages.ts'
import { LoneNode } from './lone-node.ts'
import { record, update } from './records.ts'

const name = (index: number): string => `p${String(index).padStart(5, '0')}`

/** Feeds updates in lists that a message may have, and checks the invariants after each. */
function hearMany(node: LoneNode, updates: ReturnType<typeof update>[]): void {
  for (let start = 0; start < updates.length; start += 1_000) {
    const part = updates.slice(start, start + 1_000)
    node.hear('p00000', { kind: 'sync-reply', updates: part })
  }
}

test.each([
  ['incarnation', { incarnation: 2 ** 53 - 1 }],
  ['incarnation', { incarnation: INCARNATION_MAX + 1 }],
  ['incarnation', { incarnation: 0 }],
  ['incarnation', { incarnation: 1.5 }],
  ['incarnation', { incarnation: Number.NaN }],
  ['revision', { revision: 0 }],
  ['revision', { revision: 2 ** 40 }],
  ['record', { capacityBytes: CAPACITY_BYTES_MAX + 1 }],
  ['record', { name: 'n'.repeat(64) }],
  ['record', { addresses: Array.from({ length: 17 }, () => 'a') }],
  [
    'record',
    {
      labels: [
        ['b', ''],
        ['a', '']
      ] as const
    }
  ],
  ['status', { status: 'left' as const }]
])('an update with a wrong %s is refused and counted: %o', (reason, changes) => {
  const node = new LoneNode({ peers: ['pa'] })

  node.hearNews('pa', update(record('pb', changes), 'alive'))
  node.hearNews('pa', update(record('self', changes), 'alive'))

  expect(node.state('pb')).toBeUndefined()
  expect(node.machine.self().incarnation).toBe(1)
  expect(node.machine.refused).toEqual(new Map([[reason, 2]]))
})

test('an accusation at the last incarnation is refused, for nothing is above it', () => {
  const node = new LoneNode({ peers: ['pa'] })

  node.hearNews('pa', update(record('self', { incarnation: INCARNATION_MAX }), 'dead'))

  expect(node.state('self')).toBe('alive')
  expect(node.machine.refused.get('incarnation-exhausted')).toBe(1)
})

test('messages that are too long, misnumbered or from this node itself are refused whole', () => {
  const node = new LoneNode({ peers: ['pa'] })
  const long = Array.from({ length: UPDATES_PER_MESSAGE_MAX + 1 }, () =>
    update(record('pb'), 'alive')
  )

  node.hear('pa', { kind: 'ping', seq: 1, updates: long })
  node.hear('pa', { kind: 'gossip', updates: long })
  node.hear('pa', { kind: 'ping', seq: -1, updates: [] })
  node.hear('pa', { kind: 'nack', seq: 2 ** 32 })
  node.hear('self', { kind: 'ping', seq: 1, updates: [] })
  node.step({ kind: 'join', peer: peerId('self') })
  node.step({ kind: 'evict', peer: peerId('self') })
  node.step({ kind: 'evict', peer: peerId('stranger') })

  expect(node.sent).toEqual([])
  expect(node.machine.members()).toHaveLength(2)
  expect(Object.fromEntries(node.machine.refused)).toEqual({
    oversize: 2,
    seq: 2,
    'from-self': 2,
    'unknown-member': 2
  })
})

test('members are bounded: one more is refused until somebody goes', () => {
  const node = new LoneNode()
  const all = Array.from({ length: MEMBER_COUNT_MAX }, (_, index) =>
    update(record(name(index)), 'alive')
  )

  hearMany(node, all)
  const last = name(MEMBER_COUNT_MAX - 1)
  expect(node.state(last)).toBeUndefined()
  expect(node.machine.refused.get('members-full')).toBe(1)
  node.step({ kind: 'evict', peer: peerId(name(0)) })
  node.hearNews('p00001', update(record(last), 'alive'))

  expect(node.state(last)).toBe('alive')
  expect(node.machine.count('alive')).toBe(MEMBER_COUNT_MAX)
})

test('tombstones are bounded: the oldest go first, evictions last', () => {
  const node = new LoneNode({ peers: ['pa', 'pb', 'pc'] })
  node.step({ kind: 'evict', peer: peerId('pa') })
  node.tick()
  const gone = Array.from({ length: TOMBSTONE_COUNT_MAX }, (_, index) =>
    update(record(name(index)), 'gone')
  )
  hearMany(node, gone)
  expect(node.machine.refused.get('tombstones-full')).toBe(1)

  node.tick()
  node.hearNews('pb', update(record('pb', { incarnation: 2, status: 'left' }), 'left'))
  node.hearNews('pc', update(record('stranger'), 'evicted'))

  expect(node.state(name(0))).toBeUndefined()
  expect(node.state(name(1))).toBeUndefined()
  expect([node.state('pa'), node.state('pb')]).toEqual(['evicted', 'left'])
  expect(node.state('stranger')).toBe('evicted')
  // Two came, so two went.
  expect(node.state(name(2))).toBe('gone')
  expect(node.machine.parts().opinions.table.tombstoneCount).toBe(TOMBSTONE_COUNT_MAX)
})

describe('membershipConfig()', () => {
  test('accepts its presets, and differences from them', () => {
    for (const preset of ['local', 'lan', 'wan'] as const) {
      expect(membershipConfig(preset, { graceTicks: 7 }).graceTicks).toBe(7)
    }
    expect(membershipConfig('lan').graceTicks).toBe(15 * 60 * 10)
  })

  test.each([
    [{ probeIntervalTicks: 2 }, /probeIntervalTicks = 2.*3\.\.36000/],
    [{ graceTicks: 1.5 }, /graceTicks = 1\.5.*1\.\.100000000/],
    [{ probeTimeoutTicks: 5 }, /probeTimeoutTicks = 5.*1\.\.4/],
    [{ piggybackMax: 64 }, /piggybackMax = 64.*1\.\.63/]
  ])('refuses %o and names the range', (changes, message) => {
    expect(() => membershipConfig('lan', changes)).toThrow(
      expect.objectContaining({ code: 'invalid-argument', message: expect.stringMatching(message) })
    )
  })

  test('digits() is the number of decimal digits', () => {
    expect([0, 1, 9, 10, 99, 100, 1_000].map(digits)).toEqual([1, 1, 1, 2, 2, 3, 4])
  })
})

test('a node with a wrong record of its own does not start', () => {
  const start = (changes: object): Membership =>
    new Membership(membershipConfig('lan'), record('self', changes), createRandom(1))

  expect(() => start({ incarnation: 0 })).toThrow(/own incarnation/)
  expect(() => start({ status: 'left' })).toThrow(/own status/)
})
