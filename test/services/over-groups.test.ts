// kv and locks over real groups: several nodes' shards on the memory network and virtual time.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { isMeshError } from '../../src/base/errors.ts'
import { silentLogger } from '../../src/base/log.ts'
import { Kv } from '../../src/services/kv/kv.ts'
import { Locks } from '../../src/services/locks/locks.ts'
import { ShardMesh } from '../shard/shard-mesh.ts'
import type { ShardPeer } from '../shard/shard-mesh.ts'

let mesh: ShardMesh

beforeEach(async () => {
  mesh = new ShardMesh({ seed: 7 })
  for (let index = 0; index < 3; index++) await mesh.add()
  await mesh.until(() => mesh.isSettled())
})

afterEach(async () => {
  await mesh.stop()
})

function servicesOf({ layer }: ShardPeer): { kv: Kv; locks: Locks } {
  const components = { shards: layer.router, clock: mesh.clock, log: silentLogger }
  return { kv: new Kv(components), locks: new Locks(components) }
}

function peer(index: number): ShardPeer {
  return mesh.peers[index] as ShardPeer
}

/** @returns the peer that leads the shard of a space. */
function leaderOf(space: string): ShardPeer {
  const group = peer(0).layer.router.shardOf(utf8(space)) + 1
  const leader = mesh.peers.find(
    ({ isRunning, layer }) => isRunning && layer.host.replica(group)?.isReadyToLead === true
  )
  if (leader === undefined) throw new Error('nobody leads')
  return leader
}

describe('over groups of three', () => {
  it('what one node puts another reads, lists and was told of', async () => {
    const [one, two, three] = mesh.peers.map(servicesOf) as [Services, Services, Services]
    const watch = three.kv.watch('a/')
    await mesh.clock.run(watch.started)
    const seen = (async () => {
      const keys: string[] = []
      for await (const { key } of watch) if (keys.push(key) === 20) return keys
      return keys
    })()
    const keys = Array.from({ length: 20 }, (_, index) => `a/${10 + index}`)
    await mesh.clock.run(
      (async () => {
        for (const key of keys) await one.kv.put(key, `of ${key}`)
        await one.kv.put('b/1', 'x')
      })()
    )
    expect((await mesh.clock.run(two.kv.get('a/15')))?.text()).toBe('of a/15')
    const page = await mesh.clock.run(two.kv.listPage())
    expect(page.entries.map(({ key }) => key)).toEqual([...keys, 'b/1'])
    expect(await mesh.clock.run(seen)).toEqual(keys)
  })

  it('a lock is kept while its leader is killed, and the next holder has a higher token', async () => {
    const space = 'jobs'
    const dead = leaderOf(space)
    const [one, two] = mesh.peers.filter((one) => one !== dead).map(servicesOf) as [
      Services,
      Services
    ]
    const first = await mesh.clock.run(one.locks.acquire('jobs/a'))
    const waiting = two.locks.acquire('jobs/a')
    await mesh.clock.advance(1_000)
    await mesh.clock.run(dead.kill())
    await mesh.clock.advance(30_000)
    expect(first.isHeld).toBe(true)
    expect(leaderOf(space)).not.toBe(dead)
    await mesh.clock.run(first.release())
    const second = await mesh.clock.run(waiting)
    expect(second.token).toBeGreaterThan(first.token)
    await mesh.clock.run(second.release())
  })

  it('of increments that leaders die under each is done once, or told as uncertain', async () => {
    const alive = mesh.peers.filter((one) => one !== leaderOf('count'))
    let done = 0
    let uncertain = 0
    const increment = async ({ kv }: Services): Promise<void> => {
      for (let count = 0; count < 30; count++) {
        try {
          const entry = await kv.get('count/n')
          const value = String(Number(entry?.text() ?? '0') + 1)
          await kv.put('count/n', value, { ifVersion: entry?.version ?? 0 })
          done += 1
        } catch (error) {
          if (isMeshError(error, 'conflict')) continue
          if (!isMeshError(error)) throw error
          uncertain += 1
        }
      }
    }
    const working = Promise.all(alive.map(servicesOf).map(increment))
    await mesh.clock.advance(20)
    await mesh.clock.run(leaderOf('count').kill())
    await mesh.clock.run(working)
    const [first] = alive
    const entry = await mesh.clock.run(servicesOf(first as ShardPeer).kv.get('count/n'))
    const value = Number(entry?.text())
    expect(entry?.version).toBe(value)
    expect(value).toBeGreaterThanOrEqual(done)
    expect(value).toBeLessThanOrEqual(done + uncertain)
    expect(done).toBeGreaterThan(25)
  })

  it('the first commands of a node may come all at once', async () => {
    const { kv } = servicesOf(peer(1))
    const puts = Array.from({ length: 256 }, async (_, index) => await kv.put(`a/${index}`, 'x'))
    await mesh.clock.run(Promise.all(puts))
    const { entries } = await mesh.clock.run(kv.listPage('a/'))
    expect(entries).toHaveLength(256)
    expect(entries.every(({ version }) => version === 1)).toBe(true)
  })

  it('without a majority linearizable calls fail, and stale reads go on', async () => {
    const services = servicesOf(peer(0))
    await mesh.clock.run(services.kv.put('a/1', 'x'))
    await mesh.clock.advance(1_000)
    await mesh.clock.run(Promise.all([peer(1).kill(), peer(2).kill()]))
    const get = mesh.clock.run(services.kv.get('a/1', { timeoutMs: 3_000 }))
    await expect(get).rejects.toMatchObject({ code: 'no-quorum' })
    const put = mesh.clock.run(services.kv.put('a/1', 'y', { timeoutMs: 3_000 }))
    await expect(put).rejects.toMatchObject({ code: 'no-quorum' })
    const stale = await mesh.clock.run(services.kv.read('a/1', { stale: true }))
    expect(stale.entry?.text()).toBe('x')
  })
})

type Services = { kv: Kv; locks: Locks }
