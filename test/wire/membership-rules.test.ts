// The rules of protocols/membership: what the codec refuses, and one node whose peers the test plays.

import { describe, expect, it } from 'vitest'
import {
  ADDRESS_COUNT_MAX,
  ADDRESS_LENGTH_MAX,
  LABEL_COUNT_MAX,
  LABEL_LENGTH_MAX,
  MEMBER_COUNT_MAX,
  NAME_LENGTH_MAX,
  ZONE_LENGTH_MAX
} from '../../src/base/limits.ts'
import {
  compareUpdates,
  type MemberRecord,
  type MemberUpdate
} from '../../src/core/membership/member.ts'
import { UPDATES_PER_MESSAGE_MAX } from '../../src/core/membership/messages.ts'
import { peerId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createRandom } from '../../src/base/random.ts'
import { membershipConfig } from '../../src/core/membership/config.ts'
import { MemberDriver } from '../../src/mesh/member-driver.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../../src/net/memory/memory-world.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { decodeMembershipMessage, encodeMembershipMessage } from '../../src/wire/membership.ts'
import {
  decodeRemembered,
  encodeRemembered,
  REMEMBERED_BYTES_MAX
} from '../../src/wire/remembered.ts'
import { LoneNode } from '../core/membership/lone-node.ts'
import { record, session, update } from '../core/membership/records.ts'
import { codeOf } from './codecs.ts'

describe('membership messages', () => {
  const news = (count: number): MemberUpdate[] =>
    Array.from({ length: count }, (_, index) => update(record(`p${index}`), 'alive'))

  it('M-1 a message with more updates than its kind allows is refused whole', () => {
    const most = encodeMembershipMessage({ kind: 'gossip', updates: news(UPDATES_PER_MESSAGE_MAX) })
    const over = encodeMembershipMessage({
      kind: 'gossip',
      updates: news(UPDATES_PER_MESSAGE_MAX + 1)
    })
    const table = encodeMembershipMessage({
      kind: 'sync',
      updates: news(UPDATES_PER_MESSAGE_MAX + 1),
      more: false
    })

    expect(codeOf(() => decodeMembershipMessage(most))).toBe('none')
    expect(codeOf(() => decodeMembershipMessage(over))).toBe('invalid-data')
    expect(codeOf(() => decodeMembershipMessage(table))).toBe('none')
  })

  it('M-2 one bad update is left out alone, of a message and of a remembered table', () => {
    const bad = update(record('bad', { name: 'two\nlines' }), 'alive')
    const updates = [update(record('pa'), 'alive'), bad, update(record('pb'), 'dead')]
    const problems: string[] = []

    const bytes = encodeMembershipMessage({ kind: 'gossip', updates })
    const message = decodeMembershipMessage(bytes, ({ code }) => problems.push(code))
    const remembered = decodeRemembered(encodeRemembered(updates))

    expect(message).toEqual({ kind: 'gossip', updates: [updates[0], updates[2]] })
    expect(problems).toEqual(['invalid-data'])
    expect(remembered.map(({ record }) => record.name)).toEqual(['pa', 'pb'])
    expect(codeOf(() => decodeMembershipMessage(bytes))).toBe('invalid-data')
  })

  it('M-2 a member counts what it left out, and takes in the rest', async () => {
    const clock = new VirtualClock()
    const world = new MemoryWorld({ clock, random: createRandom(1) })
    const [a, b] = ['pa', 'pb'].map((name) => {
      const network = new MemoryNetwork(
        { world, log: silentLogger },
        { peerId: peerId(name), address: `/memory/${name}`, mesh: 'test' }
      )
      const driver = new MemberDriver(
        {
          network,
          clock,
          random: createRandom(2),
          log: silentLogger,
          onEvents: () => {}
        },
        { config: membershipConfig('local'), self: record(name), topic: 'members' }
      )
      return { network, driver }
    }) as [Played, Played]
    for (const { network, driver } of [a, b]) {
      await network.start()
      driver.start()
    }
    a.driver.step({ kind: 'merge', updates: [update(record('pb'), 'alive')] })
    b.driver.step({ kind: 'merge', updates: [update(record('pa'), 'alive')] })
    a.network.learn(b.network.peerId, b.network.addresses())
    const bad = update(record('bad', { name: 'two\nlines' }), 'alive')
    const updates = [bad, update(record('pc'), 'alive')]
    const bytes = encodeMembershipMessage({ kind: 'gossip', updates })

    await clock.run(a.network.notify(b.network.peerId, '/atoll/membership/1.0.0', bytes))
    await clock.run(a.network.publish('members', bytes))
    await clock.advance(50)

    expect(b.driver.core.member(peerId('pc'))?.state).toBe('alive')
    expect(b.driver.core.member(peerId('bad'))).toBeUndefined()
    expect(b.driver.core.refused.get('malformed')).toBe(2)
    for (const { network, driver } of [a, b]) {
      driver.stop()
      await network.stop()
    }
  })

  it('a record that says all that it may, in any script, is understood', () => {
    const most = update(longest('p'.repeat(128)), 'alive')

    const message = encodeMembershipMessage({ kind: 'gossip', updates: [most] })

    expect(decodeMembershipMessage(message)).toEqual({ kind: 'gossip', updates: [most] })
  })

  it('a remembered table can always be read again: first of all evictions, then members', () => {
    const table = Array.from({ length: 400 }, (_, index) => {
      const state = (['gone', 'alive', 'evicted', 'dead'] as const)[index % 4] as 'alive'
      return update(longest(`p${index}`), state)
    })

    const bytes = encodeRemembered(table)
    const remembered = decodeRemembered(bytes)

    expect(bytes.length).toBeLessThanOrEqual(REMEMBERED_BYTES_MAX)
    expect(bytes.length).toBeGreaterThan(REMEMBERED_BYTES_MAX * 0.95)
    // About 80 of them fit.
    expect(remembered.every(({ state }) => state === 'evicted')).toBe(true)
    const few = table.filter(({ state }, index) => state !== 'evicted' || index < 40)
    const states = decodeRemembered(encodeRemembered(few)).map(({ state }) => state)
    expect(states.filter((state) => state === 'evicted')).toHaveLength(10)
    expect(new Set(states)).toEqual(new Set(['evicted', 'alive', 'dead']))
  })
})

