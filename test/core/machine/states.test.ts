// The ordered stores of the machine's own folder, against an array that is sorted each time.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { toHex, utf8 } from '../../../src/base/bytes.ts'
import { MemoryState } from '../../../src/core/machine/memory-state.ts'
import { compareBytes, prefixEnd } from '../../../src/core/machine/ordered-state.ts'
import type { KeyRange, OrderedState } from '../../../src/core/machine/ordered-state.ts'
import { StagedState } from '../../../src/core/machine/staged-state.ts'

class Naive {
  pairs = new Map<string, { key: Uint8Array; value: Uint8Array }>()

  put(key: Uint8Array, value: Uint8Array): void {
    this.pairs.set(toHex(key), { key, value })
  }

  delete(key: Uint8Array): void {
    this.pairs.delete(toHex(key))
  }

  range({ from, to, limit, reverse }: KeyRange): string[] {
    const found = [...this.pairs.values()]
      .filter(({ key }) => from === undefined || compareBytes(key, from) >= 0)
      .filter(({ key }) => to === undefined || compareBytes(key, to) < 0)
      .toSorted((a, b) => compareBytes(a.key, b.key))
    if (reverse === true) found.reverse()
    return found.slice(0, limit).map(({ key, value }) => `${toHex(key)}=${toHex(value)}`)
  }
}

function listed(state: OrderedState, range: KeyRange): string[] {
  return Array.from(state.range(range), ({ key, value }) => `${toHex(key)}=${toHex(value)}`)
}

const key = fc.uint8Array({ minLength: 1, maxLength: 2, max: 40 })
const value = fc.uint8Array({ maxLength: 2 })
const range: fc.Arbitrary<KeyRange> = fc.record(
  { from: key, to: key, limit: fc.nat(20), reverse: fc.boolean() },
  { requiredKeys: [] }
)
const write = fc.oneof(
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('put' as const), key, value }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) }
)

describe('MemoryState', () => {
  it('does what a sorted array does, and its snapshots stay as they were', () => {
    const step = fc.oneof(
      { weight: 20, arbitrary: write },
      { weight: 1, arbitrary: fc.constant({ kind: 'snapshot' as const }) },
      { weight: 3, arbitrary: fc.record({ kind: fc.constant('range' as const), range }) }
    )
    fc.assert(
      fc.property(fc.array(step, { minLength: 100, maxLength: 900, size: 'max' }), (steps) => {
        const state = new MemoryState()
        const naive = new Naive()
        const snapshots: [MemoryState, string[]][] = []
        for (const step of steps) {
          if (step.kind === 'put') {
            state.put(step.key, step.value)
            naive.put(step.key, step.value)
          } else if (step.kind === 'delete') {
            state.delete(step.key)
            naive.delete(step.key)
          } else if (step.kind === 'range') {
            expect(listed(state, step.range)).toEqual(naive.range(step.range))
          } else {
            const copy = state.snapshot()
            // A copy that changes changes nothing else.
            copy.snapshot().put(Uint8Array.of(1), utf8('copy'))
            copy.snapshot().delete(Uint8Array.of(2))
            snapshots.push([copy, naive.range({})])
          }
        }
        expect(listed(state, {})).toEqual(naive.range({}))
        for (const { key, value } of naive.pairs.values()) expect(state.get(key)).toEqual(value)
        for (const [copy, then] of snapshots) expect(listed(copy, {})).toEqual(then)
      }),
      { numRuns: 60 }
    )
  })

  it('holds many keys in any order of coming and going', () => {
    const state = new MemoryState()
    const naive = new Naive()
    const keyOf = (index: number): Uint8Array => utf8(String((index * 7_919) % 20_011))
    for (let index = 0; index < 20_000; index++) {
      state.put(keyOf(index), utf8('x'))
      naive.put(keyOf(index), utf8('x'))
    }
    for (let index = 0; index < 20_000; index += 1) {
      if (index % 3 === 0) continue
      state.delete(keyOf(index))
      naive.delete(keyOf(index))
    }
    expect(listed(state, {})).toEqual(naive.range({}))
    for (let index = 0; index < 20_000; index += 3) state.delete(keyOf(index))
    expect(listed(state, {})).toEqual([])
    state.put(utf8('a'), utf8('b'))
    expect(state.get(utf8('a'))).toEqual(utf8('b'))
  })
})

