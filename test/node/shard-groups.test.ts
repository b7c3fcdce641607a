// What is said of all groups, and the recovery of one that lost its majority, on whole nodes.

import { describe, expect, it } from 'vitest'
import { diagnose } from '../../src/api/doctor.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { generationOrdinal } from '../../src/core/groups/roster.ts'
import { shardOf } from '../../src/core/groups/shard-of.ts'
import { SYSTEM } from '../../src/shard/shards.ts'
import { SimulatedMesh } from '../../src/testing/test-mesh.ts'
import type { Node } from '../../src/node/node.ts'

const SHARDS = 4

async function started(options: {
  peers: number
  seed: number
  graceMs?: number
}): Promise<SimulatedMesh> {
  const { peers, ...rest } = options
  const mesh = new SimulatedMesh({ ...rest, peers, shards: SHARDS })
  for (let index = 0; index < peers; index++) await mesh.add()
  await mesh.settle()
  return mesh
}

/** A space of each shard. */
function spaces(): string[] {
  const found: string[] = []
  for (let number = 0; found.filter(Boolean).length < SHARDS; number++) {
    found[shardOf(utf8(`s${number}`), SHARDS)] ??= `s${number}`
  }
  return found
}

async function whenAllLed(mesh: SimulatedMesh, node: Node): Promise<void> {
  for (let round = 0; round < 600; round++) {
    const { groups } = await mesh.clock.run(node.groups.report())
    const isWhole = groups.every(
      ({ leader, voters, learners, votersWanted }) =>
        leader !== undefined && voters.length === votersWanted && learners.length === 0
    )
    if (isWhole) return
    await mesh.clock.advance(100)
  }
  throw new Error('The groups do not get whole')
}

describe('groups of a mesh', () => {
  it('N-5 are reported alike by every node: leader, voters, and each node its part', async () => {
    await using mesh = await started({ peers: 4, seed: 3 })
    const [first, ...others] = mesh.nodes as [Node, ...Node[]]
    await whenAllLed(mesh, first)

    const { groups, nodes } = await mesh.clock.run(first.groups.report())

    expect(groups.map(({ shard }) => shard)).toEqual(['system', 0, 1, 2, 3])
    for (const { leader, voters, votersWanted } of groups) {
      expect([voters.length, votersWanted]).toEqual([3, 3])
      expect(voters).toContain(leader)
    }
    expect(nodes.reduce((sum, { leads }) => sum + leads, 0)).toBe(SHARDS + 1)
    expect(nodes.reduce((sum, { replicas = 0 }) => sum + replicas, 0)).toBe(3 * (SHARDS + 1))
    for (const node of others) {
      const said = (await mesh.clock.run(node.groups.report())).groups
      expect(said.map(({ leader }) => leader)).toEqual(groups.map(({ leader }) => leader))
    }
    const { shards } = await mesh.clock.run(first.status())
    const ledHere = groups.filter(({ leader }) => leader === first.peerId).length
    expect(shards).toEqual({ count: SHARDS + 1, led: SHARDS + 1, ledHere, failure: undefined })
  })

  it('a recovery is refused while a majority answers, and names shards that there are', async () => {
    await using mesh = await started({ peers: 3, seed: 5 })
    const [first] = mesh.nodes as [Node]
    await whenAllLed(mesh, first)
    await mesh.kill(2)
    await mesh.advance(5_000)

    await expect(mesh.clock.run(first.groups.planRecovery(1))).rejects.toMatchObject({
      code: 'conflict',
      message: expect.stringMatching(/^Cannot recover shard 1: 2 of its 3 voters answer/)
    })
    await expect(mesh.clock.run(first.groups.recover('system'))).rejects.toMatchObject({
      code: 'conflict'
    })
    await expect(mesh.clock.run(first.groups.planRecovery(SHARDS))).rejects.toMatchObject({
      code: 'invalid-argument'
    })
  })

  it('what lost its majority is recovered from any node, with what was acknowledged', async () => {
    await using mesh = await started({ peers: 5, seed: 8, graceMs: 3_600_000 })
    const [first] = mesh.nodes as [Node]
    await whenAllLed(mesh, first)
    const names = spaces()
    for (const space of names) await mesh.clock.run(first.kv.put(`${space}/x`, 'before'))
    await mesh.kill(3)
    await mesh.kill(4)
    await mesh.advance(10_000)

    const { groups } = await mesh.clock.run(first.groups.report())
    const lost = groups.filter(({ leader }) => leader === undefined)
    expect(lost.length).toBeGreaterThan(0)
    const { shards } = await mesh.clock.run(first.status())
    expect(shards.led).toBe(SHARDS + 1 - lost.length)
    for (const { shard, generation } of lost) {
      const plan = await mesh.clock.run(first.groups.planRecovery(shard))
      expect([plan.generation, plan.survivors.length, plan.missing.length]).toEqual([
        generation,
        1,
        2
      ])
      const done = await mesh.clock.run(first.groups.recover(shard))
      expect(generationOrdinal(done.newGeneration)).toBe(generation + 1)
      await expect(mesh.clock.run(first.groups.recover(shard))).rejects.toMatchObject({
        code: 'conflict'
      })
    }

    for (const node of mesh.nodes.slice(0, 3)) {
      for (const space of names) {
        expect((await mesh.clock.run(node.kv.get(`${space}/x`)))?.text()).toBe('before')
      }
    }
    for (const space of names) await mesh.clock.run(first.kv.put(`${space}/x`, 'after'))
    // The others come back with all that they had: nobody is shown the past.
    for (const index of [3, 4]) {
      const back = await mesh.restart(index)
      for (const space of names) {
        expect((await mesh.clock.run(back.kv.get(`${space}/x`)))?.text()).toBe('after')
      }
    }
    await whenAllLed(mesh, first)
    // Nor is it thrown away: each of those that came back had all that were lost.
    for (const node of [mesh.nodes[3], mesh.nodes[4]] as Node[]) {
      const had = node.shardLayer.setAside().map(({ group }) => (group === 0 ? SYSTEM : group - 1))
      expect(had).toEqual(lost.map(({ shard }) => shard))
      const { findings } = await mesh.clock.run(diagnose(node))
      expect(findings.find(({ check }) => check === 'set aside')).toEqual({
        check: 'set aside',
        ok: true,
        text: expect.stringMatching(
          /^kept here since it was recovered from others: .* up to entry \d+ of generation 1$/
        )
      })
    }
  })
})
