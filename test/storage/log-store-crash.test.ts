// What a log does with bytes that a crash cut off, and with bytes that were damaged.

import { describe, expect, it } from 'vitest'

import { present } from '../../src/base/assert.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { isMeshError } from '../../src/base/errors.ts'
import { createRandom } from '../../src/base/random.ts'
import type { GroupWrite, LogStore } from '../../src/storage/log-store.ts'
import { MemoryLogDisk, type MemoryLogStore } from '../../src/storage/memory/memory-log-store.ts'
import {
  CONFIG,
  SEGMENT_BYTES,
  contentOf,
  entriesOf,
  entry,
  fillSegments
} from '../conformance/log-store.ts'
import { expectCode } from '../conformance/block-store.ts'
import { DATA, openLogOn, openMemoryLog } from './log-store-harness.ts'
import { SimulatedDisk, type Survival } from './simulated-disk.ts'

const OPTIONS = { segmentBytes: SEGMENT_BYTES }
const SEGMENT_START = 8_192
const FIRST = '0000000001.log'

const open = (disk: MemoryLogDisk): Promise<MemoryLogStore> => openMemoryLog(disk, OPTIONS)

/** @returns a disk with the same bytes. */
function copyOf(disk: MemoryLogDisk): MemoryLogDisk {
  const copy = new MemoryLogDisk()
  for (const [name, bytes] of disk.files) copy.files.set(name, bytes.slice())
  return copy
}

const bytesOf = (disk: MemoryLogDisk, name = FIRST): Uint8Array =>
  present(disk.files.get(name), `${name} is there`)

function flip(bytes: Uint8Array, offset: number): void {
  bytes[offset] = (bytes[offset] as number) ^ 1
}

/** @returns the offset after the last byte that isn't zero. */
function endOf(bytes: Uint8Array): number {
  return bytes.findLastIndex((byte) => byte !== 0) + 1
}

/** Writes one after another. @returns where the records end after each, the beginning included */
async function writeAll(disk: MemoryLogDisk, writes: readonly GroupWrite[]): Promise<number[]> {
  const store = await open(disk)
  const ends = [SEGMENT_START]
  for (const write of writes) {
    await store.write([write])
    ends.push(endOf(bytesOf(disk)))
  }
  store.faults.crash()
  return ends
}

/** What can be seen of a group: its damage, or all it has. */
function seen(store: LogStore, id: number): unknown {
  const log = store.group(id)
  if (log.damage() !== undefined) return log.damage()?.code
  const { hardState } = log.initialState()
  return { hardState, first: log.firstIndex(), content: contentOf(log), removed: log.isRemoved() }
}

const hardState = (term: number): GroupWrite['hardState'] => ({ term, vote: 1, commit: 0 })

const WRITES: GroupWrite[] = [
  { group: 1, hardState: hardState(1), entries: entriesOf(1, 4) },
  { group: 2, hardState: hardState(1), entries: entriesOf(1, 2) },
  { group: 1, hardState: hardState(2), entries: entriesOf(3, 5, 2) },
  { group: 3, snapshot: { index: 9, term: 1, configState: CONFIG }, hardState: hardState(1) },
  { group: 2, hardState: hardState(3), entries: entriesOf(3, 3, 3), truncateTo: 1 },
  { group: 1, hardState: hardState(4), entries: [entry(6, 4)] }
]

/** What is seen of the groups after each beginning of {@link WRITES}. */
async function states(): Promise<unknown[]> {
  const list: unknown[] = []
  for (let count = 0; count <= WRITES.length; count++) {
    const store = await open(new MemoryLogDisk())
    for (const write of WRITES.slice(0, count)) await store.write([write])
    list.push([1, 2, 3].map((group) => seen(store, group)))
    await store.close()
  }
  return list
}

