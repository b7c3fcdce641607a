// Jobs on meshes where clocks, messages, members and nodes' words aren't what they should be.

import { describe, expect, it } from 'vitest'
import { present } from '../../../src/base/assert.ts'
import type { Clock } from '../../../src/base/clock.ts'
import { MINUTE_MS } from '../../../src/base/units.ts'
import { JOB_GRANT } from '../../../src/core/machine/job-calls.ts'
import { MemoryExecutor } from '../../../src/executor/memory/memory-executor.ts'
import { SkewedClock } from './skewed-clock.ts'
import { CID, fails, request, returns, tasksOf, WorkMesh } from './work-mesh.ts'

/** @returns an executor that runs no commands, whatever its node says. */
function unable(clock: Clock): MemoryExecutor {
  return new MemoryExecutor({ clock, behave: () => returns(0) }, { slots: 2 })
}

describe('a job survives', () => {
  describe('clock skew and suspend', () => {
    it('skew: calendars that are hours apart, and clocks that run 1 % too fast or slow', async () => {
      const rates = [1, 1.01, 0.99, 1]
      await using work = await WorkMesh.create({
        peers: 4,
        seed: 11,
        clockOf: (index, clock) =>
          new SkewedClock(clock, {
            rate: rates[index] ?? 1,
            offsetMs: (index - 1) * 300 * MINUTE_MS
          }),
        behave: ({ task, attempt }) =>
          attempt % 7 === 0 ? fails('task-failed') : returns(task, 7_000)
      })
      await work.submit(request('skewed', 16))

      const progress = await work.wait('skewed')

      expect(progress).toMatchObject({ state: 'ended', done: 16, failed: 0 })
      // Tasks that take longer than a lease were never taken for lost.
      const tasks = await work.tasks('skewed')
      expect(tasks.flatMap(({ record }) => record.losses)).toEqual([])
    })

    it('suspend: what a machine had is done by others, and what it tells when it wakes is stale', async () => {
      const clocks = new Map<number, SkewedClock>()
      await using work = await WorkMesh.create({
        peers: 4,
        seed: 12,
        clockOf: (index, clock) => {
          const own = new SkewedClock(clock)
          clocks.set(index, own)
          return own
        },
        workOf: () => ({ slots: 1 }),
        behave: ({ node }) => returns(node, 3_000)
      })
      await work.submit(request('sleep', 4))
      await work.until(() => work.begun.length === 4)
      const { node: asleep, task } = present(work.begun.at(-1), 'a task has begun')
      const others = [0, 1, 2, 3].filter((index) => index !== asleep)

      clocks.get(asleep)?.suspend()
      work.mesh.partition([others])
      const progress = await work.wait('sleep', others[0])
      work.mesh.heal()
      clocks.get(asleep)?.wake()
      await work.mesh.advance(20_000)

      expect(progress).toMatchObject({ state: 'ended', done: 4, failed: 0 })
      expect((await work.values('sleep'))[task]?.value).not.toBe(asleep)
      expect(await work.progress('sleep', asleep)).toEqual(progress)
      // It is a worker as any other again.
      await work.submit(request('awake', 8), asleep)
      expect(await work.wait('awake')).toMatchObject({ done: 8 })
      expect(work.of('awake').some(({ node }) => node === asleep)).toBe(true)
    })
  })

  it('gossip loss and late join', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 13,
      behave: ({ task }) => returns(task, 500)
    })
    work.mesh.world.publish = () => {}
    await work.submit(request('quiet', 200), 1)
    await work.mesh.advance(2_000)
    const late = await work.mesh.add()

    const progress = await work.wait('quiet', 2)

    expect(progress).toMatchObject({ state: 'ended', done: 200, failed: 0 })
    expect(new Set(work.begun.map(({ node }) => node))).toEqual(new Set([0, 1, 2, late]))
  })

  it('all busy', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 14,
      behave: ({ space, task }) => returns(task, space === '~long' ? 10_000 : 10)
    })
    await work.submit(request('long', 6))
    await work.until(() => work.begun.length === 6)
    await work.submit(request('short', 6))
    await work.mesh.advance(3_000)

    expect(work.of('short')).toEqual([])
    const { reasons, peers } = await work.explain('short')
    expect(reasons).toEqual([])
    const codes = peers.map((peer) => peer.reasons.map(({ code }) => code))
    expect(codes).toEqual([['busy'], ['busy'], ['busy']])
    expect(await work.wait('short')).toMatchObject({ done: 6 })
    // As soon as there was room.
    const [first] = work.of('short')
    const freeMs = (work.of('long')[0]?.atMs ?? 0) + 10_000
    expect((first?.atMs ?? Infinity) - freeMs).toBeLessThan(1_000)
  })

  it('claim herd', async () => {
    await using work = await WorkMesh.create({
      peers: 12,
      seed: 15,
      behave: ({ task }) => returns(task, 2_000)
    })
    let grants = 0
    for (const { node } of work.mesh.peers) {
      const router = node?.shards
      if (router === undefined) continue
      const execute = router.execute.bind(router)
      router.execute = async (target, operation, ...rest) => {
        if (operation.name === JOB_GRANT.name) grants += 1
        return await execute(target, operation, ...rest)
      }
    }
    await work.submit(request('herd', 5))
    const progress = await work.wait('herd')

    expect(progress).toMatchObject({ state: 'ended', done: 5, failed: 0 })
    expect(tasksOf(work.begun)).toEqual([0, 1, 2, 3, 4])
    // Nobody asks again and again for what isn't there.
    expect(grants).toBeLessThan(100)
  })

  it('false capabilities', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 16,
      // Two of them say that they run commands, and one does.
      workOf: (index) => ({
        offer: { allowsExec: index === 1 || index === 2 },
        ...(index === 1 ? { executor: (clock) => unable(clock) } : {})
      }),
      behave: ({ task }) => returns(task)
    })
    const code = { kind: 'exec', command: 'true', args: [] } as const
    await work.submit(request('exec', 10, { code, task: '', requirements: { isExec: true } }))

    const progress = await work.wait('exec')

    expect(progress).toMatchObject({ state: 'ended', done: 10, failed: 0 })
    expect(new Set(work.of('exec').map(({ node }) => node))).toEqual(new Set([2]))
  })

  it('cancel races commit', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 17,
      behave: ({ task, attempt }) => returns(task, 200 + (attempt % 5) * 10)
    })
    for (let round = 0; round < 10; round++) {
      const id = `race-${round}`
      const job = await work.submit(request(id, 12), round % 4)
      await work.until(() => work.of(id).length >= 8)
      await work.mesh.advance(190 + round * 5)

      const canceller = work.node((round + 1) % 4).work.jobs.job(id)
      await work.clock.run(Promise.all([canceller.cancel(), job.cancel()]))

      const told = await work.progress(id)
      await work.mesh.advance(8_000)
      expect(await work.progress(id, 3)).toEqual(told)
      expect(told).toMatchObject({ state: 'cancelled', running: 0, failed: 0 })
      expect(await work.values(id)).toHaveLength(told.done)
      // What ran was stopped, and nothing began any more.
      for (let index = 0; index < 4; index++) expect(work.executor(index).freeSlots()).toBe(2)
    }
  })

  it('ring changes mid-job', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 18,
      shards: 2,
      behave: ({ task }) => returns(task, 1_000)
    })
    await work.submit(request('ring', 120))
    await work.mesh.advance(3_000)
    const before = work.holdersOf('ring')
    const joined = [await work.mesh.add(), await work.mesh.add()]
    await work.clock.run(work.node(1).leave())
    await work.clock.run(work.node(2).leave())

    const progress = await work.wait('ring')

    expect(progress).toMatchObject({ state: 'ended', done: 120, failed: 0 })
    const after = work.holdersOf('ring').filter((index) => index !== 1 && index !== 2)
    expect(after).not.toEqual(before)
    expect(work.begun.some(({ node }) => joined.includes(node))).toBe(true)
    // Who leaves gives back what it has: that is no loss.
    const losses = (await work.tasks('ring')).flatMap(({ record }) => record.losses)
    expect(losses).toEqual([])
  })

  it('mixed code versions', async () => {
    const newer = `${CID.slice(0, -4)}aaaa`
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 19,
      behave: (_, { code }) => returns(code.kind === 'exec' ? '' : code.cid, 300)
    })
    await work.submit(request('older', 30))
    await work.submit(request('newer', 30, { code: { kind: 'bundle', cid: newer } }), 1)
    await work.wait('older')
    await work.wait('newer')

    const cids = async (id: string): Promise<Set<unknown>> =>
      new Set((await work.values(id)).map(({ value }) => value))
    expect(await cids('older')).toEqual(new Set([CID]))
    expect(await cids('newer')).toEqual(new Set([newer]))
    // They were side by side.
    const spaces = work.begun.map(({ space }) => space)
    expect(spaces.indexOf('~newer')).toBeLessThan(spaces.lastIndexOf('~older'))
    // The same name with other code is another job.
    const same = request('older', 30, { code: { kind: 'bundle', cid: newer } })
    await expect(work.submit(same)).rejects.toMatchObject({ code: 'exists' })
  })
})
