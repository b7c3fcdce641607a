// Machines that go away while they have to do with a job.

import { describe, expect, it } from 'vitest'
import { JOB_GRANT } from '../../../src/core/machine/job-calls.ts'
import { jobSpace } from '../../../src/core/machine/job-names.ts'
import { request, returns, tasksOf, WorkMesh } from './work-mesh.ts'

/** @returns all whole numbers below */
function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}

describe('a job survives that', () => {
  it('submitter dies', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 1,
      behave: ({ task }) => returns(task, 500)
    })
    await work.submit(request('left', 20), 0)
    await work.mesh.kill(0)

    const progress = await work.wait('left', 1)

    expect(progress).toMatchObject({ state: 'ended', done: 20, failed: 0 })
    expect((await work.values('left', 2)).map(({ value }) => value)).toEqual(numbers(20))
  })

  it('executor dies', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 2,
      behave: ({ task }) => returns(task, 2_000)
    })
    await work.submit(request('lost', 8))
    await work.until(() => work.begun.length === 8)

    // The process of one, and the machine of another one.
    work.executor(1).crash()
    await work.mesh.kill(2)
    const progress = await work.wait('lost')

    expect(progress).toMatchObject({ state: 'ended', done: 8, failed: 0 })
    const again = work.begun.slice(8)
    const lost = work.begun.slice(0, 8).filter(({ node }) => node === 1 || node === 2)
    expect(tasksOf(again)).toEqual(tasksOf(lost))
    for (const { task, attempt } of again) {
      const before = work.begun.find((one) => one.task === task)
      expect(attempt).toBeGreaterThan(before?.attempt ?? 0)
    }
  })

  describe('partitioned executor finishes late', () => {
    it.each([
      ['pure: its result counts', true],
      ['effectful: stale', false]
    ])('%s', async (_, isPure) => {
      await using work = await WorkMesh.create({
        peers: 4,
        seed: 3,
        workOf: () => ({ slots: 1 }),
        // The first one to have it is quick; who has it next takes long.
        behave: ({ attempt, node }) => returns(node, attempt === 1 ? 3_000 : 30_000)
      })
      const id = work.idWhere((name) => !work.holdersOf(name).includes(3))
      await work.submit(request(id, 1, { policy: { isPure } }))
      await work.until(() => work.begun.length === 1)
      const [first] = work.begun
      const away = first?.node ?? -1
      const others = [0, 1, 2, 3].filter((index) => index !== away)
      work.mesh.partition([others])
      await work.until(() => work.begun.length === 2)
      work.mesh.heal()

      const progress = await work.wait(id, others[0])

      expect(progress).toMatchObject({ state: 'ended', done: 1 })
      const [taken] = await work.values(id, others[0])
      expect(taken?.value).toBe(isPure ? away : work.begun[1]?.node)
    })
  })

  describe('leader dies after', () => {
    /** So long that what a leader says in its last millisecond reaches nobody. */
    const SLOW = { delayMsMin: 20, delayMsMax: 20 }

    it('GRANT before the reply', async () => {
      await using work = await WorkMesh.create({
        peers: 5,
        seed: 4,
        faults: SLOW,
        // Only one node works, and it is another one.
        workOf: (index) => ({ slots: index === 4 ? 4 : 0 }),
        behave: ({ task }) => returns(task, 1_000)
      })
      const id = work.idWhere((name) => {
        return work.leaderOf(name) !== 4 && !work.holdersOf(name).includes(4)
      })
      const leader = work.leaderOf(id) ?? -1
      void work.node(4).work.jobs.submit(request(id, 4))
      await work.until(() => (work.seen(id, leader)?.state.attempts ?? 0) > 0, 10_000, 1)
      expect(work.begun).toEqual([])

      await work.mesh.kill(leader)
      const progress = await work.wait(id, 4)

      expect(progress).toMatchObject({ state: 'ended', done: 4, failed: 0 })
      // The next leader answers the same: nothing was granted twice.
      expect(work.begun.map(({ task }) => task)).toEqual([0, 1, 2, 3])
      expect((await work.view(id, 4)).state.attempts).toBe(4)
    })

    it('COMMIT before the reply', async () => {
      await using work = await WorkMesh.create({
        peers: 5,
        seed: 5,
        faults: SLOW,
        workOf: (index) => ({ slots: index === 4 ? 4 : 0 }),
        behave: ({ task }) => returns(task, 1_000)
      })
      const id = work.idWhere((name) => !work.holdersOf(name).includes(4))
      const leader = work.leaderOf(id) ?? -1
      void work.node(4).work.jobs.submit(request(id, 4))
      await work.until(() => (work.seen(id, leader)?.state.counts.done ?? 0) > 0, 10_000, 1)

      await work.mesh.kill(leader)
      const progress = await work.wait(id, 4)

      expect(progress).toMatchObject({ state: 'ended', done: 4, failed: 0 })
      expect(work.begun).toHaveLength(4)
    })
  })

  it('owner quorum lost', async () => {
    await using work = await WorkMesh.create({
      peers: 5,
      seed: 6,
      workOf: () => ({ slots: 1 }),
      behave: ({ task }) => returns(task, 3_000)
    })
    const id = work.idWhere((name) => !work.holdersOf(name).includes(4))
    await work.submit(request(id, 20), 4)
    await work.until(() => work.begun.length >= 5)
    const [one, other] = work.holdersOf(id) as [number, number]

    await work.mesh.kill(one)
    await work.mesh.kill(other)
    await work.mesh.advance(30_000)

    const { reasons } = await work.explain(id, 4)
    expect(reasons.map(({ code }) => code)).toContain('no-quorum')
    // Who begins to wait now doesn't hear of it.
    const waiting = work.wait(id, 4)
    await work.mesh.advance(30_000)
    await work.mesh.restart(one)
    await work.mesh.restart(other)
    const progress = await waiting
    expect(progress).toMatchObject({ state: 'ended', done: 20, failed: 0 })
    // Questions for tasks that nobody answered did no harm.
    const losses = (await work.tasks(id, 4)).flatMap(({ record }) => record.losses)
    expect(losses.length).toBeLessThanOrEqual(5)
  })

  it('poison task', async () => {
    const dying: Promise<void>[] = []
    await using work = await WorkMesh.create({
      peers: 6,
      seed: 7,
      // The one that looks on does nothing.
      workOf: (index) => ({ slots: index === 0 ? 0 : 2 }),
      behave: ({ task, node }) => {
        // Whoever begins it is gone.
        if (task === 2) work.clock.after(50, () => dying.push(kill(node)))
        return returns(task, 1_000)
      }
    })
    const kill = async (index: number): Promise<void> => {
      await work.mesh.peers[index]?.kill()
      await work.mesh.restart(index)
    }
    await work.submit(request('poison', 6))

    const progress = await work.wait('poison')

    expect(progress).toMatchObject({ state: 'ended', done: 5, failed: 1 })
    const letters = await work.all(work.node(0).work.jobs.job('poison').deadLetters())
    expect(letters).toMatchObject([{ task: 2, code: 'poison-task', failures: 0, losses: 3 }])
    expect(
      new Set(
        work
          .of('poison')
          .filter(({ task }) => task === 2)
          .map(({ node }) => node)
      ).size
    ).toBe(3)
    await work.clock.run(Promise.all(dying))
  })

  it.each([1, 22, 47])(
    'poison task, and so do those of other jobs beside it (%i)',
    async (seed) => {
      await using work = await WorkMesh.create({
        peers: 4,
        seed,
        workOf: (index) => ({ slots: index === 0 ? 0 : 4 }),
        behave: ({ space, task, node }) => {
          if (!space.startsWith('~poison')) return returns(task, 10_000)
          // Whatever runs there ends with it.
          work.clock.after(50, () => work.executor(node).crash())
          return returns(task, 1_000)
        }
      })
      await work.submit(request('innocent', 10))
      await work.until(() => work.begun.length === 10)
      for (const id of ['poison-1', 'poison-2']) {
        await work.submit(request(id, 1, { policy: { priority: 9 } }))
      }

      expect(await work.wait('poison-1')).toMatchObject({ state: 'ended', done: 0, failed: 1 })
      expect(await work.wait('poison-2')).toMatchObject({ state: 'ended', done: 0, failed: 1 })
      expect(await work.wait('innocent')).toMatchObject({ state: 'ended', done: 10, failed: 0 })
    }
  )

  it('silent grantee', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 8,
      behave: ({ task }) => returns(task, 10)
    })
    // It takes tasks, and is never heard of again.
    const space = jobSpace({ id: 'silent', part: 0 })
    const args = { worker: 'nobody', lease: 0, ttlMs: 6_000, limit: 4, isSpeculativeAllowed: false }
    const { shards, work: compute } = work.node(0)
    const submitted = compute.jobs.submit(request('silent', 10))
    const granted = submitted.then(async () => await shards.execute({ space }, JOB_GRANT, args))
    const { result } = await work.clock.run(granted)
    expect(result.tasks.length).toBeGreaterThan(0)

    const progress = await work.wait('silent')

    expect(progress).toMatchObject({ state: 'ended', done: 10, failed: 0 })
    const taken = result.tasks.map(({ task }) => task)
    const losses = (await work.tasks('silent')).filter(({ record }) => record.losses.length > 0)
    expect(losses.map(({ task }) => task)).toEqual(taken)
    expect(work.clock.monotonicMs()).toBeLessThan(20_000)
  })
})
