// A group of which there are two: it was founded anew while others, out of reach, went on with it.

import { describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import type { Replica } from '../../src/shard/replica.ts'
import { refound } from '../../src/shard/refound.ts'
import { SPACES, get, keptOf, leaderless, leftOf, put, started } from './recovering.ts'
import type { ShardMesh, ShardPeer } from './shard-mesh.ts'

async function recoverAt(
  mesh: ShardMesh,
  side: readonly ShardPeer[],
  isWanted: (group: number) => boolean = () => true
): Promise<void> {
  for (const { group, survivors, newest } of leaderless(mesh, side)) {
    const [best] = survivors
    if (best === undefined || !isWanted(group)) continue
    const { generation } = best.own
    await mesh.clock.run(refound(best.peer.layer.host, { group, generation, newest }))
  }
}

/** By group: the generation that nodes serve, and no two. */
function generationsOf(mesh: ShardMesh, side: readonly ShardPeer[]): number[] {
  return leftOf(mesh, side).map((found) => {
    const led = found.filter(({ own }) => own.isLeader).map(({ own }) => own.generation)
    expect(led.length).toBeLessThanOrEqual(1)
    return led[0] ?? 0
  })
}

describe('a group that is there twice', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'becomes one again, the newest generation, whoever met first, seed %d',
    async (seed) => {
      const mesh = await started(seed)
      const { clock } = mesh
      const [a, b, c, d, gone] = mesh.peers as [
        ShardPeer,
        ShardPeer,
        ShardPeer,
        ShardPeer,
        ShardPeer
      ]
      const sides = [
        [a, b],
        [c, d]
      ] as const
      mesh.cutOff(sides[0])
      await clock.run(gone.kill())
      gone.isMember = false
      await clock.advance(20_000)
      await recoverAt(mesh, sides[0])
      // There they commit layouts that the other side doesn't hear of.
      for (const weight of [2, 3, 1]) {
        a.weight = weight
        a.revision += 1
        await clock.advance(2_000)
      }
      await recoverAt(mesh, sides[1])
      await clock.advance(5_000)
      const spaces = Array.from({ length: SPACES }, (_, index) => `s${index}`)
      const groupOf = (space: string): number => a.layer.router.shardOf(utf8(space)) + 1
      const [left, right] = sides.map((side) => generationsOf(mesh, side)) as [number[], number[]]
      for (const [index, side] of sides.entries()) {
        for (const space of spaces) {
          const isServed = (index === 0 ? left : right)[groupOf(space)] !== 0
          if (isServed) await clock.run(put(side[0].layer, space, `side ${index}`))
        }
      }
      const both = left.filter((generation, group) => generation > 0 && right[group] !== 0)
      expect(both.length).toBeGreaterThan(0)
      for (const [group, generation] of left.entries()) expect(generation).not.toBe(right[group])

      // A call that waits in the cut network would be done where it arrives.
      await clock.advance(3_000)
      await clock.run(mesh.heal())

      const newest = left.map((generation, group) => Math.max(generation, right[group] as number))
      await mesh.until(() =>
        leftOf(mesh).every((found, group) =>
          found.every(({ own }) => own.generation === newest[group] && own.leader !== undefined)
        )
      )
      await mesh.until(() => mesh.isSettled())
      for (const { layer } of [a, b, c, d]) {
        for (const space of spaces) {
          const group = groupOf(space)
          const side = left[group] === newest[group] ? 0 : 1
          expect(await clock.run(get(layer, space))).toBe(`side ${side}`)
        }
      }
      // What the other side had is nobody's any more, but it isn't lost.
      for (const space of spaces) {
        const group = groupOf(space)
        const older = Math.min(left[group] as number, right[group] as number)
        if (older === 0) continue
        const kept = [a, b, c, d].map((peer) => keptOf(peer, group, space).get(older))
        expect(kept).toContain(left[group] === older ? 'side 0' : 'side 1')
      }
      // What is committed from now on counts everywhere, however many layouts one side had had.
      a.weight = 5
      a.revision += 1
      const weightAt = ({ layer }: ShardPeer): number | undefined =>
        layer.layouts.current()?.members.find(({ id }) => id === a.peer)?.weight
      await mesh.until(() => [a, b, c, d].every((peer) => weightAt(peer) === 5))
      for (const space of spaces) await clock.run(put(d.layer, space, 'after'))
      for (const { layer } of [a, b, c, d]) {
        for (const space of spaces) expect(await clock.run(get(layer, space))).toBe('after')
        expect(layer.host.failure()).toBeUndefined()
      }
      await mesh.stop()
    }
  )

  it.each([1, 2, 3, 4])(
    'goes on from an earlier generation where nobody has anything of the newer one, seed %d',
    async (seed) => {
      const mesh = await started(seed)
      const { clock } = mesh
      const lose = async (peer: ShardPeer): Promise<void> => {
        await clock.run(peer.kill())
        peer.isMember = false
      }
      const space = 's0'
      const group = mesh.peers[0]!.layer.router.shardOf(utf8(space)) + 1
      const has = ({ layer }: ShardPeer): boolean => layer.host.replica(group) !== undefined
      const [founder, away, gone] = mesh.peers.filter(has) as [ShardPeer, ShardPeer, ShardPeer]
      await lose(away)
      await lose(gone)
      await clock.advance(10_000)
      await recoverAt(mesh, mesh.peers, (lost) => lost !== group)
      await mesh.until(() => mesh.isSettled([group]))
      await recoverAt(mesh, mesh.peers)
      // It is lost as soon as it has told another node of itself, and nothing more.
      const others = mesh.peers.filter((peer) => ![founder, away, gone].includes(peer))
      for (let ms = 0; !others.some(has) && ms < 5_000; ms++) await clock.advance(1)
      const blank = others.find(has) as ShardPeer
      expect(blank.layer.host.replica(group)?.applied.index).toBe(0)
      const { generation } = blank.layer.host.replica(group) as Replica
      await lose(founder)

      away.revision += 1
      await clock.run(away.start())
      await clock.advance(20_000)

      expect(away.layer.host.replica(group)?.generation).toBe(1)
      await recoverAt(mesh, mesh.peers)
      expect(away.layer.host.replica(group)?.generation).toBeGreaterThan(generation)
      await mesh.until(() => mesh.isSettled())
      const running = mesh.peers.filter(({ isRunning }) => isRunning)
      for (const { layer } of running) expect(await clock.run(get(layer, space))).toBe('1')
      await clock.run(put(away.layer, space, 'after'))
      // Whoever founded it the first time comes too late.
      founder.revision += 1
      await clock.run(founder.start())
      await mesh.until(() => keptOf(founder, group, space).has(generation))
      for (const { layer } of [founder, ...running])
        expect(await clock.run(get(layer, space))).toBe('after')
      await mesh.stop()
    }
  )
})
