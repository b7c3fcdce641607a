// A group that lost its majority for good is founded anew from what is left of it.

import { describe, expect, it } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { generationOrdinal } from '../../src/core/groups/roster.ts'
import { refound } from '../../src/shard/refound.ts'
import { reportReplicas } from '../../src/shard/replica-report.ts'
import { listSetAside } from '../../src/shard/set-aside.ts'
import {
  SPACES,
  get,
  hereOf,
  keptOf,
  leaderless,
  leftOf,
  put,
  started,
  type Left
} from './recovering.ts'
import { ShardMesh, type ShardPeer } from './shard-mesh.ts'

/** Those that have the most of a group that nobody leads, group by group. */
function lostGroups(mesh: ShardMesh): { group: number; peer: ShardPeer; generation: number }[] {
  return leaderless(mesh).flatMap(({ group, survivors: [best] }) =>
    best === undefined ? [] : [{ group, peer: best.peer, generation: best.own.generation }]
  )
}

describe('a group without its majority', () => {
  it('N-7 is founded anew, has what was left, grows again, and ends what comes back of it', async () => {
    const mesh = await started(11)
    const { clock } = mesh
    const gone = mesh.peers.slice(3)
    const keptGroups = reportReplicas(gone[0]!.layer.host, mesh.count).map(({ group }) => group)
    const left = mesh.peers.slice(0, 3)
    for (const peer of gone) {
      await clock.run(peer.kill())
      peer.isMember = false
    }
    await clock.advance(10_000)
    const lost = lostGroups(mesh)
    expect(lost.length).toBeGreaterThan(0)

    const generations = new Map<number, number>()
    for (const { group, peer, generation } of lost) {
      const { host } = peer.layer
      await expect(
        clock.run(refound(host, { group, generation: generation + 1 }))
      ).rejects.toMatchObject({ code: 'conflict' })
      const made = await clock.run(refound(host, { group, generation }))
      expect(generationOrdinal(made)).toBe(generationOrdinal(generation) + 1)
      generations.set(group, made)
    }
    await mesh.until(() => mesh.isSettled())

    for (const { layer } of left) {
      for (let space = 0; space < SPACES; space++) {
        expect(await clock.run(get(layer, `s${space}`))).toBe('1')
        await clock.run(put(layer, `s${space}`, '1'))
      }
    }
    for (let space = 0; space < SPACES; space++)
      await clock.run(put(left[0]!.layer, `s${space}`, '2'))
    // One of those that were lost comes back with all that it had, and is a member again.
    const [back] = gone as [ShardPeer]
    back.revision += 1
    await clock.run(back.start())
    for (let space = 0; space < SPACES; space++) {
      expect(await clock.run(get(back.layer, `s${space}`))).toBe('2')
    }
    // What it came with is nobody's, and kept.
    const had = lost.filter(({ group }) => keptGroups.includes(group))
    expect(had.length).toBeGreaterThan(0)
    await mesh.until(() => listSetAside(back.stateStore).length === had.length)
    for (let space = 0; space < SPACES; space++) {
      const group = back.layer.router.shardOf(utf8(`s${space}`)) + 1
      const expected = had.some((one) => one.group === group) ? [[1, '1']] : []
      expect([...keptOf(back, group, `s${space}`)]).toEqual(expected)
    }
    await mesh.until(() => mesh.isSettled())
    await mesh.until(() =>
      reportReplicas(back.layer.host, mesh.count).every(
        ({ group, generation, leader }) =>
          generation === (generations.get(group) ?? 1) && leader !== undefined
      )
    )
    await mesh.stop()
  })

  it('N-6 is not founded anew while it has a leader, nor where nothing is left', async () => {
    const mesh = await started(12)
    const { clock } = mesh
    const groups = [0, 1, 2, 3, 4]
    const lacks = (peer: ShardPeer, group: number): boolean =>
      peer.layer.host.replica(group) === undefined
    const first = mesh.peers.find((peer) => groups.some((group) => lacks(peer, group)))!
    const own = reportReplicas(first.layer.host, mesh.count)
    const missing = groups.find((group) => lacks(first, group))

    for (const { group, generation, members, leader } of own) {
      expect(members.filter(({ isVoter }) => isVoter)).toHaveLength(3)
      expect(leader).toBeDefined()
      await expect(
        clock.run(refound(first.layer.host, { group, generation }))
      ).rejects.toMatchObject({
        code: 'conflict',
        message: expect.stringContaining('it has a leader')
      })
    }
    const [{ group, generation }] = own as [(typeof own)[number]]
    await expect(
      clock.run(refound(first.layer.host, { group, generation, newest: 2 ** 52 }))
    ).rejects.toMatchObject({ code: 'invalid-argument' })
    expect(missing).toBeDefined()
    await expect(
      clock.run(refound(first.layer.host, { group: missing ?? 0, generation: 1 }))
    ).rejects.toMatchObject({ code: 'not-found' })
    await mesh.stop()
  })

  // Nothing is left of a shard (124), nor of the system group (104, 258); a learner is left that has
  // nothing (200); the best that is left is a learner (111, 133), or one of two that differ (133, 157).
  it.each([100, 104, 111, 124, 133, 157, 200, 258])(
    'is founded anew while members were on the move, seed %d',
    async (seed) => {
      const move = await startMove(seed)
      const { mesh } = move
      const hadVoters = leftOf(mesh).map(votersOf)
      for (const peer of move.victims) {
        await mesh.clock.run(peer.kill())
        peer.isMember = false
      }
      await mesh.clock.run(mesh.heal())

      await recover(move)

      // What had no voter but at those that are lost stays away, and nobody makes it up.
      const away = leaderless(mesh).map(({ group }) => group)
      const lost = move.victims.map(({ peer }) => String(peer))
      for (const group of away) expect(lost).toEqual(expect.arrayContaining(hadVoters[group] ?? []))
      if (!away.includes(0)) await mesh.until(() => mesh.isSettled(away))
      await check(move, away)
      await writeAgain(move, away)

      // One by one, or all at once: what was away has its majority again then.
      const together = mesh.random.below(2) === 0 ? 1 : move.victims.length
      for (const peer of move.victims.slice(0, together)) await comeBack(mesh, peer)
      await recover(move)
      for (const peer of move.victims.slice(together)) await comeBack(mesh, peer)
      await check(move, [])
      await writeAgain(move, [])
      await mesh.until(() => mesh.isSettled())
      await check(move, [])
      // Whoever was away while its group was founded anew hears of it.
      await mesh.until(() =>
        leftOf(mesh).every((found, group) => {
          const wanted = move.generations.get(group) ?? 1
          return found.every(({ own }) => own.generation === wanted && own.leader !== undefined)
        })
      )
      // Of no other group anything is kept beside: its members only moved.
      for (const { stateStore } of mesh.peers) {
        for (const { group, generation } of listSetAside(stateStore))
          expect(generation).toBeLessThan(move.generations.get(group) ?? 1)
      }
      for (const { layer } of mesh.peers) expect(layer.host.failure()).toBeUndefined()
      await mesh.stop()
    }
  )
})

