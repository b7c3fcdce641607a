// The block stores under test, each with the ways to mistreat what it keeps.

import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { BlockId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { KIB } from '../../src/base/units.ts'
import { BlockLayout } from '../../src/storage/file/block-layout.ts'
import {
  openFileBlockStore,
  type FileBlockStore,
  type FileBlockStoreOptions
} from '../../src/storage/file/file-block-store.ts'
import type { FileOps } from '../../src/storage/file/file-ops.ts'
import { MemoryBlockStore, MemoryDisk } from '../../src/storage/memory/memory-block-store.ts'
import type { BlockStoreHarness, BlockStoreOptions } from '../conformance/block-store.ts'
import { SimulatedDisk } from './simulated-disk.ts'

/** The data folder on a simulated disk. */
export const DATA = '/data'
export const LAYOUT: BlockLayout = new BlockLayout(DATA)
/** Small, so that tests don't spend their time on it. */
export const RESERVE_BYTES: number = 4 * KIB

/** @returns a copy with one bit changed; one byte for no bytes. */
export function flipBit(bytes: Uint8Array): Uint8Array {
  const flipped = bytes.length === 0 ? new Uint8Array(1) : bytes.slice()
  const middle = flipped.length >> 1
  flipped[middle] = (flipped[middle] as number) ^ 1
  return flipped
}

export async function openOn(
  ops: FileOps,
  options: Partial<FileBlockStoreOptions> = {}
): Promise<FileBlockStore> {
  return await openFileBlockStore({
    dir: DATA,
    capacityBytes: 1024 * KIB,
    arcCount: 16,
    logger: silentLogger,
    freeBytesMin: 0,
    reserveBytes: RESERVE_BYTES,
    ops,
    ...options
  })
}

export async function makeMemoryStore(options: BlockStoreOptions): Promise<BlockStoreHarness> {
  const disk = new MemoryDisk()
  let store = new MemoryBlockStore({ disk }, options)
  await store.open()
  return {
    store,
    async reopen() {
      await store.close()
      store = new MemoryBlockStore({ disk }, options)
      await store.open()
      return store
    },
    corrupt: async (id) => store.faults.corrupt(id),
    lose: async (id) => store.faults.lose(id),
    failNextSync: () => store.faults.failNextSync(),
    fillDiskOnce: () => store.faults.fillDiskOnce(),
    dispose: () => store.close()
  }
}

export async function makeSimulatedStore(options: BlockStoreOptions): Promise<BlockStoreHarness> {
  const disk = new SimulatedDisk()
  let store = await openOn(disk, options)
  return {
    store,
    async reopen() {
      await store.close()
      store = await openOn(disk, options)
      return store
    },
    corrupt: async (id) => disk.tamper(LAYOUT.pathOf(id), flipBit),
    lose: async (id) => disk.erase(LAYOUT.pathOf(id)),
    failNextSync: () => disk.fail({ call: 'sync', code: 'EIO', path: LAYOUT.temporary }),
    fillDiskOnce: () => disk.fail({ call: 'write', code: 'ENOSPC', path: LAYOUT.temporary }),
    dispose: () => store.close()
  }
}

/** @returns a new folder for one test. */
export async function makeTestFolder(): Promise<string> {
  const folder = join(tmpdir(), `atoll-test-${randomBytes(6).toString('hex')}`)
  await mkdir(folder)
  return folder
}

export async function makeFileStore(options: BlockStoreOptions): Promise<BlockStoreHarness> {
  const folder = await makeTestFolder()
  const dir = join(folder, 'data')
  const layout = new BlockLayout(dir)
  const all = { ...options, dir, logger: silentLogger, freeBytesMin: 0, reserveBytes: KIB }
  let store = await openFileBlockStore(all)
  return {
    store,
    async reopen() {
      await store.close()
      store = await openFileBlockStore(all)
      return store
    },
    async corrupt(id: BlockId) {
      await writeFile(layout.pathOf(id), flipBit(await readFile(layout.pathOf(id))))
    },
    lose: (id) => rm(layout.pathOf(id)),
    async dispose() {
      await store.close()
      await rm(folder, { recursive: true })
    }
  }
}