type Played = { network: MemoryNetwork; driver: MemberDriver }

/** A record at every limit, with characters that take three bytes. */
function longest(id: string): MemberRecord {
  return record(id, {
    name: '名'.repeat(NAME_LENGTH_MAX),
    zone: '域'.repeat(ZONE_LENGTH_MAX),
    labels: Array.from({ length: LABEL_COUNT_MAX }, (_, index) => [
      String(10 + index).padEnd(LABEL_LENGTH_MAX, '鍵'),
      '値'.repeat(LABEL_LENGTH_MAX)
    ]),
    addresses: Array.from({ length: ADDRESS_COUNT_MAX }, () => '址'.repeat(ADDRESS_LENGTH_MAX))
  })
}

describe('a member', () => {
  it('M-3 refutes a suspicion of itself with a higher incarnation', () => {
    const node = new LoneNode({ peers: ['pa'] })
    const before = node.machine.self()

    node.hearNews('pa', update(before, 'suspect', 'pa'))

    expect(node.machine.self().incarnation).toBe(before.incarnation + 1)
    expect(node.state('self')).toBe('alive')
  })

  it('M-4 prefers an eviction, then the incarnation, then the worse state, then the contents', () => {
    const order = [
      update(record('pa', { incarnation: 1, name: 'a' }), 'alive'),
      update(record('pa', { incarnation: 1, name: 'b' }), 'alive'),
      update(record('pa', { incarnation: 1 }), 'suspect'),
      update(record('pa', { incarnation: 1 }), 'dead'),
      update(record('pa', { incarnation: 1 }), 'gone'),
      update(record('pa', { incarnation: 1, status: 'left' }), 'left'),
      update(record('pa', { incarnation: 2 }), 'alive'),
      update(record('pa', { incarnation: 1 }), 'evicted')
    ]
    for (const [low, a] of order.entries()) {
      for (const [high, b] of order.entries()) {
        expect(Math.sign(compareUpdates(a, b))).toBe(Math.sign(low - high))
      }
    }
  })

  it('M-5 answers a ping at once, telling first what the other has to deny', () => {
    const node = new LoneNode({ peers: ['pa', 'pb'] })
    node.hearNews('pb', update(record('pa'), 'suspect', 'pb'))
    node.clear()

    node.hear('pa', { kind: 'ping', seq: 7, updates: [] })

    const [ack] = node.sentOf('ack')
    expect(ack).toMatchObject({ to: 'pa', message: { seq: 7 } })
    expect(ack?.message.updates[0]).toMatchObject({ state: 'suspect', record: { name: 'pa' } })
  })

  it('M-6 pings for others, and says when the target is late or when it has no room', () => {
    const node = new LoneNode({ peers: ['pa', 'pb'] })
    const ask = (seq: number): void =>
      node.hear('pa', { kind: 'ping-request', seq, target: peerId('pb'), updates: [] })

    ask(1)
    expect(node.sentOf('ping')).toMatchObject([{ to: 'pb' }])
    node.tick(4)
    expect(node.sentOf('nack')).toMatchObject([{ to: 'pa', message: { seq: 1, target: 'pb' } }])
    const { seq } = node.sentOf('ping')[0]?.message ?? { seq: -1 }
    node.hear('pb', { kind: 'ack', seq, updates: [] })
    expect(node.sentOf('ack')).toMatchObject([{ to: 'pa', message: { seq: 1 } }])

    node.clear()
    for (let count = 1; count <= 257; count++) ask(count)
    expect(node.sentOf('nack')).toMatchObject([{ message: { seq: 257 } }])
  })

  it('M-7 answers the last part of a table only, and takes its dead as suspects', () => {
    const node = new LoneNode({ peers: ['pa', 'pb'] })
    const updates = [update(record('pb'), 'dead')]

    node.hear('pa', { kind: 'sync', updates, more: true })
    expect(node.sentOf('sync-reply')).toEqual([])
    node.hear('pa', { kind: 'sync', updates: [], more: false })

    expect(node.sentOf('sync-reply')).toHaveLength(1)
    expect(node.state('pb')).toBe('suspect')
  })

  it('M-8 knows a clone by a record of another session that names its own', () => {
    const node = new LoneNode({ peers: ['pa'], self: { session: session(9) } })
    const other = { incarnation: 7, session: session(1) }

    node.hearNews('pa', update(record('self', other), 'alive'))
    expect(node.told()).toEqual(['self-changed'])
    node.hearNews(
      'pa',
      update(record('self', { ...other, incarnation: 9, rival: session(9) }), 'alive')
    )

    expect(node.told()).toContain('cloned')
    expect(node.machine.self()).toMatchObject({ incarnation: 10, rival: session(1) })
  })

  it('M-9 declares nobody gone without a majority, and after the grace with one', () => {
    for (const [peers, expected] of [
      [['pa'], 'dead'],
      [['pa', 'pb'], 'gone']
    ] as const) {
      const node = new LoneNode({ peers, config: { graceTicks: 100 } })
      node.hearNews('pa', update(record('pa'), 'dead'))
      for (let ticks = 0; ticks < 300; ticks++) {
        node.tick()
        for (const { to, message } of node.sentOf('ping')) {
          if (to === 'pb') node.hear('pb', { kind: 'ack', seq: message.seq, updates: [] })
        }
        node.clear()
      }
      expect(node.state('pa')).toBe(expected)
    }
  })

  it('M-10 says nothing more once it is evicted', () => {
    const node = new LoneNode({ peers: ['pa'] })

    node.hearNews('pa', update(record('self'), 'evicted'))
    expect(node.told()).toEqual(['self-evicted'])
    node.clear()
    node.hear('pa', { kind: 'ping', seq: 1, updates: [] })
    node.tick(100)

    expect(node.sent).toEqual([])
  })

  it('M-11 refuses members beyond 1000', () => {
    const node = new LoneNode()

    for (let index = 0; index < MEMBER_COUNT_MAX + 5; index++) {
      node.hearNews('p0', update(record(`p${index}`), 'alive'))
    }

    expect(node.machine.members()).toHaveLength(MEMBER_COUNT_MAX)
    expect(node.machine.refused.get('members-full')).toBe(6)
  })
})