describe('StagedState', () => {
  it('reads as if written, counts growth, and is then written or dropped', () => {
    const isCounted = (key: Uint8Array): boolean => (key[0] as number) > 5
    const sizeOf = (state: OrderedState): number => {
      let size = 0
      for (const { key, value } of state.range({})) {
        if (isCounted(key)) size += key.length + value.length
      }
      return size
    }
    const before = fc.array(write, { maxLength: 60 })
    const after = fc.array(write, { minLength: 1, maxLength: 60 })
    const ranges = fc.array(range, { minLength: 3, maxLength: 6 })
    fc.assert(
      fc.property(before, after, ranges, (before, after, ranges) => {
        const base = new MemoryState()
        const naive = new Naive()
        const both = (state: OrderedState, writes: typeof before): void => {
          for (const write of writes) {
            const isNew = base.get(write.key) === undefined
            if (write.kind === 'delete') state.delete(write.key)
            else if (isNew && state instanceof StagedState) state.insert(write.key, write.value)
            else state.put(write.key, write.value)
            if (write.kind === 'put') naive.put(write.key, write.value)
            else naive.delete(write.key)
          }
        }
        both(base, before)
        const untouched = listed(base, {})
        const size = sizeOf(base)
        const staged = new StagedState(base, isCounted)
        both(staged, after)
        for (const range of [{}, ...ranges]) {
          expect(listed(staged, range)).toEqual(naive.range(range))
        }
        for (const { key } of after) {
          expect(staged.get(key)).toEqual(naive.pairs.get(toHex(key))?.value)
        }
        expect(listed(base, {})).toEqual(untouched)
        const dropped = base.snapshot()
        const growth = staged.growthBytes
        expect(staged.commit()).toBe(growth)
        expect(sizeOf(base)).toBe(size + growth)
        expect(listed(base, {})).toEqual(naive.range({}))
        expect([staged.growthBytes, staged.commit()]).toEqual([0, 0])

        const other = new StagedState(dropped, isCounted)
        for (const { key } of after) other.put(key, utf8('x'))
        other.discard()
        expect(listed(other, {})).toEqual(untouched)
        expect(other.commit()).toBe(0)
        expect(listed(dropped, {})).toEqual(untouched)
      }),
      { numRuns: 300 }
    )
  })

  it('reads what was written below by then, with the same array for a key too', () => {
    const base = new MemoryState()
    const staged = new StagedState(base, () => true)
    const key = utf8('a')
    expect(staged.get(key)).toBeUndefined()
    staged.put(key, utf8('1'))
    staged.commit()
    expect(staged.get(key)).toEqual(utf8('1'))
    staged.discard()
    base.put(key, utf8('2'))
    expect(staged.get(key)).toEqual(utf8('2'))
  })

  it('an iteration that began sees what was staged then', () => {
    const base = new MemoryState()
    for (const name of ['a', 'b', 'c']) base.put(utf8(name), utf8('1'))
    const staged = new StagedState(base, () => true)
    staged.put(utf8('bb'), utf8('1'))
    const seen: string[] = []
    for (const { key } of staged.range({})) {
      seen.push(toHex(key))
      staged.delete(key)
      staged.put(utf8('d'), utf8('1'))
    }
    expect(seen).toEqual(['a', 'b', 'bb', 'c'].map((name) => toHex(utf8(name))))
    expect(listed(staged, {})).toHaveLength(1)
  })
})

describe('prefixEnd()', () => {
  it('is the first key that does not begin so', () => {
    expect(prefixEnd(Uint8Array.of(1, 2))).toEqual(Uint8Array.of(1, 3))
    expect(prefixEnd(Uint8Array.of(1, 0xff, 0xff))).toEqual(Uint8Array.of(2))
    expect(prefixEnd(Uint8Array.of(0xff))).toBeUndefined()
    expect(prefixEnd(Uint8Array.of())).toBeUndefined()
  })
})
