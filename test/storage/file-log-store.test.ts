// What only a log on a disk has: how often it syncs, and what it leaves in its folder.

import { describe, expect, it } from 'vitest'

import { KIB } from '../../src/base/units.ts'
import { contentOf, entriesOf, entry } from '../conformance/log-store.ts'
import { expectCode } from '../conformance/block-store.ts'
import { DATA, openLogOn } from './log-store-harness.ts'
import { SimulatedDisk } from './simulated-disk.ts'

const OPTIONS = { segmentBytes: 64 * KIB }

const FIRST = '/data/log/0000000001.log'

function newDisk(): SimulatedDisk {
  const disk = new SimulatedDisk()
  disk.plantFolder(DATA)
  return disk
}

const syncsOf = (disk: SimulatedDisk): number =>
  disk.log.filter((call) => call === `sync ${FIRST}`).length

describe('FileLogStore', () => {
  it('syncs once for all writes of one turn, and once for those that came meanwhile (L-5)', async () => {
    const disk = newDisk()
    const store = await openLogOn(disk, OPTIONS)
    const before = syncsOf(disk)
    const first = [0, 1, 2].map((group) => store.write([{ group, entries: [entry(1)] }]))
    const writeCount = disk.log.length
    while (!disk.log.slice(writeCount).includes(`write ${FIRST}`)) await Promise.resolve()
    const second = [0, 1, 2].map((group) => store.write([{ group, entries: [entry(2)] }]))
    await Promise.all([...first, ...second])

    expect(syncsOf(disk) - before).toBe(2)
    await store.close()
  })

  it('makes durable what a process that was killed may have left unsynced', async () => {
    const disk = newDisk()
    const store = await openLogOn(disk, OPTIONS)
    await store.write([{ group: 1, entries: entriesOf(1, 3) }])
    await store.close()
    const before = syncsOf(disk)
    const next = await openLogOn(disk, OPTIONS)

    expect(syncsOf(disk)).toBeGreaterThan(before)
    await next.close()
  })

  it('a segment that could not be synced when it was made stops the store (L-10)', async () => {
    const disk = newDisk()
    const store = await openLogOn(disk, OPTIONS)
    disk.fail({ call: 'sync', code: 'EIO', path: '.new' })
    await store.write([{ group: 1, entries: entriesOf(1, 3) }])
    const filling = (async () => {
      for (let index = 4; ; index++)
        await store.write([{ group: 1, entries: [entry(index, 1, 900)] }])
    })()

    await expectCode(filling, 'storage-failed')
    expect(store.failure()?.code).toBe('storage-failed')
    expect(contentOf(store.group(1)).slice(0, 3)).toEqual(entriesOf(1, 3))
    await store.close()
  })

  it('a removal that could not be synced stops the store, before another one (L-9, L-10)', async () => {
    const disk = newDisk()
    const store = await openLogOn(disk, OPTIONS)
    for (let index = 1; index <= 200; index++) {
      await store.write([{ group: 1, entries: [entry(index, 1, 900)] }])
    }
    const folders = disk.names('/data/log').length
    disk.fail({ call: 'remove', code: 'EIO' })
    await store.write([{ group: 1, truncateTo: 200 }])
    await store.close()

    expect(store.failure()?.code).toBe('storage-failed')
    expect(disk.names('/data/log').length).toBe(folders)
  })

  it('clears a segment away that was not complete, and leaves other files alone', async () => {
    const disk = newDisk()
    disk.plantFolder('/data/log')
    disk.plant('/data/log/0000000001.log.new', new Uint8Array(100))
    disk.plant('/data/log/notes.txt', new Uint8Array(3))
    const store = await openLogOn(disk, OPTIONS)
    await store.close()

    expect(disk.names('/data/log')).toEqual(expect.arrayContaining(['0000000001.log', 'notes.txt']))
    expect(disk.has('/data/log/0000000001.log.new')).toBe(false)
  })

  it('a header that cannot be read harms nobody, an unreadable segment is damage', async () => {
    const disk = newDisk()
    let store = await openLogOn(disk, OPTIONS)
    await store.write([{ group: 1, entries: entriesOf(1, 3) }])
    await store.close()
    disk.fail({ call: 'read', code: 'EIO', path: FIRST })
    store = await openLogOn(disk, OPTIONS)
    expect(contentOf(store.group(1))).toEqual(entriesOf(1, 3))
    await store.close()
    disk.fail({ call: 'read', code: 'EIO', path: FIRST, times: 2 })

    await expectCode(openLogOn(disk, OPTIONS), 'corrupt')
  })
})
