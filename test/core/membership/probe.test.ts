// Probes: SWIM sections 3.1 and 4.3, Lifeguard section IV.A.

import { expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { LoneNode } from './lone-node.ts'
import { record, update } from './records.ts'

const PEERS = ['pa', 'pb', 'pc', 'pd', 'pe']

test('tick() probes every member once per round', () => {
  const node = new LoneNode({ peers: PEERS })

  const rounds: string[][] = []
  for (let round = 0; round < 3; round++) {
    const targets: string[] = []
    for (let index = 0; index < PEERS.length; index++) {
      node.clear()
      const { to, message } = node.tickUntilSent('ping')
      node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
      targets.push(to)
    }
    rounds.push(targets)
  }

  for (const round of rounds) expect(round.toSorted()).toEqual(PEERS)
  expect(new Set(rounds.map(String)).size).toBeGreaterThan(1)
})

test('quietTicks says how long nothing is due, and that a probe runs', () => {
  const node = new LoneNode({ peers: PEERS })
  node.tickUntilSent('ping')
  const [{ to, message }] = node.sentOf('ping') as [ReturnType<typeof node.sentOf<'ping'>>[0]]
  expect(node.machine.quietTicks).toBe(0)
  node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
  node.clear()

  const { quietTicks } = node.machine
  expect(quietTicks).toBe(9)
  node.tick(quietTicks)
  expect(node.sent).toEqual([])
  node.tick()
  expect(node.sentOf('ping')).toHaveLength(1)
})

test('step() answers a ping with an ack of the same number', () => {
  const node = new LoneNode({ peers: PEERS })

  node.hear('pa', { kind: 'ping', seq: 77, updates: [] })

  expect(node.sentOf('ack')).toEqual([{ to: 'pa', message: { kind: 'ack', seq: 77, updates: [] } }])
})

test('a member that answers late, through another, is not suspected', () => {
  const node = new LoneNode({ peers: PEERS })
  const { to: target, message } = node.tickUntilSent('ping')
  node.tick(4)

  const requests = node.sentOf('ping-request')
  node.hear(requests[1]?.to ?? '', { kind: 'ack', seq: message.seq, updates: [] })
  node.tick(6)

  expect(requests.map((request) => request.message.target)).toEqual([target, target, target])
  expect(new Set(requests.map(({ to }) => to)).size).toBe(3)
  expect(requests.map(({ to }) => to)).not.toContain(target)
  expect(node.state(target)).toBe('alive')
})

test('a member that answers neither way is suspected when the probe ends', () => {
  const node = new LoneNode({ peers: PEERS })
  const { to: target } = node.tickUntilSent('ping')
  node.clear()

  node.tick(9)
  expect(node.state(target)).toBe('alive')
  node.tick(1)

  expect(node.state(target)).toBe('suspect')
  expect(node.told()).toEqual([`suspected ${target}`])
  expect(node.machine.member(peerId(target))?.from).toBe('self')
})

test('a probe ends early when the direct way is broken and every helper says no', () => {
  const node = new LoneNode({ peers: PEERS })
  const { to: target, message } = node.tickUntilSent('ping')

  node.step({ kind: 'send-failed', peer: peerId(target) })
  const requests = node.sentOf('ping-request')
  for (const { to } of requests.slice(1)) node.hear(to, { kind: 'nack', seq: message.seq })
  expect(node.state(target)).toBe('alive')
  node.step({ kind: 'send-failed', peer: peerId(requests[0]?.to ?? '') })

  expect(node.state(target)).toBe('suspect')
})

test('a broken connection is a hint: direct and indirect probes at once, and no verdict', () => {
  const node = new LoneNode({ peers: PEERS })

  node.step({ kind: 'disconnected', peer: peerId('pc') })

  expect(node.sentOf('ping').map(({ to }) => to)).toEqual(['pc'])
  expect(node.sentOf('ping-request')).toHaveLength(3)
  expect(node.state('pc')).toBe('alive')
  const seq = node.sentOf('ping')[0]?.message.seq ?? -1
  node.hear('pc', { kind: 'ack', seq, updates: [] })
  node.tick(10)
  expect(node.state('pc')).toBe('alive')
})

test('a failed send without a running probe starts an indirect one, once per accusation', () => {
  const node = new LoneNode({ peers: PEERS })

  node.step({ kind: 'send-failed', peer: peerId('pc') })
  const requests = node.sentOf('ping-request')
  for (const { to, message } of requests) node.hear(to, { kind: 'nack', seq: message.seq })

  expect(node.sentOf('ping')).toEqual([])
  expect(requests).toHaveLength(3)
  expect(node.state('pc')).toBe('suspect')
  node.clear()
  node.step({ kind: 'send-failed', peer: peerId('pc') })
  expect(node.sent).toEqual([])
})

test('a ping for another is passed on, and so is its ack', () => {
  const node = new LoneNode({ peers: PEERS })

  node.hear('pa', { kind: 'ping-request', seq: 5, target: peerId('pb'), updates: [] })
  const ping = node.sentOf('ping')[0]
  node.hear('pb', { kind: 'ack', seq: ping?.message.seq ?? -1, updates: [] })

  expect(ping?.to).toBe('pb')
  expect(node.sentOf('ack').map(({ to, message }) => [to, message.seq])).toEqual([['pa', 5]])
  expect(node.sentOf('nack')).toEqual([])
})

test('a ping for another that is late gets a nack, and the late ack is passed on still', () => {
  const node = new LoneNode({ peers: PEERS })
  node.hear('pa', { kind: 'ping-request', seq: 5, target: peerId('pb'), updates: [] })
  const seq = node.sentOf('ping')[0]?.message.seq ?? -1

  node.tick(3)
  const nacks = node.sentOf('nack')
  node.hear('pb', { kind: 'ack', seq, updates: [] })

  expect(nacks).toEqual([{ to: 'pa', message: { kind: 'nack', seq: 5, target: 'pb' } }])
  expect(node.sentOf('ack').map(({ to }) => to)).toEqual(['pa'])
})

test('a ping for a stranger, or one too many, gets a nack at once', () => {
  const node = new LoneNode({ peers: PEERS })

  node.hear('pa', { kind: 'ping-request', seq: 5, target: peerId('nobody'), updates: [] })
  for (let seq = 100; seq < 357; seq++) {
    node.hear('pa', { kind: 'ping-request', seq, target: peerId('pb'), updates: [] })
  }

  expect(node.sentOf('nack').map(({ message }) => message.seq)).toEqual([5, 356])
  expect(node.machine.refused.get('unknown-member')).toBe(1)
  expect(node.machine.refused.get('relays-full')).toBe(1)
})

test('local health falls with missing nacks and slows the probes; acks restore it', () => {
  const node = new LoneNode({ peers: PEERS })
  node.tickUntilSent('ping')

  node.tick(10)
  const sick = node.machine.localHealth
  const spans: number[] = []
  for (let index = 0; index < 5; index++) {
    const { to, message } = node.sentOf('ping').at(-1) ?? { to: '', message: { seq: -1 } }
    node.clear()
    node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
    let ticks = 0
    for (; node.sentOf('ping').length === 0 && ticks < 100; ticks++) node.tick()
    spans.push(ticks)
  }

  expect(sick).toBe(3)
  expect(spans).toEqual([40, 30, 20, 10, 10])
  expect(node.machine.localHealth).toBe(0)
})

test('nacks that come leave the local health alone', () => {
  const node = new LoneNode({ peers: PEERS })
  const { to: target, message } = node.tickUntilSent('ping')

  node.tick(4)
  for (const { to } of node.sentOf('ping-request'))
    node.hear(to, { kind: 'nack', seq: message.seq })

  expect(node.state(target)).toBe('suspect')
  expect(node.machine.localHealth).toBe(0)
})

test('an ack of an unknown number, or from a member that was not asked, proves nothing', () => {
  const node = new LoneNode({ peers: PEERS })
  const { to: target, message } = node.tickUntilSent('ping')

  const stranger = PEERS.find((name) => name !== target) ?? ''
  node.hear(stranger, { kind: 'ack', seq: message.seq, updates: [] })
  node.hear(target, { kind: 'ack', seq: message.seq + 1, updates: [] })
  node.tick(10)

  expect(node.state(target)).toBe('suspect')
  expect(node.machine.refused.get('unknown-seq')).toBe(2)
})

test('a new member is probed within two rounds, wherever it was inserted', () => {
  const node = new LoneNode({ peers: PEERS })
  node.hearNews('pa', update(record('new'), 'alive'))

  const targets: string[] = []
  for (let index = 0; index < 12; index++) {
    const { to, message } = node.tickUntilSent('ping')
    node.clear()
    node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
    targets.push(to)
  }

  expect(targets).toContain('new')
})

test('a member that goes in the middle of a round costs nobody else its turn', () => {
  const node = new LoneNode({ peers: PEERS })
  const probed: string[] = []
  const probeOne = (): void => {
    node.clear()
    const { to, message } = node.tickUntilSent('ping')
    node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
    probed.push(to)
  }

  probeOne()
  probeOne()
  node.step({ kind: 'evict', peer: peerId(probed[0] ?? '') })
  for (let rest = 3; rest > 0; rest--) probeOne()

  expect(probed.toSorted()).toEqual(PEERS)
})

test('a ping for another is forgotten when its asker has given up', () => {
  const node = new LoneNode({ peers: PEERS })
  node.hear('pa', { kind: 'ping-request', seq: 5, target: peerId('pb'), updates: [] })

  node.tick(9)
  expect(node.machine.parts().relays.size).toBe(1)
  node.tick(1)

  expect(node.machine.parts().relays.size).toBe(0)
})

test('a ping for another that cannot be delivered gets its nack at once', () => {
  const node = new LoneNode({ peers: PEERS })
  node.hear('pa', { kind: 'ping-request', seq: 5, target: peerId('pb'), updates: [] })

  node.step({ kind: 'send-failed', peer: peerId('pb') })

  expect(node.sentOf('nack').map(({ to, message }) => [to, message.seq])).toEqual([['pa', 5]])
  expect(node.machine.parts().relays.size).toBe(0)
})

test('nodes that start together do not probe together', () => {
  const starts = Array.from({ length: 20 }, (_, seed) => {
    const node = new LoneNode({ peers: PEERS, seed })
    let ticks = 0
    for (; node.sentOf('ping').length === 0; ticks++) node.tick()
    return ticks
  })

  expect(new Set(starts).size).toBeGreaterThan(5)
  expect(Math.max(...starts)).toBeLessThanOrEqual(10)
})
