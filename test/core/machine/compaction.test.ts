import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { COMPACTED_PER_ENTRY, QUOTA_BYTES_MIN } from '../../../src/core/machine/limits.ts'
import type { Part } from '../../../src/core/machine/kv.ts'
import type { WatchPage } from '../../../src/core/machine/reads.ts'
import { spanOfPrefix } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import { Shard, codeOf, text } from './shard.ts'

function watch(shard: Shard, revision: number, prefix = 'kv/', eventsMax = 1_000): WatchPage {
  const span = spanOfPrefix(utf8(prefix))
  return shard.machine.reads.changesSince({ area: AREAS.kv, ...span, revision, eventsMax })
}

/** `revision:key=before>after` for each event. */
function seen({ revisions }: WatchPage): string[] {
  return revisions.flatMap(({ revision, events }) =>
    events.map(({ key, current, previous }) => {
      const after = current === undefined ? '' : text(current.value)
      const before = previous === undefined ? '' : text(previous.value)
      return `${revision}:${text(key)}=${before}>${after}`
    })
  )
}

describe('reads at a revision', () => {
  it('show all keys as they were, deleted and made again ones too', () => {
    const shard = new Shard()
    shard.put('kv/a', '1')
    shard.put('kv/b', '1')
    shard.delete('kv/a')
    shard.put('kv/a\0', '1')
    shard.put('kv/a', '2')
    shard.put('kv/b', '2')
    shard.delete('kv/b')
    expect([0, 1, 2, 3, 4, 5, 6, 7].map((revision) => shard.list('kv/', revision))).toEqual([
      [],
      ['kv/a=1'],
      ['kv/a=1', 'kv/b=1'],
      ['kv/b=1'],
      ['kv/a\0=1', 'kv/b=1'],
      ['kv/a=2', 'kv/a\0=1', 'kv/b=1'],
      ['kv/a=2', 'kv/a\0=1', 'kv/b=2'],
      ['kv/a=2', 'kv/a\0=1']
    ])
    expect(codeOf(() => shard.list('kv/', 8))).toBe('invalid-argument')
    expect(codeOf(() => shard.get('kv/a', 0.5))).toBe('invalid-argument')
    expect(codeOf(() => shard.list('kv'))).toBe('invalid-argument')
    expect(codeOf(() => shard.get(''))).toBe('invalid-argument')
  })

  it('pages fit together whatever is written between them', () => {
    const shard = new Shard()
    for (let key = 10; key < 40; key++) shard.put(`kv/${key}`, 'before')
    const span = spanOfPrefix(utf8('kv/'))
    const found: string[] = []
    let from: Uint8Array | undefined = span.from
    let revision: number | undefined
    while (from !== undefined) {
      const at = revision === undefined ? {} : { revision }
      const page = shard.machine.reads.range({ area: AREAS.kv, ...span, from, limit: 7, ...at })
      found.push(...page.entries.map(({ key, value }) => `${text(key)}=${text(value)}`))
      expect(page.entries.length).toBeLessThanOrEqual(7)
      from = page.next
      revision = page.revision
      for (let key = 10; key < 45; key += 3) shard.put(`kv/${key}`, 'after')
      shard.delete('kv/30')
    }
    expect(found).toEqual(Array.from({ length: 30 }, (_, index) => `kv/${index + 10}=before`))
  })
})

