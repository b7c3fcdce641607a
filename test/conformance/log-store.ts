// What every LogStore promises, whatever its files are made of.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { utf8 } from '../../src/base/bytes.ts'
import { isMeshError } from '../../src/base/errors.ts'
import { KIB, MIB } from '../../src/base/units.ts'
import { EMPTY_CONFIG_STATE, EMPTY_HARD_STATE, UNBOUNDED } from '../../src/core/raft/messages.ts'
import type { ConfigState, Entry } from '../../src/core/raft/messages.ts'
import type { LogStoreOptions } from '../../src/storage/log/segmented-log-store.ts'
import { LOG_META_BYTES_MAX, type GroupLog, type LogStore } from '../../src/storage/log-store.ts'
import { expectCode } from './block-store.ts'

/** One store and what holds its bytes, with the ways to mistreat both. */
export type LogStoreHarness = {
  /** Open. */
  store: LogStore
  /** Closes the store and opens another on the same bytes. */
  reopen(): Promise<LogStore>
  /** Opens another store on what is durable, without closing the first. */
  crash(): Promise<LogStore>
  /** Changes a file behind everyone's back, durably. */
  tamper(name: string, change: (bytes: Uint8Array) => Uint8Array): Promise<void>
  names(): Promise<string[]>
  /** The next write of a batch fails. Absent where that can't be arranged. */
  failNextSync?(): void
  /** Whether the disk has room for another segment. Absent where that can't be arranged. */
  setFull?(isFull: boolean): void
  dispose(): Promise<void>
}

export type MakeLogStore = (options: LogStoreOptions) => Promise<LogStoreHarness>

export const SEGMENT_BYTES: number = 64 * KIB
export const CONFIG: ConfigState = { ...EMPTY_CONFIG_STATE, voters: [1, 2, 3], learners: [9] }

/** @returns an entry whose bytes tell its index and term. */
export function entry(index: number, term = 1, size = 20): Entry {
  const data = new Uint8Array(size).fill((index * 7 + term * 31) & 0xff)
  return { type: 'normal', index, term, data }
}

/** @returns entries `first` to `last`, both included. */
export function entriesOf(first: number, last: number, term = 1, size = 20): Entry[] {
  return Array.from({ length: last - first + 1 }, (_, place) => entry(first + place, term, size))
}

/** All that a log has. */
export function contentOf(log: GroupLog): readonly Entry[] {
  if (log.lastIndex() < log.firstIndex()) return []
  const wanted: Entry[] = []
  let low = log.firstIndex()
  while (low <= log.lastIndex()) {
    const part = log.entries(low, log.lastIndex() + 1, UNBOUNDED) ?? []
    expect(part.length).toBeGreaterThan(0)
    wanted.push(...part)
    low += part.length
  }
  return wanted
}

function codeOfRead(read: () => unknown): string {
  try {
    read()
    return 'none'
  } catch (error) {
    return isMeshError(error) ? error.code : String(error)
  }
}

/** Writes entries until `count` more segments are there. @returns the next index */
export async function fillSegments(
  store: LogStore,
  options: { group: number; first: number; count: number }
): Promise<number> {
  const { group, count } = options
  let { first } = options
  let written = 0
  while (written < count * SEGMENT_BYTES) {
    const entries = entriesOf(first, first + 3, 1, 1_000)
    await store.write([{ group, entries }])
    written += 4_000
    first += 4
  }
  return first
}

