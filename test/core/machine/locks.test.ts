import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { decode } from '../../../src/core/machine/codec.ts'
import { LOCK_NAME_BYTES_MAX, LOCK_WAITERS_MAX } from '../../../src/core/machine/limits.ts'
import { lockHolderCodec, queueSpan, ticketOf } from '../../../src/core/machine/locks.ts'
import type { LockHolder } from '../../../src/core/machine/locks.ts'
import { QUOTA_BYTES_MIN } from '../../../src/core/machine/limits.ts'
import { spanOfPrefix } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import { Shard, codeOf } from './shard.ts'

const LOCK = 'kv/lock'

function holder(shard: Shard, name = LOCK): (LockHolder & { lease: number }) | undefined {
  const { entry } = shard.machine.reads.get({ area: AREAS.lock, key: utf8(name) })
  if (entry === undefined) return undefined
  return { ...decode(lockHolderCodec, entry.value), lease: entry.lease }
}

function queue(shard: Shard, name = LOCK): number[] {
  const span = queueSpan(utf8(name))
  const { entries } = shard.machine.reads.range({ area: AREAS['lock-queue'], ...span })
  return entries.map(({ key }) => ticketOf(key))
}

describe('locks', () => {
  it('are granted at once when free, and in the order of asking when not', () => {
    const shard = new Shard()
    const [a, b, c] = [shard.grant(5_000), shard.grant(5_000), shard.grant(5_000)]
    const first = shard.acquire(LOCK, a)
    const second = shard.acquire(LOCK, b)
    const third = shard.acquire(LOCK, c)
    expect(first).toMatchObject({ state: 'granted', ticket: first.token })
    expect(second).toMatchObject({ state: 'waiting', token: first.token })
    expect(third.ticket).toBeGreaterThan(second.ticket)
    expect(queue(shard)).toEqual([second.ticket, third.ticket])

    shard.release(LOCK, first.token)
    const next = holder(shard)
    expect(next).toMatchObject({ ticket: second.ticket, lease: b, owner: utf8(`lease ${b}`) })
    expect(next?.token).toBeGreaterThan(first.token)
    shard.check()
    shard.release(LOCK, next?.token ?? 0)
    expect(holder(shard)?.ticket).toBe(third.ticket)
    shard.release(LOCK, holder(shard)?.token ?? 0)
    expect(holder(shard)).toBeUndefined()
    expect(queue(shard)).toEqual([])
    shard.check()
  })

  it('whoever only tries gets it or is told', () => {
    const shard = new Shard()
    const [a, b] = [shard.grant(5_000), shard.grant(5_000)]
    const { token } = shard.acquire(LOCK, a, false)
    expect(shard.acquire(LOCK, b, false)).toEqual({ state: 'held', ticket: 0, token })
    expect(queue(shard)).toEqual([])
    shard.release(LOCK, token)
    expect(shard.acquire(LOCK, b, false).state).toBe('granted')
  })

  it('pass on when the lease of the holder ends, in the same entry, and watchers see it', () => {
    const shard = new Shard()
    const [a, b] = [shard.grant(5_000), shard.grant(50_000)]
    const first = shard.acquire(LOCK, a)
    const second = shard.acquire(LOCK, b)
    const { revision } = shard.machine.reads.meta

    const { changes } = shard.pass(5_000)
    expect(holder(shard)).toMatchObject({ ticket: second.ticket, token: revision + 1 })
    expect(changes).toHaveLength(1)
    expect(codeOf(() => shard.release(LOCK, first.token))).toBe('not-found')

    const span = spanOfPrefix(utf8('kv/'))
    const seen = shard.machine.reads.changesSince({
      area: AREAS.lock,
      ...span,
      revision: revision + 1
    })
    const [event] = seen.revisions[0]?.events ?? []
    expect(decode(lockHolderCodec, event?.current?.value ?? utf8('')).ticket).toBe(second.ticket)
    expect(event?.previous?.lease).toBe(a)
    shard.check()
  })

  it('who waits leaves the queue when its lease ends or it cancels', () => {
    const shard = new Shard()
    const [a, b, c, d] = [5, 1, 5, 5].map((seconds) => shard.grant(seconds * 1_000))
    const first = shard.acquire(LOCK, a as number)
    shard.acquire(LOCK, b as number)
    const third = shard.acquire(LOCK, c as number)
    const fourth = shard.acquire(LOCK, d as number)
    shard.pass(1_000)
    expect(queue(shard)).toEqual([third.ticket, fourth.ticket])
    expect(shard.cancel(LOCK, third.ticket)).toBe('waiting')
    expect(shard.cancel(LOCK, third.ticket)).toBe('gone')
    expect(queue(shard)).toEqual([fourth.ticket])
    // Granted meanwhile: what was asked for is given back.
    shard.release(LOCK, first.token)
    expect(shard.cancel(LOCK, fourth.ticket)).toBe('holding')
    expect(holder(shard)).toBeUndefined()
    shard.check()
  })

  it('one lease may hold and wait; when it ends all of it goes, and others get it', () => {
    const shard = new Shard()
    const [a, b] = [shard.grant(5_000), shard.grant(50_000)]
    shard.acquire(LOCK, a)
    shard.acquire(LOCK, a)
    const other = shard.acquire(LOCK, b)
    shard.acquire(LOCK, a)
    shard.acquire('kv/second', a)
    const waits = shard.acquire('kv/second', b)
    shard.check()
    const { changes } = shard.pass(5_000)
    expect(changes).toHaveLength(1)
    expect(holder(shard)).toMatchObject({ ticket: other.ticket, lease: b })
    expect(holder(shard, 'kv/second')).toMatchObject({ ticket: waits.ticket, lease: b })
    expect(queue(shard)).toEqual([])
    shard.check()
    shard.revoke(b)
    expect(holder(shard)).toBeUndefined()
    shard.check()
  })

  it('have names and a bound for those who wait', () => {
    const shard = new Shard()
    const lease = shard.grant(5_000)
    for (const name of ['', 'kv', 'kv/', '/a', 'kv/a\0b', 'other/a']) {
      expect([name, codeOf(() => shard.acquire(name, lease))]).toEqual([name, 'invalid-argument'])
    }
    const long = `kv/${'n'.repeat(LOCK_NAME_BYTES_MAX)}`
    expect(codeOf(() => shard.acquire(long, lease))).toBe('too-large')
    expect(codeOf(() => shard.acquire(LOCK, 0))).toBe('invalid-argument')
    expect(codeOf(() => shard.acquire(LOCK, 999))).toBe('not-found')
    expect(codeOf(() => shard.release(LOCK, 1))).toBe('not-found')

    const many = [lease, shard.grant(5_000), shard.grant(5_000)]
    for (let count = 0; count <= LOCK_WAITERS_MAX; count++) {
      shard.acquire(LOCK, many[count % 2] as number)
    }
    expect(codeOf(() => shard.acquire(LOCK, many[2] as number))).toBe('overloaded')
    expect(shard.acquire(LOCK, many[2] as number, false).state).toBe('held')
    shard.check()
    const { changes } = shard.pass(5_000)
    expect(changes).toHaveLength(2)
    expect(queue(shard)).toEqual([])
    expect(holder(shard)).toBeUndefined()
    shard.check()
  })

  it('names that begin alike are locks of their own', () => {
    const shard = new Shard()
    const lease = shard.grant(5_000)
    for (const name of ['kv/a', 'kv/ab', 'kv/a/b', 'kv/a0']) {
      expect(shard.acquire(name, lease).state).toBe('granted')
      expect(shard.acquire(name, lease).state).toBe('waiting')
    }
    expect(queue(shard, 'kv/a')).toHaveLength(1)
    shard.release('kv/a', holder(shard, 'kv/a')?.token ?? 0)
    expect(queue(shard, 'kv/a')).toHaveLength(0)
    expect(queue(shard, 'kv/ab')).toHaveLength(1)
    shard.check()
  })

  it('are given back and passed on when the quota is used up', () => {
    const shard = new Shard()
    const [a, b] = [shard.grant(50_000), shard.grant(50_000)]
    const first = shard.acquire(LOCK, a)
    const second = shard.acquire(LOCK, b)
    shard.configure({ quotaBytes: QUOTA_BYTES_MIN })
    expect(codeOf(() => shard.put('kv/big', 'x'.repeat(QUOTA_BYTES_MIN)))).toBe('quota-exceeded')
    shard.put('kv/big', 'x'.repeat(QUOTA_BYTES_MIN - 1_200))
    let code: string | undefined
    while (code === undefined) code = codeOf(() => shard.acquire('kv/other', a))
    expect(code).toBe('quota-exceeded')
    for (let size = 300; size >= 0; size--) {
      codeOf(() => shard.put(`kv/${size}`, 'x'.repeat(size)))
    }
    expect(QUOTA_BYTES_MIN - shard.machine.reads.meta.usedBytes).toBeLessThan(50)
    shard.release(LOCK, first.token)
    expect(holder(shard)?.ticket).toBe(second.ticket)
    shard.check()
  })

  it('whatever happens: one holder, in order, and tokens only grow', () => {
    const step = fc.oneof(
      {
        weight: 5,
        arbitrary: fc.record({
          kind: fc.constant('acquire' as const),
          lease: fc.nat(3),
          isWaiting: fc.boolean()
        })
      },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('release' as const) }) },
      {
        weight: 2,
        arbitrary: fc.record({ kind: fc.constant('cancel' as const), ticket: fc.nat(20) })
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('pass' as const), durationMs: fc.nat(1_500) })
      },
      {
        weight: 3,
        arbitrary: fc.record({ kind: fc.constant('renew' as const), lease: fc.nat(3) })
      },
      {
        weight: 1,
        arbitrary: fc.record({ kind: fc.constant('revoke' as const), lease: fc.nat(3) })
      }
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        const shard = new Shard()
        const leases = Array.from({ length: 4 }, (_, at) => shard.grant(1_000 + 500 * at))
        const tickets: number[] = []
        /** What a queue would do: [ticket, lease], the holder first. */
        let expected: [number, number][] = []
        let lastToken = 0
        const alive = (id: number): boolean => shard.machine.reads.lease(id) !== undefined
        const renewed = (at: number): number => {
          const id = leases[at] as number
          if (alive(id)) return id
          return (leases[at] = shard.grant(1_000 + 500 * at))
        }
        for (const step of steps) {
          const before = holder(shard)
          if (step.kind === 'acquire') {
            const lease = renewed(step.lease)
            const { state, ticket, token } = shard.acquire(LOCK, lease, step.isWaiting)
            expect(state === 'granted').toBe(before === undefined)
            if (before !== undefined) expect(token).toBe(before.token)
            if (state !== 'held') {
              tickets.push(ticket)
              expected.push([ticket, lease])
            }
          } else if (step.kind === 'release') {
            if (before !== undefined) shard.release(LOCK, before.token)
            else expect(codeOf(() => shard.release(LOCK, lastToken))).toBe('not-found')
            expected.shift()
          } else if (step.kind === 'cancel') {
            const ticket = tickets[step.ticket % Math.max(tickets.length, 1)] ?? 1
            const at = expected.findIndex(([other]) => other === ticket)
            expect(shard.cancel(LOCK, ticket)).toBe(
              at < 0 ? 'gone' : at === 0 ? 'holding' : 'waiting'
            )
            if (at >= 0) expected.splice(at, 1)
          } else if (step.kind === 'pass') shard.pass(step.durationMs)
          else if (step.kind === 'renew') shard.keepAlive(renewed(step.lease))
          else shard.revoke(renewed(step.lease))
          expected = expected.filter(([, lease]) => alive(lease))
          const now = holder(shard)
          expect([now?.ticket ?? 0, ...queue(shard)]).toEqual(
            expected.length === 0 ? [0] : expected.map(([ticket]) => ticket)
          )
          if (now !== undefined && now.ticket !== before?.ticket) {
            expect(now.token).toBeGreaterThan(lastToken)
          }
          lastToken = now?.token ?? lastToken
        }
        shard.check()
      }),
      { numRuns: 150 }
    )
  })
})
