// The state stores under test, each with the ways to mistreat what it keeps.

import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { silentLogger } from '../../src/base/log.ts'
import { createRandom } from '../../src/base/random.ts'
import { FileStateStore } from '../../src/storage/file/state/file-state-store.ts'
import { MemoryStateDisk, MemoryStateStore } from '../../src/storage/memory/memory-state-store.ts'
import type { StateStoreOptions } from '../../src/storage/state/layered-state-store.ts'
import type { StateStore } from '../../src/storage/state-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import type { StateStoreHarness } from '../conformance/state-store.ts'

export async function openMemoryState(
  disk: MemoryStateDisk,
  options: StateStoreOptions = {}
): Promise<MemoryStateStore> {
  const store = new MemoryStateStore({ disk, clock: new VirtualClock() }, options)
  await openChecked(store)
  return store
}

/** Opens a store and has all of it checked. */
async function openChecked(store: StateStore): Promise<void> {
  await store.open()
  for (const group of store.groups()) await store.check(group)
}

export async function makeMemoryState(options: StateStoreOptions): Promise<StateStoreHarness> {
  const disk = new MemoryStateDisk()
  let store = await openMemoryState(disk, options)
  let crashes = 0
  return {
    store,
    async reopen() {
      await store.close()
      store = await openMemoryState(disk, options)
      return store
    },
    async crash() {
      store.faults.crash(createRandom(crashes++))
      store = await openMemoryState(disk, options)
      return store
    },
    async flip(pattern) {
      await store.close()
      const pairs = Array.from(disk.pairs.range({}))
      for (const { key, value } of pairs) {
        const keyAt = Buffer.from(key).indexOf(pattern)
        const valueAt = Buffer.from(value).indexOf(pattern)
        if (keyAt >= 0) disk.pairs.delete(key)
        const flipped = { key: flippedAt(key, keyAt), value: flippedAt(value, valueAt) }
        if (keyAt >= 0 || valueAt >= 0) disk.pairs.put(flipped.key, flipped.value)
      }
      store = await openMemoryState(disk, options)
      return store
    },
    failNextFlush: (code) => store.faults.failNextFlush(code),
    stall: () => store.faults.stall(),
    resume: () => store.faults.resume(),
    dispose: () => store.close()
  }
}

export async function openStateIn(
  dir: string,
  options: StateStoreOptions = {}
): Promise<FileStateStore> {
  const components = { clock: new VirtualClock(), logger: silentLogger }
  const store = new FileStateStore(components, { dir, ...options })
  await openChecked(store)
  return store
}

/** A crash of a real process is elsewhere; this one goes on with a copy of the file. */
export async function makeFileState(options: StateStoreOptions): Promise<StateStoreHarness> {
  let dir = await mkdtemp(join(tmpdir(), 'atoll-state-'))
  let store = await openStateIn(dir, options)
  return {
    store,
    async reopen() {
      await store.close()
      store = await openStateIn(dir, options)
      return store
    },
    async crash() {
      const before = { store, dir }
      dir = await mkdtemp(join(tmpdir(), 'atoll-state-'))
      await mkdir(join(dir, 'state'))
      await cp(join(before.dir, 'state', 'data.mdb'), join(dir, 'state', 'data.mdb'))
      await before.store.close()
      await rm(before.dir, { recursive: true })
      store = await openStateIn(dir, options)
      return store
    },
    async flip(pattern) {
      await store.close()
      const path = join(dir, 'state', 'data.mdb')
      const bytes = await readFile(path)
      for (let at = bytes.indexOf(pattern); at >= 0; at = bytes.indexOf(pattern, at + 1)) {
        bytes[at] = (bytes[at] as number) ^ 1
      }
      await writeFile(path, bytes)
      store = await openStateIn(dir, options)
      return store
    },
    async dispose() {
      await store.close()
      await rm(dir, { recursive: true })
    }
  }
}

function flippedAt(bytes: Uint8Array, index: number): Uint8Array {
  const flipped = bytes.slice()
  if (index >= 0) flipped[index] = (flipped[index] as number) ^ 1
  return flipped
}
