import { describe, expect, it } from 'vitest'

import { KIB } from '../../src/base/units.ts'
import { MemoryLogDisk, MemoryLogStore } from '../../src/storage/memory/memory-log-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { expectCode } from '../conformance/block-store.ts'
import {
  SEGMENT_BYTES,
  contentOf,
  entriesOf,
  entry,
  fillSegments
} from '../conformance/log-store.ts'
import { openMemoryLog } from './log-store-harness.ts'

describe('MemoryLogStore', () => {
  it('tells since when a stalled disk keeps a write waiting', async () => {
    const clock = new VirtualClock()
    const store = new MemoryLogStore({ clock })
    await store.open()
    store.faults.stall()
    const sinceMs = clock.monotonicMs()
    const first = store.write([{ group: 1, entries: [entry(1)] }])
    await clock.advance(700)
    const second = store.write([{ group: 1, entries: [entry(2)] }])

    expect(store.pendingSinceMs()).toBe(sinceMs)
    store.faults.resume()
    await Promise.all([first, second])
    expect(store.pendingSinceMs()).toBeUndefined()
    expect(store.failure()).toBeUndefined()
    await store.close()
  })

  it('refuses writes when too much waits, and takes them again after', async () => {
    const store = new MemoryLogStore({ clock: new VirtualClock() }, { pendingBytesMax: 4 * KIB })
    await store.open()
    store.faults.stall()
    const waiting = store.write([{ group: 1, entries: entriesOf(1, 5, 1, 1_000) }])
    await expectCode(store.write([{ group: 2, entries: [entry(1)] }]), 'overloaded')
    store.faults.resume()
    await waiting
    await store.write([{ group: 2, entries: [entry(1)] }])

    expect(store.groups()).toEqual([1, 2])
    await store.close()
  })

  it('crash() loses a write under way and keeps what was acknowledged', async () => {
    const disk = new MemoryLogDisk()
    const store = await openMemoryLog(disk)
    await store.write([{ group: 1, entries: [entry(1)] }])
    const writing = store.write([{ group: 1, entries: [entry(2)] }])
    store.faults.crash()

    await expectCode(writing, 'stopped')
    await expectCode(store.write([{ group: 1, entries: [entry(2)] }]), 'stopped')
    expect(contentOf((await openMemoryLog(disk)).group(1))).toEqual([entry(1)])
  })

  it('settles in microtasks alone', async () => {
    const store = new MemoryLogStore({ clock: new VirtualClock() })
    const progress = { done: false }
    const work = (async () => {
      await store.open()
      await store.write([{ group: 1, entries: entriesOf(1, 3) }])
      await store.close()
      progress.done = true
    })()
    for (let turn = 0; turn < 300 && !progress.done; turn++) await Promise.resolve()

    expect(progress.done).toBe(true)
    await work
  })
})

describe('entries of a group that hold up old segments', () => {
  const options = { segmentBytes: SEGMENT_BYTES, segmentCountMax: 4, cacheBytes: 8 * KIB }

  it('are copied to the end when most of what they hold up is not needed', async () => {
    const disk = new MemoryLogDisk()
    let store = await openMemoryLog(disk, options)
    const slow = entriesOf(1, 30, 1, 300)
    for (const one of slow) await store.write([{ group: 2, entries: [one] }])
    let next = 1
    for (let round = 0; round < 20; round++) {
      next = await fillSegments(store, { group: 1, first: next, count: 1 })
      await store.write([{ group: 1, truncateTo: next - 1 }])
    }
    expect(store.usage().segmentCount).toBeLessThan(8)
    expect(disk.files.has('0000000001.log')).toBe(false)
    expect(contentOf(store.group(2))).toEqual(slow)
    await store.write([{ group: 2, entries: entriesOf(20, 22, 2, 300) }])
    await store.close()
    store = await openMemoryLog(disk, options)

    const wanted = [...slow.slice(0, 19), ...entriesOf(20, 22, 2, 300)]
    expect(contentOf(store.group(2))).toEqual(wanted)
    expect(contentOf(store.group(1))).toEqual([])
    await store.close()
  })

  it('leave the term behind that a truncated log begins with', async () => {
    const disk = new MemoryLogDisk()
    let store = await openMemoryLog(disk, options)
    await store.write([{ group: 2, meta: new Uint8Array(1) }])
    let next = await fillSegments(store, { group: 1, first: 1, count: 2 })
    await store.write([{ group: 2, entries: entriesOf(1, 3, 7) }])
    next = await fillSegments(store, { group: 1, first: next, count: 2 })
    // The first segment goes: what the group is gets copied past its entries.
    await store.write([{ group: 1, truncateTo: next - 1 }])
    // The segment of the entry that says the term isn't needed for its entries any more.
    await store.write([{ group: 2, entries: entriesOf(4, 5, 8), truncateTo: 3 }])
    next = await fillSegments(store, { group: 1, first: next, count: 1 })
    await store.write([{ group: 1, truncateTo: next - 1 }])
    await store.close()
    store = await openMemoryLog(disk, options)

    expect(store.group(2).damage()).toBeUndefined()
    expect([2, 3, 4].map((index) => store.group(2).term(index))).toEqual([undefined, 7, 8])
    await store.close()
  })

  it('are left where all of the log is needed', async () => {
    const disk = new MemoryLogDisk()
    const store = await openMemoryLog(disk, options)
    await fillSegments(store, { group: 1, first: 1, count: 10 })

    expect(disk.files.has('0000000001.log')).toBe(true)
    expect(store.usage().segmentCount).toBeLessThan(16)
    await store.close()
  })

  it('are given up, and their group with them, when they turn out to be damaged', async () => {
    const disk = new MemoryLogDisk()
    let store = await openMemoryLog(disk, options)
    const slow = entriesOf(1, 30, 1, 300)
    for (const one of slow) await store.write([{ group: 2, entries: [one] }])
    await store.write([{ group: 1, entries: entriesOf(1, 12, 1, 1_000) }])
    const bytes = disk.files.get('0000000001.log') as Uint8Array
    bytes[9_000] = (bytes[9_000] as number) ^ 1
    let next = 13
    for (let round = 0; round < 12; round++) {
      next = await fillSegments(store, { group: 1, first: next, count: 1 })
      await store.write([{ group: 1, truncateTo: next - 1 }])
    }
    expect(store.group(2).damage()?.code).toBe('corrupt')
    expect(disk.files.has('0000000001.log')).toBe(false)
    await store.close()
    store = await openMemoryLog(disk, options)

    expect(store.group(2).damage()?.code).toBe('corrupt')
    expect(store.group(1).damage()).toBeUndefined()
    await store.close()
  })
})
