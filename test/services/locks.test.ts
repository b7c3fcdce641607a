// Locks over shards in this process, on virtual time.

import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { sleep } from '../../src/base/clock.ts'
import type { Clock, Timer } from '../../src/base/clock.ts'
import { MeshError, isMeshError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { decode } from '../../src/core/machine/codec.ts'
import { lockHolderCodec, queueSpan } from '../../src/core/machine/locks.ts'
import { REVOKE } from '../../src/core/machine/own-operations.ts'
import { AREAS } from '../../src/core/machine/state-keys.ts'
import { Locks } from '../../src/services/locks/locks.ts'
import type { Lock } from '../../src/services/locks/locks.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { LocalShards } from './local-shards.ts'
import type { Fault } from './local-shards.ts'

let clock: VirtualClock
let shards: LocalShards
let locks: Locks

beforeEach(() => {
  clock = new VirtualClock()
  shards = new LocalShards(clock)
  locks = new Locks({ shards, clock, log: silentLogger })
})

afterEach(async () => {
  await clock.run(locks.stop())
  shards.stop()
})

const SPACE = utf8('jobs')
const NAME = utf8('jobs/a')

/** @returns who holds the lock by the shard itself. */
function tokenOf(held: LocalShards): number | undefined {
  const { entry } = held.machine({ space: SPACE }).reads.get({ area: AREAS.lock, key: NAME })
  return entry === undefined ? undefined : decode(lockHolderCodec, entry.value).token
}

function waiterCount(): number {
  const { reads } = shards.machine({ space: SPACE })
  return reads.range({ area: AREAS['lock-queue'], ...queueSpan(NAME) }).entries.length
}

describe('acquire', () => {
  it('gives the lock to those who wait in the order in which they came; tokens grow', async () => {
    const first = await locks.acquire('jobs/a', { owner: 'first' })
    const order: string[] = []
    const tokens: number[] = [first.token]
    const waiting: Promise<void>[] = []
    for (const name of ['b', 'c', 'd']) {
      waiting.push(
        (async () => {
          await using lock = await locks.acquire('jobs/a', { owner: name })
          order.push(name)
          tokens.push(lock.token)
        })()
      )
      await clock.advance(1_000)
    }
    expect(order).toEqual([])
    expect(waiterCount()).toBe(3)
    expect(await locks.holder('jobs/a')).toEqual({ owner: 'first', token: first.token })

    await first.release()
    await first.release()
    await clock.run(Promise.all(waiting))

    expect(order).toEqual(['b', 'c', 'd'])
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b))
    expect(new Set(tokens).size).toBe(4)
    expect(await locks.holder('jobs/a')).toBeUndefined()
    expect([first.lost.aborted, first.isHeld]).toEqual([false, false])
  })

  it('holds it as long as it takes, with or without lost answers', async () => {
    let count = 0
    const lock = await locks.acquire('jobs/a', { ttlMs: 3_000 })
    shards.faults = (name) => {
      if (!name.startsWith('lease.')) return undefined
      return (['lost-answer', 'twice', undefined] as const)[count++ % 3]
    }
    await clock.advance(600_000)
    expect(lock.lost.aborted).toBe(false)
    expect(tokenOf(shards)).toBe(lock.token)
  })

  it('a name without a slash is in the space "locks"', async () => {
    const lock = await locks.acquire('a')
    expect(lock.name).toBe('a')
    expect(await locks.tryAcquire('locks/a')).toBeUndefined()
  })

  it('who cancels leaves the queue, and is never given the lock', async () => {
    const first = await locks.acquire('jobs/a')
    const controller = new AbortController()
    const cancelled = locks.acquire('jobs/a', { signal: controller.signal })
    await clock.advance(1_000)
    const last = locks.acquire('jobs/a')
    await clock.advance(1_000)
    expect(waiterCount()).toBe(2)

    controller.abort(new MeshError('aborted', 'changed my mind'))
    await expect(cancelled).rejects.toThrow('changed my mind')
    await clock.advance(1_000)
    expect(waiterCount()).toBe(1)
    await first.release()
    const { token } = await clock.run(last)
    expect(token).toBe(tokenOf(shards))
  })

  it('a cancelled request whose answer is under way holds nothing afterwards', async () => {
    shards.latencyMs = () => 500
    for (const cancelMs of [100, 600, 1_100, 1_600, 1_900]) {
      const controller = new AbortController()
      const acquiring = locks.acquire('jobs/a', { signal: controller.signal })
      const ended = acquiring.then(
        () => 'held',
        () => 'cancelled'
      )
      await clock.advance(cancelMs)
      controller.abort()
      expect(await clock.run(ended)).toBe('cancelled')
      await clock.advance(2_500)
      expect([cancelMs, tokenOf(shards)]).toEqual([cancelMs, undefined])
    }
  })

  it('gives up after its time, and says so', async () => {
    await using _ = await locks.acquire('jobs/a')
    const late = locks.acquire('jobs/a', { timeoutMs: 5_000 })
    const refused = expect(clock.run(late)).rejects.toMatchObject({
      code: 'timeout',
      message: 'Cannot take lock "jobs/a": it was not free within 5000 ms'
    })
    await refused
    await clock.advance(100)
    expect(waiterCount()).toBe(0)
  })

  it('a request whose answer is lost leaves nothing behind', async () => {
    shards.faults = (name) => (name === 'lock.acquire' ? 'lost-answer' : undefined)
    await expect(clock.run(locks.acquire('jobs/a'))).rejects.toMatchObject({ code: 'timeout' })
    shards.faults = () => undefined
    await clock.advance(100)
    expect(tokenOf(shards)).toBeUndefined()
    expect(await locks.tryAcquire('jobs/a')).toBeDefined()
  })

  it('who waits keeps its place while nobody leads, for longer than its time to live', async () => {
    const first = await locks.acquire('jobs/a', { ttlMs: 600_000 })
    const second = locks.acquire('jobs/a', { ttlMs: 2_000 })
    await clock.advance(1_000)
    shards.isDown = true
    await clock.advance(60_000)
    shards.isDown = false
    const third = locks.acquire('jobs/a')
    await clock.advance(1_000)
    await first.release()
    const lock = await clock.run(second)
    expect(tokenOf(shards)).toBe(lock.token)
    await lock.release()
    expect((await clock.run(third)).token).toBeGreaterThan(lock.token)
  })

  it('whose lease ended while it waited queues up again', async () => {
    const first = await locks.acquire('jobs/a', { ttlMs: 600_000 })
    const waiting = locks.acquire('jobs/a', { ttlMs: 2_000 })
    await clock.advance(500)
    shards.faults = (name) => (name === 'lease.keepAlive' ? 'lost-request' : undefined)
    await clock.advance(10_000)
    expect(waiterCount()).toBe(0)
    shards.faults = () => undefined
    await clock.advance(5_000)
    expect(waiterCount()).toBe(1)
    await first.release()
    expect((await clock.run(waiting)).isHeld).toBe(true)
  })

  it.each([true, false])('hears of its turn also when it missed much: %s', async (isIn) => {
    shards.configure({ retainCountMin: 1, retainCountMax: 2, retainMs: 0 })
    const first = await locks.acquire('jobs/a')
    const waiting = locks.acquire('jobs/a')
    await clock.advance(1_000)
    shards.faults = (name) =>
      name === 'state.changes' ? new MeshError('unreachable', 'for a while') : undefined
    await clock.advance(40_000)
    if (isIn) await first.release()
    for (let index = 0; index < 10; index++) await (await locks.acquire(`jobs/${index}x`)).release()
    shards.faults = () => undefined
    await clock.advance(1_000)
    await first.release()
    const lock = await clock.run(waiting, 5_000)
    expect(tokenOf(shards)).toBe(lock.token)
  })
})

