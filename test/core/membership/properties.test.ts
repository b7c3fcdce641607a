// What holds for any input at all.

import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { shuffle, createRandom } from '../../../src/base/random.ts'
import type { MembershipInput } from '../../../src/core/membership/effects.ts'
import { INCARNATION_MAX } from '../../../src/core/membership/member.ts'
import type { MemberUpdate } from '../../../src/core/membership/member.ts'
import type { MembershipMessage } from '../../../src/core/membership/messages.ts'
import { MemberTable } from '../../../src/core/membership/table.ts'
import { LoneNode } from './lone-node.ts'
import { record, session, update } from './records.ts'

const NAMES = ['pa', 'pb', 'pc', 'pd', 'pe', 'self']
const anyName = fc.constantFrom(...NAMES, 'stranger')
const anyPeer = anyName.map((name) => peerId(name))
const anyState = fc.constantFrom('alive', 'suspect', 'dead', 'gone', 'left', 'evicted')

/** Mostly small numbers, so that updates meet; sometimes absurd ones. */
const anyCount = fc.oneof(
  { weight: 20, arbitrary: fc.integer({ min: 1, max: 6 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, -1, 0.5, INCARNATION_MAX, 2 ** 53 - 1, Infinity) }
)

const anyUpdate: fc.Arbitrary<MemberUpdate> = fc
  .record({
    name: anyName,
    incarnation: anyCount,
    revision: anyCount,
    state: anyState,
    session: fc.integer({ min: 1, max: 3 }),
    rival: fc.integer({ min: 0, max: 3 }),
    zone: fc.constantFrom('home', 'shed'),
    isOdd: fc.nat({ max: 9 }),
    from: anyName
  })
  .map(({ name, incarnation, revision, state, zone, from, ...rest }) => {
    // Coherent nine times of ten.
    const status = (state === 'left') === rest.isOdd > 0 ? 'left' : 'up'
    const named = rest.rival === 0 ? {} : { rival: session(rest.rival) }
    const numbers = { incarnation, revision, session: session(rest.session) }
    return update(record(name, { ...numbers, ...named, zone, status }), state, from)
  })

/** Evictions of this node end it, so they are rare. */
const anyUpdates = fc.array(
  anyUpdate.filter(({ record, state }) => record.name !== 'self' || state !== 'evicted'),
  { maxLength: 6 }
)

const anySeq = fc.oneof(fc.nat({ max: 50 }), fc.constantFrom(-1, 2 ** 32, 0.5, Number.NaN))

const anyMessage: fc.Arbitrary<MembershipMessage> = fc.oneof(
  fc.record({ kind: fc.constant('ping' as const), seq: anySeq, updates: anyUpdates }),
  fc.record({ kind: fc.constant('ack' as const), seq: anySeq, updates: anyUpdates }),
  fc.record({
    kind: fc.constant('ping-request' as const),
    seq: anySeq,
    target: anyPeer,
    updates: anyUpdates
  }),
  fc.record({ kind: fc.constant('nack' as const), seq: anySeq }),
  fc.record({ kind: fc.constant('gossip' as const), updates: anyUpdates }),
  fc.record({
    kind: fc.constant('sync' as const),
    updates: anyUpdates,
    more: fc.boolean()
  }),
  fc.record({ kind: fc.constant('sync-reply' as const), updates: anyUpdates })
)

/** An input, a number of ticks, or the answer to what was last asked. */
type Move = MembershipInput | number | 'answer'

const anyMove: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('message' as const),
      from: anyPeer,
      message: anyMessage
    })
  },
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 60 }) },
  { weight: 3, arbitrary: fc.constant('answer' as const) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom('connected' as const, 'disconnected', 'send-failed', 'join', 'evict'),
      peer: anyPeer
    })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('merge' as const), updates: anyUpdates }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('update-self' as const),
      change: fc.record({ zone: fc.constantFrom('a', 'b'), capacityBytes: fc.nat() })
    })
  },
  { weight: 1, arbitrary: fc.constantFrom({ kind: 'leave-begin' as const }) },
  {
    weight: 1,
    arbitrary: fc.nat({ max: 9 }).map((n) => (n === 0 ? { kind: 'leave-end' as const } : n))
  }
)

function makeMove(node: LoneNode, move: Move): void {
  if (typeof move === 'number') return node.tick(move)
  if (move !== 'answer') return node.step(move)
  const ping = node.sentOf('ping').at(-1)
  if (ping !== undefined) node.hear(ping.to, { kind: 'ack', seq: ping.message.seq, updates: [] })
}