describe('a torn tail (L-6)', () => {
  it.each(['zeros', 'a shorter file', 'other bytes'])(
    'is cut wherever it begins, followed by %s',
    async (rest) => {
      const disk = new MemoryLogDisk()
      const ends = await writeAll(disk, WRITES)
      const expected = await states()
      for (let cut = SEGMENT_START; cut <= (ends.at(-1) as number); cut++) {
        const torn = copyOf(disk)
        const bytes = bytesOf(torn)
        if (rest === 'zeros') bytes.fill(0, cut)
        if (rest === 'a shorter file') torn.files.set(FIRST, bytes.slice(0, cut))
        if (rest === 'other bytes') {
          // To the end of the record that the cut is in: a batch that began and didn't end.
          bytes.fill(0, ends.find((end) => end > cut) ?? cut)
          bytes.fill(0xa5, cut, ends.find((end) => end > cut) ?? cut)
        }
        const whole = ends.filter((end) => end <= cut).length - 1
        const store = await open(torn)
        expect(
          [1, 2, 3].map((group) => seen(store, group)),
          `cut at ${cut}`
        ).toEqual(expected[Math.max(0, whole)])
        // The log goes on, and the cut is no damage to the next reader.
        await store.write([{ group: 8, meta: utf8('on') }])
        store.faults.crash()
        const next = await open(torn)
        expect(next.group(8).meta(), `cut at ${cut}`).toEqual(utf8('on'))
        expect([1, 2, 3].map((group) => seen(next, group))).toEqual(expected[Math.max(0, whole)])
        expect(bytesOf(torn).length).toBe(SEGMENT_BYTES)
        await next.close()
      }
    },
    60_000
  )

  it('of a write of many records leaves a beginning, with term and vote (L-7)', async () => {
    const disk = new MemoryLogDisk()
    await writeAll(disk, [
      { group: 1, hardState: { term: 1, vote: 1, commit: 1 }, entries: [entry(1)] }
    ])
    const store = await open(disk)
    const entries = entriesOf(2, 300, 2, 1_000)
    const hardState = { term: 2, vote: 3, commit: 300 }
    await store.write([{ group: 1, hardState, entries, truncateTo: 200 }])
    store.faults.crash()
    const names = [...disk.files.keys()].toSorted()
    for (const name of names.slice(1)) bytesOf(disk, name).fill(0, SEGMENT_START)
    const log = (await open(disk)).group(1)

    expect(log.initialState().hardState).toEqual({ term: 2, vote: 3, commit: 1 })
    expect(log.firstIndex()).toBe(1)
    expect(log.lastIndex()).toBeGreaterThan(20)
    expect(contentOf(log)).toEqual([entry(1), ...entries].slice(0, log.lastIndex()))
  })

  it('of a batch whose later records are there is cut too', async () => {
    const disk = new MemoryLogDisk()
    const [, first = 0] = await writeAll(disk, [{ group: 1, entries: entriesOf(1, 3) }])
    const store = await open(disk)
    await store.write(['a', 'b', 'c'].map((text, group) => ({ group, meta: utf8(text) })))
    store.faults.crash()
    const end = endOf(bytesOf(disk))

    for (let offset = first; offset < end; offset++) {
      const torn = copyOf(disk)
      flip(bytesOf(torn), offset)
      const reopened = await open(torn)
      expect(contentOf(reopened.group(1)), `byte ${offset}`).toEqual(entriesOf(1, 3))
      expect([0, 1, 2].map((group) => reopened.group(group).damage())).toEqual(
        [0, 1, 2].map(() => undefined)
      )
      expect(endOf(bytesOf(torn))).toBeLessThan(end)
      await reopened.close()
    }
  })

  it.each([1, 2, 3, 4, 5, 6, 7, 8])(
    'of a crash that kept some sectors loses nothing that was acknowledged, seed %i',
    async (seed) => {
      const disk = new MemoryLogDisk()
      const random = createRandom(seed)
      let acknowledged = 0
      for (let round = 0; round < 10; round++) {
        const store = await open(disk)
        expect(store.group(1).damage()).toBeUndefined()
        const last = store.group(1).lastIndex()
        expect(last).toBeGreaterThanOrEqual(acknowledged)
        expect(contentOf(store.group(1))).toEqual(entriesOf(1, last, 1, 300))
        acknowledged = last + 5
        await store.write([{ group: 1, entries: entriesOf(last + 1, acknowledged, 1, 300) }])
        store.faults.stall()
        const lost = Promise.allSettled([
          store.write([
            { group: 1, entries: entriesOf(acknowledged + 1, acknowledged + 6, 1, 300) }
          ]),
          store.write([{ group: 2, meta: utf8(`round ${round}`) }])
        ])
        for (let turn = 0; turn < 20; turn++) await Promise.resolve()
        store.faults.crash(random)
        for (const { status } of await lost) expect(status).toBe('rejected')
      }
    }
  )
})

