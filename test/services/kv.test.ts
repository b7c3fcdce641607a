// The key-value service over shards in this process, on virtual time.

import { afterEach, beforeEach, describe, expect, expectTypeOf, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { MeshError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { REVOKE } from '../../src/core/machine/own-operations.ts'
import type { KvEntry } from '../../src/services/kv/entry.ts'
import { Kv } from '../../src/services/kv/kv.ts'
import { compare, op } from '../../src/services/kv/txn.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { LocalShards } from './local-shards.ts'

let clock: VirtualClock
let shards: LocalShards
let kv: Kv

beforeEach(() => {
  clock = new VirtualClock()
  shards = new LocalShards(clock)
  kv = new Kv({ shards, clock, log: silentLogger })
})

afterEach(async () => {
  await clock.run(kv.stop())
  shards.stop()
})

/** @returns keys and values as `key=value`. */
async function listed(entries: AsyncIterable<KvEntry>): Promise<string[]> {
  const found: string[] = []
  for await (const entry of entries) found.push(`${entry.key}=${entry.text()}`)
  return found
}

async function putAll(...keys: string[]): Promise<void> {
  for (const key of keys) await kv.put(key, `of ${key}`)
}

describe('get, put and delete', () => {
  it('an entry has its value, as bytes and text, and the numbers of its history', async () => {
    await putAll('config/b')
    const { revision } = await kv.put('config/a', 'first')
    const again = await kv.put('config/a', 'schön')

    const entry = await kv.get('config/a')

    expect(entry?.key).toBe('config/a')
    expect(entry?.text()).toBe('schön')
    expect(entry?.value).toEqual(utf8('schön'))
    expect(entry?.createRevision).toBe(revision)
    expect(entry?.revision).toBe(again.revision)
    expect(again.revision).toBe(revision + 1)
    expect([entry?.version, entry?.lease]).toEqual([2, 0])
    expect(await kv.read('config/a', { revision })).toMatchObject({ revision })
    expect((await kv.read('config/a', { revision })).entry?.text()).toBe('first')
    expect(await kv.get('config/none')).toBeUndefined()
  })

  it('keys and values may be bytes; text() refuses what is no text', async () => {
    const key = Uint8Array.of(0x61, 0x2f, 0xff, 0x00)
    await kv.put(key, Uint8Array.of(0xfe))

    const entry = await kv.get(key)

    expect(entry?.keyBytes).toEqual(key)
    expect(entry?.key).toBe('a/\ufffd\0')
    expect(entry?.value).toEqual(Uint8Array.of(0xfe))
    expect(() => entry?.text()).toThrow(expect.objectContaining({ code: 'invalid-data' }))
  })

  it('delete says whether the key was there', async () => {
    await putAll('a/1')
    const { revision } = await kv.read('a/1')

    expect(await kv.delete('a/1')).toEqual({ deleted: true, revision: revision + 1 })
    expect(await kv.delete('a/1')).toEqual({ deleted: false, revision: revision + 1 })
    expect(await kv.get('a/1')).toBeUndefined()
  })

  it('a condition that does not hold is a conflict that tells what is there', async () => {
    await kv.put('a/1', 'x', { ifAbsent: true })
    await kv.put('a/1', 'y', { ifVersion: 1 })

    const refused = { code: 'conflict', details: { version: 2, revision: 2 } }
    await expect(kv.put('a/1', 'z', { ifAbsent: true })).rejects.toMatchObject(refused)
    await expect(kv.put('a/1', 'z', { ifVersion: 1 })).rejects.toMatchObject(refused)
    await expect(kv.delete('a/1', { ifVersion: 1 })).rejects.toMatchObject(refused)
    await expect(kv.put('a/2', 'z', { ifVersion: 1 })).rejects.toThrow("it isn't there")
    expect((await kv.get('a/1'))?.text()).toBe('y')
    expect(await kv.delete('a/1', { ifVersion: 2 })).toMatchObject({ deleted: true })
  })

  it.each(['', '/a', '/'])('refuses the key "%s", which is of no space', async (key) => {
    await expect(kv.put(key, 'x')).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(kv.get(key)).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  it('refuses half a surrogate pair: two texts would be one key', async () => {
    await expect(kv.put('a/\ud800', 'x')).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(kv.put('a/x', '\udc00')).rejects.toMatchObject({ code: 'invalid-argument' })
  })

  it('stale reads go on without a quorum, and say how old they are', async () => {
    const { revision } = await kv.put('a/1', 'old')
    shards.freezeStale()
    await kv.put('a/1', 'new')
    shards.isDown = true

    const stale = await kv.read('a/1', { stale: true })
    const failed = kv.get('a/1', { timeoutMs: 500 })

    expect([stale.revision, stale.entry?.text()]).toEqual([revision, 'old'])
    expect(await listed(kv.list('a/', { stale: true }))).toEqual(['a/1=old'])
    expect(await listed(kv.list('', { stale: true }))).toEqual(['a/1=old'])
    await expect(clock.run(failed)).rejects.toMatchObject({ code: 'no-quorum' })
  })

  it('what may have been done is told as such, and a retry is done once', async () => {
    shards.faults = (name) => (name === 'kv.txn' ? 'lost-answer' : undefined)
    const lost = clock.run(kv.put('a/1', 'x', { timeoutMs: 300 }))
    await expect(lost).rejects.toMatchObject({ code: 'timeout' })
    expect((await kv.get('a/1'))?.version).toBe(1)

    shards.faults = () => 'twice'
    await kv.put('a/1', 'y')
    await clock.advance(100)
    expect((await kv.get('a/1'))?.version).toBe(2)
  })

  it('a signal ends the wait for an answer', async () => {
    shards.faults = () => 'lost-request'
    const controller = new AbortController()
    const put = kv.put('a/1', 'x', { signal: controller.signal })
    controller.abort(new MeshError('aborted', 'enough'))
    await expect(put).rejects.toThrow('enough')
  })
})

describe('txn', () => {
  it('does one branch or the other, each with results of its own types', async () => {
    await kv.put('a/n', '1')

    const done = await kv.txn(
      [compare.version('a/n', '=', 1), compare.value('a/n', '<', '2'), compare.absent('a/m')],
      [op.put('a/n', '2'), op.get('a/n'), op.append('a/log/', 'x'), op.delete('a/none')],
      [op.get('a/n')]
    )

    expect(done.succeeded).toBe(true)
    if (!done.succeeded) return
    expectTypeOf(done.results[1]).toEqualTypeOf<KvEntry | undefined>()
    expectTypeOf(done.results[2]).toEqualTypeOf<Uint8Array>()
    const [put, entry, appended, deleted] = done.results
    expect(put).toBeUndefined()
    expect(entry?.text()).toBe('2')
    expect(deleted.count).toBe(0)
    expect((await kv.get(appended))?.text()).toBe('x')
    expect((await kv.get('a/n'))?.revision).toBe(done.revision)
  })

  it('otherwise may be left out, and says so', async () => {
    await putAll('a/1')
    const outcome = await kv.txn([compare.absent('a/1')], [op.delete('a/1')])
    expect(outcome).toEqual({ succeeded: false, revision: 1, results: [] })
  })

  it('lists and deletes ranges', async () => {
    await putAll('a/1', 'a/2', 'a/3', 'a/x/1')
    const outcome = await kv.txn(
      [compare.exists('a/1'), compare.createRevision('a/1', '!=', 0), compare.lease('a/1', '=', 0)],
      [
        op.list('a/', { limit: 2 }),
        op.deleteRange({ from: 'a/2', to: 'a/4' }),
        op.list({ prefix: 'a/' })
      ]
    )
    if (!outcome.succeeded) throw new Error('the conditions hold')
    const [first, deleted, rest] = outcome.results
    expect(first.entries.map(({ key }) => key)).toEqual(['a/1', 'a/2'])
    expect(new TextDecoder().decode(first.next)).toBe('a/3')
    expect(deleted.count).toBe(2)
    expect(rest.entries.map(({ key }) => key)).toEqual(['a/1', 'a/x/1'])
  })

  it('over two spaces is refused before anything is sent', async () => {
    const before = shards.calls.length
    const mixed = kv.txn([compare.absent('a/1')], [op.put('b/1', 'x')])
    await expect(mixed).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(mixed).rejects.toThrow('"a/1" and "b/1" are in two spaces')
    await expect(kv.txn([], [])).rejects.toMatchObject({ code: 'invalid-argument' })
    expect(shards.calls.length).toBe(before)
  })
})

describe('list', () => {
  const KEYS = ['a/1', 'a/2', 'a/3', 'b', 'b/1', 'c/1', 'd/1', 'e/1', 'f/1', 'g/1']

  it('of a prefix, of one key, of a range', async () => {
    await putAll('b/2', 'b/10', 'b/1', 'b', 'ba/1')

    expect(await listed(kv.list('b/'))).toEqual(['b/1=of b/1', 'b/10=of b/10', 'b/2=of b/2'])
    expect(await listed(kv.list({ prefix: 'b/1' }))).toEqual(['b/1=of b/1', 'b/10=of b/10'])
    expect(await listed(kv.list({ from: 'b/10', to: 'b/2' }))).toEqual(['b/10=of b/10'])
    expect(await listed(kv.list({ from: 'b/2', to: 'c' }))).toEqual(['b/2=of b/2', 'ba/1=of ba/1'])
  })

  it('a prefix without a slash, or none, goes over the spaces of all shards, in order', async () => {
    await putAll(...KEYS.toReversed(), 'ab/1')
    const all = ['a/1', 'a/2', 'a/3', 'ab/1', ...KEYS.slice(3)]
    const used = new Set(all.map((key) => shards.shardOf(utf8(key.split('/')[0] ?? ''))))

    expect(used.size).toBeGreaterThan(2)
    expect(await listed(kv.list())).toEqual(all.map((key) => `${key}=of ${key}`))
    expect(await listed(kv.list('', { limit: 5 }))).toHaveLength(5)
    expect((await listed(kv.list('a'))).length).toBe(4)
    expect(await listed(kv.list('b'))).toEqual(['b=of b', 'b/1=of b/1'])
  })

  it.each(['a/', ''])('pages of "%s" fit together with a cursor, of any size', async (prefix) => {
    await putAll(...KEYS)
    const wanted = await listed(kv.list(prefix))
    for (let limit = 1; limit <= KEYS.length + 1; limit++) {
      const found: string[] = []
      let cursor: string | undefined
      do {
        const page = await kv.listPage(prefix, { limit, cursor })
        expect(page.entries.length).toBeLessThanOrEqual(limit)
        found.push(...page.entries.map((entry) => `${entry.key}=${entry.text()}`))
        cursor = page.cursor
      } while (cursor !== undefined)
      expect(found).toEqual(wanted)
    }
  })

  it('shows a space as it was at one moment, whatever is written meanwhile', async () => {
    for (let index = 0; index < 2_500; index++) await kv.put(`big/${10_000 + index}`, 'old')
    const list = kv.list('big/')
    const first = await list.next()
    await kv.put('big/10001', 'new')
    await kv.put('big/99999', 'new')
    await kv.delete('big/12400')
    const page = await kv.listPage('big/', { limit: 3 })
    await kv.delete('big/10004')
    const next = await kv.listPage('big/', { limit: 3, cursor: page.cursor })

    const values = [first.value?.text()]
    for await (const entry of list) values.push(entry.text())

    // The first page was read before those changes, the others are of the same revision.
    expect(values).toEqual(Array.from({ length: 2_500 }, () => 'old'))
    expect(next.entries.map(({ key }) => key)).toEqual(['big/10003', 'big/10004', 'big/10005'])
  })

  it('says that its moment is compacted rather than to mix two', async () => {
    shards.configure({ retainCountMin: 1, retainCountMax: 2, retainMs: 0 })
    await putAll('a/1', 'a/2', 'a/3')
    const page = await kv.listPage('a/', { limit: 1 })
    for (let index = 0; index < 10; index++) await kv.put('a/9', String(index))
    const next = kv.listPage('a/', { limit: 1, cursor: page.cursor })
    await expect(next).rejects.toMatchObject({ code: 'compacted' })
  })

  it('keys that stay are seen once over all spaces while others come and go', async () => {
    await putAll(...KEYS)
    const seen: string[] = []
    for await (const { key } of kv.list('', {})) {
      seen.push(key)
      await kv.put(`${key}x`, 'new')
      await kv.put(`a/0${seen.length}`, 'new')
      if (seen.length > 100) break
    }
    expect(seen.filter((key) => KEYS.includes(key))).toEqual(KEYS)
    expect(seen).toEqual(seen.toSorted())
  })

  it('refuses limits, cursors and ranges that are none', async () => {
    await expect(kv.listPage('', { limit: 0 })).rejects.toMatchObject({ code: 'invalid-argument' })
    await expect(kv.listPage('', { cursor: 'x' })).rejects.toMatchObject({
      code: 'invalid-argument'
    })
    await expect(kv.listPage({ from: 'b', to: 'a' })).rejects.toMatchObject({
      code: 'invalid-argument'
    })
  })
})

describe('watch', () => {
  it('gives every change in order, from when it started, with what was before', async () => {
    await kv.put('a/1', 'old')
    const watch = kv.watch('a/', { previous: true })
    expect(await watch.started).toBe(2)
    await kv.put('a/1', 'new')
    await kv.put('b/1', 'of another space')
    await kv.delete('a/1')

    const put = await watch.next()
    const gone = await watch.next()

    expect(put.value).toMatchObject({ type: 'put', key: 'a/1', revision: 2, resumeFrom: 3 })
    if (put.value?.type === 'put') expect(put.value.entry.text()).toBe('new')
    expect(put.value?.previous?.text()).toBe('old')
    expect(gone.value).toMatchObject({ type: 'delete', key: 'a/1', resumeFrom: 4 })
    expect(gone.value?.previous?.text()).toBe('new')
    await watch.return()
  })

  it('waits for what comes, and ends with the signal without an error', async () => {
    const controller = new AbortController()
    const keys: string[] = []
    const watching = (async () => {
      const watch = kv.watch({ key: 'a' }, { signal: controller.signal })
      for await (const { key, previous } of watch) {
        keys.push(key)
        expect(previous).toBeUndefined()
      }
    })()
    await clock.advance(100_000)
    await kv.put('a', '1')
    await kv.put('a/1', 'not watched')
    await clock.advance(100)
    expect(keys).toEqual(['a'])
    controller.abort()
    await clock.run(watching)
  })

  it('goes on within a transaction, so that nothing of it is missed', async () => {
    await kv.txn([], [op.put('a/1', 'x'), op.put('a/2', 'x'), op.put('a/3', 'x')])
    await kv.put('a/4', 'x')
    const seen = async (count: number, fromRevision: number): Promise<[string, number][]> => {
      const events: [string, number][] = []
      for await (const { key, resumeFrom } of kv.watch('a/', { fromRevision })) {
        if (events.push([key, resumeFrom]) === count) break
      }
      return events
    }
    const all = await seen(4, 1)
    expect(all).toEqual([
      ['a/1', 1],
      ['a/2', 1],
      ['a/3', 2],
      ['a/4', 3]
    ])
    expect(await seen(4, all[1]?.[1] ?? 0)).toEqual(all)
    expect(await seen(1, all[2]?.[1] ?? 0)).toEqual([['a/4', 3]])
  })

  it('goes on when shards are away, and when calls fail', async () => {
    const keys: string[] = []
    let failures = 0
    shards.faults = (name) => {
      if (name !== 'state.changes' || failures >= 5) return undefined
      failures += 1
      return new MeshError(failures % 2 === 0 ? 'unreachable' : 'overloaded', 'for a moment')
    }
    const watch = kv.watch('a/', { fromRevision: 1 })
    const watching = (async () => {
      for await (const { key } of watch) if (keys.push(key) === 3) break
    })()
    await putAll('a/1')
    shards.isDown = true
    await clock.advance(90_000)
    shards.isDown = false
    await putAll('a/2', 'a/3')
    await clock.run(watching)
    expect(keys).toEqual(['a/1', 'a/2', 'a/3'])
    expect(failures).toBe(5)
  })

  it('a start that is compacted is an error, and a resumed watch misses nothing', async () => {
    shards.configure({ retainCountMin: 5, retainCountMax: 10, retainMs: 0 })
    for (let index = 0; index < 40; index++) await kv.put('a/1', String(index))
    const { revision } = await kv.read('a/1')

    await expect(kv.watch('a/', { fromRevision: 1 }).next()).rejects.toMatchObject({
      code: 'compacted'
    })
    const watch = kv.watch('a/', { fromRevision: revision - 2 })
    const values: string[] = []
    for await (const event of watch) {
      if (event.type === 'put') values.push(event.entry.text())
      if (values.length === 3) break
    }
    expect(values).toEqual(['37', '38', '39'])
  })

  it('lies in one space', () => {
    expect(() => kv.watch('a')).toThrow('a watch lies in one space')
    expect(() => kv.watch('')).toThrow(expect.objectContaining({ code: 'invalid-argument' }))
    expect(() => kv.watch('/x')).toThrow(expect.objectContaining({ code: 'invalid-argument' }))
  })

  it('is told when the service stops', async () => {
    const next = kv.watch('a/').next()
    await clock.advance(10)
    const stopping = kv.stop()
    await expect(next).rejects.toMatchObject({ code: 'stopped' })
    await stopping
  })
})

describe('leases', () => {
  it('keys live as long as the lease is renewed, and go when it is revoked', async () => {
    const lease = await kv.lease('a', { ttlMs: 2_000 })
    await kv.put('a/1', 'x', { lease })
    await kv.txn([], [op.put('a/2', 'x', { lease }), op.put('a/3', 'x')])

    await clock.advance(60_000)
    expect((await kv.get('a/1'))?.lease).toBe(lease.id)
    expect(lease.isHeld).toBe(true)

    await lease.revoke()
    await lease.revoke()
    expect(await listed(kv.list('a/'))).toEqual(['a/3=x'])
    expect([lease.lost.aborted, lease.isHeld]).toEqual([false, false])
    const calls = shards.calls.length
    await clock.advance(60_000)
    expect(shards.calls.length).toBe(calls)
  })

  it('lost renewals are made anew in time', async () => {
    const lease = await kv.lease('a', { ttlMs: 3_000 })
    await kv.put('a/1', 'x', { lease })
    let count = 0
    shards.faults = (name) =>
      name === 'lease.keepAlive' && ++count % 2 === 1 ? 'lost-answer' : undefined
    await clock.advance(60_000)
    expect(lease.lost.aborted).toBe(false)
    expect(count).toBeGreaterThan(20)
  })

  it.each([3_000, 60_000])('of %i ms is lost before its keys go', async (ttlMs) => {
    // A clock that is 0.9 % slower than the shard's.
    const slow: Clock = {
      monotonicMs: () => clock.monotonicMs() * 0.991,
      nowMs: () => clock.nowMs(),
      after: (delayMs, run) => clock.after(delayMs / 0.991, run)
    }
    const holder = new Kv({ shards, clock: slow, log: silentLogger })
    const lease = await holder.lease('a', { ttlMs })
    await kv.put('a/1', 'x', { lease })
    shards.faults = (name) => (name.startsWith('lease.') ? 'lost-request' : undefined)
    let wasThere: boolean | undefined
    lease.lost.addEventListener('abort', () => {
      wasThere = shards.machine({ space: utf8('a') }).reads.lease(lease.id) !== undefined
    })

    await clock.advance(2 * ttlMs)

    expect(wasThere).toBe(true)
    expect(lease.lost.reason).toMatchObject({ code: 'timeout' })
    expect(await kv.get('a/1')).toBeUndefined()
    await lease.revoke()
  })

  it('is lost at once when the shard says that it ended', async () => {
    const lease = await kv.lease('a', { ttlMs: 60_000 })
    const thief = new Kv({ shards, clock, log: silentLogger })
    await thief.txn([], [op.put('a/1', 'x', { lease })])
    await shards.execute({ space: utf8('a') }, REVOKE, { lease: lease.id })

    await clock.advance(21_000)

    expect(lease.lost.reason).toMatchObject({ code: 'not-found' })
  })

  it('revoke() tells when the lease had ended before', async () => {
    const lease = await kv.lease('a', { ttlMs: 60_000 })
    await shards.execute({ space: utf8('a') }, REVOKE, { lease: lease.id })
    await expect(lease.revoke()).rejects.toMatchObject({ code: 'not-found' })
    expect(lease.lost.aborted).toBe(true)
  })

  it('an answer that comes too late is no lease', async () => {
    shards.latencyMs = () => 1_200
    const lease = await clock.run(kv.lease('a', { ttlMs: 3_000 }))
    expect(lease.isHeld).toBe(true)
    shards.latencyMs = () => 3_000
    await expect(clock.run(kv.lease('a', { ttlMs: 1_000 }))).rejects.toMatchObject({
      code: 'not-found'
    })
  })

  it('stop() gives leases back and tells their holders', async () => {
    const lease = await kv.lease('a', { ttlMs: 60_000 })
    await kv.put('a/1', 'x', { lease })
    await kv.stop()
    await kv.stop()
    expect(lease.lost.reason).toMatchObject({ code: 'stopped' })
    expect(shards.machine({ space: utf8('a') }).reads.lease(lease.id)).toBeUndefined()
    await expect(kv.lease('a', { ttlMs: 1_000 })).rejects.toMatchObject({ code: 'stopped' })
  })

  it('refuses a time to live that is out of range', async () => {
    await expect(kv.lease('a', { ttlMs: 10 })).rejects.toMatchObject({ code: 'invalid-argument' })
  })
})