test('no sequence of inputs throws or breaks an invariant', () => {
  fc.assert(
    fc.property(fc.array(anyMove, { maxLength: 60 }), fc.nat(), (moves, seed) => {
      const config = { graceTicks: 60, syncIntervalTicks: 20, retryDeadTicks: 20 }
      const node = new LoneNode({
        peers: ['pa', 'pb', 'pc'],
        config,
        seed,
        self: { session: session(2) }
      })

      // The lone node checks the invariants after each; among them that no member's version falls.
      for (const move of moves) makeMove(node, move)
    }),
    { numRuns: 1_500 }
  )
})

/** @returns everything but the ticks at which it came to be. */
function contents(table: MemberTable): unknown {
  return table.sorted().map(({ record, state }) => ({ record, state }))
}

/** @returns what a table says, but for revisions. */
function opinions(table: MemberTable): unknown {
  return table.sorted().map(({ record, state }) => ({ ...record, revision: 0, state }))
}

/** @returns the tables of the updates in their order and in another, with some heard twice. */
function twoTables(updates: readonly MemberUpdate[], seed: number): [MemberTable, MemberTable] {
  const shuffled = shuffle(createRandom(seed), [...updates, ...updates.slice(0, 5)])
  return [updates, shuffled].map((list) => {
    const table = new MemberTable(record('me'), () => {})
    for (const [index, one] of list.entries()) table.apply(one, index)
    return table
  }) as [MemberTable, MemberTable]
}

test('the same updates in any order make the same table', () => {
  fc.assert(
    fc.property(fc.array(anyUpdate, { maxLength: 40 }), fc.nat(), (updates, seed) => {
      // Members raise their revision with what placement needs, and when they come back.
      const sound = updates.map((one) => ({
        ...one,
        record: { ...one.record, revision: one.record.incarnation }
      }))

      const [a, b] = twoTables(sound, seed)

      expect(contents(b)).toEqual(contents(a))
    }),
    { numRuns: 2_000 }
  )
})

test('even of ill-formed updates the order decides nothing but revisions', () => {
  fc.assert(
    fc.property(fc.array(anyUpdate, { maxLength: 40 }), fc.nat(), (updates, seed) => {
      const [a, b] = twoTables(updates, seed)

      expect(opinions(b)).toEqual(opinions(a))
    }),
    { numRuns: 2_000 }
  )
})

test('two tables that exchange what they hold end up the same, whatever they had heard', () => {
  fc.assert(
    fc.property(fc.array(anyUpdate), fc.array(anyUpdate), (first, second) => {
      const [a, b] = [first, second].map((updates) => {
        const table = new MemberTable(record('me'), () => {})
        for (const one of updates) table.apply(one, 0)
        return table
      }) as [MemberTable, MemberTable]

      for (let round = 0; round < 2; round++) {
        for (const member of a.sorted()) if (member.record.name !== 'me') b.apply(member, 1)
        for (const member of b.sorted()) if (member.record.name !== 'me') a.apply(member, 1)
      }

      expect(contents(b)).toEqual(contents(a))
    }),
    { numRuns: 2_000 }
  )
})

test('whatever is said of a node, it ends up alive in its own words once it has heard of it', () => {
  fc.assert(
    fc.property(fc.array(anyUpdate, { maxLength: 30 }), (updates) => {
      const id = peerId('self')
      const node = new LoneNode({ peers: ['pa', 'pb'] })
      const other = new MemberTable(record('pa'), () => {})
      const about = updates
        .filter(({ state, record }) => state !== 'evicted' && record.incarnation < INCARNATION_MAX)
        .map((one) => ({ ...one, record: { ...one.record, peerId: id } }))

      for (const one of about) {
        other.apply(one, 0)
        node.hearNews('pa', one)
      }
      for (let round = 0; round < 2; round++) {
        const thought = other.get(id)
        if (thought !== undefined) node.hearNews('pa', thought)
        other.apply(update(node.machine.self(), 'alive'), 0)
      }

      expect(node.state('self')).toBe('alive')
      // After a clone has shown itself there is no fight, and others may believe either.
      if (node.told().includes('cloned')) return
      expect(other.get(id)).toMatchObject({ state: 'alive', record: node.machine.self() })
    }),
    { numRuns: 500 }
  )
})
