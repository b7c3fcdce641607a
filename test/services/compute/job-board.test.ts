import { expect, it } from 'vitest'
import { peerId } from '../../../src/base/ids.ts'
import { silentLogger } from '../../../src/base/log.ts'
import { createRandom } from '../../../src/base/random.ts'
import { REQUIREMENTS_DEFAULTS } from '../../../src/core/jobs/requirements.ts'
import { JOB_GET } from '../../../src/core/machine/job-queries.ts'
import { JobBoard } from '../../../src/services/compute/job-board.ts'
import { encodeSpec } from '../../../src/services/compute/spec.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { submitArgs } from '../../core/machine/job-shard.ts'
import { CID } from './work-mesh.ts'

const NAME = '~again'
const spec = encodeSpec({
  code: { kind: 'bundle', cid: CID },
  task: 'work',
  limits: { timeoutMs: 1_000, memoryBytes: 1_024 },
  requirements: REQUIREMENTS_DEFAULTS,
  manifest: { kind: 'inline', inputs: [] }
})
const counts = { done: 0, failed: 0, running: 0, waiting: 0 }
const job = { ...submitArgs({ count: 1 }), spec, createdMs: 0 }
const state = { phase: 'open', counts, denied: [], durations: [] }
const view = { job, state, readyCount: 1, nextReadyMs: undefined, timeMs: 0 }

it('a job that a grant found ended is looked at again when it is offered again', async () => {
  const clock = new VirtualClock()
  const looked: string[] = []
  const shards = {
    count: 1,
    shardOf: () => 0,
    query: async (_: unknown, { name }: { name: string }) => {
      looked.push(name)
      return await Promise.resolve({ result: view })
    }
  } as unknown as Shards
  const network = {
    subscribe: () => () => {},
    publish: async () => {},
    onConnected: () => () => {}
  }
  const random = createRandom(1)
  const self = peerId('12D3KooWPvqXtDkHQrPkZSKErYZ118kv9GFJNwjETEfmjXGEejQy')
  const parts = { shards, network, clock, random, log: silentLogger, self }
  const board = new JobBoard(parts, { topic: 'offers' })
  const names = (): string[] => board.candidates().map((candidate) => candidate.job.name)
  const offer = { space: NAME, priority: 0, submitter: 'somebody', ready: 1, estimateMs: undefined }
  board.setRoom(true)
  board.offer(offer, false)
  await clock.advance(1)
  expect(names()).toEqual([NAME])

  const [found] = board.candidates()
  const nothing = { lease: 0, tasks: [], readyCount: 0, nextReadyMs: undefined, runningCount: 0 }
  if (found !== undefined) board.granted(found.job, { ...nothing, phase: 'ended' })
  expect(names()).toEqual([])
  // Somebody has mended it.
  looked.length = 0
  board.offer(offer, false)
  await clock.advance(1)

  expect(looked).toEqual([JOB_GET.name])
  expect(names()).toEqual([NAME])
  board.stop()
})
