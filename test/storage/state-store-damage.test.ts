// LMDB's file damaged anywhere: never wrong data, and the store opens.

import { mkdir, mkdtemp, readFile, readdir, rm, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { isMeshError } from '../../src/base/errors.ts'
import { createRandom } from '../../src/base/random.ts'
import type { FileStateStore } from '../../src/storage/file/state/file-state-store.ts'
import { BAD_STATE_COUNT_MAX } from '../../src/storage/file/state/state-folder.ts'
import { MemoryStateDisk, MemoryStateStore } from '../../src/storage/memory/memory-state-store.ts'
import { seal } from '../../src/storage/state/state-record.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { expectCode } from '../conformance/block-store.ts'
import { contentOf, put } from '../conformance/state-store.ts'
import { openMemoryState, openStateIn } from './state-store-harness.ts'

const GROUPS = [1, 2, 3]
const PAIRS = 120
let dir: string
let path: string
let good: Buffer
let expected: Map<number, string[]>

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'atoll-state-'))
  path = join(dir, 'state', 'data.mdb')
  const store = await openStateIn(dir)
  for (let round = 0; round < 3; round++) {
    for (const id of GROUPS) {
      const group = store.group(id)
      for (let place = round; place < PAIRS; place += round + 1) {
        put(group, `key-${place}-of-${id}`, `value-${round}`.repeat(1 + (place % 9)))
      }
      put(group, 'large', `${id}`.repeat(20_000))
      group.setNote(utf8(`note-${id}`))
      group.commit()
    }
    await Promise.all(GROUPS.map((id) => store.group(id).flushed()))
  }
  expected = new Map(GROUPS.map((id) => [id, contentOf(store.group(id))]))
  await store.close()
  good = await readFile(path)
})
afterEach(async () => {
  await rm(dir, { recursive: true })
})

/** Opens what is there, in a way that survives whatever LMDB does over it. */
async function openDamaged(): Promise<FileStateStore> {
  await writeFile(join(dir, 'state', 'unproven'), '2')
  return await openStateIn(dir)
}

/** A group is as it was, or known to be damaged or lost. */
function checkGroup(store: FileStateStore, id: number): 'right' | 'known' {
  const isHere = store.groups().includes(id)
  if (!isHere) {
    expect(store.lost()).toBe(true)
    return 'known'
  }
  try {
    expect(contentOf(store.group(id))).toEqual(expected.get(id))
    expect(fromUtf8(store.group(id).note() ?? utf8('none'))).toBe(`note-${id}`)
    for (const pair of expected.get(id) ?? []) {
      const [key = '', value = ''] = pair.split('=')
      expect(store.group(id).get(utf8(key))).toEqual(utf8(value))
    }
    return 'right'
  } catch (error) {
    if (!isMeshError(error, 'corrupt')) throw error
    expect(store.damageOf(id)?.code).toBe('corrupt')
    return 'known'
  }
}

