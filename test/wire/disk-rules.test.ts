// The rules of protocols/disk, on a folder of the real disk and on a simulated one.

import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { ErrorCode } from '../../src/base/errors.ts'
import { GIB } from '../../src/base/units.ts'
import { blockDigest } from '../../src/core/block/block-id.ts'
import { foundMesh } from '../../src/mesh/genesis.ts'
import { DataFolder } from '../../src/node/data-folder.ts'
import { blockOfFile } from '../../src/storage/file/block-layout.ts'
import { readFileIfThere, writeFileDurably } from '../../src/storage/file/durable-file.ts'
import { sampleBlock } from '../conformance/block-store.ts'
import { DATA, flipBit, LAYOUT, makeTestFolder, openOn } from '../storage/block-store-harness.ts'
import { SimulatedDisk } from '../storage/simulated-disk.ts'

const FRESH = { name: 'shelf', zone: 'home', capacityBytes: GIB, labels: [] }

describe('a data folder', () => {
  let dir: string
  beforeEach(async () => {
    dir = await makeTestFolder()
  })
  afterEach(async () => {
    await rm(dir, { recursive: true })
  })

  /** Makes a folder that a node has used. */
  async function used(): Promise<void> {
    const folder = await DataFolder.open(dir, FRESH)
    const nonce = new Uint8Array(16)
    await folder.saveFounding(foundMesh(folder.identity, { createdMs: 0, nonce }))
    await folder.close()
  }

  /** Everything in the folder but the lock. */
  async function contents(): Promise<Record<string, string>> {
    const names = (await readdir(dir)).filter((name) => name !== 'lock')
    const entries = names.map(
      async (name) => [name, (await readFile(join(dir, name))).toString('hex')] as const
    )
    return Object.fromEntries(await Promise.all(entries))
  }

  async function refused(code: ErrorCode): Promise<void> {
    const before = await contents()
    await expect(DataFolder.open(dir, FRESH)).rejects.toMatchObject({ code })
    expect(await contents()).toEqual(before)
  }

  it('D-1 is used by one node at a time, and the second changes nothing', async () => {
    const first = await DataFolder.open(dir, FRESH)

    await refused('folder-locked')

    await first.close()
    await (await DataFolder.open(dir, FRESH)).close()
  })

  it('D-2 of a newer format is refused, and nothing changed', async () => {
    await used()
    const path = join(dir, 'node.json')
    const file = JSON.parse(await readFile(path, 'utf8')) as object
    await writeFile(path, JSON.stringify({ ...file, format: 2 }))

    await refused('folder-too-new')
  })

  it('D-4 never changes its identity: a key that is cut off or missing is refused', async () => {
    await used()
    const path = join(dir, 'key')
    const key = await readFile(path)
    expect(key).toHaveLength(32)
    expect((await stat(path)).mode & 0o777).toBe(0o600)

    await writeFile(path, key.subarray(0, 31))
    await refused('invalid-data')
    await rm(path)
    await refused('invalid-data')
    await writeFile(path, key)
    await (await DataFolder.open(dir, FRESH)).close()
  })

  it('D-5 checks its genesis record at every start', async () => {
    await used()
    const path = join(dir, 'genesis')
    const genesis = await readFile(path)
    const folder = await DataFolder.open(dir, FRESH)
    expect(await folder.founding()).toBeDefined()

    await writeFile(path, flipBit(genesis))
    await expect(folder.founding()).rejects.toMatchObject({ code: 'invalid-data' })

    await folder.close()
  })
})

describe('small files', () => {
  it('D-3 are replaced as a whole: after a power cut the old bytes are there or the new', async () => {
    const disk = new SimulatedDisk()
    await writeFileDurably(disk, '/node.json', utf8('old'))
    disk.crashAtCall = disk.callCount + 3
    await writeFileDurably(disk, '/node.json', utf8('new')).catch(() => {})
    const after = disk.afterPowerCut('lose')

    expect(await readFileIfThere(after, '/node.json')).toEqual(utf8('old'))
    await writeFileDurably(after, '/node.json', utf8('new'))
    expect(after.names('/')).toEqual(['node.json'])
    const last = after.afterPowerCut('lose')
    expect(await readFileIfThere(last, '/node.json')).toEqual(utf8('new'))
  })
})

describe('block files', () => {
  const { id, bytes } = sampleBlock(1)

  it('D-6 have the id as their name, in the folder of the first byte of the digest', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder(DATA)
    const store = await openOn(disk)
    await store.put(id, bytes)
    const folder = (blockDigest(id)[0] as number).toString(16).padStart(2, '0')

    expect(disk.names(`${DATA}/blocks/${folder}`)).toEqual([id])
    expect(blockOfFile(folder, id)).toBe(id)
    expect(blockOfFile(folder === '00' ? '01' : '00', id)).toBeUndefined()
    expect(blockOfFile(folder, id.toUpperCase())).toBeUndefined()

    disk.plant(`${DATA}/blocks/${folder}/notes.txt`, utf8('mine'))
    await store.close()
    await (await openOn(disk)).close()
    expect(disk.names(`${DATA}/blocks/${folder}`).toSorted()).toEqual([id, 'notes.txt'].toSorted())
  })

  it('D-7 survive a power cut once they were acknowledged', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder(DATA)
    const store = await openOn(disk)
    await store.put(id, bytes)

    const reopened = await openOn(disk.afterPowerCut('lose'))

    expect(await reopened.get(id)).toEqual(bytes)
  })

  it('D-8 are checked at every read, and set aside when they are damaged', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder(DATA)
    const store = await openOn(disk)
    await store.put(id, bytes)
    disk.tamper(LAYOUT.pathOf(id), flipBit)

    await expect(store.get(id)).rejects.toMatchObject({ code: 'corrupt' })
    expect(disk.names(LAYOUT.bad)).toEqual([`0000000000.${id}`])
    await expect(store.get(id)).rejects.toMatchObject({ code: 'not-found' })
  })

  it('D-9 are written no more after a sync has failed, and still read', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder(DATA)
    const store = await openOn(disk)
    await store.put(id, bytes)
    const other = sampleBlock(2)
    disk.fail({ call: 'sync', code: 'EIO' })

    await expect(store.put(other.id, other.bytes)).rejects.toMatchObject({ code: 'storage-failed' })
    await expect(store.put(other.id, other.bytes)).rejects.toMatchObject({ code: 'storage-failed' })
    expect(await store.get(id)).toEqual(bytes)
  })

  it('D-10 leave room on the disk and stay within the capacity', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder(DATA)
    const store = await openOn(disk, { capacityBytes: 150 })
    const other = sampleBlock(2)
    await store.put(id, bytes)
    await expect(store.put(other.id, other.bytes)).rejects.toMatchObject({ code: 'disk-full' })
    expect(store.usage()).toMatchObject({ count: 1, bytes: 100 })

    const small = new SimulatedDisk()
    small.plantFolder(DATA)
    const full = await openOn(small, { freeBytesMin: Number.MAX_SAFE_INTEGER })
    await expect(full.put(id, bytes)).rejects.toMatchObject({ code: 'disk-full' })
    expect(full.usage().count).toBe(0)
  })
})