/** Three nodes of six are lost while the groups move to three that are new. */
type Move = {
  readonly mesh: ShardMesh
  readonly victims: readonly ShardPeer[]
  /** What each space may hold. */
  readonly spaces: { readonly space: string; readonly group: number; expected: string[] }[]
  /** Of the groups that were founded anew. */
  readonly generations: Map<number, number>
}

async function startMove(seed: number): Promise<Move> {
  const mesh = new ShardMesh({ seed })
  const { clock, random } = mesh
  for (let count = 0; count < 3; count++) await mesh.add()
  await mesh.until(() => mesh.isSettled())
  const [{ layer }] = mesh.peers as [ShardPeer]
  const spaces = Array.from({ length: SPACES }, (_, index) => {
    const space = `s${index}`
    return { space, group: layer.router.shardOf(utf8(space)) + 1, expected: ['moved'] }
  })
  const putAll = async (value: string): Promise<unknown> =>
    await Promise.all(spaces.map(({ space }) => put(layer, space, value)))
  await clock.run(putAll('before'))
  for (let count = 3; count < 6; count++) await mesh.add()
  await clock.advance(50 + random.below(4_000))
  const victims = mesh.peers.toSorted(() => random.below(3) - 1).slice(0, 3)
  // The nodes are lost as soon as it is acknowledged, and one that is left didn't hear of it.
  mesh.cutOff(mesh.peers.filter((peer) => !victims.includes(peer)).slice(-1))
  await clock.run(putAll('moved'))
  return { mesh, victims, spaces, generations: new Map() }
}

/** Founds anew whatever can be, like a person who looks again until nothing is left to do. */
async function recover({ mesh, spaces, generations }: Move): Promise<void> {
  const { clock } = mesh
  for (;;) {
    await clock.advance(8_000)
    const lost = leaderless(mesh).filter(({ survivors }) => survivors.length > 0)
    if (lost.length === 0) return
    for (const { group, survivors } of lost) {
      const { peer, own } = survivors[0] as Left
      // What was acknowledged may be lost, but nothing that anybody has applied who is left.
      for (const one of spaces.filter((each) => each.group === group)) {
        const has = survivors.map((left) => hereOf(left.peer, group, one.space))
        if (!has.includes(one.expected[0])) one.expected = ['moved', 'before']
      }
      const order = { group, generation: own.generation }
      const generation = await clock.run(refound(peer.layer.host, order))
      expect(generation).toBeGreaterThan(own.generation)
      generations.set(group, generation)
    }
    await clock.advance(3_000)
  }
}

/** Every node reads what may be there; what is away is neither read nor written. */
async function check({ mesh, spaces }: Move, away: readonly number[]): Promise<void> {
  const { clock } = mesh
  for (const { layer } of mesh.peers.filter(({ isRunning }) => isRunning)) {
    for (const { space, group, expected } of spaces) {
      if (away.includes(group)) {
        const done = clock.run(put(layer, space, 'never', 1_000))
        await expect(done).rejects.toMatchObject({ code: 'no-quorum' })
      } else expect(expected).toContain(await clock.run(get(layer, space)))
    }
  }
}

async function writeAgain({ mesh, spaces }: Move, away: readonly number[]): Promise<void> {
  const { layer } = mesh.peers.find(({ isRunning }) => isRunning) as ShardPeer
  for (const one of spaces.filter(({ group }) => !away.includes(group))) {
    const [before] = one.expected
    const value = before === 'again' ? 'at last' : 'again'
    await mesh.clock.run(put(layer, one.space, value))
    one.expected = [value]
  }
}

async function comeBack({ clock }: ShardMesh, peer: ShardPeer): Promise<void> {
  peer.revision += 1
  await clock.run(peer.start())
}

/** Peers of the voters, by whoever has applied most. */
function votersOf(found: readonly Left[]): string[] {
  const [most] = found.toSorted((a, b) => b.own.applied - a.own.applied)
  const members = most?.own.members ?? []
  return members.filter((one) => one.isVoter || one.isOutgoingVoter).map(({ peer }) => peer)
}