describe('a damaged file', () => {
  it('D-14 with a byte flipped anywhere is read right, or known to be damaged', async () => {
    const random = createRandom(4)
    const outcomes = { right: 0, known: 0 }
    for (let round = 0; round < 24; round++) {
      const bytes = Buffer.from(good)
      // Heads of pages, where their structure is, as often as the rest.
      const page = random.below(good.length / 8_192)
      const offset = round % 2 === 0 ? random.below(64) : random.below(8_192)
      const at = page * 8_192 + offset
      bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
      await writeFile(path, bytes)
      const store = await openDamaged()
      for (const id of GROUPS) outcomes[checkGroup(store, id)] += 1
      const fresh = store.group(9)
      put(fresh, 'a', '1')
      fresh.commit()
      await store.close()
      await rm(`${dir}/state`, { recursive: true })
      await mkdir(`${dir}/state`)
    }
    expect(outcomes.right).toBeGreaterThan(0)
    expect(outcomes.known).toBeGreaterThan(0)
  }, 120_000)

  it('D-14 with an older page in its place is known to be damaged', async () => {
    const value = Buffer.from('value-2')
    const at = good.indexOf(value)
    const page = Math.floor(at / 8_192) * 8_192
    const bytes = Buffer.from(good)
    // All pages of the kind that hold pairs become the same one.
    for (let other = 2 * 8_192; other < bytes.length; other += 8_192) {
      if (bytes.subarray(other, other + 8_192).includes(value)) {
        bytes.copy(bytes, other + 24, page + 24, page + 8_192)
      }
    }
    await writeFile(path, bytes)
    const store = await openDamaged()
    const outcomes = GROUPS.map((id) => checkGroup(store, id))
    await store.close()
    expect(outcomes).toContain('known')
  })

  for (const [what, change] of [
    ['without its first pages', (): Promise<void> => writeFile(path, good.fill(0xff, 0, 16_384))],
    ['cut off in its first pages', (): Promise<void> => truncate(path, 5_000)],
    ['of zeros', (): Promise<void> => writeFile(path, good.fill(0))]
  ] as const) {
    it(`D-17 ${what} is set aside, and an empty one begins`, async () => {
      for (let times = 1; times <= BAD_STATE_COUNT_MAX + 2; times++) {
        await change()
        const store = await openStateIn(dir)
        expect([store.lost(), store.groups()]).toEqual([true, []])
        put(store.group(4), 'a', '1')
        store.group(4).commit()
        await store.close()
        const again = await openStateIn(dir)
        expect([again.lost(), contentOf(again.group(4))]).toEqual([false, ['a=1']])
        await again.close()
        const names = (await readdir(dir)).toSorted()
        expect(names.length).toBe(1 + Math.min(times, BAD_STATE_COUNT_MAX))
      }
    })
  }

  it('D-17 that ended the process which opened it is tried by another, and set aside', async () => {
    // Reading beyond the end of a mapped file is SIGBUS.
    await truncate(path, 3 * 8_192)
    const store = await openDamaged()
    expect([store.lost(), store.groups()]).toEqual([true, []])
    await store.close()
    expect((await readdir(dir)).toSorted()).toEqual(['state', 'state.bad-1'])
  })

  it('D-17 that took no writes is set aside at the next start', async () => {
    await writeFile(join(dir, 'state', 'damaged'), '')
    const store = await openStateIn(dir)
    expect([store.lost(), store.groups()]).toEqual([true, []])
    await store.close()
    expect(await readdir(join(dir, 'state'))).not.toContain('damaged')
  })

  it('D-17 that was not to blame for the end of the process stays', async () => {
    const store = await openDamaged()
    expect(GROUPS.map((id) => checkGroup(store, id))).toEqual(['right', 'right', 'right'])
    await store.close()
    expect(await readdir(dir)).toEqual(['state'])
  })

  it('D-17 is under suspicion until it was closed, or took thirty writes', async () => {
    const isSuspect = async (): Promise<boolean> =>
      (await readdir(join(dir, 'state'))).includes('unproven')
    const write = async (store: FileStateStore, times: number): Promise<void> => {
      for (let time = 0; time < times; time++) {
        put(store.group(4), 'a', String(time))
        store.group(4).commit()
        await store.group(4).flushed()
      }
    }
    const first = await openStateIn(dir)
    await write(first, 3)
    expect(await isSuspect()).toBe(true)
    // It is counted how often that happens.
    expect(await readFile(join(dir, 'state', 'unproven'), 'utf8')).toBe('1')
    await first.close()
    expect(await isSuspect()).toBe(false)
    const second = await openStateIn(dir)
    await write(second, 29)
    expect(await isSuspect()).toBe(true)
    await write(second, 1)
    expect(await isSuspect()).toBe(false)
    await second.close()
  })
})

it('D-17 a state that takes no writes is set aside when it is opened', async () => {
  const disk = new MemoryStateDisk()
  const store = await openMemoryState(disk)
  put(store.group(1), 'a', '1')
  store.group(1).commit()
  await store.close()
  const broken = new MemoryStateStore({ disk, clock: new VirtualClock() })
  broken.faults.failNextFlush('corrupt')
  await broken.open()
  expect([broken.lost(), broken.groups(), broken.failure()]).toEqual([true, [], undefined])
  put(broken.group(1), 'b', '1')
  broken.group(1).commit()
  await broken.close()
  const after = await openMemoryState(disk)
  expect([after.lost(), contentOf(after.group(1))]).toEqual([false, ['b=1']])
  await after.close()
})

