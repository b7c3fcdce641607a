// What every StateStore promises, wherever its bytes are.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { isMeshError } from '../../src/base/errors.ts'
import { KIB } from '../../src/base/units.ts'
import { STORED_KEY_BYTES_MAX, type OrderedReads } from '../../src/core/machine/ordered-state.ts'
import type { StateStoreOptions } from '../../src/storage/state/layered-state-store.ts'
import { STATE_NOTE_BYTES_MAX, STATE_PENDING_BYTES_MAX } from '../../src/storage/state-store.ts'
import type { GroupState, StateStore } from '../../src/storage/state-store.ts'
import { expectCode } from './block-store.ts'

/** One store and what holds its bytes, with the ways to mistreat both. */
export type StateStoreHarness = {
  /** Open. */
  store: StateStore
  /** Closes the store and opens another on the same bytes. */
  reopen(): Promise<StateStore>
  /** Opens another store on what is durable, without closing the first. */
  crash(): Promise<StateStore>
  /** Flips a bit at the beginning of `pattern`, wherever it is stored, and opens another store. */
  flip(pattern: Uint8Array): Promise<StateStore>
  /** The next flush fails. Absent where that can't be arranged. */
  failNextFlush?(code: 'storage-failed' | 'disk-full' | 'corrupt'): void
  /** Flushes don't end, until `resume()`. Absent where that can't be arranged. */
  stall?(): void
  resume?(): void
  dispose(): Promise<void>
}

export type MakeStateStore = (options: StateStoreOptions) => Promise<StateStoreHarness>

/** All that is there, as text. */
export function contentOf(state: OrderedReads, isDown = false): string[] {
  return [...state.range({ reverse: isDown })].map(
    ({ key, value }) => `${fromUtf8(key)}=${fromUtf8(value)}`
  )
}

export function put(state: GroupState, key: string, value: string): void {
  state.put(utf8(key), utf8(value))
}

function codeOf(task: () => unknown): string {
  try {
    task()
    return 'none'
  } catch (error) {
    return isMeshError(error) ? error.code : String(error)
  }
}

const noteOf = (state: { note(): Uint8Array | undefined }): string => {
  const note = state.note()
  return note === undefined ? 'none' : fromUtf8(note)
}

let harness: StateStoreHarness
let store: StateStore
let state: GroupState

/** @param canFail whether its disk can be made to fail: a real one can't */
export function describeStateStore(name: string, make: MakeStateStore, canFail: boolean): void {
  describe(name, () => {
    beforeEach(async () => {
      harness = await make({ flushBytes: 8 * KIB })
      store = harness.store
      state = store.group(1)
    })
    afterEach(async () => {
      await harness.dispose()
    })

    describeReads()
    describeBatches()
    describeSnapshots()
    describe('install()', describeInstalls)
    describeDamage()
    if (canFail) describeFailures()
  })
}

