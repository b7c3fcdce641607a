// What `atoll doctor` says of a mesh that isn't well.

import { describe, expect, it } from 'vitest'
import { diagnose, type Finding } from '../../src/api/doctor.ts'
import type { Node } from '../../src/node/node.ts'
import { SimulatedMesh } from '../../src/testing/test-mesh.ts'

async function started(seed: number): Promise<SimulatedMesh> {
  const mesh = new SimulatedMesh({ peers: 3, seed, graceMs: 3_600_000 })
  for (let index = 0; index < 3; index++) await mesh.add()
  await mesh.settle()
  await mesh.advance(10_000)
  return mesh
}

async function found(mesh: SimulatedMesh, check: string): Promise<Finding | undefined> {
  const [first] = mesh.nodes as [Node]
  const { findings } = await mesh.clock.run(diagnose(first))
  return findings.find((finding) => finding.check === check)
}

describe('doctor', () => {
  it('finds nothing wrong with the shards of a mesh that is well', async () => {
    await using mesh = await started(1)

    expect(await found(mesh, 'shards')).toMatchObject({ ok: true, text: '5 of 5 have a leader' })
    expect(await found(mesh, 'log and state')).toMatchObject({ ok: true })
  })

  it('names the shards that lack a majority, and says what to do', async () => {
    await using mesh = await started(2)
    await mesh.kill(1)
    await mesh.kill(2)
    await mesh.advance(10_000)

    const finding = await found(mesh, 'shards')

    expect(finding?.ok).toBe(false)
    expect(finding?.text).toMatch(
      /^0 of 5 have a leader; system, 0, 1, 2, 3 can't be read or written/
    )
    expect(finding?.text).toMatch(/bring those back\. When they are lost for good: atoll recover$/)
  })

  it('says that the log has failed, and status too', async () => {
    await using mesh = await started(3)
    mesh.peers[0]?.logStore?.faults.failNextSync()
    const [first, second] = mesh.nodes as [Node, Node]
    for (let number = 0; number < 8; number++) {
      await mesh.clock.run(second.kv.put(`space-${number}/x`, '1'))
    }
    await mesh.advance(5_000)

    const finding = await found(mesh, 'log and state')

    expect(finding?.ok).toBe(false)
    expect(finding?.text).toMatch(/keeps no shards any more: .*check the disk and restart the node/)
    expect((await mesh.clock.run(first.status())).shards.failure).toBeDefined()
    const { nodes } = await mesh.clock.run(second.groups.report())
    expect(nodes.find(({ peerId }) => peerId === first.peerId)?.failure).not.toBe('')
  })
})
