import { describe, expect, it } from 'vitest'

import { isMeshError } from '../../src/base/errors.ts'
import { BLOCK_BYTES_MAX } from '../../src/base/limits.ts'
import { silentLogger, type LogFields, type Logger } from '../../src/base/log.ts'
import { KIB } from '../../src/base/units.ts'
import { BAD_BLOCK_COUNT_MAX } from '../../src/storage/file/bad-blocks.ts'
import { openFileBlockStore } from '../../src/storage/file/file-block-store.ts'
import { expectCode, sampleBlock } from '../conformance/block-store.ts'
import { DATA, LAYOUT, RESERVE_BYTES, flipBit, openOn } from './block-store-harness.ts'
import { SimulatedDisk } from './simulated-disk.ts'

function loggerInto(events: Map<string, LogFields>): Logger {
  const note = (event: string, fields: LogFields = {}): void => {
    events.set(event, fields)
  }
  return { ...silentLogger, info: note, warn: note, error: note }
}

describe('FileBlockStore with damaged files', () => {
  it.each([
    ['flipped', flipBit],
    ['zeroed', (bytes: Uint8Array) => new Uint8Array(bytes.length)],
    ['truncated', (bytes: Uint8Array) => bytes.subarray(0, 40)],
    ['emptied', () => new Uint8Array()],
    ['longer', (bytes: Uint8Array) => Uint8Array.of(...bytes, 0)]
  ])('get() sets a %s block aside', async (_, damage) => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await store.put(id, bytes)
    disk.tamper(LAYOUT.pathOf(id), damage)

    await expectCode(store.get(id), 'corrupt')

    expect(disk.has(LAYOUT.pathOf(id))).toBe(false)
    expect(disk.names(LAYOUT.bad)).toEqual([`0000000000.${id}`])
    expect(store.usage().bytes).toBe(0)
    await store.put(id, bytes)
    expect(await store.get(id)).toEqual(bytes)
  })

  it.each(['EIO', 'EUCLEAN', 'EBADMSG'])(
    'get() sets a block aside that reads as %s',
    async (code) => {
      const disk = new SimulatedDisk()
      const store = await openOn(disk)
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)
      disk.fail({ call: 'read', code, path: id, times: 2 })

      await expectCode(store.get(id), 'corrupt')

      expect(store.failure()).toBeUndefined()
      expect(store.has(id)).toBe(false)
      expect(disk.names(LAYOUT.bad)).toHaveLength(1)
    }
  )

  it('get() trusts the second of two reads', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await store.put(id, bytes)
    disk.fail({ call: 'read', code: 'EIO', path: id })

    expect(await store.get(id)).toEqual(bytes)
    expect(store.has(id)).toBe(true)
  })

  it('get() drops nothing when the machine is short of files', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await store.put(id, bytes)
    disk.fail({ call: 'open', code: 'EMFILE', path: id })

    await expectCode(store.get(id), 'overloaded')

    expect(await store.get(id)).toEqual(bytes)
  })

  it('keeps a bounded number of bad blocks, the newest', async () => {
    const disk = new SimulatedDisk()
    let store = await openOn(disk)
    const blocks = Array.from({ length: BAD_BLOCK_COUNT_MAX + 4 }, (_, seed) => sampleBlock(seed))
    for (const { id, bytes } of blocks) {
      await store.put(id, bytes)
      disk.tamper(LAYOUT.pathOf(id), flipBit)
      if (disk.names(LAYOUT.bad).length === 10) {
        await store.close()
        store = await openOn(disk)
      }
      expect(await store.verify(id)).toBe('corrupt')
    }

    const kept = disk.names(LAYOUT.bad).map((name) => name.slice(11))

    expect(kept).toEqual(blocks.slice(4).map(({ id }) => id))
  })

  it('tells the reader even when the block cannot be moved', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await store.put(id, bytes)
    disk.tamper(LAYOUT.pathOf(id), flipBit)
    disk.fail({ call: 'rename', code: 'EROFS', path: LAYOUT.bad })

    await expectCode(store.get(id), 'corrupt')

    expect(store.has(id)).toBe(false)
    expect(isMeshError(store.failure(), 'storage-failed')).toBe(true)
  })
})

