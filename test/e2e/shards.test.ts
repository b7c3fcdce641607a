// The shards as a person sees them, and a shard that lost its majority for good, on real processes.

import { rename, rm } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Finding } from '../../src/api/doctor.ts'
import { connect } from '../../src/api/remote/connect.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { peerId, type PeerId } from '../../src/base/ids.ts'
import { shardOf } from '../../src/core/groups/shard-of.ts'
import type { GroupsReport, GroupStatus } from '../../src/node/shard-groups.ts'
import { ProcessMesh, statusOf, until } from './process-mesh.ts'

const NODES = 5
const SHARDS = 32

type Row = {
  shard: number | 'system'
  leader: string | null
  term: number
  voters: string[]
  learners: string[]
  commit: number
  applied: number
}

/** A space of a shard. */
function spaceOf(shard: number): string {
  for (let number = 0; ; number++) {
    const space = `space-${number}`
    if (shardOf(utf8(space), SHARDS) === shard) return space
  }
}

describe('shards of five nodes', () => {
  let mesh: ProcessMesh

  const groups = async (index: number): Promise<readonly GroupStatus[]> => {
    const client = await mesh.at(index).client()
    return (await client.json<GroupsReport>('shards')).groups
  }

  const whole = async (index: number, without: readonly PeerId[] = []): Promise<void> => {
    await until('every shard has a leader and three voters', 60_000, async () => {
      const lacking = (await groups(index)).filter(
        ({ leader, voters, learners }) =>
          leader === undefined ||
          voters.length !== 3 ||
          learners.length > 0 ||
          voters.some((peer) => without.includes(peer))
      )
      return lacking.length === 0 || JSON.stringify(lacking)
    })
  }

  beforeAll(async () => {
    const words = ['--grace', '3s']
    mesh = await ProcessMesh.create(1, words)
    await Promise.all(
      Array.from({ length: NODES - 1 }, (_, index) => mesh.start(index + 1, { words }))
    )
    await mesh.everybodySees(NODES)
    await whole(0)
  }, 120_000)

  afterAll(async () => {
    await mesh[Symbol.asyncDispose]()
  })

  it('shards, status and doctor tell of them', async () => {
    const [listed, table, status, doctor] = await Promise.all([
      mesh.atoll(3, ['shards', '--json']),
      mesh.atoll(3, ['shards']),
      mesh.atoll(3, ['status']),
      mesh.atoll(3, ['doctor'])
    ])
    const found = JSON.parse(listed.stdout.toString()) as Row[]

    expect(found.map(({ shard }) => shard)).toEqual([
      ...Array.from({ length: SHARDS }, (_, shard) => shard),
      'system'
    ])
    for (const { leader, voters, term, commit, applied } of found) {
      expect(voters).toContain(leader)
      expect([term > 0, commit >= applied && applied > 0]).toEqual([true, true])
    }
    expect(table.code).toBe(0)
    expect(table.stdout.toString()).toMatch(/^SHARD +LEADER +TERM +VOTERS/)
    expect(table.stdout.toString()).toContain('All 33 have a leader and all their voters.')
    expect(status.stdout.toString()).toMatch(/\nshards {3}33 of 33 have a leader; \d+ led here\n/)
    expect(doctor.stdout.toString()).toContain('ok    shards: 33 of 33 have a leader')
  })

  it('a shard whose majority is lost for good is recovered, and its past stays away', async () => {
    const lost = [3, 4]
    const peers = lost.map((index) => peerId(mesh.at(index).up.peerId))
    const row = (await groups(0)).find(
      ({ shard, voters }) => shard !== 'system' && peers.every((peer) => voters.includes(peer))
    )
    const shard = row?.shard as number
    const key = `${spaceOf(shard)}/x`
    await using remote = await connect({ dataDir: mesh.dirOf(0) })
    await remote.kv.put(key, 'before')

    for (const index of lost) await mesh.at(index).kill()
    await rename(mesh.dirOf(3), mesh.dirOf('kept'))
    await rm(mesh.dirOf(4), { recursive: true })
    await until('the shard has no leader', 20_000, async () => {
      const leader = (await groups(0)).find((one) => one.shard === shard)?.leader
      return leader === undefined || `its leader is ${leader}`
    })
    await expect(remote.kv.put(key, 'never', { timeoutMs: 500 })).rejects.toMatchObject({
      code: 'no-quorum'
    })
    const { findings } = await (await mesh.at(1).client()).json<{ findings: Finding[] }>('doctor')
    expect(findings.find(({ check }) => check === 'shards')).toEqual({
      check: 'shards',
      ok: false,
      text: expect.stringMatching(/^\d+ of 33 have a leader; .*atoll recover/)
    })

    const plan = await mesh.atoll(1, ['recover', '--shard', String(shard)])
    expect(plan.code).toBe(1)
    expect(plan.stdout.toString()).toMatch(/has lost its majority: n3, n4 are not there/)
    expect(plan.stderr).toContain(`atoll recover --shard ${shard} --force`)
    const one = await mesh.atoll(1, ['recover', '--shard', String(shard), '--force'])
    expect(one.stdout.toString()).toMatch(/goes on from n[012], as generation 2; it answers/)
    expect((await remote.kv.get(key))?.text()).toBe('before')
    // The same two were the majority of others too, perhaps of the system group.
    const others = await mesh.atoll(2, ['recover', '--shard', 'all', '--force', '--json'])
    expect([others.code, others.stderr]).toEqual([0, ''])
    await remote.kv.put(key, 'after')
    await whole(0, peers)

    const back = mesh.spawn({ dataDir: mesh.dirOf('kept'), words: mesh.wordsFor(3) })
    await back.ready(30_000)
    await using past = await connect({ dataDir: back.dataDir })
    expect((await past.kv.get(key))?.text()).toBe('after')
    await until('it is one of the others again', 30_000, async () => {
      const { members, shards } = await statusOf(back)
      const alive = members.filter(({ state }) => state === 'alive').length
      return (alive === 4 && shards.led === 33) || JSON.stringify(shards)
    })
    await until('what is left there of the shard is new', 30_000, async () => {
      const value = (await past.kv.get(key, { stale: true }))?.text()
      return value === 'after' || String(value)
    })
    await whole(0)
  })
})
