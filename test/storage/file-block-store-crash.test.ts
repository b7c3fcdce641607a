import { describe, expect, it } from 'vitest'

import type { BlockId } from '../../src/base/ids.ts'
import { createRandom } from '../../src/base/random.ts'
import type { FileBlockStore } from '../../src/storage/file/file-block-store.ts'
import { sampleBlock } from '../conformance/block-store.ts'
import { DATA, LAYOUT, openOn } from './block-store-harness.ts'
import { SimulatedDisk, type Survival } from './simulated-disk.ts'

/** Puts some, deletes some, at the same time and one by one. @returns what was acknowledged. */
async function someWork(store: FileBlockStore): Promise<{ put: Set<BlockId>; gone: Set<BlockId> }> {
  const put = new Set<BlockId>()
  const gone = new Set<BlockId>()
  const putOne = async (seed: number): Promise<void> => {
    const { id, bytes } = sampleBlock(seed, 100 + seed)
    await store.put(id, bytes)
    put.add(id)
  }
  const deleteOne = async (seed: number): Promise<void> => {
    const { id } = sampleBlock(seed, 100 + seed)
    put.delete(id)
    gone.add(id)
    await store.delete(id)
  }
  const ignoreCrash = (): void => undefined
  await putOne(1).catch(ignoreCrash)
  await Promise.allSettled([putOne(2), putOne(3), putOne(4)])
  await deleteOne(2).catch(ignoreCrash)
  await Promise.allSettled([deleteOne(3), putOne(5), putOne(6)])
  return { put, gone }
}

describe('FileBlockStore at a power cut', () => {
  it('loses no acknowledged block and serves no damaged one, wherever it comes', async () => {
    const rehearsal = new SimulatedDisk()
    rehearsal.plantFolder(DATA)
    await someWork(await openOn(rehearsal))
    const survivals: Survival[] = ['lose', 'keep', 'mix', 'mix', 'mix']
    expect(rehearsal.callCount).toBeGreaterThan(500)

    // The folders of the store take hundreds of calls to make; those of the work come last, so the
    // first calls are tried more sparsely.
    let crashAt = 1
    while (crashAt <= rehearsal.callCount + 1) {
      for (const [seed, survival] of survivals.entries()) {
        const disk = new SimulatedDisk()
        disk.plantFolder(DATA)
        disk.crashAtCall = crashAt
        const store = await openOn(disk).catch(() => undefined)
        const acknowledged = store === undefined ? undefined : await someWork(store)

        const after = disk.afterPowerCut(survival, createRandom(crashAt * 10 + seed))
        const reopened = await openOn(after)

        for (const id of acknowledged?.put ?? []) {
          expect(await reopened.verify(id), `call ${crashAt}, ${survival}`).toBe('good')
        }
        for (const arc of reopened.arcs()) {
          for (const id of reopened.list(arc)) {
            const verdict = await reopened.verify(id)
            expect(verdict, `call ${crashAt}, ${survival}`).toBe('good')
          }
        }
        expect(after.names(LAYOUT.temporary)).toEqual([])
        await reopened.close()
      }
      crashAt += crashAt < 500 ? 37 : 1
    }
  }, 120_000)
})