function describeReads(): void {
  it('a group that nothing was put in is empty', () => {
    expect([contentOf(state), state.note(), store.groups()]).toEqual([[], undefined, []])
    expect(store.group(1)).toBe(state)
    expect([store.lost(), store.damageOf(1), store.failure()]).toEqual([
      false,
      undefined,
      undefined
    ])
  })

  it('what was put is there, before and after commit, flush and restart', async () => {
    const longest = new Uint8Array(STORED_KEY_BYTES_MAX).fill(0xff)
    const check = (group: GroupState): void => {
      expect(group.get(utf8('a'))).toEqual(utf8('1'))
      expect(group.get(utf8('ab'))).toEqual(new Uint8Array(0))
      expect(group.get(utf8('b'))).toBeUndefined()
      expect(group.get(Uint8Array.of(0))).toEqual(new Uint8Array(70_000).fill(7))
      expect(group.get(longest)).toEqual(utf8('long'))
      expect(group.get(longest.subarray(1))).toBeUndefined()
      expect([...group.range({ from: utf8('ab') })].map(({ key }) => key)).toEqual([
        utf8('ab'),
        longest
      ])
    }
    put(state, 'a', '1')
    put(state, 'ab', '')
    state.put(Uint8Array.of(0), new Uint8Array(70_000).fill(7))
    state.put(longest, utf8('long'))
    put(state, 'b', 'x')
    state.delete(utf8('b'))
    state.delete(utf8('never'))
    check(state)
    state.commit()
    check(state)
    await state.flushed()
    check(state)
    check((await harness.crash()).group(1))
    check((await harness.reopen()).group(1))
  })

  it('ranges have bounds, a direction and a limit, over what is flushed and what is not', async () => {
    for (const key of ['a', 'b', 'c', 'd', 'e']) put(state, key, 'old')
    state.commit()
    await state.flushed()
    state.delete(utf8('b'))
    put(state, 'c', 'new')
    put(state, 'ca', 'new')
    state.commit()
    const range = (from?: string, to?: string, reverse = false, limit?: number): string =>
      [
        ...state.range({
          ...(from === undefined ? {} : { from: utf8(from) }),
          ...(to === undefined ? {} : { to: utf8(to) }),
          ...(limit === undefined ? {} : { limit }),
          reverse
        })
      ]
        .map(({ key, value }) => `${fromUtf8(key)}${value.length === 3 ? fromUtf8(value)[0] : ''}`)
        .join(' ')

    for (const _ of [0, 1]) {
      expect(range()).toBe('ao cn can do eo')
      expect(range(undefined, undefined, true)).toBe('eo do can cn ao')
      expect(range('b', 'd')).toBe('cn can')
      expect(range('b', 'd', true)).toBe('can cn')
      expect(range('c', 'ca')).toBe('cn')
      expect(range('d', 'd')).toBe('')
      expect(range('e', 'a')).toBe('')
      expect(range(undefined, 'd', true, 2)).toBe('can cn')
      expect(range('b', undefined, false, 1)).toBe('cn')
      expect(range(undefined, undefined, false, 0)).toBe('')
      await state.flushed()
    }
  })

  it('groups keep apart, and what was read stays as it is', async () => {
    const other = store.group(2)
    put(state, 'k', 'one')
    put(other, 'k', 'two')
    state.commit()
    other.commit()
    await Promise.all([state.flushed(), other.flushed()])
    const [pair] = [...state.range({})]
    const value = state.get(utf8('k'))
    put(state, 'k', 'new')
    state.commit()
    await state.flushed()

    expect([value, pair?.value]).toEqual([utf8('one'), utf8('one')])
    expect([contentOf(state), contentOf(other)]).toEqual([['k=new'], ['k=two']])
    expect(store.groups()).toEqual([1, 2])
    expect((await harness.reopen()).groups()).toEqual([1, 2])
  })
}

