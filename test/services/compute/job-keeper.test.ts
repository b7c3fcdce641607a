import { expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/log.ts'
import { MINUTE_MS } from '../../../src/base/units.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import type { JobBoard } from '../../../src/services/compute/job-board.ts'
import { JobKeeper } from '../../../src/services/compute/job-keeper.ts'
import type { Files } from '../../../src/services/files/files.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { request, WorkMesh } from './work-mesh.ts'

it('a shard that had no open job is looked at again when something was applied', async () => {
  const clock = new VirtualClock()
  const asked: number[] = []
  const led = [
    { shard: 3, index: 7 },
    { shard: 4, index: 7 }
  ]
  const shards = {
    query: async ({ shard }: { shard: number }) => {
      asked.push(shard)
      const policy = { priority: 0, submitter: 'somebody' }
      const job = { space: new Uint8Array([97]), readyCount: 0, policy }
      return { result: { jobs: shard === 4 ? [job] : [], next: undefined } }
    }
  } as unknown as Shards
  const keeper = new JobKeeper({
    shards,
    clock,
    log: silentLogger,
    network: { connected: () => [], onDisconnected: () => () => {} },
    board: { withdraw: () => {} } as unknown as JobBoard,
    files: {} as unknown as Files,
    ledShards: () => led
  })
  keeper.start()

  await clock.advance(1_500)
  expect(asked.splice(0)).toEqual([3, 4])
  // A job may get something ready by the time alone.
  await clock.advance(2_000)
  expect(asked.splice(0)).toEqual([4, 4])
  led[0] = { shard: 3, index: 8 }
  await clock.advance(2_000)
  expect(asked.splice(0)).toEqual([3, 4, 4])
  await clock.run(keeper.stop())
})

it('an ended job is forgotten in time although nothing else happens', async () => {
  await using work = await WorkMesh.create({ peers: 3, seed: 5 })
  await work.submit(request('short', 2, { policy: { retainMs: 1.5 * MINUTE_MS } }))
  await work.submit(request('long', 2, { policy: { retainMs: 60 * MINUTE_MS } }))
  await work.wait('short')
  await work.wait('long')
  const ids = async (): Promise<string[]> =>
    (await work.clock.run(work.node(0).work.jobs.list())).map(({ id }) => id).toSorted()
  await work.clock.advance(MINUTE_MS)
  expect(await ids()).toEqual(['long', 'short'])
  await work.clock.advance(2 * MINUTE_MS)
  expect(await ids()).toEqual(['long'])
})
