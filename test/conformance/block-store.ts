// What every BlockStore promises, whatever it is made of.

import { assert } from '../../src/base/assert.ts'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { isMeshError, type ErrorCode } from '../../src/base/errors.ts'
import type { BlockId } from '../../src/base/ids.ts'
import { BLOCK_BYTES_MAX } from '../../src/base/limits.ts'
import { KIB, MIB } from '../../src/base/units.ts'
import { CODEC_DAG_PB, CODEC_RAW, arcOf } from '../../src/core/block/block-id.ts'
import { hashBlock } from '../../src/storage/block-hash.ts'
import type { BlockStore } from '../../src/storage/block-store.ts'

export type BlockStoreOptions = { capacityBytes: number; arcCount: number }

/** One store and what holds its bytes, with the ways to mistreat both. */
export type BlockStoreHarness = {
  /** Open. */
  store: BlockStore
  /** Closes the store and opens another on the same bytes. */
  reopen(): Promise<BlockStore>
  /** Flips a bit of the stored bytes. */
  corrupt(id: BlockId): Promise<void>
  /** Takes the stored bytes away. */
  lose(id: BlockId): Promise<void>
  /** The next fsync of a block fails. Absent where that can't be arranged. */
  failNextSync?(): void
  /** The next write of a block finds the disk full. Absent where that can't be arranged. */
  fillDiskOnce?(): void
  dispose(): Promise<void>
}

export type MakeBlockStore = (options: BlockStoreOptions) => Promise<BlockStoreHarness>

const ARC_COUNT = 16
const CAPACITY_BYTES: number = 8 * MIB

/** @returns a block of `size` bytes that is the same for the same seed. */
export function sampleBlock(seed: number, size = 100): { id: BlockId; bytes: Uint8Array } {
  const bytes = new Uint8Array(size)
  for (let index = 0; index < size; index++) bytes[index] = (seed * 31 + index * 7) & 0xff
  if (size >= 4) new DataView(bytes.buffer).setUint32(0, seed)
  return { id: hashBlock(bytes, CODEC_RAW), bytes }
}

export async function expectCode(work: Promise<unknown>, code: ErrorCode): Promise<void> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason
  )
  expect(isMeshError(error) ? error.code : error).toBe(code)
}