describe('tryAcquire', () => {
  it('takes a free lock, and writes nothing for one that is held', async () => {
    const lock = await locks.tryAcquire('jobs/a', { owner: 'me' })
    const before = shards.machine({ space: SPACE }).index
    expect(await locks.tryAcquire('jobs/a')).toBeUndefined()
    expect(shards.machine({ space: SPACE }).index).toBe(before)
    await lock?.release()
    expect(await locks.tryAcquire('jobs/a')).toBeDefined()
  })

  it('of two at once one has it, and nothing waits', async () => {
    shards.latencyMs = () => 50
    const both = await clock.run(
      Promise.all([locks.tryAcquire('jobs/a'), locks.tryAcquire('jobs/a')])
    )
    expect(both.filter((lock) => lock !== undefined)).toHaveLength(1)
    expect(waiterCount()).toBe(0)
  })
})

describe('a lock that is lost', () => {
  it('tells its holder before anybody else has it, and is not there to be released', async () => {
    const lock = await locks.acquire('jobs/a', { ttlMs: 2_000 })
    const other = new Locks({ shards, clock, log: silentLogger })
    const next = other.acquire('jobs/a')
    await clock.advance(500)
    let tokenThen: number | undefined
    lock.lost.addEventListener('abort', () => {
      tokenThen = tokenOf(shards)
    })
    shards.faults = (name) => (name === 'lease.keepAlive' ? 'lost-request' : undefined)

    await clock.advance(4_000)

    expect(tokenThen).toBe(lock.token)
    expect(lock.lost.reason).toMatchObject({ code: 'timeout' })
    expect(lock.isHeld).toBe(false)
    await lock.release()
    shards.faults = () => undefined
    expect((await clock.run(next)).token).toBeGreaterThan(lock.token)
    await clock.run(other.stop())
  })

  it('release() says so when the holder had not been told', async () => {
    const lock = await locks.acquire('jobs/a', { ttlMs: 60_000 })
    const { lease } = shards.machine({ space: SPACE }).reads.get({ area: AREAS.lock, key: NAME })
      .entry as { lease: number }
    await shards.execute({ space: SPACE }, REVOKE, { lease })
    await expect(lock.release()).rejects.toMatchObject({ code: 'not-found' })
    expect(lock.lost.aborted).toBe(true)
  })

  it('stop() tells holders and those who wait, and leaves neither lock nor timer', async () => {
    const lock = await locks.acquire('jobs/a', { ttlMs: 60_000 })
    const waiting = locks.acquire('jobs/a')
    await clock.advance(1_000)
    const stopping = locks.stop()
    await expect(waiting).rejects.toMatchObject({ code: 'stopped' })
    await clock.run(stopping)
    expect(lock.lost.reason).toMatchObject({ code: 'stopped' })
    expect(tokenOf(shards)).toBeUndefined()
    const calls = shards.calls.length
    await clock.advance(600_000)
    expect(shards.calls.length).toBe(calls)
  })
})

