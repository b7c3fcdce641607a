import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import type { Compare, Part } from '../../../src/core/machine/kv.ts'
import { request } from '../../../src/core/machine/command.ts'
import { KEY_BYTES_MAX, VALUE_BYTES_MAX } from '../../../src/core/machine/limits.ts'
import { spanOfPrefix } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import { Shard, codeOf, text } from './shard.ts'

const put = (key: string, value: string): Part => ({
  kind: 'put',
  key: utf8(key),
  value: utf8(value),
  lease: 0
})
const get = (key: string): Part => ({ kind: 'get', key: utf8(key) })
const remove = (key: string): Part => ({ kind: 'delete', key: utf8(key) })
const range = (prefix: string, limit = 1_000): Part => ({
  kind: 'range',
  ...spanOfPrefix(utf8(prefix)),
  limit
})
const removeRange = (prefix: string, limit = 1_000): Part => ({
  kind: 'delete-range',
  ...spanOfPrefix(utf8(prefix)),
  limit
})

describe('kv.txn', () => {
  it('puts, gets and deletes, and a key knows its revisions', () => {
    const shard = new Shard()
    shard.put('kv/a', '1')
    shard.put('kv/b', '1')
    shard.put('kv/a', '2')

    const { entry } = shard.machine.reads.get({ area: AREAS.kv, key: utf8('kv/a') })
    expect(entry).toMatchObject({ createRevision: 1, modRevision: 3, version: 2, lease: 0 })
    expect(shard.get('kv/a')).toBe('2')
    expect(shard.delete('kv/a')).toBe(1)
    expect(shard.delete('kv/a')).toBe(0)
    expect(shard.get('kv/a')).toBeUndefined()
    expect(shard.machine.reads.meta.revision).toBe(4)

    shard.put('kv/a', '3')
    const again = shard.machine.reads.get({ area: AREAS.kv, key: utf8('kv/a') }).entry
    expect(again).toMatchObject({ createRevision: 5, modRevision: 5, version: 1 })
    shard.check()
  })

  it('reads what its own parts before did, and makes one revision of all', () => {
    const shard = new Shard()
    shard.put('kv/a', '1')
    const results = shard.do(
      put('kv/b', '2'),
      range('kv/'),
      removeRange('kv/', 1),
      get('kv/a'),
      range('kv/')
    )

    expect(results.map((result) => result.kind)).toEqual([
      'put',
      'entries',
      'deleted',
      'entry',
      'entries'
    ])
    const keys = (at: number): string[] => {
      const result = results[at]
      return result?.kind === 'entries' ? result.entries.map(({ key }) => text(key)) : []
    }
    expect(keys(1)).toEqual(['kv/a', 'kv/b'])
    expect(results[2]).toMatchObject({ count: 1, next: utf8('kv/b') })
    expect(results[3]).toEqual({ kind: 'entry', entry: undefined })
    expect(keys(4)).toEqual(['kv/b'])
    expect(shard.machine.reads.meta.revision).toBe(2)
    shard.check()
  })

  it('makes no revision when it changes nothing', () => {
    const shard = new Shard()
    shard.do(get('kv/a'), range('kv/'), remove('kv/a'), removeRange('kv/'))
    shard.do(put('kv/a', '1'), remove('kv/a'))
    expect(shard.machine.reads.meta.revision).toBe(0)
    expect(shard.machine.reads.meta.usedBytes).toBe(0)
    shard.check()
  })

  it('a key that is changed twice by one transaction has one version and one event', () => {
    const shard = new Shard()
    shard.put('kv/a', '1')
    shard.do(put('kv/a', '2'), remove('kv/a'), put('kv/a', '3'), put('kv/a', '4'))
    shard.do(put('kv/a', '5'), remove('kv/a'))

    const { revisions } = shard.machine.reads.changesSince({
      area: AREAS.kv,
      ...spanOfPrefix(utf8('kv/')),
      revision: 2
    })
    expect(
      revisions.map(({ events }) =>
        events.map(({ current, previous }) => [
          current === undefined ? null : text(current.value),
          previous === undefined ? null : text(previous.value)
        ])
      )
    ).toEqual([[['4', '1']], [[null, '4']]])
    expect(shard.get('kv/a', 1)).toBe('1')
    expect(shard.get('kv/a', 2)).toBe('4')
    expect(shard.get('kv/a', 3)).toBeUndefined()
    shard.check()
  })

  it('compares decide which branch is done', () => {
    const shard = new Shard()
    shard.put('kv/a', 'm')
    shard.put('kv/a', 'm')
    const lease = shard.grant(5_000)
    shard.put('kv/leased', 'x', lease)
    const key = utf8('kv/a')
    const none = utf8('kv/none')
    const number = (field: 'version' | 'createRevision' | 'modRevision' | 'lease') => {
      return (relation: '=' | '!=' | '<' | '>', number: number, at = key): Compare => ({
        kind: 'number',
        field,
        relation,
        number,
        key: at
      })
    }
    const value = (relation: '=' | '!=' | '<' | '>', value: string, at = key): Compare => ({
      kind: 'value',
      relation,
      value: utf8(value),
      key: at
    })
    const cases: [Compare, boolean][] = [
      [{ kind: 'exists', key, exists: true }, true],
      [{ kind: 'exists', key, exists: false }, false],
      [{ kind: 'exists', key: none, exists: false }, true],
      [value('=', 'm'), true],
      [value('=', 'mm'), false],
      [value('!=', 'm'), false],
      [value('<', 'n'), true],
      [value('<', 'm'), false],
      [value('>', 'lz'), true],
      [value('>', 'm'), false],
      [value('!=', 'm', none), false],
      [number('version')('=', 2), true],
      [number('version')('=', 0, none), true],
      [number('createRevision')('<', 2), true],
      [number('modRevision')('>', 2), false],
      [number('modRevision')('=', 2), true],
      [number('lease')('=', lease, utf8('kv/leased')), true],
      [number('lease')('!=', 0), false]
    ]
    for (const [compare, holds] of cases) {
      const both = shard.txn({ compares: [compare, { kind: 'exists', key, exists: true }] })
      expect([compare, both.succeeded]).toEqual([compare, holds])
    }
    const { succeeded, results } = shard.txn({
      compares: [value('=', 'other')],
      success: [put('kv/a', 'yes')],
      failure: [put('kv/a', 'no'), get('kv/a')]
    })
    expect([succeeded, results.length]).toEqual([false, 2])
    expect(shard.get('kv/a')).toBe('no')
  })

  it('appends keys that sort in the order of appending', () => {
    const shard = new Shard()
    const append: Part = { kind: 'append', prefix: utf8('kv/q/'), value: utf8('x'), lease: 0 }
    for (let count = 0; count < 20; count++) shard.do(append, append)
    const keys: string[] = []
    shard.do(append).forEach((result) => {
      if (result.kind === 'appended') keys.push(text(result.key))
    })
    const listed = shard.list('kv/q/')
    expect(listed).toHaveLength(41)
    expect(listed.at(-1)).toBe(`${keys[0]}=x`)
    expect(keys[0]).toMatch(/^kv\/q\/[0-9a-f]{16}$/)
  })

  it('refuses keys of another space, and does nothing', () => {
    const shard = new Shard()
    for (const key of ['other/a', 'kw/a', 'kw', 'kv2/a', 'kv2', 'kv!', '', '/a', 'k']) {
      expect([key, codeOf(() => shard.do(put('kv/a', '1'), put(key, '2')))]).toEqual([
        key,
        'invalid-argument'
      ])
    }
    const spans = [
      { from: utf8('kv'), to: utf8('kv0') },
      { from: utf8('kv/'), to: utf8('kv0a') },
      { from: utf8('kw/'), to: utf8('kw/z') },
      { from: utf8('kv/z'), to: utf8('kv/a') }
    ]
    for (const span of spans) {
      expect(codeOf(() => shard.do({ kind: 'range', ...span, limit: 1 }))).toBe('invalid-argument')
    }
    expect(shard.get('kv/a')).toBeUndefined()
    expect(shard.machine.reads.meta.revision).toBe(0)
    Object.assign(shard, { space: 'kv/a' })
    expect(codeOf(() => shard.put('kv/a/b', ''))).toBe('invalid-argument')
    Object.assign(shard, { space: 'kv' })
    expect(() => shard.put('other/a', '')).toThrow(/one operation stays in one space/)
  })

  it('a key without a slash is a space of its own', () => {
    const shard = new Shard('kv')
    shard.put('kv', 'itself')
    shard.put('kv/a', 'below')
    expect(shard.get('kv')).toBe('itself')
    expect(shard.list('kv/')).toEqual(['kv/a=below'])
  })

  it('refuses what is too large, and takes what is just not', () => {
    const shard = new Shard()
    const longest = `kv/${'k'.repeat(KEY_BYTES_MAX - 3)}`
    shard.put(longest, 'v')
    expect(shard.get(longest)).toBe('v')
    expect(codeOf(() => shard.put(`${longest}k`, 'v'))).toBe('too-large')
    // NULs are stored as two bytes.
    const nuls = (KEY_BYTES_MAX - 4) / 2
    const withNuls = `kv/k${'\0'.repeat(nuls)}`
    shard.put(withNuls, 'v')
    shard.put(withNuls, 'w')
    expect(shard.get(withNuls, 2)).toBe('v')
    expect(codeOf(() => shard.put(`${withNuls}\0`, 'v'))).toBe('too-large')

    shard.put('kv/v', 'v'.repeat(VALUE_BYTES_MAX))
    expect(shard.get('kv/v')).toHaveLength(VALUE_BYTES_MAX)
    expect(codeOf(() => shard.put('kv/v', 'v'.repeat(VALUE_BYTES_MAX + 1)))).toBe('too-large')
    for (const limit of [0, 1_001]) {
      expect(codeOf(() => shard.do(range('kv/', limit)))).toBe('invalid-argument')
    }
    shard.check()
  })

  it('changes a bounded number of keys, all or none', () => {
    const shard = new Shard()
    for (let part = 0; part < 21; part++) {
      const keys = Array.from({ length: 100 }, (_, index) => `kv/${part}-${index}`)
      shard.do(...keys.map((key) => put(key, 'x')))
    }
    const { revision } = shard.machine.reads.meta
    const three = [removeRange('kv/'), removeRange('kv/'), removeRange('kv/')]
    expect(codeOf(() => shard.do(...three))).toBe('too-large')
    expect(shard.machine.reads.meta.revision).toBe(revision)
    expect(shard.list('kv/')).toHaveLength(2_100)
    shard.do(...three.slice(0, 2))
    expect(shard.list('kv/')).toHaveLength(100)
    shard.check()
  })

  it('an answer has a bound: ranges stop there, gets are refused', () => {
    const shard = new Shard()
    const value = 'v'.repeat(200_000)
    for (const key of ['kv/a', 'kv/b', 'kv/c', 'kv/d']) shard.put(key, value)
    const [result] = shard.do(range('kv/'))
    expect(result).toMatchObject({ kind: 'entries', next: utf8('kv/c') })
    expect(codeOf(() => shard.do(get('kv/a'), get('kv/b'), get('kv/c')))).toBe('too-large')
    const page = shard.machine.reads.range({ area: AREAS.kv, ...spanOfPrefix(utf8('kv/')) })
    expect([page.entries.length, page.next]).toEqual([2, utf8('kv/c')])
    expect(shard.list('kv/')).toHaveLength(4)
  })

  it('a request for a shard as a whole touches no key', () => {
    const shard = new Shard()
    const txn = { compares: [], success: [put('kv/a', '')], failure: [] }
    const { answer } = shard.applyRequest(request(TXN, txn))
    expect(answer).toMatchObject({ kind: 'refused', error: { code: 'invalid-argument' } })
  })
})
