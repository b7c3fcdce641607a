// The log stores under test, each with the ways to mistreat what it keeps.

import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { present } from '../../src/base/assert.ts'
import { silentLogger } from '../../src/base/log.ts'
import { nodeFileOps, type FileOps } from '../../src/storage/file/file-ops.ts'
import { FileLogStore } from '../../src/storage/file/log/file-log-store.ts'
import type { LogStoreOptions } from '../../src/storage/log/segmented-log-store.ts'
import { MemoryLogDisk, MemoryLogStore } from '../../src/storage/memory/memory-log-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import type { LogStoreHarness } from '../conformance/log-store.ts'
import { SimulatedDisk } from './simulated-disk.ts'

/** The data folder on a simulated disk, and the log's in it. */
export const DATA = '/data'
const LOG = '/data/log'

export async function openLogOn(
  ops: FileOps,
  options: LogStoreOptions & { dir?: string } = {}
): Promise<FileLogStore> {
  const components = { ops, clock: new VirtualClock(), logger: silentLogger }
  const store = new FileLogStore(components, { dir: DATA, ...options })
  await store.open()
  return store
}

/** Memory, with what is durable at hand. */
export async function openMemoryLog(
  disk: MemoryLogDisk,
  options: LogStoreOptions = {}
): Promise<MemoryLogStore> {
  const store = new MemoryLogStore({ disk, clock: new VirtualClock() }, options)
  await store.open()
  return store
}

export async function makeMemoryLog(options: LogStoreOptions): Promise<LogStoreHarness> {
  const disk = new MemoryLogDisk()
  let store = await openMemoryLog(disk, options)
  return {
    store,
    async reopen() {
      await store.close()
      store = await openMemoryLog(disk, options)
      return store
    },
    async crash() {
      store.faults.crash()
      store = await openMemoryLog(disk, options)
      return store
    },
    async tamper(name, change) {
      disk.files.set(name, change(present(disk.files.get(name), `${name} is there`)))
    },
    names: async () => [...disk.files.keys()].toSorted(),
    failNextSync: () => store.faults.failNextSync(),
    setFull: (isFull) => store.faults.setFull(isFull),
    dispose: () => store.close()
  }
}

export async function makeSimulatedLog(options: LogStoreOptions): Promise<LogStoreHarness> {
  let disk = new SimulatedDisk()
  disk.plantFolder(DATA)
  let store = await openLogOn(disk, options)
  return {
    store,
    async reopen() {
      await store.close()
      store = await openLogOn(disk, options)
      return store
    },
    async crash() {
      disk = disk.afterPowerCut('lose')
      store = await openLogOn(disk, options)
      return store
    },
    tamper: async (name, change) => disk.tamper(join(LOG, name), change),
    names: async () => disk.names(LOG),
    failNextSync: () => disk.fail({ call: 'sync', code: 'EIO', path: '.log' }),
    setFull: (isFull) => {
      disk.capacityBytes = isFull ? disk.usedBytes() : Number.MAX_SAFE_INTEGER
    },
    dispose: () => store.close()
  }
}

/** A crash of a real process is elsewhere; this one goes on with a copy of the files. */
export async function makeDiskLog(options: LogStoreOptions): Promise<LogStoreHarness> {
  let dir = await mkdtemp(join(tmpdir(), 'atoll-log-'))
  const open = (): Promise<FileLogStore> => openLogOn(nodeFileOps, { dir, ...options })
  let store = await open()
  const segments = async (): Promise<string[]> =>
    (await readdir(join(dir, 'log'))).filter((name) => name.endsWith('.log')).toSorted()
  const path = (name: string): string => join(dir, 'log', name)
  return {
    store,
    async reopen() {
      await store.close()
      store = await open()
      return store
    },
    async crash() {
      const before = { store, dir }
      const copies = await Promise.all(
        (await segments()).map(async (name) => ({ name, bytes: await readFile(path(name)) }))
      )
      dir = await mkdtemp(join(tmpdir(), 'atoll-log-'))
      await mkdir(join(dir, 'log'))
      for (const { name, bytes } of copies) await writeFile(path(name), bytes)
      await before.store.close()
      await rm(before.dir, { recursive: true })
      store = await open()
      return store
    },
    tamper: async (name, change) => writeFile(path(name), change(await readFile(path(name)))),
    names: segments,
    async dispose() {
      await store.close()
      await rm(dir, { recursive: true })
    }
  }
}