describe('watches', () => {
  it('get every event of their span in order, each revision as a whole, and go on', () => {
    const shard = new Shard()
    shard.put('kv/a/1', '1')
    shard.put('kv/b/1', '1')
    const put = (key: string, value: string): Part => {
      return { kind: 'put', key: utf8(key), value: utf8(value), lease: 0 }
    }
    shard.do(put('kv/a/2', '2'), put('kv/b/2', '2'), put('kv/a/1', '2'))
    shard.delete('kv/a/1')

    expect(seen(watch(shard, 1, 'kv/a/'))).toEqual([
      '1:kv/a/1=>1',
      '3:kv/a/1=1>2',
      '3:kv/a/2=>2',
      '4:kv/a/1=2>'
    ])
    const part = watch(shard, 1, 'kv/a/', 2)
    expect(seen(part)).toHaveLength(3)
    expect([part.next, part.isUpToDate]).toEqual([4, false])
    const rest = watch(shard, part.next, 'kv/a/', 2)
    expect(seen(rest)).toEqual(['4:kv/a/1=2>'])
    expect([rest.next, rest.isUpToDate]).toEqual([5, true])
    expect(watch(shard, 5, 'kv/a/')).toEqual({ revisions: [], next: 5, isUpToDate: true })
    // A replica that is behind: nothing yet.
    expect(watch(shard, 50, 'kv/a/')).toEqual({ revisions: [], next: 50, isUpToDate: true })
    expect(codeOf(() => watch(shard, -1))).toBe('invalid-argument')
  })

  it('see the keys of their area alone', () => {
    const shard = new Shard()
    const lease = shard.grant(5_000)
    shard.acquire('kv/a', lease)
    shard.put('kv/a', '1')
    shard.acquire('kv/a', lease)
    expect(seen(watch(shard, 1))).toEqual(['2:kv/a=>1'])
    expect(shard.list('kv/')).toEqual(['kv/a=1'])
  })

  it('are told the same by what is applied and by what is read later', () => {
    const shard = new Shard()
    const applied = [shard.pass(0).changes]
    const lease = shard.grant(1_000)
    shard.put('kv/a', '1', lease)
    shard.put('kv/b', '1')
    applied.push(shard.pass(1_000).changes)
    expect(watch(shard, 3).revisions).toEqual(applied.flat())
  })

  it('look at a bounded number of revisions at once, and get on', () => {
    const shard = new Shard()
    shard.configure({ retainCountMin: 10_000 })
    for (let count = 0; count < 5_000; count++) shard.put('kv/noise', `${count}`)
    shard.put('kv/a', '1')
    const first = watch(shard, 1, 'kv/a')
    expect(first).toMatchObject({ revisions: [], isUpToDate: false })
    expect(first.next).toBeLessThan(5_000)
    expect(seen(watch(shard, first.next, 'kv/a'))).toEqual(['5001:kv/a=>1'])
  })
})

describe('compaction', () => {
  it('keeps the newest revisions, and says so when an older one is wanted', () => {
    const shard = new Shard()
    shard.configure({ retainCountMin: 5, retainCountMax: 10, retainMs: 60_000 })
    for (let count = 1; count <= 30; count++) shard.put('kv/a', `${count}`)
    const { compacted, revision } = shard.machine.reads.meta
    // What is compacted with an entry is what was too much before it.
    expect([compacted, revision]).toEqual([19, 30])
    expect(shard.get('kv/a', 19)).toBe('19')
    expect(codeOf(() => shard.get('kv/a', 18))).toBe('compacted')
    expect(codeOf(() => shard.list('kv/', 18))).toBe('compacted')
    expect(seen(watch(shard, 20))[0]).toBe('20:kv/a=19>20')
    expect(codeOf(() => watch(shard, 19))).toBe('compacted')
    shard.check()
  })

  it('goes by age between the bounds, by the time of the shard', () => {
    const shard = new Shard()
    shard.configure({ retainCountMin: 5, retainCountMax: 1_000, retainMs: 60_000 })
    for (let count = 1; count <= 30; count++) {
      shard.nowMs += 1_000
      shard.put('kv/a', `${count}`)
    }
    shard.pass(29_999)
    expect(shard.machine.reads.meta.compacted).toBe(0)
    shard.pass(1)
    expect(shard.machine.reads.meta.compacted).toBe(0)
    shard.pass(1_000)
    expect(shard.machine.reads.meta.compacted).toBe(1)
    shard.pass(3_000)
    expect(shard.machine.reads.meta.compacted).toBe(4)
    shard.pass(10 * 60_000)
    expect(shard.machine.reads.meta.compacted).toBe(25)
    shard.check()
  })

  it('leaves nothing of keys that are gone', () => {
    const shard = new Shard()
    shard.configure({ retainCountMin: 0, retainMs: 0 })
    const lease = shard.grant(1_000)
    for (let key = 0; key < 20; key++) shard.put(`kv/${key}`, 'x', key % 2 === 0 ? lease : 0)
    for (let key = 0; key < 20; key++) shard.delete(`kv/${key}`)
    shard.pass(1_000)
    shard.pass(0)
    expect(shard.machine.reads.meta).toMatchObject({ usedBytes: 0, revision: 40, compacted: 40 })
    shard.check()
    // Reading where everything is compacted to is reading what is.
    shard.put('kv/a', '1')
    expect(shard.list('kv/', 40)).toEqual([])
  })

  it('does a bounded part of it with each entry', () => {
    const shard = new Shard()
    for (let count = 0; count < 500; count++) shard.put('kv/a', `${count}`)
    shard.configure({ retainCountMin: 0, retainMs: 0 })
    let last = shard.machine.reads.meta.compacted
    let entries = 0
    for (; last < 500; entries++) {
      shard.pass(0)
      const { compacted } = shard.machine.reads.meta
      expect(compacted - last).toBeLessThanOrEqual(COMPACTED_PER_ENTRY / 2)
      expect(compacted).toBeGreaterThan(last)
      last = compacted
      shard.check()
    }
    expect(entries).toBeGreaterThan(10)
  })
})

