// Whole meshes: churn, loss and partitions, by seed.

import { expect, test } from 'vitest'
import { createRandom, pick, shuffle } from '../../../src/base/random.ts'
import { membershipConfig } from '../../../src/core/membership/config.ts'
import { SimulatedMesh } from './simulated-mesh.ts'

const LAN = membershipConfig('lan')

function name(index: number): string {
  return `p${String(index).padStart(3, '0')}`
}

/** 30 nodes, 30 more join, some leave and crash, a third is cut off for a while; 10 % loss. */
function runChurn(seed: number): { mesh: SimulatedMesh; live: string[]; gone: Set<string> } {
  const random = createRandom(seed * 7 + 1)
  const mesh = new SimulatedMesh({ seed, config: LAN, lossPercent: 10 })
  mesh.add(name(0))
  for (let index = 1; index < 30; index++) mesh.add(name(index), name(0))
  mesh.run(150)
  for (let index = 30; index < 60; index++) {
    mesh.add(name(index), name(random.below(30)))
    mesh.run(3)
  }
  mesh.run(150)

  const order = shuffle(
    random,
    Array.from({ length: 60 }, (_, index) => name(index))
  )
  const leaving = order.slice(0, 5)
  const crashing = order.slice(5, 12)
  for (const leaver of leaving) mesh.step(leaver, { kind: 'leave-begin' })
  mesh.run(20)
  for (const leaver of leaving) mesh.step(leaver, { kind: 'leave-end' })
  mesh.run(10)
  for (const leaver of leaving) mesh.crash(leaver)
  for (const [index, victim] of crashing.entries()) {
    mesh.crash(victim, { isNoticed: index % 2 === 0 })
  }
  mesh.run(100)

  const live = order.slice(12)
  mesh.cutOff(live.slice(0, 16))
  mesh.run(600)
  mesh.heal()
  const restarted = pick(random, crashing)
  mesh.restart(restarted, live[0] as string)
  live.push(restarted)
  mesh.run(300)
  mesh.lossPercent = 0
  const gone = new Set(
    mesh.events.flatMap(({ event }) => (event.kind === 'gone' ? [event.member.record.name] : []))
  )
  return { mesh, live, gone }
}

test.each([1, 2, 3, 4])('60 nodes with churn, loss and a partition converge, seed %i', (seed) => {
  const { mesh, live, gone } = runChurn(seed)

  const ticks = mesh.runUntilConverged(600)
  // All agree on who is alive. Who lost an accusation and its refutation both still holds an older
  // incarnation, until its next table exchange: 45 s later at most.
  mesh.run(460)

  expect(mesh.running().toSorted()).toEqual(live.toSorted())
  expect(gone.size).toBe(0)
  const tables = new Set(
    live.map((id) =>
      JSON.stringify(
        mesh
          .machine(id)
          .members()
          .map(({ record, state }) => ({ record, state }))
      )
    )
  )
  expect(tables.size).toBe(1)
  expect(ticks).toBeLessThan(600)
  const clones = mesh.events.filter(({ event }) => event.kind === 'cloned')
  expect(clones).toEqual([])
})

test('the same seed gives the same trace, and another seed another', () => {
  const [first, again, other] = [5, 5, 6].map((seed) => runChurn(seed).mesh.traceHash)

  expect(again).toBe(first)
  expect(other).not.toBe(first)
})

test('after a partition longer than the grace the majority has moved on, and all come back', () => {
  const config = membershipConfig('lan', { graceTicks: 600 })
  const mesh = new SimulatedMesh({ seed: 8, config, lossPercent: 5 })
  const names = Array.from({ length: 9 }, (_, index) => name(index))
  for (const one of names) mesh.add(one, one === names[0] ? undefined : names[0])
  mesh.run(100)

  mesh.cutOff(names.slice(0, 4))
  mesh.run(1_500)
  const gone = names.map((one) => mesh.machine(one).count('gone'))
  mesh.heal()
  const ticks = mesh.runUntilConverged(600)

  expect(gone).toEqual([0, 0, 0, 0, 4, 4, 4, 4, 4])
  expect(ticks).toBeLessThan(300)
  for (const one of names.slice(0, 4)) expect(mesh.machine(one).self().revision).toBeGreaterThan(1)
  // Nobody of the majority was ever gone to the minority, not even for a moment after the heal.
  const wronged = mesh.events.flatMap(({ event }) =>
    event.kind === 'gone' ? [event.member.record.name] : []
  )
  expect([...new Set(wronged)].toSorted()).toEqual(names.slice(0, 4))
})

test('either half of an even split waits for ever', () => {
  const config = membershipConfig('lan', { graceTicks: 300 })
  const mesh = new SimulatedMesh({ seed: 8, config })
  const names = Array.from({ length: 6 }, (_, index) => name(index))
  for (const one of names) mesh.add(one, one === names[0] ? undefined : names[0])
  mesh.run(100)

  mesh.cutOff(names.slice(0, 3))
  mesh.run(3_000)

  expect(names.map((one) => mesh.machine(one).count('dead'))).toEqual([3, 3, 3, 3, 3, 3])
  expect(mesh.events.filter(({ event }) => event.kind === 'gone')).toEqual([])
})

test('a lossy mesh accuses often and buries nobody', () => {
  const mesh = new SimulatedMesh({ seed: 9, config: LAN, lossPercent: 15 })
  for (let index = 0; index < 40; index++) mesh.add(name(index), index === 0 ? undefined : name(0))

  mesh.run(1_800)

  const count = (kind: string): number =>
    mesh.events.filter(({ event }) => event.kind === kind).length
  expect(count('suspected')).toBeGreaterThan(100)
  expect(count('dead')).toBe(0)
})

test('200 nodes for three minutes: joined, converged, and quiet when idle', () => {
  const mesh = new SimulatedMesh({ seed: 2, config: LAN, checkEvery: 0 })
  for (let index = 0; index < 200; index++) mesh.add(name(index), index === 0 ? undefined : name(0))

  const joined = mesh.runUntilConverged(300)
  mesh.run(600)
  const messages = mesh.messageCount
  mesh.run(1_200 - joined)
  const perNodeSecond = (mesh.messageCount - messages) / 200 / ((1_200 - joined) / 10)

  expect(joined).toBeLessThan(200)
  // A ping and an ack a second; the rest is table exchanges.
  expect(perNodeSecond).toBeLessThan(2.2)
})