/** @param options.injectsFaults false for a store on a disk that can't be told to fail */
export function describeBlockStore(
  name: string,
  make: MakeBlockStore,
  options: { injectsFaults: boolean } = { injectsFaults: true }
): void {
  describe(name, () => {
    let harness: BlockStoreHarness
    let store: BlockStore

    beforeEach(async () => {
      harness = await make({ capacityBytes: CAPACITY_BYTES, arcCount: ARC_COUNT })
      store = harness.store
    })
    afterEach(async () => {
      await harness.dispose()
    })

    it('get() returns what put() stored', async () => {
      const { id, bytes } = sampleBlock(1)

      await store.put(id, bytes)

      expect(store.has(id)).toBe(true)
      expect(store.sizeOf(id)).toBe(100)
      expect(await store.get(id)).toEqual(bytes)
      expect(await store.verify(id)).toBe('good')
    })

    it('get() returns bytes that the caller may change', async () => {
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)

      ;(await store.get(id)).fill(0)

      expect(await store.get(id)).toEqual(bytes)
    })

    it('put() keeps no reference to the bytes', async () => {
      const { id, bytes } = sampleBlock(1)
      const given = bytes.slice()
      await store.put(id, given)

      given.fill(0)

      expect(await store.get(id)).toEqual(bytes)
    })

    it('put() stores an empty block and one of the largest size', async () => {
      const empty = sampleBlock(0, 0)
      const largest = sampleBlock(1, BLOCK_BYTES_MAX)

      await store.put(empty.id, empty.bytes)
      await store.put(largest.id, largest.bytes)
      store = await harness.reopen()

      expect((await store.get(empty.id)).length).toBe(0)
      expect(await store.verify(empty.id)).toBe('good')
      expect(await store.verify(largest.id)).toBe('good')
    })

    it('put() keeps blocks of both codecs apart', async () => {
      const { id, bytes } = sampleBlock(1)
      const node = hashBlock(bytes, CODEC_DAG_PB)

      await store.put(id, bytes)

      expect(store.has(node)).toBe(false)
      await store.put(node, bytes)
      await store.delete(id)
      expect(await store.get(node)).toEqual(bytes)
    })

    it('put() refuses bytes that do not match the id', async () => {
      await expectCode(store.put(sampleBlock(1).id, sampleBlock(2).bytes), 'invalid-data')

      expect(store.usage().count).toBe(0)
    })

    it('put() refuses a block that is too large', async () => {
      const { id, bytes } = sampleBlock(1, BLOCK_BYTES_MAX + 1)

      await expectCode(store.put(id, bytes), 'too-large')

      expect(store.has(id)).toBe(false)
    })

    it('put() of a block that is there changes nothing', async () => {
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)

      await store.put(id, bytes)

      expect(store.usage()).toEqual({ count: 1, bytes: 100, capacityBytes: CAPACITY_BYTES })
    })

    it('put() joins a put of the same block', async () => {
      const { id, bytes } = sampleBlock(1)

      await Promise.all([store.put(id, bytes), store.put(id, bytes), store.put(id, bytes)])

      expect(store.usage()).toEqual({ count: 1, bytes: 100, capacityBytes: CAPACITY_BYTES })
      expect(await store.get(id)).toEqual(bytes)
    })

    it('put() refuses what exceeds the capacity, and goes on', async () => {
      const blocks = Array.from({ length: 9 }, (_, seed) => sampleBlock(seed, MIB))
      for (const { id, bytes } of blocks.slice(0, 8)) await store.put(id, bytes)
      const [first] = blocks as [(typeof blocks)[0]]
      const last = blocks[8] as (typeof blocks)[0]

      await expectCode(store.put(last.id, last.bytes), 'disk-full')

      expect(store.has(last.id)).toBe(false)
      await store.delete(first.id)
      await store.put(last.id, last.bytes)
      expect(store.usage().bytes).toBe(CAPACITY_BYTES)
      expect(store.failure()).toBeUndefined()
    })

    it('put() never exceeds the capacity together with other puts', async () => {
      const blocks = Array.from({ length: 12 }, (_, seed) => sampleBlock(seed, MIB))

      const results = await Promise.allSettled(blocks.map(({ id, bytes }) => store.put(id, bytes)))

      expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(8)
      expect(store.usage()).toEqual({
        count: 8,
        bytes: CAPACITY_BYTES,
        capacityBytes: CAPACITY_BYTES
      })
    })

    it('get() rejects with not-found when the block was never there', async () => {
      const { id } = sampleBlock(1)

      await expectCode(store.get(id), 'not-found')

      expect(await store.verify(id)).toBe('missing')
      expect(store.sizeOf(id)).toBeUndefined()
    })

    it('delete() takes a block away, at once as has() sees it', async () => {
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)

      const deleting = store.delete(id)

      expect(store.has(id)).toBe(false)
      await expectCode(store.get(id), 'not-found')
      await deleting
      expect(store.usage()).toEqual({ count: 0, bytes: 0, capacityBytes: CAPACITY_BYTES })
      expect((await harness.reopen()).has(id)).toBe(false)
    })

    it('delete() of a block that is not there does nothing', async () => {
      await store.delete(sampleBlock(1).id)

      expect(store.usage().count).toBe(0)
    })

    it('delete() after a put under way wins, and never shows the block', async () => {
      const { id, bytes } = sampleBlock(1)

      const putting = store.put(id, bytes)
      const deleting = store.delete(id)
      await putting

      expect(store.has(id)).toBe(false)
      await deleting
      expect(store.has(id)).toBe(false)
      expect((await harness.reopen()).has(id)).toBe(false)
    })

    it('put() after a delete under way wins', async () => {
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)

      const work = [store.delete(id), store.put(id, bytes), store.delete(id), store.put(id, bytes)]
      await Promise.all(work)

      expect(await store.get(id)).toEqual(bytes)
      expect(store.usage()).toEqual({ count: 1, bytes: 100, capacityBytes: CAPACITY_BYTES })
      expect(await (await harness.reopen()).get(id)).toEqual(bytes)
    })

    it('list() and arcs() answer in order', async () => {
      const blocks = Array.from({ length: 40 }, (_, seed) => sampleBlock(seed))
      await Promise.all(blocks.map(({ id, bytes }) => store.put(id, bytes)))
      const arcs = [...new Set(blocks.map(({ id }) => arcOf(id, ARC_COUNT)))]

      expect(store.arcs()).toEqual(arcs.toSorted((a, b) => a - b))
      for (const arc of arcs) {
        const ids = blocks.map(({ id }) => id).filter((id) => arcOf(id, ARC_COUNT) === arc)
        expect(store.list(arc)).toEqual(ids.toSorted())
      }
      expect(store.list(ARC_COUNT)).toEqual([])
    })

    it('open() finds everything again', async () => {
      const blocks = Array.from({ length: 20 }, (_, seed) => sampleBlock(seed, seed * KIB))
      await Promise.all(blocks.map(({ id, bytes }) => store.put(id, bytes)))
      const usage = store.usage()

      store = await harness.reopen()
      await store.open()

      expect(store.usage()).toEqual(usage)
      for (const { id, bytes } of blocks) expect(await store.get(id)).toEqual(bytes)
    })

    it('get() refuses a corrupt block and drops it', async () => {
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)
      await harness.corrupt(id)

      await expectCode(store.get(id), 'corrupt')

      expect(store.has(id)).toBe(false)
      expect(store.usage()).toEqual({ count: 0, bytes: 0, capacityBytes: CAPACITY_BYTES })
      await expectCode(store.get(id), 'not-found')
      await store.put(id, bytes)
      expect(await store.get(id)).toEqual(bytes)
    })

    it('get() by many readers of a corrupt block drops it once', async () => {
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)
      await harness.corrupt(id)

      const reads = [store.verify(id), store.verify(id), store.verify(id)]
      const verdicts = await Promise.all(reads)

      expect(verdicts).toContain('corrupt')
      expect(verdicts).not.toContain('good')
      expect(store.usage().count).toBe(0)
    })

    it('verify() tells corrupt and missing apart', async () => {
      const [damaged, lost] = [sampleBlock(1), sampleBlock(2)]
      await store.put(damaged.id, damaged.bytes)
      await store.put(lost.id, lost.bytes)
      await harness.corrupt(damaged.id)
      await harness.lose(lost.id)

      expect(await store.verify(damaged.id)).toBe('corrupt')
      expect(await store.verify(lost.id)).toBe('missing')
      expect(store.usage().count).toBe(0)
    })

    it('get() rejects with not-found when the bytes have vanished', async () => {
      const { id, bytes } = sampleBlock(1)
      await store.put(id, bytes)
      await harness.lose(id)

      await expectCode(store.get(id), 'not-found')

      expect(store.has(id)).toBe(false)
      await store.put(id, bytes)
      expect(await store.get(id)).toEqual(bytes)
    })

    it('close() waits for what is under way and refuses what comes later', async () => {
      const { id, bytes } = sampleBlock(1)
      const putting = store.put(id, bytes)

      await store.close()
      await store.close()

      await putting
      await expectCode(store.put(id, bytes), 'stopped')
      await expectCode(store.get(id), 'stopped')
      await expectCode(store.delete(id), 'stopped')
      await expectCode(store.verify(id), 'stopped')
      expect(await (await harness.reopen()).get(id)).toEqual(bytes)
    })

    if (!options.injectsFaults) return

    it('put() on a full disk stores nothing, and the store goes on', async () => {
      assert(harness.fillDiskOnce !== undefined, 'the harness can fill its disk')
      const { id, bytes } = sampleBlock(1)
      harness.fillDiskOnce()

      await expectCode(store.put(id, bytes), 'disk-full')

      expect(store.has(id)).toBe(false)
      expect(store.failure()).toBeUndefined()
      await store.put(id, bytes)
      expect(await store.get(id)).toEqual(bytes)
    })

    it('put() stops for good after a failed fsync, reads go on', async () => {
      assert(harness.failNextSync !== undefined, 'the harness can fail an fsync')
      const [kept, failed] = [sampleBlock(1), sampleBlock(2)]
      await store.put(kept.id, kept.bytes)
      harness.failNextSync()

      await expectCode(store.put(failed.id, failed.bytes), 'storage-failed')

      expect(isMeshError(store.failure(), 'storage-failed')).toBe(true)
      await expectCode(store.put(failed.id, failed.bytes), 'storage-failed')
      await expectCode(store.put(kept.id, kept.bytes), 'storage-failed')
      await expectCode(store.delete(kept.id), 'storage-failed')
      expect(store.has(failed.id)).toBe(false)
      expect(await store.get(kept.id)).toEqual(kept.bytes)
      const next = await harness.reopen()
      expect(next.failure()).toBeUndefined()
      await next.put(failed.id, failed.bytes)
    })
  })
}
