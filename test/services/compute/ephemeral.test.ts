// Tasks that their callers wait for, on simulated meshes of whole nodes.

import { describe, expect, it } from 'vitest'
import { isMeshError, MeshError } from '../../../src/base/errors.ts'
import { KIB, MIB, SECOND_MS } from '../../../src/base/units.ts'
import { REQUIREMENTS_DEFAULTS, type Requirements } from '../../../src/core/jobs/requirements.ts'
import { decodeValue, encodeValue } from '../../../src/executor/values.ts'
import type { EphemeralTask } from '../../../src/services/compute/ephemeral.ts'
import type { JobSpec } from '../../../src/services/compute/spec.ts'
import type { TaskOutcome } from '../../../src/wire/job.ts'
import { nodeAt } from '../../faults/simulated.ts'
import { NestingExecutor } from './nesting-executor.ts'
import { CID, fails, request, returns, WorkMesh } from './work-mesh.ts'

/** @returns what tasks of a kind have in common */
function specOf(task: string, requirements: Partial<Requirements> = {}): JobSpec {
  return {
    code: { kind: 'bundle', cid: CID },
    task,
    limits: { timeoutMs: 60 * SECOND_MS, memoryBytes: MIB },
    requirements: { ...REQUIREMENTS_DEFAULTS, memoryBytes: MIB, ...requirements },
    manifest: { kind: 'inline', inputs: [] }
  }
}

const USUAL = specOf('usual')
const never = new AbortController().signal

function taskOf(input: unknown, asked: Partial<EphemeralTask> = {}): EphemeralTask {
  const usual = { spec: USUAL, submitter: 'somebody', retries: 0, priority: 0 }
  return { ...usual, input: encodeValue(input), ...asked }
}

/** Starts tasks without moving time. */
function begin(
  work: WorkMesh,
  tasks: readonly EphemeralTask[],
  { through = 0, signal = never }: { through?: number; signal?: AbortSignal } = {}
): Promise<TaskOutcome | MeshError>[] {
  const { ephemeral } = work.node(through).work
  return tasks.map((task) =>
    ephemeral.run(task, signal).catch((error: unknown) => {
      if (isMeshError(error)) return error
      throw error
    })
  )
}

async function ends(
  work: WorkMesh,
  runs: readonly Promise<TaskOutcome | MeshError>[],
  limitMs = 600_000
): Promise<(TaskOutcome | MeshError)[]> {
  return await work.clock.run(Promise.all(runs), limitMs)
}

function valuesOf(outcomes: readonly (TaskOutcome | MeshError)[]): unknown[] {
  return outcomes.map((outcome) => {
    if (outcome instanceof MeshError || outcome.kind !== 'done') return outcome
    return decodeValue(outcome.output)
  })
}

const nodesOf = (work: WorkMesh): Set<number> => new Set(work.begun.map(({ node }) => node))