describe('damage (L-6)', () => {
  it('of any byte of a record that others followed harms its group and no other', async () => {
    const disk = new MemoryLogDisk()
    const ends = await writeAll(disk, WRITES)
    const [good] = (await states()).slice(-1) as [unknown[]]
    const [from = 0, to = 0] = ends.slice(2, 4)

    for (let offset = from; offset < to; offset++) {
      const damaged = copyOf(disk)
      flip(bytesOf(damaged), offset)
      const store = await open(damaged)
      expect(seen(store, 1), `byte ${offset}`).toBe('corrupt')
      expect(seen(store, 2), `byte ${offset}`).toEqual(good[1])
      expect(seen(store, 3), `byte ${offset}`).toEqual(good[2])
      await store.close()
    }
  })

  it.each([
    ['in a header harms', 20, 'corrupt'],
    ['in a payload spares', 60, undefined]
  ])('%s a group that nothing later says is well', async (_, offset, code) => {
    const disk = new MemoryLogDisk()
    const ends = await writeAll(disk, [{ group: 4, meta: utf8('4') }, ...WRITES])
    flip(bytesOf(disk), (ends[3] as number) + offset)
    let store = await open(disk)
    expect(store.group(4).damage()?.code).toBe(code)
    expect(store.group(2).damage()).toBeUndefined()
    expect(seen(store, 1)).toBe('corrupt')
    // The catalogs that are written now don't take it back.
    await store.close()
    store = await open(disk)
    expect(store.group(4).damage()?.code).toBe(code)
  })

  it('refuses the group until it is rebuilt, over restarts, and lets others go on', async () => {
    const disk = new MemoryLogDisk()
    const ends = await writeAll(disk, WRITES)
    flip(bytesOf(disk), (ends[2] as number) + 60)
    let store = await open(disk)
    for (let round = 0; round < 3; round++) {
      expect(store.groups()).toEqual([1, 2, 3])
      await expectCode(store.write([{ group: 1, entries: [entry(7, 4)] }]), 'corrupt')
      await expectCode(store.write([{ group: 1, hardState: hardState(9) }]), 'corrupt')
      await expectCode(
        store.write([{ group: 1, snapshot: { index: 50, term: 4, configState: CONFIG } }]),
        'corrupt'
      )
      const last = store.group(2).lastIndex()
      await store.write([{ group: 2, entries: [entry(last + 1, 3)] }])
      await store.close()
      store = await open(disk)
    }
    const snapshot = { index: 50, term: 4, configState: CONFIG }
    await store.write([{ group: 1, remove: true, snapshot, hardState: hardState(4) }])
    await store.write([{ group: 1, entries: [entry(51, 4)] }])
    expect(contentOf(store.group(1))).toEqual([entry(51, 4)])
    await store.close()
    store = await open(disk)

    expect(contentOf(store.group(1))).toEqual([entry(51, 4)])
    expect(store.group(2).lastIndex()).toBe(6)
  })

  it('is remembered when the segment it was in is gone', async () => {
    const disk = new MemoryLogDisk()
    const ends = await writeAll(disk, WRITES)
    flip(bytesOf(disk), (ends[2] as number) + 60)
    let store = await open(disk)
    const next = await fillSegments(store, { group: 5, first: 1, count: 4 })
    await store.write([{ group: 5, truncateTo: next - 1 }])
    await store.write([{ group: 2, truncateTo: 3, meta: utf8('later') }])
    await store.close()
    expect(disk.files.has(FIRST)).toBe(false)
    store = await open(disk)

    expect(seen(store, 1)).toBe('corrupt')
    expect(store.group(2).meta()).toEqual(utf8('later'))
    expect(store.group(2).damage()).toBeUndefined()
  })

  it('after the log was closed in order is seen in the very last record', async () => {
    const disk = new MemoryLogDisk()
    const store = await open(disk)
    await store.write([{ group: 1, entries: entriesOf(1, 3) }])
    const end = endOf(bytesOf(disk))
    await store.close()
    flip(bytesOf(disk), end - 1)

    expect(seen(await open(disk), 1)).toBe('corrupt')
  })

  it.each([
    ['the first copy', [0]],
    ['the second copy', [4_096]]
  ])('of a segment header in %s harms nobody', async (_, offsets) => {
    const disk = new MemoryLogDisk()
    await writeAll(disk, WRITES)
    for (const offset of offsets) flip(bytesOf(disk), offset)
    // So that no other segment says what the log's id is.
    disk.files.delete('0000000002.log')

    const store = await open(disk)
    expect([1, 2, 3].map((group) => seen(store, group))).toEqual((await states()).at(-1))
  })

  it('of all headers there are leaves nothing to be trusted', async () => {
    const disk = new MemoryLogDisk()
    await writeAll(disk, WRITES)
    for (const bytes of disk.files.values()) bytes.fill(0, 0, SEGMENT_START)

    const error = await open(disk).catch((reason: unknown) => reason)
    expect(isMeshError(error, 'corrupt')).toBe(true)
  })

  it('a later format is refused, and nothing changed', async () => {
    const disk = new MemoryLogDisk()
    await writeAll(disk, WRITES)
    const { crc32 } = await import('node:zlib')
    const bytes = bytesOf(disk)
    const view = new DataView(bytes.buffer)
    view.setUint32(8, 2)
    view.setUint32(40, crc32(bytes.subarray(0, 40)))
    const before = bytes.slice()

    const error = await open(disk).catch((reason: unknown) => reason)
    expect(isMeshError(error, 'folder-too-new')).toBe(true)
    expect(bytesOf(disk)).toEqual(before)
  })

  it.each([0, 1, 2, 3])('segment %i of a log that is gone is missed', async (position) => {
    const disk = new MemoryLogDisk()
    let store = await open(disk)
    await store.write([{ group: 2, hardState: hardState(1) }])
    await fillSegments(store, { group: 1, first: 1, count: 4 })
    await store.write([{ group: 3, hardState: hardState(1) }])
    store.faults.crash()
    const names = [...disk.files.keys()].toSorted()
    disk.files.delete(names[position] as string)
    store = await open(disk)

    expect(seen(store, 1)).toBe('corrupt')
    expect(store.group(2).damage() === undefined).toBe(position > 0)
    expect(store.group(3).damage()).toBeUndefined()
  })

  it('before a segment that is not empty is no torn tail, whatever that segment has', async () => {
    const disk = new MemoryLogDisk()
    const store = await open(disk)
    await fillSegments(store, { group: 1, first: 1, count: 1 })
    await store.write([{ group: 1, truncateTo: 1 }])
    store.faults.crash()
    flip(bytesOf(disk), endOf(bytesOf(disk)) - 1)
    bytesOf(disk, '0000000002.log').fill(0xff, SEGMENT_START)

    expect(seen(await open(disk), 1)).toBe('corrupt')
  })

  it('a segment that was emptied is missed', async () => {
    const disk = new MemoryLogDisk()
    let store = await open(disk)
    await fillSegments(store, { group: 1, first: 1, count: 3 })
    await store.write([{ group: 3, hardState: hardState(1) }])
    await store.close()
    bytesOf(disk, '0000000002.log').fill(0, SEGMENT_START)
    store = await open(disk)

    expect(seen(store, 1)).toBe('corrupt')
    expect(store.group(3).damage()).toBeUndefined()
  })

  it('bytes of an entry that look like a record are none', async () => {
    const disk = new MemoryLogDisk()
    const ends = await writeAll(disk, WRITES)
    // A record of another log, with good checksums there.
    const other = new MemoryLogDisk()
    const otherWrites = Array.from({ length: 40 }, () => ({ group: 2, hardState: hardState(77) }))
    const otherEnds = await writeAll(other, otherWrites)
    const record = bytesOf(other).slice(otherEnds[39], otherEnds[40])
    const store = await open(disk)
    const [first] = entriesOf(7, 7, 4)
    await store.write([
      { group: 1, entries: [{ ...present(first, 'one'), type: 'normal', data: record }] }
    ])
    await store.write([{ group: 3, entries: [entry(10)] }])
    await store.close()
    flip(bytesOf(disk), (ends.at(-1) as number) + 1)
    const reopened = await open(disk)

    expect(reopened.group(2).initialState().hardState.term).toBe(3)
    expect(seen(reopened, 1)).toBe('corrupt')
    expect(reopened.group(3).lastIndex()).toBe(10)
  })
})

