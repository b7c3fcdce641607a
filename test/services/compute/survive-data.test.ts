// Jobs whose inputs, results and logs, or what runs their tasks, aren't as they should be.

import { describe, expect, it } from 'vitest'
import type { BlockId } from '../../../src/base/ids.ts'
import { blockIdFromBytes } from '../../../src/core/block/block-id.ts'
import { MIB } from '../../../src/base/units.ts'
import { encodeValue } from '../../../src/executor/values.ts'
import { encodeManifest } from '../../../src/services/compute/manifest.ts'
import { bytesOf, faultsOf, holdersIn, nodeAt, watch } from '../../faults/simulated.ts'
import { fails, request, returns, WorkMesh, type Begun } from './work-mesh.ts'

/** So many that they are in blocks of their own, and not read by the way. */
function largeInputs(count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, task) => encodeValue(bytesOf(4_096, task)))
}

/** Takes a block from every disk. */
function lose({ mesh }: WorkMesh, id: BlockId, indexes = holdersIn(mesh, id)): void {
  for (const index of indexes) faultsOf(mesh, index).lose(id)
}

describe('a job survives', () => {
  it('input block missing (unschedulable with the reason, by `explain`)', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 21,
      workOf: () => ({ slots: 1 }),
      behave: ({ task }) => returns(task, 1_000)
    })
    const inputs = largeInputs(40)
    await work.submit(request('inputs', 40, { inputs, policy: { retries: 0 } }))
    await work.until(() => work.begun.length >= 4)
    const manifest = blockIdFromBytes((await work.view('inputs')).job.manifest)
    lose(work, manifest)

    await work.mesh.advance(120_000)

    const { reasons } = await work.explain('inputs')
    expect(reasons.map(({ code }) => code)).toContain('input-missing')
    const reason = reasons.find(({ code }) => code === 'input-missing')
    expect(reason?.text).toMatch(/task \d+: Its input can't be read/)
    // Nobody tries again and again.
    expect((await work.view('inputs')).state.attempts).toBeLessThan(100)
    // It isn't the tasks' fault: none is given up.
    expect(await work.progress('inputs')).toMatchObject({ state: 'open', failed: 0 })
    await nodeAt(work.mesh, 2).files.put(encodeManifest(inputs))
    expect(await work.wait('inputs')).toMatchObject({ state: 'ended', done: 40, failed: 0 })
  })

  it('inputs that take long to read, and tasks are not given back for it', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 22,
      faults: { delayMsMin: 150, delayMsMax: 200 },
      behave: ({ task }) => returns(task, 100)
    })
    await work.submit(request('slow', 40, { inputs: largeInputs(40) }))

    const progress = await work.wait('slow')

    expect(progress).toMatchObject({ state: 'ended', done: 40, failed: 0 })
    expect((await work.view('slow')).state.attempts).toBeLessThan(60)
  })

  describe('result block lost before or after commit', () => {
    const large = ({ task }: Begun): ReturnType<typeof returns> => {
      return returns(bytesOf(10_000, task), 500)
    }

    it('before: whoever made it dies before it could tell', async () => {
      await using work = await WorkMesh.create({
        peers: 5,
        seed: 23,
        faults: { delayMsMin: 20, delayMsMax: 20 },
        workOf: () => ({ slots: 1 }),
        behave: large
      })
      await work.submit(request('before', 5))
      await work.until(() => work.begun.length === 5)
      const [first] = work.begun
      // It writes the block now, and doesn't come to the end of it.
      await work.mesh.advance((first?.atMs ?? 0) + 550 - work.clock.monotonicMs())
      await work.mesh.kill(first?.node ?? 0)

      const through = first?.node === 0 ? 1 : 0
      const progress = await work.wait('before', through)

      expect(progress).toMatchObject({ state: 'ended', done: 5, failed: 0 })
      const values = await work.values('before', through)
      expect(values).toEqual(values.map(({ task }) => ({ task, value: bytesOf(10_000, task) })))
      expect(values).toHaveLength(5)
    })

    it('before: whoever made it stops, and gives it back', async () => {
      await using work = await WorkMesh.create({
        peers: 5,
        seed: 29,
        faults: { delayMsMin: 20, delayMsMax: 20 },
        workOf: () => ({ slots: 1 }),
        behave: large
      })
      await work.submit(request('stopped', 5, { policy: { retries: 0 } }))
      await work.until(() => work.begun.length === 5)
      const [first] = work.begun
      await work.mesh.advance((first?.atMs ?? 0) + 550 - work.clock.monotonicMs())
      await work.clock.run(work.node(first?.node ?? 0).stop())

      const progress = await work.wait('stopped', first?.node === 0 ? 1 : 0)

      expect(progress).toMatchObject({ state: 'ended', done: 5, failed: 0 })
    })

    it('after: it is read from another copy, and when there is none that is said', async () => {
      await using work = await WorkMesh.create({ peers: 5, seed: 24, behave: large })
      await work.submit(request('after', 4))
      await work.wait('after')
      const [task] = await work.tasks('after')
      const result = task?.record.result
      if (result?.kind !== 'blocks') throw new Error('The result is in blocks')
      const id = blockIdFromBytes(result.cid)
      const [one, ...others] = holdersIn(work.mesh, id)
      lose(work, id, [one ?? 0])

      expect(await work.values('after', one)).toHaveLength(4)
      lose(work, id, others)
      lose(work, id)
      const { jobs } = work.node(2).work
      await expect(work.all(jobs.job('after').results())).rejects.toMatchObject({
        code: 'not-found'
      })
      // The others are there all the same.
      const unordered = jobs.job('after').results({ ordered: false })
      await expect(work.all(unordered)).rejects.toMatchObject({ code: 'not-found' })
      expect(await work.progress('after')).toMatchObject({ state: 'ended', done: 4 })
    })
  })

  it('executor out of memory or in an endless loop', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 25,
      behave: ({ space, task, attempt }) => {
        if (space === '~others') return returns(task)
        // Too much at first, and with another try it is enough.
        if (task === 1 && attempt < 6) return fails('task-memory')
        if (task === 2) return returns(0, Infinity)
        return returns(task)
      }
    })
    const limits = { timeoutMs: 2_000, memoryBytes: MIB }
    const policy = { retries: 2, retryBaseMs: 100 }
    await work.submit(request('bad', 4, { limits, policy }))
    await work.submit(request('others', 60), 1)

    const progress = await work.wait('bad')

    expect(progress).toMatchObject({ state: 'ended', failed: 1 })
    const letters = await work.all(work.node(1).work.jobs.job('bad').deadLetters())
    expect(letters).toMatchObject([{ task: 2, code: 'task-timeout', failures: 3, losses: 0 }])
    expect(letters[0]?.message).toMatch(/longer than 2000 ms/)
    expect(
      (await work.tasks('bad')).find(({ task }) => task === 1)?.record.failures
    ).toBeGreaterThan(0)
    expect(await work.wait('others')).toMatchObject({ done: 60 })
  })

  describe('log or result disk full', () => {
    it('result: told as a failure, done again, and given up when it stays so', async () => {
      await using work = await WorkMesh.create({
        peers: 3,
        seed: 26,
        behave: ({ task, space }) => returns(bytesOf(10_000, 10 * space.length + task), 100)
      })
      const fill = (): void => {
        for (const index of work.mesh.peers.keys()) faultsOf(work.mesh, index).fillDiskOnce()
      }
      fill()
      await work.submit(request('once', 3, { policy: { retryBaseMs: 100 } }))
      expect(await work.wait('once')).toMatchObject({ done: 3, failed: 0 })
      expect(work.of('once').length).toBeGreaterThan(3)

      using _ = watch(work.mesh, 1, fill)
      const policy = { retries: 1, retryBaseMs: 100 }
      const job = await work.submit(request('always', 3, { policy }))
      expect(await work.wait('always')).toMatchObject({ done: 0, failed: 3 })
      const [letter] = await work.all(job.deadLetters())
      expect(letter?.code).toBe('disk-full')
      expect(letter?.message).toMatch(/Cannot keep its result/)
    })

    it('log: the result stands without it', async () => {
      await using work = await WorkMesh.create({
        peers: 3,
        seed: 27,
        behave: ({ task }) => ({ ...returns(task, 100), lines: [`task ${task}`] })
      })
      const fill = (): void => {
        for (const index of work.mesh.peers.keys()) faultsOf(work.mesh, index).fillDiskOnce()
      }
      const job = await work.submit(request('kept', 3))
      await work.wait('kept')
      expect(await work.clock.run(job.logs(1))).toBe('task 1\n')

      using _ = watch(work.mesh, 1, fill)
      await work.submit(request('unkept', 3))
      expect(await work.wait('unkept')).toMatchObject({ done: 3, failed: 0 })
      expect(work.of('unkept')).toHaveLength(3)
    })

    it('the log of the shard: another one leads, and the job goes on', async () => {
      await using work = await WorkMesh.create({
        peers: 4,
        seed: 28,
        behave: ({ task }) => returns(task, 500)
      })
      await work.submit(request('full', 40))
      await work.until(() => work.begun.length >= 8)
      const leader = work.leaderOf('full') ?? 0
      work.mesh.peers[leader]?.logStore?.faults.setFull(true)

      const progress = await work.wait('full', (leader + 1) % 4)

      expect(progress).toMatchObject({ state: 'ended', done: 40, failed: 0 })
    })
  })
})