describe('a task that is waited for', () => {
  it('is run here while there is room', async () => {
    await using work = await WorkMesh.create({ peers: 3, seed: 31 })

    const outcomes = await ends(work, begin(work, [taskOf(1), taskOf(2)]))

    expect(valuesOf(outcomes)).toEqual([1, 2])
    expect(nodesOf(work)).toEqual(new Set([0]))
  })

  it('is run by another node when this one is busy', async () => {
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 32,
      behave: (_, { input }) => returns(decodeValue(input), 1_000)
    })
    const startMs = work.clock.monotonicMs()

    const tasks = Array.from({ length: 8 }, (_, index) => taskOf(index))
    const outcomes = await ends(work, begin(work, tasks))

    expect(valuesOf(outcomes)).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(nodesOf(work)).toEqual(new Set([0, 1, 2, 3]))
    expect(work.clock.monotonicMs() - startMs).toBeLessThan(1_500)
  })

  it('goes to another one when the peer dies while it runs', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 33,
      workOf: (index) => ({ slots: index === 0 ? 0 : 1 }),
      behave: (_, { input }) => returns(decodeValue(input), 2_000)
    })
    const runs = begin(work, [taskOf('x')])
    await work.until(() => work.begun.length === 1)
    const first = work.begun[0]?.node ?? 0

    await work.mesh.kill(first)

    expect(valuesOf(await ends(work, runs))).toEqual(['x'])
    expect(work.begun.map(({ node }) => node)).toEqual([first, 3 - first])
  })

  it('is given up when three nodes were lost over it', async () => {
    await using work = await WorkMesh.create({
      peers: 5,
      seed: 34,
      workOf: (index) => ({ slots: index === 0 ? 0 : 1 }),
      behave: ({ node }) => {
        work.clock.after(100, () => void work.mesh.peers[node]?.kill())
        return returns(0, 5_000)
      }
    })

    const [outcome] = await ends(work, begin(work, [taskOf('poison')]))

    expect(outcome).toMatchObject({ kind: 'failed', code: 'poison-task' })
    expect(nodesOf(work).size).toBe(3)
  })

  it.each([1, 3])('takes no other with it when it is given up (%i)', async (seed) => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed,
      behave: ({ node }, { input }) => {
        const value = String(decodeValue(input))
        if (value.startsWith('poison')) work.clock.after(50, () => work.executor(node).crash())
        return returns(value, 1_000)
      }
    })
    const names = ['one', 'poison 1', 'two', 'poison 2', 'three', 'poison 3', 'four', 'five']

    const outcomes = await ends(
      work,
      begin(
        work,
        names.map((name) => taskOf(name))
      )
    )

    const wanted = names.map((name) => (name.startsWith('poison') ? 'poison-task' : name))
    const codes = valuesOf(outcomes).map((found) => (found as { code?: string }).code ?? found)
    expect(codes).toEqual(wanted)
  })

  it('waits until it is alone before what may be the end of it', async () => {
    await using work = await WorkMesh.create({
      peers: 2,
      seed: 36,
      behave: (_, { input }) => returns(decodeValue(input), 5_000)
    })
    const [run] = begin(work, [taskOf('unlucky')])
    for (const losses of [1, 2]) {
      await work.until(() => work.begun.length === losses)
      if (losses === 2) void Promise.all(begin(work, [taskOf('beside')]))
      work.executor(0).crash()
    }
    const startMs = work.clock.monotonicMs()

    expect(valuesOf(await ends(work, run === undefined ? [] : [run]))).toEqual(['unlucky'])
    // What is beside it takes as long, and nobody else knows that it is to be alone.
    expect(work.clock.monotonicMs() - startMs).toBeGreaterThanOrEqual(10_000)
    expect(nodesOf(work)).toEqual(new Set([0]))
  })

  it('that is unfit here is run where it fits, and others pass it', async () => {
    const gpu = specOf('gpu', { gpu: 1 })
    const nowhere = specOf('nowhere', { labels: [{ key: 'moon', op: 'exists' }] })
    await using work = await WorkMesh.create({
      peers: 4,
      seed: 35,
      workOf: (index) => ({ slots: 1, offer: { gpus: index === 3 ? 1 : 0 } }),
      behave: ({ name }) => returns(name, 100)
    })
    const controller = new AbortController()
    const hopeless = begin(work, [taskOf(0, { spec: nowhere })], { signal: controller.signal })

    const tasks = [...Array.from({ length: 4 }, () => taskOf(1, { spec: gpu })), taskOf(2)]
    const outcomes = await ends(work, begin(work, tasks), 10_000)

    expect(valuesOf(outcomes)).toEqual(['gpu', 'gpu', 'gpu', 'gpu', 'usual'])
    expect(work.begun.filter(({ name }) => name === 'gpu').map(({ node }) => node)).toEqual([
      3, 3, 3, 3
    ])
    // Those who are unfit for one kind are asked for others.
    const more = Array.from({ length: 12 }, () => taskOf(3))
    await ends(work, begin(work, more), 10_000)
    expect(nodesOf(work)).toEqual(new Set([0, 1, 2, 3]))
    controller.abort(new MeshError('aborted', 'enough'))
    expect(await ends(work, hopeless)).toMatchObject([{ code: 'aborted' }])
  })

  describe('that is cancelled', () => {
    it('before it begins never begins, and while it runs is ended, here or elsewhere', async () => {
      await using work = await WorkMesh.create({
        peers: 2,
        seed: 36,
        workOf: () => ({ slots: 1 }),
        behave: () => ({ ...returns(0, 20_000), isAttentive: true })
      })
      const controller = new AbortController()
      const { signal } = controller
      const runs = begin(work, [taskOf(1), taskOf(2), taskOf(3)], { signal })
      await work.until(() => work.begun.length === 2)
      await work.mesh.advance(1_000)

      controller.abort(new MeshError('aborted', 'enough'))

      const outcomes = await ends(work, runs, 1_000)
      expect(outcomes.map((outcome) => (outcome as MeshError).code)).toEqual(
        Array.from({ length: 3 }, () => 'aborted')
      )
      await work.mesh.advance(1_000)
      for (const index of [0, 1]) expect(work.executor(index).freeSlots()).toBe(1)
      expect(work.begun).toHaveLength(2)
    })
  })

  it('is refused when 100 000 wait already', async () => {
    await using work = await WorkMesh.create({
      peers: 1,
      seed: 37,
      behave: () => ({ ...returns(0, 30_000), isAttentive: true })
    })
    const task = taskOf(0)
    // A signal of its own for each, as callers have.
    const controllers = Array.from({ length: 100_000 }, () => new AbortController())
    const runs = controllers.flatMap(({ signal }) => begin(work, [task], { signal }))
    await work.mesh.advance(10)

    const [refused] = await ends(work, begin(work, [task]), 100)

    expect(refused).toMatchObject({ code: 'overloaded' })
    for (const controller of controllers) controller.abort(new MeshError('aborted', 'enough'))
    await ends(work, runs, 1_000)
    expect(valuesOf(await ends(work, begin(work, [taskOf('again')]), 60_000))).toEqual([0])
  })

  describe('that fails', () => {
    it('is tried again as often as it may, later each time', async () => {
      await using work = await WorkMesh.create({
        peers: 1,
        seed: 38,
        behave: () => fails('task-failed')
      })

      const [outcome] = await ends(work, begin(work, [taskOf(0, { retries: 3 })]))

      expect(outcome).toMatchObject({ kind: 'failed', code: 'task-failed' })
      expect(work.begun).toHaveLength(4)
    })

    it('for good isn’t tried again', async () => {
      await using work = await WorkMesh.create({
        peers: 1,
        seed: 39,
        behave: () => fails('task-failed', { isRetryable: false })
      })
      await ends(work, begin(work, [taskOf(0, { retries: 3 })]))
      expect(work.begun).toHaveLength(1)
    })

    it('is done when another try goes well', async () => {
      await using work = await WorkMesh.create({
        peers: 2,
        seed: 40,
        behave: () => (work.begun.length < 3 ? fails('task-memory') : returns('at last'))
      })
      const outcomes = await ends(work, begin(work, [taskOf(0, { retries: 5 })]))
      expect(valuesOf(outcomes)).toEqual(['at last'])
    })
  })

  it('with a higher priority is begun before others that wait', async () => {
    await using work = await WorkMesh.create({
      peers: 1,
      seed: 41,
      workOf: () => ({ slots: 1 }),
      behave: ({ name }) => returns(name, 100)
    })
    const urgent = specOf('urgent')
    const tasks = [taskOf(0), taskOf(1), taskOf(2), taskOf(3, { spec: urgent, priority: 5 })]
    await ends(work, begin(work, tasks))
    expect(work.begun.map(({ name }) => name)).toEqual(['urgent', 'usual', 'usual', 'usual'])
  })

  it('with an input that is too large to be sent waits for a slot here', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 42,
      workOf: () => ({ slots: 1 }),
      behave: () => returns('done', 1_000)
    })
    const large = { input: encodeValue(new Uint8Array(300 * KIB)) }
    const outcomes = await ends(work, begin(work, [taskOf(0, large), taskOf(1, large), taskOf(2)]))
    expect(valuesOf(outcomes)).toEqual(['done', 'done', 'done'])
    expect(work.begun.filter(({ node }) => node === 0)).toHaveLength(2)
  })

  it('whose output has no room beside others’ is run again alone, and isn’t given up', async () => {
    await using work = await WorkMesh.create({
      peers: 2,
      seed: 43,
      workOf: (index) => ({ slots: index === 0 ? 0 : 8 }),
      behave: () => returns(new Uint8Array(700 * KIB), 1)
    })
    const tasks = Array.from({ length: 8 }, (_, index) => taskOf(index))
    const outcomes = await ends(work, begin(work, tasks), 60_000)
    expect(
      outcomes.map((outcome) => (outcome instanceof MeshError ? outcome : outcome.kind))
    ).toEqual(tasks.map(() => 'done'))
  })

  it('ends with the node that waits for it: what runs, what waits and what is to be tried again', async () => {
    await using work = await WorkMesh.create({
      peers: 2,
      seed: 44,
      workOf: () => ({ slots: 1 }),
      behave: ({ name }) => (name === 'fails' ? fails('task-failed') : returns(0, 60_000))
    })
    const failing = begin(work, [taskOf(0, { spec: specOf('fails'), retries: 100 })])
    await work.until(() => work.begun.length >= 8, 300_000)
    const others = begin(work, [taskOf(1), taskOf(2), taskOf(3)])
    await work.mesh.advance(500)

    const stopping = work.node(0).stop()
    const outcomes = await ends(work, [...failing, ...others], 10_000)
    await work.clock.run(stopping)

    expect(outcomes.map((outcome) => (outcome as MeshError).code)).toEqual(
      Array.from({ length: 4 }, () => 'stopped')
    )
  })

  it('is spread with jobs: both are done', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 45,
      behave: ({ task }) => returns(task, 200)
    })
    await work.submit(request('beside', 60))
    const runs = begin(
      work,
      Array.from({ length: 60 }, (_, index) => taskOf(index)),
      { through: 1 }
    )
    expect(await work.wait('beside')).toMatchObject({ done: 60 })
    expect((await ends(work, runs)).every((outcome) => !(outcome instanceof MeshError))).toBe(true)
  })
})