function describeBatches(): void {
  it('rollback drops the open batch, and nothing of those before', async () => {
    put(state, 'a', '1')
    put(state, 'b', '1')
    state.setNote(utf8('n1'))
    state.commit()
    for (const isFlushed of [false, true]) {
      if (isFlushed) await state.flushed()
      put(state, 'a', '2')
      put(state, 'a', '3')
      state.delete(utf8('b'))
      put(state, 'c', '2')
      state.setNote(utf8('n2'))
      expect([contentOf(state), noteOf(state)]).toEqual([['a=3', 'c=2'], 'n2'])
      state.rollback()
      expect([contentOf(state), noteOf(state)]).toEqual([['a=1', 'b=1'], 'n1'])
    }
    const after = (await harness.reopen()).group(1)
    expect([contentOf(after), noteOf(after)]).toEqual([['a=1', 'b=1'], 'n1'])
  })

  it('a batch that is open while others are flushed is not on disk', async () => {
    put(state, 'a', '1')
    state.commit()
    put(state, 'a', '2')
    put(state, 'b', '2')
    state.setNote(utf8('open'))
    await state.flushed()
    expect(contentOf(state)).toEqual(['a=2', 'b=2'])
    state.rollback()
    expect(contentOf(state)).toEqual(['a=1'])
    put(state, 'c', '3')
    await store.group(1).flushed()
    const after = (await harness.crash()).group(1)

    expect([contentOf(after), after.note()]).toEqual([['a=1'], undefined])
  })

  it('D-14 after a crash a group is as some batch left it, at least the last flushed', async () => {
    for (let crashAt = 0; crashAt <= 9; crashAt++) {
      await store.drop(1)
      state = store.group(1)
      const after = [' none']
      let flushed = 0
      for (let batch = 1; batch <= crashAt; batch++) {
        put(state, `k${batch % 5}`, `v${batch}`)
        if (batch > 2) state.delete(utf8(`k${(batch + 2) % 5}`))
        state.setNote(utf8(`n${batch}`))
        state.commit()
        after.push(`${contentOf(state).join()} ${noteOf(state)}`)
        if (batch % 3 !== 0) continue
        await state.flushed()
        flushed = batch
      }
      // Its flush may be under way.
      const flushing = state.flushed().catch(() => undefined)
      store = await harness.crash()
      await flushing
      state = store.group(1)
      const found = after.indexOf(`${contentOf(state).join()} ${noteOf(state)}`)
      expect(found).toBeGreaterThanOrEqual(flushed)
      expect([store.damageOf(1), store.lost()]).toEqual([undefined, false])
    }
  })

  it('D-14 an inserted key is a key like others, whatever was there before it', async () => {
    const insert = (key: string, value: string): void => state.insert(utf8(key), utf8(value))
    for (const key of ['stays', 'goes', 'again']) put(state, key, 'old')
    state.commit()
    await state.flushed()
    // Deleted and made again, made and deleted, made and changed, and made and given up.
    state.delete(utf8('again'))
    insert('again', 'new')
    insert('never', 'x')
    state.delete(utf8('never'))
    insert('changed', 'x')
    put(state, 'changed', 'y')
    state.commit()
    state.delete(utf8('again'))
    insert('dropped', 'x')
    state.rollback()
    const wanted = ['again=new', 'changed=y', 'goes=old', 'stays=old']
    expect(contentOf(state)).toEqual(wanted)
    await state.flushed()
    state.delete(utf8('changed'))
    state.delete(utf8('goes'))
    insert('never', 'z')
    state.commit()
    await state.flushed()
    for (const restart of [() => harness.crash(), () => harness.reopen()]) {
      store = await restart()
      expect(contentOf(store.group(1))).toEqual(['again=new', 'never=z', 'stays=old'])
      expect([store.damageOf(1), store.lost()]).toEqual([undefined, false])
    }
  })

  it('D-14 what a key had is counted right, however it was read and put before', async () => {
    const key = utf8('key')
    const others = utf8('key')
    for (let round = 0; round < 6; round++) {
      state.put(utf8('other'), utf8(`${round}`))
      if (round % 3 !== 2) state.get(key)
      state.put(round % 2 === 0 ? key : others, utf8(`a${round}`))
      if (round > 3) state.put(key, utf8(`b${round}`))
      state.commit()
      await state.flushed()
    }
    store = await harness.crash()
    expect(contentOf(store.group(1))).toEqual(['key=b5', 'other=5'])
    expect([store.damageOf(1), store.lost()]).toEqual([undefined, false])
  })

  it('notes are of their batch, up to their limit', async () => {
    const note = new Uint8Array(STATE_NOTE_BYTES_MAX).fill(3)
    state.setNote(note)
    state.commit()
    expect(codeOf(() => state.setNote(new Uint8Array(STATE_NOTE_BYTES_MAX + 1)))).toBe('too-large')
    await state.flushed()
    expect((await harness.crash()).group(1).note()).toEqual(note)
    state = (await harness.reopen()).group(1)
    state.setNote(new Uint8Array(0))
    state.commit()
    expect((await harness.reopen()).group(1).note()).toEqual(new Uint8Array(0))
  })

  it('what waits for the disk is counted, and goes there by itself when it is much', async () => {
    expect(store.pendingBytes()).toBe(0)
    state.put(utf8('a'), new Uint8Array(1_000))
    state.commit()
    expect(store.pendingBytes()).toBeGreaterThan(1_000)
    expect(store.pendingBytes()).toBeLessThan(STATE_PENDING_BYTES_MAX)
    await state.flushed()
    expect(store.pendingBytes()).toBe(0)
    expect(store.usage().bytes).toBeGreaterThan(1_000)
    state.put(utf8('a'), new Uint8Array(9_000).fill(1))
    state.commit()
    await state.flushed()
    expect((await harness.crash()).group(1).get(utf8('a'))?.length).toBe(9_000)
  })

  it('drop removes a group for good, and it may begin anew', async () => {
    put(state, 'a', '1')
    state.setNote(utf8('n'))
    state.commit()
    await state.flushed()
    put(state, 'b', 'not flushed')
    state.commit()
    put(store.group(2), 'a', 'other')
    store.group(2).commit()
    const dropped = store.drop(1)
    expect([contentOf(state), state.note()]).toEqual([[], undefined])
    put(state, 'c', 'new')
    state.commit()
    await dropped
    expect(contentOf(state)).toEqual(['c=new'])
    await Promise.all([state.flushed(), store.group(2).flushed()])
    store = await harness.crash()
    expect([contentOf(store.group(1)), contentOf(store.group(2))]).toEqual([['c=new'], ['a=other']])
    await store.drop(1)
    await store.drop(7)
    expect(store.groups()).toEqual([2])
    store = await harness.crash()
    expect([store.groups(), store.lost()]).toEqual([[2], false])
  })

  it('closing flushes, may be done twice, and ends reads and writes', async () => {
    put(state, 'a', '1')
    state.commit()
    await Promise.all([store.close(), store.close()])
    expect(codeOf(() => state.get(utf8('a')))).toBe('stopped')
    put(state, 'b', '1')
    expect(codeOf(() => state.commit())).toBe('stopped')
    expect(contentOf((await harness.reopen()).group(1))).toEqual(['a=1'])
  })
}

