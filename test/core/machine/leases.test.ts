import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { DAY_MS, MINUTE_MS } from '../../../src/base/units.ts'
import {
  EXPIRED_KEYS_PER_ENTRY,
  LEASE_KEYS_MAX,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN
} from '../../../src/core/machine/limits.ts'
import { LeaderClock, advance } from '../../../src/core/machine/machine-time.ts'
import { Shard, codeOf, text } from './shard.ts'

const HOUR_MS = 60 * MINUTE_MS

describe('leases', () => {
  it('delete their keys when they end, in one revision that those who watch see', () => {
    const shard = new Shard()
    const lease = shard.grant(10_000)
    shard.put('kv/a', '1', lease)
    shard.put('kv/b', '1', lease)
    shard.put('kv/c', '1')

    expect(shard.pass(9_999).changes).toEqual([])
    expect(shard.get('kv/a')).toBe('1')
    const { changes } = shard.pass(1)
    expect(changes.map(({ events }) => events.map(({ key }) => text(key)))).toEqual([
      ['kv/a', 'kv/b']
    ])
    expect(changes[0]?.events[0]).toMatchObject({ current: undefined, previous: { lease } })
    expect(shard.list('kv/')).toEqual(['kv/c=1'])
    expect(shard.machine.reads.lease(lease)).toBeUndefined()
    expect(codeOf(() => shard.keepAlive(lease))).toBe('not-found')
    expect(codeOf(() => shard.put('kv/a', '1', lease))).toBe('not-found')
    shard.check()
  })

  it('live on when they are renewed', () => {
    const shard = new Shard()
    const lease = shard.grant(10_000)
    shard.put('kv/a', '1', lease)
    for (let count = 0; count < 5; count++) {
      shard.pass(9_000)
      shard.keepAlive(lease)
      expect(shard.machine.reads.lease(lease)).toEqual({
        ttlMs: 10_000,
        leftMs: 10_000,
        keyCount: 1
      })
    }
    expect(shard.machine.dueMs).toBe(shard.nowMs + 10_000)
    shard.pass(10_000)
    expect(shard.get('kv/a')).toBeUndefined()
    expect(shard.machine.dueMs).toBeUndefined()
    shard.check()
  })

  it('an entry that comes when a lease is due finds it ended', () => {
    const shard = new Shard()
    const lease = shard.grant(1_000)
    shard.put('kv/a', '1', lease)
    shard.nowMs += 1_000
    expect(codeOf(() => shard.keepAlive(lease))).toBe('not-found')
    expect(shard.get('kv/a')).toBeUndefined()
  })

  it('a key goes with the lease of its last put alone', () => {
    const shard = new Shard()
    const first = shard.grant(5_000)
    const second = shard.grant(50_000)
    shard.put('kv/moved', '1', first)
    shard.put('kv/moved', '2', second)
    shard.put('kv/freed', '1', first)
    shard.put('kv/freed', '2')
    shard.put('kv/deleted', '1', first)
    shard.delete('kv/deleted')
    expect(shard.machine.reads.lease(first)?.keyCount).toBe(0)
    shard.check()
    shard.pass(5_000)
    expect(shard.list('kv/')).toEqual(['kv/freed=2', 'kv/moved=2'])
    shard.revoke(second)
    expect(shard.list('kv/')).toEqual(['kv/freed=2'])
    expect(codeOf(() => shard.revoke(second))).toBe('not-found')
    shard.check()
  })

  it('are of one space, and have bounds', () => {
    const shard = new Shard()
    const lease = shard.grant(5_000)
    const other = new Shard('other')
    const foreign = other.grant(5_000)
    expect(foreign).toBe(lease)
    for (const ttlMs of [0, LEASE_TTL_MS_MIN - 1, LEASE_TTL_MS_MAX + 1]) {
      expect(codeOf(() => shard.grant(ttlMs))).toBe('invalid-argument')
    }
    // Two spaces of one shard.
    Object.assign(shard, { space: 'kv2' })
    expect(codeOf(() => shard.put('kv2/a', '1', lease))).toBe('invalid-argument')
    expect(codeOf(() => shard.keepAlive(lease))).toBe('invalid-argument')
    expect(codeOf(() => shard.revoke(lease))).toBe('invalid-argument')
    Object.assign(shard, { space: '' })
    expect(codeOf(() => shard.grant(5_000))).toBe('invalid-argument')
    Object.assign(shard, { space: 'a/b' })
    expect(codeOf(() => shard.grant(5_000))).toBe('invalid-argument')

    Object.assign(shard, { space: 'kv' })
    for (let count = 0; count < LEASE_KEYS_MAX; count++) shard.put(`kv/${count}`, '', lease)
    expect(codeOf(() => shard.put('kv/more', '', lease))).toBe('overloaded')
    shard.put('kv/0', 'again', lease)
    expect(shard.pass(5_000).changes[0]?.events).toHaveLength(LEASE_KEYS_MAX)
    shard.check()
  })

  it('end by deadline and id, a bounded number with each entry', () => {
    const shard = new Shard()
    const count = 40
    const leases: number[] = []
    for (let index = 0; index < count; index++) {
      const lease = shard.grant(index % 2 === 0 ? 20_000 : 10_000)
      leases.push(lease)
      for (let key = 0; key < 50; key++) shard.put(`kv/${lease}/${key}`, '', lease)
    }
    const order: number[] = []
    shard.nowMs += DAY_MS / 2
    for (let entries = 0; order.length < count; entries++) {
      expect(entries).toBeLessThan(10)
      const { changes } = shard.pass(0)
      const keys = changes.reduce((sum, { events }) => sum + events.length, 0)
      expect(keys).toBeLessThanOrEqual(EXPIRED_KEYS_PER_ENTRY + 50)
      for (const { events } of changes) {
        order.push(Number(text(events[0]?.key ?? utf8('')).split('/')[1]))
      }
    }
    const early = leases.filter((_, index) => index % 2 === 1)
    const late = leases.filter((_, index) => index % 2 === 0)
    expect(order).toEqual([...early, ...late])
    expect(shard.machine.reads.meta.revision).toBe(count * 50 + count)
    shard.check()
  })

  it('that are due and wait for their turn may still be renewed', () => {
    const shard = new Shard()
    const leases = Array.from({ length: 30 }, () => shard.grant(10_000))
    for (const lease of leases) {
      for (let key = 0; key < 60; key++) shard.put(`kv/${lease}/${key}`, '', lease)
    }
    shard.pass(10_000)
    const last = leases.at(-1) as number
    expect(shard.machine.reads.lease(last)?.leftMs).toBe(0)
    shard.nowMs -= 10_000
    // Any entry goes on with what is due, even one whose stamp is behind.
    const left = shard.machine.reads.lease(last)
    expect(left).toBeDefined()
    shard.pass(0)
    expect(shard.machine.reads.lease(last)).toBeUndefined()
    shard.check()
  })
})

