import { describe, expect, it } from 'vitest'
import { SECOND_MS } from '../../../src/base/units.ts'
import type { JobCounts } from '../../../src/core/machine/job-records.ts'
import { topology } from '../../../src/services/topology/topology.ts'
import { nodeAt } from '../../faults/simulated.ts'
import { WorkMesh } from '../compute/work-mesh.ts'

describe('a topology of which an instance ends whatever runs it', () => {
  it('is stuck, says which one and why, and goes on when it is tried again', async () => {
    let isPoison = true
    await using work = await WorkMesh.create({
      peers: 2,
      seed: 7,
      behave: ({ task }) => {
        const durationMs = task === 1 && isPoison ? 10 : 60 * SECOND_MS
        return { durationMs, result: { kind: 'lost', reason: 'its process ended' } }
      }
    })
    const node = nodeAt(work.mesh, 0)
    const words = topology('words')
      .spout('lines', () => [1])
      .bolt('split', (_, line) => [line], { from: 'lines', parallel: 2 })
    const running = await work.clock.run(node.deploy(words))
    const counts = (): Partial<JobCounts> => work.seen('topology-words', 0)?.state.counts ?? {}
    await work.until(() => counts().failed === 1, 600_000)
    await work.until(() => counts().running === 2)

    const { operators, ...rest } = await work.clock.run(running.status())
    expect(rest).toEqual({ name: 'words', state: 'stuck', running: 2 })
    const errors = operators.flatMap(({ name, instances }) =>
      instances.map(({ instance, error }) => [name, instance, error?.code])
    )
    expect(errors).toEqual([
      ['lines', 0, undefined],
      ['split', 0, 'poison-task'],
      ['split', 1, undefined]
    ])

    isPoison = false
    expect(await work.clock.run(running.job.retry())).toBe(1)
    await work.until(() => counts().running === 3)
    expect((await work.clock.run(running.status())).state).toBe('open')
  })
})
