import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

import { utf8 } from '../../src/base/bytes.ts'
import { createRandom } from '../../src/base/random.ts'
import { readFileIfThere, writeFileDurably } from '../../src/storage/file/durable-file.ts'
import { nodeFileOps } from '../../src/storage/file/file-ops.ts'
import { expectCode } from '../conformance/block-store.ts'
import { makeTestFolder } from './block-store-harness.ts'
import { SimulatedDisk, type Survival } from './simulated-disk.ts'

describe('writeFileDurably', () => {
  it('leaves the old bytes or the new ones, wherever the power goes', async () => {
    for (let crashAt = 1; crashAt < 20; crashAt++) {
      for (const survival of ['lose', 'keep', 'mix', 'mix'] satisfies Survival[]) {
        const disk = new SimulatedDisk()
        await writeFileDurably(disk, '/node', utf8('old'))
        disk.crashAtCall = disk.callCount + crashAt
        const written = await writeFileDurably(disk, '/node', utf8('newer')).then(
          () => true,
          () => false
        )

        const after = disk.afterPowerCut(survival, createRandom(crashAt))
        const bytes = await readFileIfThere(after, '/node')

        const allowed = written ? [utf8('newer')] : [utf8('old'), utf8('newer')]
        expect(allowed).toContainEqual(bytes)
        await writeFileDurably(after, '/node', utf8('again'))
      }
    }
  })

  it('keeps the old file when the disk is full, and leaves nothing beside it', async () => {
    const disk = new SimulatedDisk()
    await writeFileDurably(disk, '/node', utf8('old'))
    disk.fail({ call: 'write', code: 'ENOSPC' })

    await expectCode(writeFileDurably(disk, '/node', utf8('new')), 'disk-full')

    expect(await readFileIfThere(disk, '/node')).toEqual(utf8('old'))
    expect(disk.names('/')).toEqual(['node'])
  })

  it('rejects with storage-failed when an fsync fails', async () => {
    const disk = new SimulatedDisk()
    disk.fail({ call: 'sync', code: 'EIO' })

    await expectCode(writeFileDurably(disk, '/node', utf8('new')), 'storage-failed')
  })

  it('gives the file the permissions asked for', async () => {
    const folder = await makeTestFolder()
    const path = join(folder, 'key')

    await writeFileDurably(nodeFileOps, path, utf8('secret'), { mode: 0o600 })
    await writeFileDurably(nodeFileOps, path, utf8('secret 2'), { mode: 0o600 })

    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect(await readFileIfThere(nodeFileOps, path)).toEqual(new Uint8Array(utf8('secret 2')))
    await rm(folder, { recursive: true })
  })
})

describe('readFileIfThere', () => {
  it('returns undefined when there is no file', async () => {
    expect(await readFileIfThere(new SimulatedDisk(), '/node')).toBeUndefined()
  })

  it('refuses a file that is larger than expected', async () => {
    const disk = new SimulatedDisk()
    await writeFileDurably(disk, '/node', utf8('12345'))

    await expectCode(readFileIfThere(disk, '/node', { maxBytes: 4 }), 'too-large')

    expect(await readFileIfThere(disk, '/node', { maxBytes: 5 })).toEqual(utf8('12345'))
  })
})
