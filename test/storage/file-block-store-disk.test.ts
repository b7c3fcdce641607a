import { describe, expect, it } from 'vitest'

import { isMeshError } from '../../src/base/errors.ts'
import { KIB } from '../../src/base/units.ts'
import { expectCode, sampleBlock } from '../conformance/block-store.ts'
import { LAYOUT, RESERVE_BYTES, openOn } from './block-store-harness.ts'
import { SimulatedDisk } from './simulated-disk.ts'

describe('FileBlockStore on a full disk', () => {
  it.each(['open', 'write', 'sync', 'rename'] as const)(
    'put() fails cleanly when %s finds no room',
    async (call) => {
      const disk = new SimulatedDisk()
      const store = await openOn(disk)
      const [kept, refused] = [sampleBlock(1), sampleBlock(2)]
      await store.put(kept.id, kept.bytes)
      const path = call === 'rename' ? refused.id : LAYOUT.temporary
      disk.fail({ call, code: 'ENOSPC', path })

      await expectCode(store.put(refused.id, refused.bytes), 'disk-full')

      expect(disk.names(LAYOUT.temporary)).toEqual([])
      expect(store.usage().bytes).toBe(100)
      expect(await store.get(kept.id)).toEqual(kept.bytes)
      await store.put(refused.id, refused.bytes)
      await store.delete(kept.id)
      expect(store.failure()).toBeUndefined()
    }
  )

  it('put() takes a used up quota for a full disk', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    disk.fail({ call: 'write', code: 'EDQUOT', path: LAYOUT.temporary })

    await expectCode(store.put(id, bytes), 'disk-full')

    expect(store.failure()).toBeUndefined()
  })

  it('put() leaves free what must stay free', async () => {
    const disk = new SimulatedDisk()
    const floor = { freeBytesMin: 10 * KIB }
    const store = await openOn(disk, floor)
    const [first, second] = [sampleBlock(1, 6 * KIB), sampleBlock(2, 6 * KIB)]
    disk.capacityBytes = disk.usedBytes() + 20 * KIB
    await store.close()
    const reopened = await openOn(disk, floor)

    await reopened.put(first.id, first.bytes)
    await expectCode(reopened.put(second.id, second.bytes), 'disk-full')

    await reopened.delete(first.id)
    await reopened.put(second.id, second.bytes)
  })

  it('delete() works on a full disk, with the reserve, which is made again', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const blocks = Array.from({ length: 4 }, (_, seed) => sampleBlock(seed, 3 * KIB))
    for (const { id, bytes } of blocks) await store.put(id, bytes)
    expect(disk.usedBytes()).toBe(4 * 3 * KIB + RESERVE_BYTES)
    disk.capacityBytes = disk.usedBytes()
    disk.removeNeedsRoom = true

    await Promise.all(blocks.slice(0, 3).map(({ id }) => store.delete(id)))

    expect(store.usage().count).toBe(1)
    expect(store.failure()).toBeUndefined()
    expect(disk.usedBytes()).toBe(3 * KIB + RESERVE_BYTES)
  })

  it('delete() keeps the block when even the reserve does not help', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await store.put(id, bytes)
    disk.fail({ call: 'remove', code: 'ENOSPC', path: id, times: 2 })

    await expectCode(store.delete(id), 'disk-full')

    expect(await store.get(id)).toEqual(bytes)
    expect(store.usage().bytes).toBe(100)
    await store.delete(id)
    expect(store.usage().bytes).toBe(0)
  })

  it('opens without a reserve when there is no room for it', async () => {
    const disk = new SimulatedDisk()
    disk.capacityBytes = RESERVE_BYTES - 1
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)

    await store.put(id, bytes)

    expect(disk.usedBytes()).toBe(100)
  })
})

describe('FileBlockStore on a failing disk', () => {
  it.each([
    ['write', 'EIO', LAYOUT.temporary],
    ['sync', 'EIO', LAYOUT.temporary],
    ['open', 'EROFS', LAYOUT.temporary],
    ['rename', 'EIO', ''],
    // The name may be there or not: not even "no room" is an answer after which to go on.
    ['sync', 'ENOSPC', LAYOUT.folderOf(sampleBlock(2).id)]
  ] as const)('put() stops the store when %s fails with %s', async (call, code, path) => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const [kept, failed] = [sampleBlock(1), sampleBlock(2)]
    await store.put(kept.id, kept.bytes)
    disk.fail({ call, code, path })

    await expectCode(store.put(failed.id, failed.bytes), 'storage-failed')

    expect(isMeshError(store.failure(), 'storage-failed')).toBe(true)
    expect(store.has(failed.id)).toBe(false)
    await expectCode(store.put(failed.id, failed.bytes), 'storage-failed')
    await expectCode(store.delete(kept.id), 'storage-failed')
    expect(await store.get(kept.id)).toEqual(kept.bytes)
  })

  it('put() acknowledges nothing that was under way when another fsync failed', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const blocks = Array.from({ length: 6 }, (_, seed) => sampleBlock(seed))
    disk.fail({ call: 'sync', code: 'EIO', path: LAYOUT.temporary })

    const results = await Promise.allSettled(blocks.map(({ id, bytes }) => store.put(id, bytes)))

    expect(results.map((result) => result.status)).toEqual(blocks.map(() => 'rejected'))
    expect(store.usage()).toMatchObject({ count: 0, bytes: 0 })
  })

  it('delete() stops the store when the disk fails, and the block stays readable', async () => {
    const disk = new SimulatedDisk()
    const store = await openOn(disk)
    const { id, bytes } = sampleBlock(1)
    await store.put(id, bytes)
    disk.fail({ call: 'remove', code: 'EIO', path: id })

    await expectCode(store.delete(id), 'storage-failed')

    expect(await store.get(id)).toEqual(bytes)
  })
})
