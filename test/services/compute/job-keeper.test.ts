import { expect, it } from 'vitest'
import { silentLogger } from '../../../src/base/log.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import type { JobBoard } from '../../../src/services/compute/job-board.ts'
import { JobKeeper } from '../../../src/services/compute/job-keeper.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'

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