/** @param canFail whether its disk can be made to fail: a real one can't */
export function describeLogStore(name: string, make: MakeLogStore, canFail: boolean): void {
  describe(name, () => {
    let harness: LogStoreHarness
    let store: LogStore

    beforeEach(async () => {
      harness = await make({ segmentBytes: SEGMENT_BYTES, cacheBytes: 16 * KIB })
      store = harness.store
    })
    afterEach(async () => {
      await harness.dispose()
    })

    it('a group that nothing was written for is an empty log', () => {
      const log = store.group(7)

      expect(log.initialState()).toEqual({
        hardState: EMPTY_HARD_STATE,
        configState: EMPTY_CONFIG_STATE
      })
      expect([log.firstIndex(), log.lastIndex()]).toEqual([1, 0])
      expect(log.term(0)).toBe(0)
      expect(log.term(1)).toBeUndefined()
      expect(log.entries(1, 2, UNBOUNDED)).toBeUndefined()
      expect(log.snapshot()).toBeUndefined()
      expect(store.groups()).toEqual([])
    })

    it('what was written is there, and after a crash too', async () => {
      const hardState = { term: 3, vote: 2, commit: 4 }
      const change: Entry = {
        type: 'config-change',
        index: 6,
        term: 3,
        change: {
          transition: 'explicit',
          steps: [{ type: 'add-learner', id: 4 }],
          context: utf8('why')
        }
      }
      const entries = [...entriesOf(1, 5, 2), change]
      await store.write([{ group: 1, hardState, configState: CONFIG, entries, meta: utf8('m') }])
      await store.write([{ group: 0, hardState: { ...hardState, vote: 0 } }])

      for (const log of [store.group(1), (await harness.crash()).group(1)]) {
        expect(log.initialState()).toEqual({ hardState, configState: CONFIG })
        expect([log.firstIndex(), log.lastIndex()]).toEqual([1, 6])
        expect([0, 1, 5, 6, 7].map((index) => log.term(index))).toEqual([0, 2, 2, 3, undefined])
        expect(contentOf(log)).toEqual(entries)
        expect(log.meta()).toEqual(utf8('m'))
        expect([log.isRemoved(), log.damage()]).toEqual([false, undefined])
      }
      expect(store.groups()).toEqual([0, 1])
    })

    it('reads see a write when it is durable, not before', async () => {
      const log = store.group(1)
      const writing = store.write([{ group: 1, entries: entriesOf(1, 2) }])

      expect(log.lastIndex()).toBe(0)
      expect(store.pendingSinceMs()).toBeTypeOf('number')
      await writing

      expect(log.lastIndex()).toBe(2)
      expect(store.pendingSinceMs()).toBeUndefined()
    })

    it('entries() gives at least one and stops at the bound', async () => {
      await store.write([{ group: 1, entries: entriesOf(1, 10, 1, 1_000) }])
      const log = store.group(1)

      expect(log.entries(3, 9, 1)?.map(({ index }) => index)).toEqual([3])
      expect(log.entries(3, 9, 3_500)?.map(({ index }) => index)).toEqual([3, 4, 5])
      expect(log.entries(9, 99, UNBOUNDED)?.map(({ index }) => index)).toEqual([9, 10])
      expect(log.entries(11, 12, UNBOUNDED)).toBeUndefined()
    })

    it('entries replace everything from the first of them on', async () => {
      await store.write([{ group: 1, entries: entriesOf(1, 9, 1) }])
      await store.write([{ group: 1, entries: entriesOf(4, 5, 2) }])
      const wanted = [...entriesOf(1, 3, 1), ...entriesOf(4, 5, 2)]

      expect(contentOf(store.group(1))).toEqual(wanted)
      expect(contentOf((await harness.reopen()).group(1))).toEqual(wanted)
    })

    it('a snapshot replaces the log, which starts after it', async () => {
      await store.write([{ group: 1, entries: entriesOf(1, 9) }])
      const snapshot = { index: 20, term: 4, configState: CONFIG }
      await store.write([{ group: 1, snapshot, entries: entriesOf(21, 22, 5) }])

      for (const log of [store.group(1), (await harness.reopen()).group(1)]) {
        expect([log.firstIndex(), log.lastIndex()]).toEqual([21, 22])
        expect([19, 20, 21].map((index) => log.term(index))).toEqual([undefined, 4, 5])
        expect(log.initialState().configState).toEqual(CONFIG)
        expect(log.entries(20, 22, UNBOUNDED)).toBeUndefined()
      }
    })

    it('truncateTo lets entries up to it go, and keeps the term there', async () => {
      await store.write([{ group: 1, entries: [...entriesOf(1, 5, 1), ...entriesOf(6, 9, 2)] }])
      await store.write([{ group: 1, truncateTo: 6 }])
      await store.write([{ group: 1, truncateTo: 3 }])

      for (const log of [store.group(1), (await harness.reopen()).group(1)]) {
        expect([log.firstIndex(), log.lastIndex()]).toEqual([7, 9])
        expect([5, 6, 7].map((index) => log.term(index))).toEqual([undefined, 2, 2])
        expect(contentOf(log)).toEqual(entriesOf(7, 9, 2))
      }
    })

    it('truncateTo the last index leaves an empty log that goes on', async () => {
      await store.write([{ group: 1, entries: entriesOf(1, 5), truncateTo: 5 }])
      expect([store.group(1).firstIndex(), store.group(1).lastIndex()]).toEqual([6, 5])
      await store.write([{ group: 1, entries: [entry(6, 2)] }])

      expect(contentOf((await harness.reopen()).group(1))).toEqual([entry(6, 2)])
    })

    it('remove leaves a tombstone, which only remove replaces', async () => {
      const hardState = { term: 5, vote: 1, commit: 0 }
      await store.write([{ group: 1, hardState, entries: entriesOf(1, 3), meta: utf8('a') }])
      await store.write([{ group: 1, remove: true, meta: utf8('gone') }])
      store = await harness.reopen()
      const log = store.group(1)

      expect(store.groups()).toEqual([1])
      expect([log.isRemoved(), log.lastIndex(), log.meta()]).toEqual([true, 0, utf8('gone')])
      expect(log.initialState().hardState).toEqual(EMPTY_HARD_STATE)
      await expectCode(store.write([{ group: 1, hardState }]), 'invalid-argument')
      const snapshot = { index: 8, term: 1, configState: CONFIG }
      await store.write([{ group: 1, remove: true, snapshot, hardState: EMPTY_HARD_STATE }])
      store = await harness.reopen()

      expect(store.group(1).isRemoved()).toBe(false)
      expect(store.group(1).firstIndex()).toBe(9)
      expect(store.group(1).meta()).toBeUndefined()
    })

    it('snapshot() answers what the host hands in', () => {
      const snapshot = { index: 1, term: 1, configState: CONFIG, data: utf8('s') }
      store.group(1).setSnapshotSource(() => snapshot)

      expect(store.group(1).snapshot()).toBe(snapshot)
    })

    it.each([
      ['a gap', { entries: [entry(5)] }],
      ['entries out of order', { entries: [entry(4), entry(3)] }],
      ['an entry that was compacted', { entries: entriesOf(1, 4) }],
      ['a truncation beyond the end', { truncateTo: 4 }],
      ['a snapshot of what is compacted', { snapshot: { index: 1, term: 1, configState: CONFIG } }],
      ['a term that falls', { hardState: { term: 1, vote: 0, commit: 0 } }],
      ['another vote in one term', { hardState: { term: 2, vote: 3, commit: 0 } }],
      ['a vote taken back', { hardState: { term: 2, vote: 0, commit: 0 } }],
      ['a term that is no number', { hardState: { term: Number.NaN, vote: 0, commit: 0 } }]
    ])('refuses %s, and the whole batch with it', async (_, wrong) => {
      const hardState = { term: 2, vote: 1, commit: 0 }
      await store.write([{ group: 1, hardState, entries: entriesOf(1, 3), truncateTo: 1 }])

      await expectCode(
        store.write([
          { group: 2, hardState },
          { group: 1, ...wrong }
        ]),
        'invalid-argument'
      )

      expect(contentOf(store.group(1))).toEqual(entriesOf(2, 3))
      expect(store.groups()).toEqual([1])
      await store.write([{ group: 1, hardState, entries: [entry(4)] }])
      expect(contentOf((await harness.reopen()).group(1))).toEqual(entriesOf(2, 4))
    })

    it.each([-1, 1.5, Number.NaN, 2 ** 53])('refuses the group id %s', async (group) => {
      await expectCode(store.write([{ group, meta: utf8('') }]), 'invalid-argument')
    })

    it('refuses meta and entries beyond their limits', async () => {
      const meta = new Uint8Array(LOG_META_BYTES_MAX + 1)
      await expectCode(store.write([{ group: 1, meta }]), 'too-large')
      await expectCode(store.write([{ group: 1, entries: [entry(1, 1, MIB + 1)] }]), 'too-large')

      expect(store.groups()).toEqual([])
    })

    it('writes of one turn wait for each other and keep their order', async () => {
      const writes = Array.from({ length: 50 }, (_, index) =>
        store.write([{ group: index % 3, entries: [entry(Math.floor(index / 3) + 1)] }])
      )
      await Promise.all(writes)

      store = await harness.crash()
      expect([0, 1, 2].map((group) => store.group(group).lastIndex())).toEqual([17, 17, 16])
    })

    it('a write longer than a record is continued in others', async () => {
      const entries = entriesOf(1, 200, 1, 1_000)
      const hardState = { term: 1, vote: 1, commit: 150 }
      await store.write([{ group: 1, hardState, entries, truncateTo: 10 }])
      store = await harness.crash()

      expect(store.group(1).initialState().hardState).toEqual(hardState)
      expect(contentOf(store.group(1))).toEqual(entries.slice(10))
    })

    it('older entries are read from their segment, and checked again', async () => {
      await store.write([{ group: 1, entries: entriesOf(1, 40, 1, 1_000) }])
      await store.write([{ group: 2, entries: entriesOf(1, 20, 1, 1_000) }])
      expect(contentOf(store.group(1))).toEqual(entriesOf(1, 40, 1, 1_000))
      const needle = entry(3, 1, 1_000).type === 'normal' ? 3 * 7 + 31 : 0
      const [name = ''] = await harness.names()
      await harness.tamper(name, (bytes) => {
        const damaged = bytes.slice()
        damaged[damaged.lastIndexOf(needle, damaged.indexOf(4 * 7 + 31, 9_000)) - 100] = 1
        return damaged
      })
      // Pushes what is held in memory out.
      await store.write([{ group: 2, entries: entriesOf(21, 40, 1, 1_000) }])

      expect(codeOfRead(() => contentOf(store.group(1)))).toBe('corrupt')
      expect(codeOfRead(() => store.group(1).initialState())).toBe('corrupt')
      await expectCode(store.write([{ group: 1, truncateTo: 1 }]), 'corrupt')
      expect(store.group(2).lastIndex()).toBe(40)
      await store.write([{ group: 1, remove: true }])
      expect(store.group(1).isRemoved()).toBe(true)
    })

    it('segments that nothing is needed of are given back', async () => {
      const hardState = { term: 1, vote: 1, commit: 0 }
      await store.write([
        { group: 2, hardState, meta: utf8('kept') },
        { group: 3, remove: true }
      ])
      const next = await fillSegments(store, { group: 1, first: 1, count: 6 })
      expect(store.usage().segmentCount).toBeGreaterThan(6)
      await store.write([{ group: 1, truncateTo: next - 1 }])
      await store.write([{ group: 1, entries: [entry(next)] }])
      store = await harness.reopen()

      expect(store.usage().segmentCount).toBeLessThan(4)
      expect(store.group(2).initialState().hardState).toEqual(hardState)
      expect(store.group(2).meta()).toEqual(utf8('kept'))
      expect(store.group(3).isRemoved()).toBe(true)
      expect(contentOf(store.group(1))).toEqual([entry(next)])
    })

    it('after close() writes are refused', async () => {
      await store.close()
      await store.close()

      await expectCode(store.write([{ group: 1, remove: true }]), 'stopped')
    })

    it('close() waits for what is under way', async () => {
      const writing = store.write([{ group: 1, entries: entriesOf(1, 3) }])
      await store.close()
      await writing

      expect((await harness.reopen()).group(1).lastIndex()).toBe(3)
    })

    if (!canFail) return
    describe('when the disk fails', () => {
      it('a failed sync stops the store for good, and reads go on (L-10)', async () => {
        expect('failNextSync' in harness).toBe(true)
        await store.write([{ group: 1, entries: entriesOf(1, 3) }])
        harness.failNextSync?.()
        const failing = store.write([{ group: 1, entries: [entry(4)] }])
        const waiting = store.write([{ group: 2, entries: [entry(1)] }])

        await expectCode(failing, 'storage-failed')
        await expectCode(waiting, 'storage-failed')
        await expectCode(store.write([{ group: 1, truncateTo: 1 }]), 'storage-failed')
        expect(store.failure()?.code).toBe('storage-failed')
        expect(contentOf(store.group(1))).toEqual(entriesOf(1, 3))
        store = await harness.crash()
        expect(contentOf(store.group(1)).slice(0, 3)).toEqual(entriesOf(1, 3))
        await store.write([{ group: 1, entries: [entry(4)] }])
      })

      it('a full disk refuses writes, keeps what it has and lets it be given back', async () => {
        expect('setFull' in harness).toBe(true)
        harness.setFull?.(true)
        let acknowledged = 0
        const fill = async (size: number): Promise<void> => {
          for (;;) {
            const first = acknowledged + 1
            await store.write([{ group: 1, entries: entriesOf(first, first + 3, 1, size) }])
            acknowledged += 4
          }
        }
        await expectCode(fill(1_000), 'disk-full')
        await expectCode(fill(1), 'disk-full')

        expect(acknowledged).toBeGreaterThan(20)
        expect(store.group(1).lastIndex()).toBe(acknowledged)
        expect(store.failure()).toBeUndefined()
        const hardState = { term: 9, vote: 1, commit: acknowledged }
        await store.write([{ group: 1, hardState, truncateTo: acknowledged - 1 }])
        await store.write([{ group: 2, remove: true }])
        expect(contentOf(store.group(1)).length).toBe(1)
        harness.setFull?.(false)
        await store.write([{ group: 1, entries: [entry(acknowledged + 1, 9)] }])
        store = await harness.reopen()
        expect(store.group(1).initialState().hardState).toEqual(hardState)
        expect(store.group(1).lastIndex()).toBe(acknowledged + 1)
      })
    })
  })
}
