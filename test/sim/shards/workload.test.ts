import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MeshError } from '../../../src/base/errors.ts'
import { createRandom } from '../../../src/base/random.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { LocalShards } from '../../services/local-shards.ts'
import type { Fault } from '../../services/local-shards.ts'
import { operationsOf } from '../checkers/history.ts'
import { ShardWorkload } from './workload.ts'

const SEED = 5

let clock: VirtualClock
const made: LocalShards[] = []

beforeEach(() => {
  clock = new VirtualClock()
})

afterEach(() => {
  for (const shards of made.splice(0)) shards.stop()
})

/** Shards whose answers take a while, each another one. */
function slowShards(): LocalShards {
  const shards = new LocalShards(clock)
  const random = createRandom(SEED)
  shards.latencyMs = () => 1 + random.below(20)
  made.push(shards)
  return shards
}

async function run(
  shardsOf: (client: number) => Shards,
  seconds: number,
  trouble: (second: number) => void = () => undefined
): Promise<ShardWorkload> {
  const workload = new ShardWorkload({ seed: SEED, clock, shardsOf })
  workload.start()
  for (let second = 0; second < seconds; second++) {
    trouble(second)
    await clock.advance(1_000)
  }
  await clock.run(workload.stop())
  return workload
}

describe('the workload', () => {
  it('is much, of every kind, and right where the shards are right', async () => {
    const shards = slowShards()
    const workload = await run(() => shards, 20)
    expect(workload.problems()).toEqual([])
    expect(workload.counts.ok).toBeGreaterThan(2_000)
    const kinds = [...workload.kv.events, ...workload.locks.events].map((event) =>
      event.event === 'begin' ? (event.input as { kind: string }).kind : ''
    )
    for (const kind of ['read', 'write', 'delete', 'cas', 'cas-version']) {
      expect(kinds.filter((other) => other === kind).length, kind).toBeGreaterThan(50)
    }
    for (const kind of ['try-acquire', 'held', 'release', 'expire']) {
      expect(kinds.filter((other) => other === kind).length, kind).toBeGreaterThan(1)
    }
  })

  it('is the same for the same seed', async () => {
    const shards = slowShards()
    const first = await run(() => shards, 3)
    clock = new VirtualClock()
    const again = slowShards()
    const second = await run(() => again, 3)
    expect(second.kv.toJsonLines()).toBe(first.kv.toJsonLines())
    expect(second.locks.toJsonLines()).toBe(first.locks.toJsonLines())
  })

  it('stays right when answers are lost, calls come twice and nobody leads for a while', async () => {
    const shards = slowShards()
    const random = createRandom(SEED + 1)
    const faults: (Fault | undefined)[] = [
      'lost-request',
      'lost-answer',
      'twice',
      new MeshError('overloaded', 'Too much waits')
    ]
    shards.faults = () => faults[random.below(100)]
    const workload = await run(
      () => shards,
      30,
      (second) => (shards.isDown = second % 10 > 6)
    )
    expect(workload.problems()).toEqual([])
    expect(workload.counts.unknown).toBeGreaterThan(50)
    expect(workload.counts.ok).toBeGreaterThan(1_000)
  })

  it('takes another key after so many operations, or so many that nobody knows of', async () => {
    const shards = slowShards()
    const options = { keys: 1, operationsPerKeyMax: 30, unknownsPerKeyMax: 3, lockClients: 0 }
    const workload = new ShardWorkload({ seed: SEED, clock, shardsOf: () => shards, options })
    workload.start()
    await clock.advance(5_000)
    shards.isDown = true
    await clock.advance(20_000)
    shards.isDown = false
    await clock.run(workload.stop())
    const operations = operationsOf(workload.kv.events)
    const keys = [...Map.groupBy(operations, ({ key }) => key).values()]
    expect(keys.length).toBeGreaterThan(10)
    expect(Math.max(...keys.map(({ length }) => length))).toBe(30)
    const unknowns = keys.map((ofKey) => ofKey.filter(({ output }) => output === undefined).length)
    // With the one of each client that was under way.
    expect(Math.max(...unknowns)).toBeLessThanOrEqual(3 + 6)
    expect(Math.max(...unknowns)).toBeGreaterThanOrEqual(3)
  })
})

describe('the workload finds', () => {
  it('reads of the past', async () => {
    const shards = slowShards()
    const stale: Shards = {
      count: shards.count,
      shardOf: (space) => shards.shardOf(space),
      execute: (target, operation, args, options) =>
        shards.execute(target, operation, args, options),
      query: (target, query, args, options) =>
        shards.query(target, query, args, { ...options, isStale: true }),
      changes: (target, query, options) => shards.changes(target, query, options)
    }
    const workload = await run(
      () => stale,
      5,
      (second) => {
        if (second === 1) shards.freezeStale()
      }
    )
    expect(workload.problems()[0]).toContain('read → ')
  })

  it('two groups that both take themselves for the shard', async () => {
    const sides = [slowShards(), slowShards()] as const
    const workload = await run((client) => sides[client % 2 === 0 ? 0 : 1], 20)
    const problems = workload.problems()
    expect(problems.some((problem) => problem.startsWith('space-'))).toBe(true)
    expect(problems.some((problem) => problem.includes('hold it from'))).toBe(true)
  })

  it('acknowledged writes that are gone', async () => {
    const before = slowShards()
    const after = slowShards()
    let current = before
    const workload = await run(
      () => current,
      6,
      (second) => (current = second < 3 ? before : after)
    )
    expect(workload.problems().some((problem) => problem.startsWith('space-'))).toBe(true)
  })
})