describe('the quota', () => {
  const value = 'v'.repeat(1_000)

  function fill(shard: Shard): number {
    shard.configure({ quotaBytes: QUOTA_BYTES_MIN })
    for (let key = 0; key < 1_000; key++) {
      if (codeOf(() => shard.put(`kv/${key}`, value)) === 'quota-exceeded') return key
    }
    throw new Error('no quota')
  }

  it('refuses puts and nothing else, and puts work again by themselves after deletes', () => {
    const shard = new Shard()
    const lease = shard.grant(60_000)
    const count = fill(shard)
    expect(count).toBeGreaterThan(40)
    shard.check()
    for (const again of [0, 1]) {
      expect([again, codeOf(() => shard.put('kv/0', value))]).toEqual([again, 'quota-exceeded'])
    }
    expect(
      codeOf(() => {
        for (let count = 0; count < 5_000; count++) shard.grant(60_000)
      })
    ).toBe('quota-exceeded')
    shard.keepAlive(lease)
    shard.register()
    expect(shard.list('kv/')).toHaveLength(count)
    for (let key = 0; key < count / 2; key++) expect(shard.delete(`kv/${key}`)).toBe(1)
    expect(codeOf(() => shard.put('kv/0', value))).toBe('quota-exceeded')
    // Time passes; the leader knows that an entry would make room.
    const { dueMs } = shard.machine
    expect(dueMs).toBeLessThanOrEqual(shard.nowMs + 10_000)
    shard.pass((dueMs as number) - shard.nowMs)
    shard.pass(0)
    shard.put('kv/0', value)
    expect(shard.machine.reads.meta.usedBytes).toBeLessThan(QUOTA_BYTES_MIN)
    shard.check()
  })

  it('history goes sooner while space is short', () => {
    const shard = new Shard()
    shard.configure({ quotaBytes: QUOTA_BYTES_MIN })
    // Far more than the quota, in time, over one key.
    for (let count = 0; count < 300; count++) {
      shard.nowMs += 500
      shard.put('kv/a', value)
    }
    expect(shard.machine.reads.meta.compacted).toBeGreaterThan(200)
    shard.check()
  })

  it('can be raised by an entry, and not set to nonsense', () => {
    const shard = new Shard()
    fill(shard)
    shard.configure({ quotaBytes: 2 * QUOTA_BYTES_MIN })
    shard.put('kv/0', value)
    expect(codeOf(() => shard.configure({ quotaBytes: 1 }))).toBe('invalid-argument')
    const wrong = { retainCountMin: 11, retainCountMax: 10 }
    expect(codeOf(() => shard.configure(wrong))).toBe('invalid-argument')
    expect(shard.machine.reads.meta.settings.quotaBytes).toBe(2 * QUOTA_BYTES_MIN)
  })
})
