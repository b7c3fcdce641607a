import { describe, expect, it } from 'vitest'
import { utf8, fromUtf8 } from '../../src/base/bytes.ts'
import { TXN } from '../../src/core/machine/kv.ts'
import { GET } from '../../src/core/machine/own-queries.ts'
import { AREAS, META_KEY } from '../../src/core/machine/state-keys.ts'
import type { ShardLayer } from '../../src/shard/shard-layer.ts'
import { PROMPT_WAIT_MS } from '../../src/shard/shards.ts'
import { ShardMesh, type ShardPeer } from './shard-mesh.ts'

async function put(
  layer: ShardLayer,
  key: string,
  value: string,
  timeoutMs?: number
): Promise<number> {
  const { revision } = await layer.router.execute(
    { space: utf8(key.split('/')[0] as string) },
    TXN,
    {
      compares: [],
      success: [{ kind: 'put', key: utf8(key), value: utf8(value), lease: 0 }],
      failure: []
    },
    { timeoutMs }
  )
  return revision
}

async function get(layer: ShardLayer, key: string, isStale = false): Promise<string | undefined> {
  const { result } = await layer.router.query(
    { space: utf8(key.split('/')[0] as string) },
    GET,
    { area: AREAS.kv, key: utf8(key), revision: undefined },
    { isStale }
  )
  return result.entry === undefined ? undefined : fromUtf8(result.entry.value)
}

describe('shards of several nodes', () => {
  it('serve from one node alone', async () => {
    const mesh = new ShardMesh()
    const one = await mesh.add()
    await mesh.clock.run(put(one.layer, 'a/x', '1'))
    expect(await mesh.clock.run(get(one.layer, 'a/x'))).toBe('1')
    await mesh.stop()
  })

  it('grow to three voters as nodes join, and answer from each of them', async () => {
    const mesh = new ShardMesh()
    const one = await mesh.add()
    await mesh.clock.run(put(one.layer, 'a/x', '1'))
    for (let count = 2; count <= 5; count++) {
      await mesh.add()
      await mesh.until(() => mesh.isSettled())
    }
    for (const { layer } of mesh.peers) {
      expect(await mesh.clock.run(get(layer, 'a/x'))).toBe('1')
      await mesh.clock.run(put(layer, 'b/y', '2'))
    }
    await mesh.stop()
  })
})

/** @returns how much later than a put's own answer a node that doesn't lead hears of it */
async function heardAfterMs(mesh: ShardMesh, waitMs: number): Promise<number> {
  const { clock } = mesh
  const group = mesh.peers[0]!.layer.router.shardOf(utf8('a')) + 1
  const leader = mesh.peers.find(({ layer }) => layer.host.replica(group)?.isLeader === true)!
  const follower = mesh.peers.find(({ layer }) => layer.host.replica(group)?.isLeader === false)!
  const revision = (await clock.run(put(leader.layer, 'a/x', '1'))) + 1
  await clock.advance(100)
  const query = { area: AREAS.kv, from: utf8('a/'), to: utf8('a0'), revision }
  let heardMs = 0
  const heard = follower.layer.router
    .changes({ space: utf8('a') }, query, { waitMs })
    .then(() => (heardMs = clock.monotonicMs()))
  await clock.advance(100)
  let answeredMs = 0
  await clock.run(put(leader.layer, 'a/x', '2').then(() => (answeredMs = clock.monotonicMs())))
  await clock.run(heard)
  return heardMs - answeredMs
}

