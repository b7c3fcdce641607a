import { describe, expect, it } from 'vitest'
import { MIB } from '../../../src/base/units.ts'
import { REQUIREMENTS_DEFAULTS } from '../../../src/core/jobs/requirements.ts'
import { encodeValue } from '../../../src/executor/values.ts'
import { POLICY_DEFAULTS, type JobRequest } from '../../../src/services/compute/jobs.ts'
import { nodeAt, simulatedMesh } from '../../faults/simulated.ts'

const CID = 'bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy'

export function request(id: string, count: number, more: Partial<JobRequest> = {}): JobRequest {
  return {
    id,
    code: { kind: 'bundle', cid: CID },
    task: 'double',
    limits: { timeoutMs: 60_000, memoryBytes: MIB },
    requirements: { ...REQUIREMENTS_DEFAULTS, memoryBytes: MIB },
    policy: { ...POLICY_DEFAULTS, submitter: 'test' },
    inputs: Array.from({ length: count }, (_, index) => encodeValue(index)),
    ...more
  }
}

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