function describeSnapshots(): void {
  it('a snapshot shows what was committed before, whatever happens after', async () => {
    put(state, 'a', 'disk')
    put(state, 'b', 'disk')
    state.setNote(utf8('n1'))
    state.commit()
    await state.flushed()
    put(state, 'b', 'memory')
    put(state, 'c', 'memory')
    state.commit()
    put(state, 'd', 'open')
    state.setNote(utf8('n2'))
    const flushing = state.flushed()
    const snapshot = await state.snapshot()
    const check = (): void => {
      expect(contentOf(snapshot)).toEqual(['a=disk', 'b=memory', 'c=memory'])
      expect(contentOf(snapshot, true)).toEqual(['c=memory', 'b=memory', 'a=disk'])
      expect([snapshot.get(utf8('d')), noteOf(snapshot)]).toEqual([undefined, 'n1'])
    }
    check()
    expect(contentOf(state)).toContain('d=open')
    state.commit()
    await flushing
    check()
    for (const key of ['a', 'b', 'c', 'd']) state.delete(utf8(key))
    put(state, 'e', 'after')
    state.commit()
    await state.flushed()
    check()
    await store.drop(1)
    put(state, 'a', 'anew')
    state.commit()
    await state.flushed()
    check()
    snapshot.close()
    snapshot.close()
    expect(contentOf(state)).toEqual(['a=anew'])
  })
}

