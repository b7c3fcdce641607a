import { describe, expect, it } from 'vitest'

import { FolderSyncer } from '../../src/storage/file/folder-syncer.ts'
import { expectCode } from '../conformance/block-store.ts'
import { SimulatedDisk } from './simulated-disk.ts'

function syncCount(disk: SimulatedDisk): number {
  return disk.log.filter((line) => line.startsWith('sync')).length
}

describe('FolderSyncer', () => {
  it('sync() shares one fsync among all that came while another ran', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder('/a')
    const syncer = new FolderSyncer(disk)

    await Promise.all(Array.from({ length: 10 }, () => syncer.sync('/a')))

    expect(syncCount(disk)).toBe(2)
    await syncer.sync('/a')
    expect(syncCount(disk)).toBe(3)
  })

  it('sync() covers a name that was there when it was called', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder('/a')
    const syncer = new FolderSyncer(disk)
    const first = syncer.sync('/a')
    await disk.open('/a/late', 'create')
    await first

    await syncer.sync('/a')

    expect(disk.afterPowerCut('lose').has('/a/late')).toBe(true)
  })

  it('sync() rejects those who wait for the fsync that failed, not the next', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder('/a')
    const syncer = new FolderSyncer(disk)
    disk.fail({ call: 'sync', code: 'EIO' })

    const first = syncer.sync('/a')
    const second = syncer.sync('/a')

    await expectCode(first, 'storage-failed')
    await second
  })

  it('sync() of different folders goes its own ways', async () => {
    const disk = new SimulatedDisk()
    disk.plantFolder('/a')
    disk.plantFolder('/b')
    const syncer = new FolderSyncer(disk)

    await Promise.all([syncer.sync('/a'), syncer.sync('/b')])
    await syncer.close()

    expect(disk.log.filter((line) => line.startsWith('close'))).toHaveLength(2)
  })
})