/** A holder's clock: it stands still while its process is stopped, and may run slow. */
class HolderClock implements Clock {
  readonly #clock: VirtualClock
  /** How much slower than the shard's, in thousandths. */
  readonly #slow: number

  constructor(clock: VirtualClock, slow: number) {
    this.#clock = clock
    this.#slow = slow
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs() * (1 - this.#slow / 1_000)
  }

  nowMs(): number {
    return this.#clock.nowMs()
  }

  after(delayMs: number, run: () => void): Timer {
    return this.#clock.after(delayMs / (1 - this.#slow / 1_000), run)
  }
}

describe('over random pauses, losses and delays', () => {
  const fault = fc.constantFrom(
    undefined,
    undefined,
    undefined,
    'lost-answer',
    'lost-request',
    'twice'
  )
  const plan = fc.record({
    faults: fc.array(fault, { maxLength: 60 }),
    latencies: fc.array(fc.integer({ min: 0, max: 700 }), { minLength: 1, maxLength: 30 }),
    pauses: fc.array(
      fc.record({
        upMs: fc.integer({ min: 1, max: 4_000 }),
        downMs: fc.integer({ min: 1, max: 5_000 })
      }),
      { maxLength: 6 }
    ),
    slow: fc.integer({ min: 0, max: 9 })
  })

  it('nobody gets a lock while another believes to have it; tokens only grow', async () => {
    let heldCount = 0
    let lostCount = 0
    await fc.assert(
      fc.asyncProperty(plan, async (drawn) => {
        const { held, lost, violations } = await contention(drawn)
        heldCount += held
        lostCount += lost
        expect(violations).toEqual([])
      }),
      { numRuns: 60 }
    )
    // The drawn faults are neither harmless nor deadly.
    expect(heldCount).toBeGreaterThan(200)
    expect(lostCount).toBeGreaterThan(50)
  })
})

type Plan = {
  faults: readonly (Fault | undefined)[]
  latencies: readonly number[]
  pauses: readonly { upMs: number; downMs: number }[]
  slow: number
}

/** Three want one lock for 1.5 s each, with a time to live of 1 s. */
async function contention({ faults, latencies, pauses, slow }: Plan): Promise<{
  held: number
  lost: number
  violations: string[]
}> {
  const clock = new VirtualClock()
  const shards = new LocalShards(clock, 1)
  let call = 0
  shards.faults = () => faults[call++ % Math.max(1, faults.length)]
  let answer = 0
  shards.latencyMs = () => latencies[answer++ % latencies.length] as number
  const stopping = new AbortController()
  const violations: string[] = []
  const holders = new Set<Lock>()
  let lastToken = 0
  let held = 0
  let lost = 0
  const use = async (lock: Lock): Promise<void> => {
    if ([...holders].some(({ isHeld }) => isHeld)) violations.push(`two hold it: ${lock.token}`)
    if (lock.token <= lastToken) violations.push(`token ${lock.token} follows ${lastToken}`)
    lastToken = lock.token
    held += 1
    holders.add(lock)
    const endMs = clock.monotonicMs() + 1_500
    while (lock.isHeld && clock.monotonicMs() < endMs) {
      if (tokenOf(shards) !== lock.token) violations.push(`${lock.token} isn't held any more`)
      await sleep(clock, 37)
    }
    if (lock.lost.aborted) lost += 1
    holders.delete(lock)
    await lock.release({ timeoutMs: 2_000 })
  }
  const contend = async (slowness: number): Promise<void> => {
    const own = new HolderClock(clock, slowness)
    const locks = new Locks({ shards, clock: own, log: silentLogger })
    while (!stopping.signal.aborted) {
      try {
        await use(await locks.acquire('jobs/a', { ttlMs: 1_000, signal: stopping.signal }))
      } catch (error) {
        if (!isMeshError(error)) throw error
        await sleep(clock, 100)
      }
    }
    await locks.stop()
  }
  const all = Promise.all([contend(0), contend(slow), contend(slow)])
  for (const { upMs, downMs } of pauses) {
    await clock.advance(upMs)
    shards.isDown = true
    await clock.advance(downMs)
    shards.isDown = false
  }
  await clock.advance(20_000)
  stopping.abort(new MeshError('aborted', 'enough'))
  await clock.run(all)
  shards.stop()
  return { held, lost, violations }
}