function describeInstalls(): void {
  const pairs = (prefix: string, count: number): { key: Uint8Array; value: Uint8Array }[] =>
    Array.from({ length: count }, (_, place) => ({
      key: utf8(`${prefix}${String(place).padStart(6, '0')}`),
      value: utf8(`new${place}`)
    }))

  beforeEach(async () => {
    put(state, 'old', '1')
    state.setNote(utf8('n-old'))
    state.commit()
    await state.flushed()
  })

  it('D-16 an install takes the place of the state when it is finished, not before', async () => {
    const install = await state.install()
    await install.write(pairs('a', 3_000))
    await install.write([])
    expect([contentOf(state), noteOf(state)]).toEqual([['old=1'], 'n-old'])
    const before = await state.snapshot()
    await install.finish(utf8('n-new'))
    await install.abort()
    expect([contentOf(state).length, noteOf(state)]).toEqual([3_000, 'n-new'])
    expect(contentOf(before)).toEqual(['old=1'])
    before.close()
    put(state, 'a000000', 'changed')
    state.commit()
    await state.flushed()
    store = await harness.crash()
    expect(contentOf(store.group(1)).slice(0, 2)).toEqual(['a000000=changed', 'a000001=new1'])
    expect(store.damageOf(1)).toBeUndefined()
  })

  it('D-16 an install that was not finished leaves the old state, and nothing of its own', async () => {
    const install = await state.install()
    await install.write(pairs('a', 20_000))
    store = await harness.crash()
    expect([contentOf(store.group(1)), noteOf(store.group(1))]).toEqual([['old=1'], 'n-old'])
    const second = await store.group(1).install()
    await second.write(pairs('b', 20_000))
    await second.abort()
    await second.abort()
    store = await harness.reopen()
    expect(contentOf(store.group(1))).toEqual(['old=1'])
    const third = await store.group(1).install()
    await third.write([])
    await third.finish(utf8('empty'))
    store = await harness.crash()
    expect([contentOf(store.group(1)), noteOf(store.group(1))]).toEqual([[], 'empty'])
  })

  it('an install refuses keys that are out of order', async () => {
    const install = await state.install()
    await install.write(pairs('b', 2))
    await expectCode(install.write(pairs('a', 1)), 'invalid-data')
    await install.abort()
    expect(contentOf(state)).toEqual(['old=1'])
  })

  it('an install makes a group that was not there', async () => {
    const install = await store.group(9).install()
    await install.write(pairs('a', 2))
    await install.finish(utf8('n'))
    expect((await harness.crash()).groups()).toEqual([1, 9])
  })
}

function describeDamage(): void {
  async function fill(): Promise<void> {
    for (const id of [1, 2]) {
      const group = store.group(id)
      for (let place = 0; place < 50; place++) put(group, `g${id}k${place}z`, `g${id}v${place}z`)
      group.setNote(utf8(`note-of-${id}`))
      group.commit()
      await group.flushed()
    }
  }

  for (const [what, pattern] of [
    ['value', 'g1v7z'],
    ['key', 'g1k7z'],
    ['note', 'note-of-1']
  ] as const) {
    it(`D-13 a flipped ${what} is never served; other groups go on`, async () => {
      await fill()
      store = await harness.flip(utf8(pattern))
      const damaged = store.group(1)

      expect(store.damageOf(1)?.code).toBe('corrupt')
      expect(codeOf(() => damaged.get(utf8('g1k1z')))).toBe('corrupt')
      expect(codeOf(() => contentOf(damaged))).toBe('corrupt')
      expect(codeOf(() => damaged.note())).toBe('corrupt')
      await expectCode(damaged.snapshot(), 'corrupt')
      put(damaged, 'a', '1')
      expect(codeOf(() => damaged.commit())).toBe('corrupt')
      expect([store.groups(), store.damageOf(2)]).toEqual([[1, 2], undefined])
      expect(contentOf(store.group(2)).length).toBe(50)
      put(store.group(2), 'more', '1')
      store.group(2).commit()
      await store.group(2).flushed()

      const install = await damaged.install()
      await install.write([{ key: utf8('a'), value: utf8('rebuilt') }])
      await install.finish(utf8('n'))
      expect([store.damageOf(1), contentOf(damaged)]).toEqual([undefined, ['a=rebuilt']])
      store = await harness.reopen()
      expect([store.damageOf(1), contentOf(store.group(1))]).toEqual([undefined, ['a=rebuilt']])
    })
  }

  it('a damaged group may be dropped', async () => {
    await fill()
    store = await harness.flip(utf8('g1v7z'))
    await store.drop(1)
    expect([store.damageOf(1), store.groups()]).toEqual([undefined, [2]])
    put(store.group(1), 'a', '1')
    store.group(1).commit()
    store = await harness.reopen()
    expect([store.damageOf(1), contentOf(store.group(1))]).toEqual([undefined, ['a=1']])
  })
}