it('while the disk is full nothing is taken and reads go on, and then all goes on by itself', async () => {
  const clock = new VirtualClock()
  const disk = new MemoryStateDisk()
  const store = new MemoryStateStore({ disk, clock })
  await store.open()
  const group = store.group(1)
  put(group, 'a', '1')
  group.commit()
  store.faults.failNextFlush('disk-full')
  const flushed = group.flushed()
  await expect.poll(() => store.failure()?.code).toBe('disk-full')
  put(group, 'b', '1')
  expect(() => group.commit()).toThrow(expect.objectContaining({ code: 'disk-full' }))
  await expect(group.flushed()).rejects.toMatchObject({ code: 'disk-full' })
  expect(contentOf(group)).toEqual(['a=1', 'b=1'])

  await clock.advance(1_000)

  await flushed
  expect(store.failure()).toBeUndefined()
  group.commit()
  await group.flushed()
  await store.close()
  const after = await openMemoryState(disk)
  expect(contentOf(after.group(1))).toEqual(['a=1', 'b=1'])
  await after.close()
})

it('a disk that is full when the store is closed costs what was not written', async () => {
  const disk = new MemoryStateDisk()
  const store = await openMemoryState(disk)
  put(store.group(1), 'a', '1')
  store.group(1).commit()
  await store.group(1).flushed()
  put(store.group(1), 'b', '1')
  store.group(1).commit()
  store.faults.failNextFlush('disk-full')
  const flushed = store.group(1).flushed()
  const failed = expect(flushed).rejects.toMatchObject({ code: 'disk-full' })
  await expect.poll(() => store.failure()?.code).toBe('disk-full')
  store.faults.failNextFlush('disk-full')
  await store.close()
  await failed
  const after = await openMemoryState(disk)
  expect(contentOf(after.group(1))).toEqual(['a=1'])
  await after.close()
})

it('D-14 a group whose record vanished is known to be lost', async () => {
  const disk = new MemoryStateDisk()
  const store = await openMemoryState(disk)
  put(store.group(1), 'a', '1')
  store.group(1).commit()
  await store.close()
  disk.pairs.delete(Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 1))
  const after = await openMemoryState(disk)
  expect([after.lost(), after.groups(), after.damageOf(1)]).toEqual([true, [], undefined])
  await after.close()
})

it('a pair that vanishes or changes while the store runs', async () => {
  const disk = new MemoryStateDisk()
  const store = await openMemoryState(disk)
  for (const id of [1, 2]) {
    put(store.group(id), 'a', '1')
    put(store.group(id), 'b', '1')
    store.group(id).commit()
  }
  await store.group(2).flushed()
  expect(store.faults.corrupt(1, utf8('a'))).toBe(true)
  expect(store.faults.lose(2, utf8('a'))).toBe(true)
  expect(() => store.group(1).get(utf8('a'))).toThrow('group 1')
  expect(() => store.group(1).get(utf8('b'))).toThrow('group 1')
  await store.close()
  const after = await openMemoryState(disk)
  expect([after.damageOf(1)?.code, after.damageOf(2)?.code]).toEqual(['corrupt', 'corrupt'])
  await after.close()
})

it('D-11 a newer format is refused, and stays as it is', async () => {
  const disk = new MemoryStateDisk()
  const store = await openMemoryState(disk)
  await store.close()
  const newer = new Uint8Array(14)
  newer[3] = 2
  const record = seal(Uint8Array.of(0), newer)
  disk.pairs.put(Uint8Array.of(0), record)
  await expectCode(openMemoryState(disk), 'folder-too-new')
  expect(disk.pairs.get(Uint8Array.of(0))).toEqual(record)
})

it('what was committed is still read when flushes fail, one after the other', async () => {
  const store = await openMemoryState(new MemoryStateDisk())
  const group = store.group(1)
  store.faults.stall()
  put(group, 'a', '1')
  group.commit()
  const first = group.flushed()
  await Promise.resolve()
  await Promise.resolve()
  put(group, 'b', '2')
  group.commit()
  const second = group.flushed()
  store.faults.failNextFlush()
  store.faults.resume()
  await expect(first).rejects.toMatchObject({ code: 'storage-failed' })
  await expect(second).rejects.toMatchObject({ code: 'storage-failed' })
  expect(contentOf(group)).toEqual(['a=1', 'b=2'])
  await store.close()
})
