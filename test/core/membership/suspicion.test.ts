// Suspicion, refutation and the spread of news: SWIM section 4, Lifeguard section IV.B and IV.C.

import { expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { Dissemination } from '../../../src/core/membership/dissemination.ts'
import { suspicionTicks } from '../../../src/core/membership/suspicion.ts'
import { LoneNode } from './lone-node.ts'
import { record, update } from './records.ts'

const PEERS = ['pa', 'pb', 'pc', 'pd', 'pe']

/** Ticks until `name` is dead, with every probe answered but its own. */
function ticksToDeath(node: LoneNode, name: string): number {
  for (let ticks = 0; ticks < 1_000; ticks++) {
    if (node.state(name) === 'dead') return ticks
    node.tick()
    for (const { to, message } of node.sentOf('ping')) {
      if (to !== name) node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
    }
    node.clear()
  }
  throw new Error(`${name} did not die`)
}

test('suspicionTicks() falls from the longest to the shortest as accusers come', () => {
  const suspicion = { minTicks: 40, maxTicks: 240, confirmationsMax: 3 }

  const ticks = [0, 1, 2, 3, 4].map((count) => suspicionTicks(suspicion, count))

  expect(ticks).toEqual([240, 140, 81, 40, 40])
})

test('independent accusers shorten a suspicion, and the same or a made-up one does not', () => {
  const accused = record('pa')
  const spans = [[], ['pb', 'pb', 'nobody', 'pa'], ['pc'], ['pc', 'pd'], ['pc', 'pd', 'pe']].map(
    (accusers) => {
      const node = new LoneNode({ peers: PEERS })
      node.hearNews('pb', update(accused, 'suspect', 'pb'))
      for (const accuser of accusers) node.hearNews(accuser, update(accused, 'suspect', accuser))
      node.clear()
      let ticks = 0
      for (; node.state('pa') !== 'dead'; ticks++) {
        node.tick()
        for (const { to, message } of node.sentOf('ping')) {
          node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
        }
        node.clear()
      }
      return ticks
    }
  )

  expect(spans).toEqual([240, 240, 113, 40, 40])
})

test('a suspect that says nothing is dead when its time is over, and is probed no more', () => {
  const node = new LoneNode({ peers: PEERS })
  node.hearNews('pb', update(record('pa'), 'suspect', 'pb'))

  expect(ticksToDeath(node, 'pa')).toBeGreaterThanOrEqual(40)

  expect(node.machine.count('dead')).toBe(1)
  for (let ticks = 0; ticks < 100; ticks++) {
    node.tick()
    for (const { to, message } of node.sentOf('ping')) {
      expect(to).not.toBe('pa')
      node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
    }
    node.clear()
  }
})

test('a suspect with a higher incarnation recovers, with the same one it does not', () => {
  const node = new LoneNode({ peers: PEERS })
  node.hearNews('pb', update(record('pa'), 'suspect', 'pb'))
  node.clear()

  node.hearNews('pa', update(record('pa'), 'alive'))
  expect(node.state('pa')).toBe('suspect')
  node.hearNews('pa', update(record('pa', { incarnation: 2 }), 'alive'))

  expect(node.state('pa')).toBe('alive')
  expect(node.told()).toEqual(['recovered pa'])
  expect(node.machine.member(peerId('pa'))?.record.revision).toBe(1)
})

test.each(['suspect', 'dead', 'gone'] as const)('this node refutes that it is %s', (state) => {
  const node = new LoneNode({ peers: PEERS })
  const before = node.machine.self()

  node.hearNews('pb', update(before, state, 'pb'))

  const after = node.machine.self()
  expect(after.incarnation).toBe(2)
  expect(after.revision).toBe(state === 'gone' ? 2 : 1)
  expect(node.state('self')).toBe('alive')
  expect(node.told()).toEqual(['self-changed'])
  // The accuser is told at once.
  const gossip = node.sentOf('gossip').find(({ to }) => to === 'pb')
  expect(gossip?.message.updates).toEqual([expect.objectContaining({ record: after })])
  expect(node.machine.localHealth).toBe(state === 'gone' ? 0 : 1)
})

test('an old accusation of this node is no reason to refute', () => {
  const node = new LoneNode({ peers: PEERS, self: { incarnation: 5 } })

  node.hearNews('pb', update(record('self', { incarnation: 4 }), 'dead'))

  expect(node.machine.self().incarnation).toBe(5)
  expect(node.sent).toEqual([])
})

test('a refuted ping accusation is answered in its ack', () => {
  const node = new LoneNode({ peers: PEERS })

  node.hear('pb', { kind: 'ping', seq: 1, updates: [update(node.machine.self(), 'suspect', 'pb')] })

  expect(node.sentOf('ack')[0]?.message.updates[0]?.record.incarnation).toBe(2)
})

test('whoever is not thought alive is told so first, in every message to it', () => {
  const node = new LoneNode({ peers: PEERS, config: { piggybackMax: 1 } })
  node.hearNews('pb', update(record('pa'), 'suspect', 'pb'))
  node.hearNews('pb', update(record('pc', { incarnation: 2 }), 'alive'))
  node.tick(50)
  node.clear()

  node.hear('pa', { kind: 'ping', seq: 1, updates: [] })
  const first = node.sentOf('ack')[0]?.message.updates[0]

  expect(first).toMatchObject({ state: 'suspect', record: { name: 'pa' } })
})

test('a suspected or dead member hears of it when a connection to it is made', () => {
  const node = new LoneNode({ peers: PEERS })
  node.hearNews('pb', update(record('pa'), 'dead'))
  node.clear()

  node.step({ kind: 'connected', peer: peerId('pa') })
  node.step({ kind: 'connected', peer: peerId('pb') })
  node.step({ kind: 'connected', peer: peerId('stranger') })

  expect(node.sent.map(({ to }) => to)).toEqual(['pa'])
  expect(node.sentOf('gossip')[0]?.message.updates).toContainEqual(
    expect.objectContaining({ state: 'dead' })
  )
})

test('a dead member is told so now and then, which ends a partition', () => {
  const node = new LoneNode({ peers: PEERS, config: { retryDeadTicks: 50 } })
  node.hearNews('pb', update(record('pa'), 'dead'))
  node.tick(20)
  node.clear()

  node.tick(100)

  expect(node.sent.filter(({ to }) => to === 'pa').length).toBeGreaterThanOrEqual(2)
})

test('the dead of a whole table are taken as suspects, those of fresh news as dead', () => {
  const node = new LoneNode({ peers: PEERS })

  const updates = [update(record('pa'), 'dead'), update(record('new'), 'dead')]
  node.hear('pb', { kind: 'sync-reply', updates })
  node.hearNews('pb', update(record('pc'), 'dead'))

  expect(['pa', 'new', 'pc'].map((name) => node.state(name))).toEqual([
    'suspect',
    'suspect',
    'dead'
  ])
  expect(node.told()).toEqual(['suspected pa', 'joined new', 'suspected new', 'dead pc'])
})

test('Dissemination tells each piece so often, the least told first', () => {
  const news = new Dissemination()
  news.add(update(record('pa'), 'alive'))
  news.take(1, 3)
  news.add(update(record('pb'), 'alive'))

  const told = [1, 2, 3, 4, 5, 6].map(() => news.take(1, 3).map(({ record }) => record.name)[0])

  expect(told[0]).toBe('pb')
  expect(told.filter((name) => name === 'pa')).toHaveLength(2)
  expect(told.filter((name) => name === 'pb')).toHaveLength(3)
  expect(news.size).toBe(0)
})

test('Dissemination replaces older news of the same member, and stays bounded', () => {
  const news = new Dissemination()

  for (let incarnation = 1; incarnation <= 1_000; incarnation++) {
    news.add(update(record('pa', { incarnation }), 'alive'))
  }

  expect(news.size).toBe(1)
  expect(news.take(10, 2).map(({ record }) => record.incarnation)).toEqual([1_000])
})