function describeFailures(): void {
  it('D-9 after a flush that failed nothing is taken, and reads go on', async () => {
    const code = 'storage-failed'
    put(state, 'a', '1')
    state.commit()
    await state.flushed()
    put(state, 'b', '1')
    state.commit()
    harness.failNextFlush?.(code)
    await expectCode(state.flushed(), code)

    expect(store.failure()?.code).toBe(code)
    expect(contentOf(state)).toEqual(['a=1', 'b=1'])
    put(state, 'c', '1')
    expect(codeOf(() => state.commit())).toBe(code)
    state.rollback()
    expect(contentOf(state)).toEqual(['a=1', 'b=1'])
    await expectCode(state.flushed(), code)
    await expectCode(state.install(), code)
    await expectCode(store.drop(1), code)
    store = await harness.reopen()
    expect([contentOf(store.group(1)), store.failure()]).toEqual([['a=1'], undefined])
  })

  it("a flush that meets damage which is no group's fails the store", async () => {
    put(state, 'a', '1')
    state.commit()
    harness.failNextFlush?.('corrupt')
    await expectCode(state.flushed(), 'storage-failed')
    expect([store.failure()?.code, store.damageOf(1)]).toEqual(['storage-failed', undefined])
  })

  it('batches gather while a flush stalls, and are read through it', async () => {
    put(state, 'a', '1')
    put(state, 'b', '1')
    state.commit()
    harness.stall?.()
    const first = state.flushed()
    for (let turn = 0; turn < 8; turn++) await Promise.resolve()
    put(state, 'a', '2')
    state.delete(utf8('b'))
    put(state, 'c', '2')
    state.commit()
    const snapshot = await state.snapshot()
    expect(contentOf(state)).toEqual(['a=2', 'c=2'])
    expect(contentOf(state, true)).toEqual(['c=2', 'a=2'])
    harness.resume?.()
    await first
    await state.flushed()
    expect([contentOf(state), contentOf(snapshot)]).toEqual([
      ['a=2', 'c=2'],
      ['a=2', 'c=2']
    ])
    snapshot.close()
    expect(contentOf((await harness.crash()).group(1))).toEqual(['a=2', 'c=2'])
  })

  it('what is committed while a drop waits for the disk is there after it', async () => {
    put(state, 'a', 'dropped')
    state.commit()
    await state.flushed()
    harness.stall?.()
    put(store.group(2), 'a', 'other')
    store.group(2).commit()
    const first = store.group(2).flushed()
    for (let turn = 0; turn < 8; turn++) await Promise.resolve()
    put(state, 'b', 'dropped')
    state.commit()
    const second = state.flushed()
    const dropped = store.drop(1)
    put(state, 'c', 'new')
    state.commit()
    const third = state.flushed()
    harness.resume?.()
    await Promise.all([first, second, dropped, third])
    expect(contentOf(state)).toEqual(['c=new'])
    expect(contentOf((await harness.crash()).group(1))).toEqual(['c=new'])
  })
}