describe('the time of a shard', () => {
  it('never runs backwards, and no stamp uses it up', () => {
    const shard = new Shard()
    shard.pass(HOUR_MS)
    shard.nowMs = 0
    shard.pass(0)
    expect(shard.machine.timeMs).toBe(HOUR_MS)
    shard.nowMs = Number.MAX_SAFE_INTEGER
    shard.pass(0)
    expect(shard.machine.timeMs).toBe(HOUR_MS + DAY_MS)
    expect(advance(5, 4)).toBe(5)
    expect(advance(5, 6)).toBe(6)
    expect(advance(0, 2 ** 53 - 1)).toBe(DAY_MS)
  })

  it('goes on from where it was when another leads, whatever its clock says', () => {
    for (const jumpMs of [-HOUR_MS, 0, HOUR_MS, 365 * DAY_MS]) {
      const shard = new Shard()
      let monotonicMs = 1_000_000
      const clock = (): LeaderClock =>
        new LeaderClock({ machineTimeMs: shard.machine.timeMs, nowMs: monotonicMs })
      let leader = clock()
      const tick = (durationMs: number): void => {
        for (let passed = 0; passed < durationMs; passed += 500) {
          monotonicMs += 500
          shard.nowMs = leader.stampMs(monotonicMs)
        }
        shard.pass(0)
      }
      tick(3_000)
      const lease = shard.grant(10_000)
      tick(4_000)
      expect(shard.machine.reads.lease(lease)?.leftMs).toBe(6_000)

      // A machine whose clock has another zero takes over.
      monotonicMs += jumpMs
      leader = clock()
      tick(0)
      expect(shard.machine.reads.lease(lease)?.leftMs).toBe(6_000)
      tick(5_500)
      expect(shard.machine.reads.lease(lease)?.leftMs).toBe(500)
      tick(500)
      expect(shard.machine.reads.lease(lease)).toBeUndefined()
    }
  })

  it("a leader's clock that jumps while it leads, or a leader that slept, ends nothing", () => {
    const clock = new LeaderClock({ machineTimeMs: 100, nowMs: 0 })
    expect(clock.stampMs(1_000.5)).toBe(1_100)
    expect(clock.stampMs(1_000.5 + HOUR_MS)).toBe(3_100)
    expect(clock.stampMs(0)).toBe(3_100)
    expect(clock.stampMs(10)).toBe(3_110)
  })
})
