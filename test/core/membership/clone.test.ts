// Two nodes with one identity, and the restarts that must not be taken for it.

import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { createRandom } from '../../../src/base/random.ts'
import { membershipConfig } from '../../../src/core/membership/config.ts'
import { Membership } from '../../../src/core/membership/membership.ts'
import { LoneNode } from './lone-node.ts'
import { record, session, update } from './records.ts'
import { SimulatedMesh } from './simulated-mesh.ts'

const SELF = session(9)

test('a record of another session is outdone and named, and is no proof of a clone', () => {
  const node = new LoneNode({ self: { session: SELF } })

  node.hearNews('pa', update(record('self', { incarnation: 7, session: session(1) }), 'alive'))
  node.hearNews('pa', update(record('self', { incarnation: 12, session: session(2) }), 'alive'))
  node.hearNews('pa', update(record('self', { incarnation: 10, session: session(1) }), 'alive'))
  node.hearNews('pa', update(record('self', { incarnation: 20, session: session(1) }), 'dead'))

  expect(node.machine.self()).toMatchObject({ incarnation: 21, rival: session(1) })
  expect(node.told()).toEqual(['self-changed', 'self-changed', 'self-changed'])
})

test('a record of another session that names this one is a clone: once, and answered once', () => {
  const node = new LoneNode({ self: { session: SELF } })
  const clone = (incarnation: number) =>
    update(record('self', { incarnation, session: session(1), rival: SELF }), 'alive')

  node.hearNews('pa', clone(7))
  expect(node.machine.self()).toMatchObject({ incarnation: 8, rival: session(1) })
  node.hearNews('pa', clone(9))
  node.hearNews('pa', clone(11))

  expect(node.events.filter(({ kind }) => kind === 'cloned')).toEqual([
    { kind: 'cloned', session: session(1) }
  ])
  expect(node.machine.self().incarnation).toBe(8)
})

test('two clones in a mesh both notice, and it ends', () => {
  const config = membershipConfig('lan')
  const mesh = new SimulatedMesh({ seed: 1, config })
  mesh.add('pa')
  for (const name of ['pb', 'pc', 'original']) mesh.add(name, 'pa')
  mesh.run(50)
  // The copy has the original's identity: what it sends is from the same peer. It is reached now
  // and then instead of the original, as two processes with one key would be.
  const original = mesh.machine('original')
  const copy = new Membership(
    config,
    { ...original.self(), session: session(77), incarnation: 1 },
    createRandom(5)
  )
  const told = { original: 0, copy: 0 }
  let raises = 0
  const others = ['pa', 'pb', 'pc'].map((name) => peerId(name))

  for (let round = 0; round < 200; round++) {
    const asked = others[round % 3] ?? peerId('pa')
    if (round % 7 === 0) copy.step({ kind: 'join', peer: asked })
    copy.tick()
    const effects = copy.take()
    for (const event of effects.events) {
      if (event.kind === 'cloned') told.copy++
      if (event.kind === 'self-changed') raises++
    }
    for (const { to, message } of effects.send) {
      mesh.step(to, { kind: 'message', from: peerId('original'), message })
    }
    const updates = mesh.machine(asked).members()
    copy.step({ kind: 'message', from: asked, message: { kind: 'gossip', updates } })
    mesh.run(1)
  }

  told.original = mesh.events.filter(({ event }) => event.kind === 'cloned').length
  expect(told).toEqual({ original: 1, copy: 1 })
  expect(raises).toBeLessThan(10)
})

test('no order of stale records of earlier sessions is ever taken for a clone', () => {
  // What a chain of restarts can have left behind: records of sessions 1..8, some of which had
  // outdone, and so name, an earlier one.
  const stale = fc.record({
    own: fc.integer({ min: 2, max: 8 }),
    rival: fc.integer({ min: 0, max: 7 }),
    incarnation: fc.integer({ min: 1, max: 60 }),
    state: fc.constantFrom('alive', 'suspect', 'dead', 'gone')
  })
  fc.assert(
    fc.property(fc.array(stale, { maxLength: 30 }), (records) => {
      const node = new LoneNode({ self: { session: SELF } })

      for (const { own, rival, incarnation, state } of records) {
        const named = rival > 0 && rival < own ? { rival: session(rival) } : {}
        const old = record('self', { session: session(own), incarnation, ...named })
        node.hearNews('pa', update(old, state))
      }

      expect(node.told()).not.toContain('cloned')
      expect(node.state('self')).toBe('alive')
    }),
    { numRuns: 300 }
  )
})

test('restarts in a lossy mesh, with and without a remembered incarnation, are no clones', () => {
  const mesh = new SimulatedMesh({ seed: 4, config: membershipConfig('lan'), lossPercent: 10 })
  mesh.add('pa')
  for (let index = 1; index < 12; index++) mesh.add(`p${index}`, 'pa')
  mesh.run(100)

  for (let round = 0; round < 30; round++) {
    const name = `p${1 + (round % 4)}`
    mesh.crash(name, { isNoticed: round % 2 === 0 })
    mesh.run((round % 5) * 7)
    mesh.restart(name, round % 3 === 0 ? 'pa' : 'p9', round % 2 === 0 ? { incarnation: 1 } : {})
    mesh.run(10 + (round % 3) * 40)
  }
  mesh.lossPercent = 0

  mesh.runUntilConverged(600)
  expect(mesh.events.filter(({ event }) => event.kind === 'cloned')).toEqual([])
})