describe('FileBlockStore when opened', () => {
  it('counts what is there, leaves foreign files alone and sets impossible sizes aside', async () => {
    const disk = new SimulatedDisk()
    const events = new Map<string, LogFields>()
    const first = await openOn(disk)
    const [good, torn, huge, misplaced] = [1, 2, 3, 4].map((seed) => sampleBlock(seed)) as [
      ReturnType<typeof sampleBlock>,
      ReturnType<typeof sampleBlock>,
      ReturnType<typeof sampleBlock>,
      ReturnType<typeof sampleBlock>
    ]
    await first.put(good.id, good.bytes)
    await first.close()
    disk.plant(LAYOUT.pathOf(torn.id), new Uint8Array())
    disk.plant(LAYOUT.pathOf(huge.id), new Uint8Array(BLOCK_BYTES_MAX + 1))
    const elsewhere = LAYOUT.folders.find((name) => !LAYOUT.folderOf(misplaced.id).endsWith(name))
    const foreign = [
      `${LAYOUT.root}/${elsewhere}/${misplaced.id}`,
      `${LAYOUT.root}/00/notes.txt`,
      `${LAYOUT.root}/readme`
    ]
    for (const path of foreign) disk.plant(path, misplaced.bytes)
    disk.plant(`${LAYOUT.temporary}/7`, good.bytes)

    const store = await openFileBlockStore({
      dir: DATA,
      capacityBytes: 1024 * KIB,
      arcCount: 16,
      logger: loggerInto(events),
      ops: disk,
      freeBytesMin: 0,
      reserveBytes: RESERVE_BYTES
    })

    expect(store.usage()).toMatchObject({ count: 1, bytes: 100 })
    expect(disk.names(LAYOUT.temporary)).toEqual([])
    expect(disk.names(LAYOUT.bad)).toHaveLength(2)
    expect(foreign.every((path) => disk.has(path))).toBe(true)
    expect(events.get('block_store.opened')).toEqual({ count: 1, bytes: 100 })
    expect(events.get('block_store.foreign_files')).toMatchObject({ count: 3 })
    expect(events.get('block_store.impossible_sizes')).toEqual({ count: 2 })
  })

  it('leaves out a block whose size cannot be read', async () => {
    const disk = new SimulatedDisk()
    const first = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await first.put(id, bytes)
    await first.close()
    disk.fail({ call: 'sizeOf', code: 'EIO', path: id })

    const store = await openOn(disk)

    expect(store.has(id)).toBe(false)
    await store.put(id, bytes)
    expect(await store.get(id)).toEqual(bytes)
  })

  it('serves reads only when a folder of blocks cannot be read', async () => {
    const disk = new SimulatedDisk()
    const first = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await first.put(id, bytes)
    await first.close()
    const other = LAYOUT.folders.find((name) => !LAYOUT.folderOf(id).endsWith(name)) as string
    disk.fail({ call: 'listFolder', code: 'EIO', path: `${LAYOUT.root}/${other}` })

    const store = await openOn(disk)

    expect(isMeshError(store.failure(), 'storage-failed')).toBe(true)
    expect(await store.get(id)).toEqual(bytes)
    await expectCode(store.put(id, bytes), 'storage-failed')
  })

  it('rejects when its folders cannot be made', async () => {
    const disk = new SimulatedDisk()
    disk.fail({ call: 'makeFolder', code: 'EACCES', path: LAYOUT.bad })

    await expectCode(openOn(disk), 'storage-failed')
  })

  it('refuses puts, not reads, when it holds more than it may', async () => {
    const disk = new SimulatedDisk()
    const first = await openOn(disk)
    const blocks = [1, 2, 3].map((seed) => sampleBlock(seed, KIB))
    for (const { id, bytes } of blocks) await first.put(id, bytes)
    await first.close()

    const store = await openOn(disk, { capacityBytes: 2 * KIB })

    const more = sampleBlock(4)
    await expectCode(store.put(more.id, more.bytes), 'disk-full')
    expect(store.usage()).toEqual({ count: 3, bytes: 3 * KIB, capacityBytes: 2 * KIB })
    for (const { id } of blocks) expect(await store.verify(id)).toBe('good')
  })
})
