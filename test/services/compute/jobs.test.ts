import { describe, expect, it } from 'vitest'
import { nodeAt, simulatedMesh } from '../../faults/simulated.ts'
import { request } from './work-mesh.ts'

describe('jobs on a mesh', () => {
  it('are done by all nodes, each task once', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 1 })
    const { clock } = mesh
    const node = nodeAt(mesh, 0)
    const job = await clock.run(node.work.jobs.submit<number>(request('first', 100)))
    const progress = await clock.run(job.wait())
    expect(progress).toMatchObject({ state: 'ended', total: 100, done: 100, failed: 0 })
    const values: number[] = []
    await clock.run(
      (async () => {
        for await (const { value } of job.results()) values.push(value)
      })()
    )
    expect(values).toEqual(Array.from({ length: 100 }, (_, index) => index))
  })
})