/** Fills, truncates and removes, so that segments come and go. @returns what was acknowledged */
async function someWork(store: LogStore): Promise<{ last: number; first: number; term: number }> {
  const done = { last: 0, first: 1, term: 0 }
  const ignoreCrash = (): void => undefined
  for (let round = 1; round <= 12; round++) {
    const last = round * 8
    const entries = entriesOf(last - 7, last, round, 900)
    const write = store.write([{ group: 1, hardState: hardState(round), entries }])
    await Promise.allSettled([write, store.write([{ group: 2, hardState: hardState(round) }])])
    await write.then(() => Object.assign(done, { last, term: round }), ignoreCrash)
    // Late, so that more than one segment goes at a time.
    if (round !== 12 || done.last !== last) continue
    const truncate = store.write([{ group: 1, truncateTo: last - 4 }])
    await truncate.then(() => Object.assign(done, { first: last - 3 }), ignoreCrash)
  }
  return done
}

describe('a power cut at any call', () => {
  it('loses nothing that was acknowledged, and is never taken for damage', async () => {
    const options = { segmentBytes: 32 * 1_024 }
    const rehearsal = new SimulatedDisk()
    rehearsal.plantFolder(DATA)
    await (
      await openLogOn(rehearsal, options).then(async (store) => (await someWork(store), store))
    ).close()
    const survivals: Survival[] = ['lose', 'keep', 'mix', 'mix', 'mix']
    expect(rehearsal.callCount).toBeGreaterThan(100)

    for (let crashAt = 1; crashAt <= rehearsal.callCount + 1; crashAt++) {
      for (const [seed, survival] of survivals.entries()) {
        const label = `call ${crashAt}, ${survival}`
        const disk = new SimulatedDisk()
        disk.plantFolder(DATA)
        disk.crashAtCall = crashAt
        const store = await openLogOn(disk, options).catch(() => undefined)
        const done = store === undefined ? { last: 0, first: 1, term: 0 } : await someWork(store)
        await store?.close().catch(() => undefined)

        const after = disk.afterPowerCut(survival, createRandom(crashAt * 10 + seed))
        const reopened = await openLogOn(after, options)
        const log = reopened.group(1)
        expect(log.damage(), label).toBeUndefined()
        expect(reopened.group(2).damage(), label).toBeUndefined()
        expect(log.lastIndex(), label).toBeGreaterThanOrEqual(done.last)
        expect(log.firstIndex(), label).toBeGreaterThanOrEqual(done.first)
        expect(log.initialState().hardState.term, label).toBeGreaterThanOrEqual(done.term)
        for (const found of contentOf(log)) {
          expect(found).toEqual(entry(found.index, Math.ceil(found.index / 8), 900))
        }
        await reopened.close()
      }
    }
  }, 120_000)
})