describe('nested-task deadlock', () => {
  it('ends: a task that waits for one that has no room is told after a minute', async () => {
    const slots = 2
    const nested: MeshError[] = []
    const allBegun = Promise.withResolvers<void>()
    let begunCount = 0
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 46,
      workOf: (index) => ({
        slots,
        executor: (clock) =>
          new NestingExecutor(clock, {
            slots,
            task: async ({ exportName }, signal) => {
              if (exportName === 'child') return 'child'
              begunCount += 1
              if (begunCount === 6) allBegun.resolve()
              await allBegun.promise
              const child = taskOf(0, { spec: specOf('child'), isNested: true })
              try {
                const { ephemeral } = nodeAt(work.mesh, index).work
                return (await ephemeral.run(child, signal)).kind
              } catch (error) {
                if (isMeshError(error)) nested.push(error)
                throw error
              }
            }
          })
      })
    })
    const limits = { timeoutMs: 600_000, memoryBytes: MIB }
    await work.submit(request('parents', 6, { task: 'parent', limits }))
    const startMs = work.clock.monotonicMs()

    const progress = await work.wait('parents')

    // All slots were held by those who waited; when the first gave up there was room.
    expect(progress).toMatchObject({ state: 'ended', total: 6 })
    expect(progress.done + progress.failed).toBe(6)
    expect(nested.length).toBeGreaterThan(0)
    expect(nested[0]).toMatchObject({ code: 'overloaded' })
    expect(nested[0]?.message).toMatch(/a task waits for this one; .*submit a job/)
    expect(work.clock.monotonicMs() - startMs).toBeLessThan(120_000)
  })
})
