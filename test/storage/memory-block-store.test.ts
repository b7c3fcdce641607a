import { describe, expect, it } from 'vitest'

import { MemoryBlockStore, MemoryDisk } from '../../src/storage/memory/memory-block-store.ts'
import { expectCode, sampleBlock } from '../conformance/block-store.ts'

const OPTIONS = { capacityBytes: 1_000, arcCount: 4 }

describe('MemoryBlockStore', () => {
  it('crash() loses a put under way and keeps what was acknowledged', async () => {
    const disk = new MemoryDisk()
    const store = new MemoryBlockStore({ disk }, OPTIONS)
    await store.open()
    const [kept, lost] = [sampleBlock(1), sampleBlock(2)]
    await store.put(kept.id, kept.bytes)
    const putting = store.put(lost.id, lost.bytes)

    store.faults.crash()

    await expectCode(putting, 'stopped')
    await expectCode(store.get(kept.id), 'stopped')
    const next = new MemoryBlockStore({ disk }, OPTIONS)
    await next.open()
    expect(await next.get(kept.id)).toEqual(kept.bytes)
    expect(next.has(lost.id)).toBe(false)
  })

  it('settles in microtasks alone', async () => {
    const store = new MemoryBlockStore({}, OPTIONS)
    const { id, bytes } = sampleBlock(1)
    const progress = { done: false }
    const work = (async () => {
      await store.open()
      await store.put(id, bytes)
      await store.get(id)
      await store.delete(id)
      await store.close()
      progress.done = true
    })()

    for (let turn = 0; turn < 200 && !progress.done; turn++) await Promise.resolve()

    expect(progress.done).toBe(true)
    await work
  })

  it('can be opened on one disk by many stores in turn', async () => {
    const disk = new MemoryDisk()
    for (let seed = 0; seed < 5; seed++) {
      const store = new MemoryBlockStore({ disk }, OPTIONS)
      await store.open()
      expect(store.usage().count).toBe(seed)
      const { id, bytes } = sampleBlock(seed)
      await store.put(id, bytes)
      await store.close()
    }
  })
})
