// Joining, changing, leaving, eviction, and when a member is gone.

import { expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { GIB } from '../../../src/base/units.ts'
import { updateVersion } from '../../../src/core/membership/member.ts'
import { LoneNode } from './lone-node.ts'
import { record, session, update } from './records.ts'

test('join sends the table to a stranger, and its answer makes members', () => {
  const node = new LoneNode()

  node.step({ kind: 'join', peer: peerId('seed') })
  const sent = node.sentOf('sync')
  const updates = [update(record('seed'), 'alive'), update(record('pb'), 'alive')]
  node.hear('seed', { kind: 'sync-reply', updates })

  expect(sent.map(({ to }) => to)).toEqual(['seed'])
  expect(sent[0]?.message.updates.map(({ record }) => record.name)).toEqual(['self'])
  expect(node.told()).toEqual(['joined seed', 'joined pb'])
})

test('a sync is merged and answered with the whole table, the last part only', () => {
  const node = new LoneNode({ peers: ['pa'] })
  const updates = [update(record('new'), 'alive')]

  node.hear('new', { kind: 'sync', updates, more: true })
  const early = node.sentOf('sync-reply').length
  node.hear('new', { kind: 'sync', updates: [], more: false })

  expect(early).toBe(0)
  const reply = node.sentOf('sync-reply')
  expect(reply.map(({ to }) => to)).toEqual(['new'])
  expect(reply[0]?.message.updates.map(({ record }) => record.name)).toEqual(['new', 'pa', 'self'])
})

test('a table too large for a frame goes in parts that fit one', () => {
  const node = new LoneNode()
  const addresses = Array.from({ length: 16 }, () => 'a'.repeat(512))
  const updates = Array.from({ length: 60 }, (_, index) =>
    update(record(`p${index}`, { addresses }), 'alive')
  )
  for (const part of [updates.slice(0, 30), updates.slice(30)]) node.hearNews('p0', ...part)
  node.clear()

  node.step({ kind: 'join', peer: peerId('p1') })

  const parts = node.sentOf('sync').map(({ message }) => message)
  expect(parts.length).toBeGreaterThan(1)
  expect(parts.map(({ more }) => more)).toEqual([...parts.slice(1).map(() => true), false])
  expect(parts.flatMap((part) => part.updates)).toEqual(node.machine.members())
  for (const part of parts) expect(JSON.stringify(part.updates).length).toBeLessThan(512 * 1_024)
})

test('a message from a stranger makes no member, but its ping is asked about once in a while', () => {
  const node = new LoneNode({ peers: ['pa'] })

  for (let seq = 0; seq < 5; seq++) node.hear('stranger', { kind: 'ping', seq, updates: [] })
  node.hear('stranger', { kind: 'gossip', updates: [] })

  expect(node.state('stranger')).toBeUndefined()
  expect(node.sentOf('ack')).toHaveLength(5)
  expect(node.sentOf('sync').map(({ to }) => to)).toEqual(['stranger'])
})

test('update-self raises the incarnation, and the revision only for what placement needs', () => {
  const node = new LoneNode({ peers: ['pa'] })
  const seen = (): number[] => [node.machine.self().incarnation, node.machine.self().revision]

  node.step({ kind: 'update-self', change: { addresses: ['/ip4/10.0.0.2/tcp/1'] } })
  expect(seen()).toEqual([2, 1])
  node.step({ kind: 'update-self', change: { addresses: ['/ip4/10.0.0.2/tcp/1'] } })
  expect(seen()).toEqual([2, 1])
  node.step({ kind: 'update-self', change: { capacityBytes: 2 * GIB } })
  expect(seen()).toEqual([3, 2])
  node.step({ kind: 'update-self', change: { zone: 'shed' } })
  expect(seen()).toEqual([4, 3])
  expect(() => node.machine.step({ kind: 'update-self', change: { capacityBytes: -1 } })).toThrow(
    expect.objectContaining({ code: 'invalid-argument' })
  )
  expect(seen()).toEqual([4, 3])
})

test('a changed record is told as changed, and brings its revision', () => {
  const node = new LoneNode({ peers: ['pa'] })
  const revision = (): number | undefined => node.machine.member(peerId('pa'))?.record.revision

  node.hearNews('pa', update(record('pa', { incarnation: 2, addresses: [] }), 'alive'))
  expect([node.told(), revision()]).toEqual([['changed pa'], 1])
  node.hearNews('pa', update(record('pa', { incarnation: 3, zone: 'x', revision: 2 }), 'alive'))

  expect([node.told(), revision()]).toEqual([['changed pa', 'changed pa'], 2])
})

test('leaving is told in two steps, and who has left probes nobody', () => {
  const node = new LoneNode({ peers: ['pa', 'pb'] })

  node.step({ kind: 'leave-begin' })
  expect(node.machine.self()).toMatchObject({ status: 'leaving', incarnation: 2, revision: 2 })
  expect(node.state('self')).toBe('alive')
  node.step({ kind: 'leave-end' })
  expect(node.machine.self()).toMatchObject({ status: 'left', incarnation: 3, revision: 3 })
  expect(node.state('self')).toBe('left')
  const told = node.sentOf('gossip').flatMap(({ message }) => message.updates)
  expect(told).toContainEqual(expect.objectContaining({ state: 'left' }))
  node.clear()
  node.tick(200)
  expect(node.sentOf('ping')).toEqual([])
})

test('a member that has left is a tombstone: old news does not revive it, its return does', () => {
  const node = new LoneNode({ peers: ['pa'] })
  const left = record('pa', { incarnation: 3, revision: 3, status: 'left' })

  node.hearNews('pa', update(left, 'left'))
  node.hearNews('pb', update(record('pa', { incarnation: 2 }), 'alive'))
  expect(node.state('pa')).toBe('left')
  node.hearNews('pa', update(record('pa', { incarnation: 4, revision: 4 }), 'alive'))

  expect(node.told()).toEqual(['left pa', 'joined pa'])
})

test('an eviction is final at every incarnation, and its subject hears of it', () => {
  const node = new LoneNode({ peers: ['pa', 'pb'] })

  node.step({ kind: 'evict', peer: peerId('pa') })
  node.hearNews('pa', update(record('pa', { incarnation: 99 }), 'alive'))
  node.hear('pa', { kind: 'ping', seq: 1, updates: [] })

  expect(node.state('pa')).toBe('evicted')
  expect(node.told()).toEqual(['evicted pa'])
  const toPa = node.sent.filter(({ to }) => to === 'pa')
  expect(toPa.map(({ message }) => message.kind)).toEqual(['gossip', 'ack'])
  for (const { message } of toPa) {
    expect(message).toMatchObject({ updates: [{ state: 'evicted', record: { name: 'pa' } }] })
  }
})

test('a node that hears of its own eviction says so once, and nothing more to anyone', () => {
  const node = new LoneNode({ peers: ['pa', 'pb'] })

  node.hear('pa', { kind: 'ping', seq: 1, updates: [update(record('self'), 'evicted')] })
  node.hear('pa', { kind: 'ping', seq: 2, updates: [update(record('self'), 'evicted')] })
  node.tick(100)

  expect(node.told()).toEqual(['self-evicted'])
  expect(node.sent).toEqual([])
})

/** A node that sees `dead` of its peers dead and the others answer, after so many ticks. */
function afterGrace(alive: readonly string[], dead: readonly string[], ticks: number): LoneNode {
  const node = new LoneNode({ peers: [...alive, ...dead], config: { graceTicks: 500 } })
  node.hearNews(alive[0] ?? 'x', ...dead.map((name) => update(record(name), 'dead')))
  runAnswered(node, ticks)
  return node
}

function runAnswered(node: LoneNode, ticks: number): void {
  for (; ticks > 0; ticks--) {
    node.tick()
    for (const { to, message } of node.sentOf('ping')) {
      node.hear(to, { kind: 'ack', seq: message.seq, updates: [] })
    }
    node.sent = []
  }
}

test('a member is gone after the grace, seen from a majority', () => {
  const before = afterGrace(['pa'], ['pb'], 490)
  const after = afterGrace(['pa'], ['pb'], 510)

  expect(before.state('pb')).toBe('dead')
  expect(after.state('pb')).toBe('gone')
  expect(after.told()).toContain('gone pb')
})

test.each([
  [1, 1],
  [2, 3],
  [2, 2],
  [3, 4]
])('with %i of the members alive and %i dead nobody is ever gone', (alive, dead) => {
  const peers = ['pa', 'pb', 'pc', 'pd', 'pe', 'pf', 'pg']

  const node = afterGrace(
    peers.slice(0, alive - 1),
    peers.slice(alive - 1, alive + dead - 1),
    2_000
  )

  expect([node.machine.count('alive'), node.machine.count('dead')]).toEqual([alive, dead])
})

test('whoever is suspect does not count for the majority that declares others gone', () => {
  const node = afterGrace(['pa', 'pb'], ['pc'], 495)
  node.hearNews('pa', update(record('pb'), 'suspect', 'pa'))

  runAnswered(node, 20)
  const states = ['pa', 'pb', 'pc'].map((name) => node.state(name))
  node.hearNews('pb', update(record('pb', { incarnation: 2 }), 'alive'))
  runAnswered(node, 10)

  expect(states).toEqual(['alive', 'suspect', 'dead'])
  expect(node.state('pc')).toBe('gone')
})

test('a tombstone is small, and that of a stranger is kept, but no event', () => {
  const node = new LoneNode({ peers: ['pa'] })

  node.hearNews('pa', update(record('stranger'), 'gone'))

  expect(node.machine.member(peerId('stranger'))?.record).toEqual(
    record('stranger', { addresses: [], labels: [] })
  )
  expect([node.told(), node.state('stranger')]).toEqual([[], 'gone'])
})

test('the grace counts anew when the member was alive in between', () => {
  const node = afterGrace(['pa'], ['pb'], 400)
  node.hearNews('pb', update(record('pb', { incarnation: 3 }), 'dead'))

  runAnswered(node, 400)
  expect(node.state('pb')).toBe('dead')
  runAnswered(node, 110)

  expect(node.state('pb')).toBe('gone')
})

test('the grace counts anew when this node was in a minority in between', () => {
  const node = afterGrace(['pa', 'pb'], ['pc', 'pd', 'pe'], 600)
  expect(node.machine.count('dead')).toBe(3)

  node.hearNews('pc', update(record('pc', { incarnation: 2 }), 'alive'))
  runAnswered(node, 400)
  expect(node.machine.count('dead')).toBe(2)
  runAnswered(node, 110)

  expect(node.machine.count('gone')).toBe(2)
})

test('a gone member that comes back is a member again, with a higher revision everywhere', () => {
  const away = new LoneNode({ peers: ['pa'] })
  const node = afterGrace(['pa'], ['self2'], 510)
  const gone = node.machine.member(peerId('self2'))

  // It may not have heard that it is gone, only that it was dead.
  const back = record('self2', { incarnation: 2 })
  node.hearNews('self2', update(back, 'alive'))
  away.hearNews('pa', update(away.machine.self(), 'gone'))

  expect(gone?.state).toBe('gone')
  expect(node.told().at(-1)).toBe('recovered self2')
  expect(node.machine.member(peerId('self2'))?.record.revision).toBe(2)
  expect(away.machine.self()).toMatchObject({ incarnation: 2, revision: 2 })
})

test('what is shown of a member for placement rises when it is back and leaves at one revision', () => {
  const node = new LoneNode({ peers: ['pa', 'pb'] })
  const shown = (): number => {
    const member = node.machine.member(peerId('pa'))
    return member === undefined ? 0 : updateVersion(member)
  }
  const versions = [shown()]

  // A node that follows the rules raises its revision when it leaves; this one doesn't.
  for (const [incarnation, state, status] of [
    [1, 'gone', 'up'],
    [2, 'alive', 'up'],
    [2, 'left', 'left']
  ] as const) {
    node.hearNews('pb', update(record('pa', { incarnation, status }), state))
    versions.push(shown())
  }

  expect(versions).toEqual([2, 3, 4, 5])
})

test('a restarted node whose zone or capacity others know differently raises its revision', () => {
  const node = new LoneNode({ self: { session: session(9), zone: 'attic', revision: 3 } })
  const old = record('self', { incarnation: 4, revision: 3, zone: 'home' })

  node.hear('pa', { kind: 'sync-reply', updates: [update(old, 'alive')] })

  expect(node.machine.self()).toMatchObject({ incarnation: 5, revision: 4, zone: 'attic' })
})

test('a restarted node with nothing remembered takes its place above its old record', () => {
  const node = new LoneNode({ self: { session: session(9), zone: 'attic' } })
  const old = record('self', { incarnation: 40, revision: 6 })

  node.hear('pa', { kind: 'sync-reply', updates: [update(old, 'gone')] })

  const { incarnation, revision } = node.machine.self()
  expect([incarnation, revision]).toEqual([41, 7])
  expect(node.told()).toEqual(['self-changed'])
})
