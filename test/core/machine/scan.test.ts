// Pages over all spaces of a shard, and watches of one key.

import { describe, expect, it } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { decode, encode } from '../../../src/core/machine/codec.ts'
import { KEY_BYTES_MAX } from '../../../src/core/machine/limits.ts'
import { CHANGES, SCAN, queriesOf } from '../../../src/core/machine/own-queries.ts'
import { Queries } from '../../../src/core/machine/query.ts'
import type { Page, ScanQuery, WatchPage } from '../../../src/core/machine/reads.ts'
import { SERVICES } from '../../../src/core/machine/services.ts'
import { spanOfKey, spanOfPrefix } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import { Shard, codeOf, text } from './shard.ts'

const longest = new Uint8Array(KEY_BYTES_MAX).fill(0xff)

/** A shard with keys of several spaces. */
function filled(): Shard {
  const shards = new Shard()
  for (const key of ['b/2', 'a', 'a/1', 'a-b/1', 'b', 'b/1', 'c/1']) putIn(shards, utf8(key))
  return shards
}

function putIn(shard: Shard, key: Uint8Array): void {
  const slash = key.indexOf(0x2f)
  const space = slash < 0 ? key : key.subarray(0, slash)
  const { state, machine } = shard
  const other = Object.assign(new Shard(String.fromCharCode(...space)), { state, machine })
  other.do({ kind: 'put', key, value: utf8('v'), lease: 0 })
}

function scan(shard: Shard, query: Omit<ScanQuery, 'area'>): Page {
  const queries = new Queries(shard.machine.reads, queriesOf(SERVICES))
  const args = encode(SCAN.args, { area: AREAS.kv, ...query }).slice()
  return decode(SCAN.result, queries.answer(SCAN.name, SCAN.version, args))
}

const keysOf = ({ entries }: Page): string[] => entries.map(({ key }) => text(key))

describe('state.scan', () => {
  it('pages through all spaces in the order of keys', () => {
    const shard = filled()
    const all = ['a', 'a-b/1', 'a/1', 'b', 'b/1', 'b/2', 'c/1']

    const first = scan(shard, { limit: 3 })
    const second = scan(shard, { limit: 3, from: first.next as Uint8Array })
    const third = scan(shard, { limit: 3, from: second.next as Uint8Array })

    expect(keysOf(scan(shard, {}))).toEqual(all)
    expect([first, second, third].map(keysOf)).toEqual([
      all.slice(0, 3),
      all.slice(3, 6),
      all.slice(6)
    ])
    expect(third.next).toBeUndefined()
  })

  it('keeps to its span, which may cross spaces', () => {
    expect(keysOf(scan(filled(), spanOfPrefix(utf8('a'))))).toEqual(['a', 'a-b/1', 'a/1'])
    expect(keysOf(scan(filled(), { to: utf8('a/') }))).toEqual(['a', 'a-b/1'])
  })

  it('shows a past revision, and nothing of other areas', () => {
    const shard = filled()
    const { revision } = shard.machine.reads.meta
    putIn(shard, utf8('d/1'))
    shard.acquire('kv/lock', shard.grant(5_000))

    expect(keysOf(scan(shard, { from: utf8('c'), revision }))).toEqual(['c/1'])
    expect(keysOf(scan(shard, { from: utf8('c') }))).toEqual(['c/1', 'd/1'])
  })

  it('refuses a limit out of range', () => {
    for (const limit of [0, 1_001]) {
      expect(codeOf(() => scan(filled(), { limit }))).toBe('invalid-argument')
    }
  })
})

describe('state.changes', () => {
  it('watches one key, also one that is the name of its space', () => {
    const shard = filled()
    const watch = (key: Uint8Array): WatchPage => {
      const queries = new Queries(shard.machine.reads, queriesOf(SERVICES))
      const query = { area: AREAS.kv, ...spanOfKey(key), revision: 1 }
      const args = encode(CHANGES.args, query).slice()
      return decode(CHANGES.result, queries.answer(CHANGES.name, CHANGES.version, args))
    }
    const changed = ({ revisions }: WatchPage): string[] =>
      revisions.flatMap(({ events }) => events.map(({ key }) => text(key)))

    expect(changed(watch(utf8('a')))).toEqual(['a'])
    expect(changed(watch(utf8('b/1')))).toEqual(['b/1'])
    expect(changed(watch(longest))).toEqual([])
  })
})