describe('a mesh of five, three replicas for each group', () => {
  const started = async (seed: number): Promise<ShardMesh> => {
    const mesh = new ShardMesh({ seed })
    for (let count = 0; count < 5; count++) await mesh.add()
    await mesh.until(() => mesh.isSettled())
    return mesh
  }

  it('needs the votes of a node that starts before its state was read, and nothing else of it', async () => {
    const mesh = await started(3)
    const { clock } = mesh
    const [first, second, ...others] = mesh.peers as [ShardPeer, ShardPeer, ...ShardPeer[]]
    await clock.run(first.kill())
    await clock.run(second.kill())
    await clock.advance(5_000)
    first.checkMs = 20_000
    await clock.run(first.start())
    const startMs = clock.monotonicMs()
    const isLed = (): boolean =>
      others.some(({ layer }) => layer.host.replica(0)?.isLeader === true)
    await mesh.until(isLed)
    for (let key = 0; key < 8; key++) {
      await clock.run(put(others[0]!.layer, `space-${key}/x`, 'without it'))
      expect(await clock.run(get(first.layer, `space-${key}/x`))).toBe('without it')
    }
    expect(clock.monotonicMs() - startMs).toBeLessThan(10_000)
    for (const replica of first.layer.host.replicas()) {
      expect([replica.isChecked, replica.isLeader]).toEqual([false, false])
    }
    const replicas = [...first.layer.host.replicas()]
    await mesh.until(() => replicas.every(({ isChecked }) => isChecked), 600_000)
    await clock.run(second.start())
    await mesh.until(() => mesh.isSettled())
    await mesh.until(() => replicas.some(({ isLeader }) => isLeader))
    await mesh.stop()
  })

  it('replaces a replica that its node has lost although nothing else happens', async () => {
    const mesh = await started(5)
    const { clock } = mesh
    await clock.advance(60_000)
    for (let round = 0; round < 20; round++) {
      const { layer } = mesh.peers[round % mesh.peers.length]!
      const lost = [...layer.host.replicas()].filter(({ isLeader }) => !isLeader)
      for (const replica of lost) layer.host.discard(replica)
      const isReplaced = ({ group, id }: { group: number; id: number }): boolean =>
        (layer.host.replica(group)?.id ?? 0) > id
      await mesh.until(() => lost.every(isReplaced), 20_000)
      await clock.advance(20_000 + 250 * round)
    }
    await mesh.until(() => mesh.isSettled())
    await mesh.stop()
  })

  it('goes on soon when a node that leads is switched off, and takes it back', async () => {
    const mesh = await started(2)
    const { clock } = mesh
    for (let round = 0; round < 10; round++) {
      const victim = mesh.peers[round % 5]!
      const other = mesh.peers[(round + 1) % 5]!
      await clock.run(victim.kill())
      const startMs = clock.monotonicMs()
      for (let key = 0; key < 8; key++) {
        await clock.run(put(other.layer, `space-${key}/x`, `${round}`))
      }
      expect(clock.monotonicMs() - startMs).toBeLessThan(2_000)
      await clock.run(victim.start())
      await mesh.until(() => mesh.isSettled())
      for (let key = 0; key < 8; key++) {
        expect(await clock.run(get(victim.layer, `space-${key}/x`))).toBe(`${round}`)
      }
    }
    await mesh.stop()
  })

  it('tells of a change first who waits for a moment only', async () => {
    const mesh = await started(4)

    const promptMs = await heardAfterMs(mesh, PROMPT_WAIT_MS)
    const patientMs = await heardAfterMs(mesh, 10 * PROMPT_WAIT_MS)

    expect(promptMs + 5).toBeLessThan(patientMs)
    await mesh.stop()
  })

  it('refuses with no-quorum while most are away, reads stale, and is well afterwards', async () => {
    const mesh = await started(3)
    const { clock } = mesh
    const [first, ...others] = mesh.peers
    for (let key = 0; key < 8; key++) await clock.run(put(first!.layer, `space-${key}/x`, '1'))
    for (const { layer } of mesh.peers) {
      expect(await clock.run(get(layer, 'space-1/x', true))).toBe('1')
    }
    for (const peer of others) await clock.run(peer.kill())
    for (let key = 0; key < 8; key++) {
      await expect(
        clock.run(put(first!.layer, `space-${key}/x`, '2', 3_000))
      ).rejects.toMatchObject({
        code: 'no-quorum'
      })
    }
    for (const peer of others) await clock.run(peer.start())
    await mesh.until(() => mesh.isSettled())
    for (let key = 0; key < 8; key++) {
      expect(['1', '2']).toContain(await clock.run(get(first!.layer, `space-${key}/x`)))
    }
    await mesh.stop()
  })

  it('replaces a node whose disks were lost, and one that left', async () => {
    const mesh = await started(4)
    const { clock } = mesh
    const [first, second, third] = mesh.peers
    for (let key = 0; key < 8; key++) await clock.run(put(first!.layer, `space-${key}/x`, '1'))
    await clock.run(second!.kill())
    second!.wipe()
    await clock.run(second!.start())
    await mesh.until(() => mesh.isSettled())
    third!.isMember = false
    await mesh.until(() => mesh.isSettled())
    await mesh.until(() => [...third!.layer.host.replicas()].length === 0)
    for (let key = 0; key < 8; key++) {
      expect(await clock.run(get(second!.layer, `space-${key}/x`))).toBe('1')
    }
    await mesh.stop()
  })

  it('tells a node that was away while all whom it knew were replaced', async () => {
    const mesh = new ShardMesh({ seed: 5, count: 1 })
    for (let count = 0; count < 3; count++) await mesh.add()
    await mesh.until(() => mesh.isSettled())
    const [first, second, third] = mesh.peers
    await mesh.clock.run(first!.kill())
    for (let count = 0; count < 3; count++) await mesh.add()
    for (const peer of [first, second, third]) {
      peer!.isMember = false
      await mesh.until(() => mesh.isSettled())
    }
    for (const peer of [second, third]) {
      await mesh.until(() => [...peer!.layer.host.replicas()].length === 0)
    }
    await mesh.clock.run(first!.start())
    first!.isMember = false
    expect([...first!.layer.host.replicas()]).toHaveLength(2)
    await mesh.until(() => first!.layer.isEmpty)
    await mesh.stop()
  })

  it('goes on elsewhere while the log of a node is stuck', async () => {
    const mesh = await started(6)
    const { clock } = mesh
    for (const [round, peer] of mesh.peers.entries()) {
      const led = [...peer.layer.host.replicas()].filter(({ isLeader }) => isLeader)
      const other = mesh.peers[(round + 1) % 5]!
      peer.logStore.faults.stall()
      const startMs = clock.monotonicMs()
      for (let key = 0; key < 8; key++)
        await clock.run(put(other.layer, `space-${key}/x`, `${round}`))
      expect(clock.monotonicMs() - startMs).toBeLessThan(5_000)
      await clock.advance(5_000)
      for (const { group, id } of led) {
        const replica = peer.layer.host.replica(group)
        expect([group, replica?.id, replica?.isLeader]).toEqual([group, id, false])
      }
      peer.logStore.faults.resume()
      await mesh.until(() => mesh.isSettled())
      for (let key = 0; key < 8; key++) {
        expect(await clock.run(get(peer.layer, `space-${key}/x`))).toBe(`${round}`)
      }
    }
    await mesh.stop()
  })

  it('loses nothing by a layout, or a state, that it cannot read', async () => {
    const mesh = await started(7)
    const { clock } = mesh
    const [first, second] = mesh.peers
    const before = first!.layer.layouts.current()?.version
    const garbage = [
      { kind: 'put', key: utf8('layout'), value: utf8('of a newer program'), lease: 0 }
    ] as const
    const txn = { compares: [], success: garbage, failure: [] }
    await clock.run(
      first!.layer.router.execute({ shard: 'system', space: utf8('layout') }, TXN, txn)
    )
    await clock.advance(2_000)
    for (const { layer } of mesh.peers) expect(layer.layouts.current()?.version).toBe(before)
    expect(mesh.isSettled()).toBe(true)

    await clock.run(put(second!.layer, 'space-1/x', '1'))
    const shard = second!.layer.router.shardOf(utf8('space-1'))
    const victim = mesh.peers.find(
      ({ layer }) => layer.host.replica(shard + 1)?.isLeader === false
    )!
    const { id, state } = victim.layer.host.replica(shard + 1)!
    state.put(META_KEY, state.get(META_KEY)!.slice(0, 3))
    state.commit()
    await clock.run(state.flushed())
    await clock.run(victim.kill())
    await clock.run(victim.start())
    expect(victim.layer.host.replica(shard + 1)).toBeUndefined()
    expect(victim.layer.host.lastOf(shard + 1)).toMatchObject({ id, isGone: false })
    expect(victim.layer.host.failure()).toBeUndefined()
    expect(await clock.run(get(victim.layer, 'space-1/x'))).toBe('1')
    await mesh.stop()
  })
})
