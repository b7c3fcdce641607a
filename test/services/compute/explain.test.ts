// Why tasks of a job don't run: one reason after the other, each as people are told it.

import { describe, expect, it } from 'vitest'
import { GIB, SECOND_MS } from '../../../src/base/units.ts'
import { blockIdFromBytes } from '../../../src/core/block/block-id.ts'
import { encodeValue } from '../../../src/executor/values.ts'
import type { Explanation } from '../../../src/services/compute/explain.ts'
import { bytesOf, faultsOf, holdersIn } from '../../faults/simulated.ts'
import { fails, request, returns, WorkMesh } from './work-mesh.ts'

/** @returns the codes of each node's reasons, by node */
function codesOf({ mesh }: WorkMesh, { peers }: Explanation): string[][] {
  return mesh.peers.map(({ identity }) => {
    const said = peers.find(({ peer }) => peer === identity.peerId)
    return said?.reasons.map(({ code }) => code) ?? ['missing']
  })
}

function textsOf({ peers }: Explanation): string[] {
  return peers.flatMap(({ reasons }) => reasons.map(({ text }) => text))
}

describe('explain tells why', () => {
  it('no peer with the label', async () => {
    const labels = new Map([['camera', 'back']])
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 51,
      workOf: (index) => (index === 2 ? { offer: { labels } } : {})
    })
    const rule = { key: 'camera', op: '=', value: 'front' } as const
    await work.submit(request('label', 2, { requirements: { labels: [rule] } }))
    await work.mesh.advance(5_000)

    const explanation = await work.explain('label', 1)

    expect(explanation).toMatchObject({ id: 'label', reasons: [] })
    expect(codesOf(work, explanation)).toEqual([['label'], ['label'], ['label']])
    expect(textsOf(explanation)).toContain('it has no label camera; camera=front is needed')
    expect(textsOf(explanation)).toContain('it has camera=back; camera=front is needed')
    expect(work.begun).toEqual([])
  })

  it('not enough memory', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 52,
      workOf: (index) => ({ offer: { memoryBytes: (1 + index) * GIB } })
    })
    await work.submit(request('memory', 2, { requirements: { memoryBytes: 8 * GIB } }))

    const explanation = await work.explain('memory')

    expect(codesOf(work, explanation)).toEqual([['memory'], ['memory'], ['memory']])
    expect(textsOf(explanation)).toContain('it has 3.0 GiB; 8.0 GiB is needed')
  })

  it('all slots busy', async () => {
    await using work = await WorkMesh.create({
      peers: 2,
      seed: 53,
      behave: ({ task }) => returns(task, 60_000)
    })
    await work.submit(request('busy', 10, { limits: { timeoutMs: 90_000, memoryBytes: 2 ** 20 } }))
    await work.until(() => work.begun.length === 4)

    const explanation = await work.explain('busy')

    expect(explanation.reasons).toEqual([])
    expect(codesOf(work, explanation)).toEqual([['busy'], ['busy']])
    expect(explanation.peers.map(({ running }) => running)).toEqual([2, 2])
    expect(textsOf(explanation)[0]).toBe('now it has 0 processors; 1 are needed')
  })

  it('input missing', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 54,
      workOf: () => ({ slots: 1 }),
      behave: ({ task }) => returns(task, 1_000)
    })
    const inputs = Array.from({ length: 20 }, (_, task) => encodeValue(bytesOf(4_096, task)))
    await work.submit(request('input', 20, { inputs }))
    await work.until(() => work.begun.length >= 3)
    const manifest = blockIdFromBytes((await work.view('input')).job.manifest)
    for (const index of holdersIn(work.mesh, manifest)) faultsOf(work.mesh, index).lose(manifest)
    await work.mesh.advance(20_000)

    const { reasons } = await work.explain('input')

    expect(reasons.map(({ code }) => code)).toContain('input-missing')
    expect(reasons.find(({ code }) => code === 'input-missing')?.text).toMatch(
      /^task \d+: Its input can't be read: No member of the mesh has block/
    )
  })

  it('quorum lost', async () => {
    await using work = await WorkMesh.create({
      peers: 5,
      seed: 55,
      behave: ({ task }) => returns(task, 60_000)
    })
    const id = work.idWhere((name) => !work.holdersOf(name).includes(4))
    await work.submit(request(id, 2), 4)
    await work.mesh.advance(2_000)
    const holders = work.holdersOf(id)
    for (const index of holders.slice(0, 2)) await work.mesh.kill(index)
    await work.mesh.advance(10_000)

    const few = await work.explain(id, 4)
    await work.mesh.kill(holders[2] ?? 0)
    await work.mesh.advance(10_000)
    const none = await work.explain(id, 4)

    expect(few.reasons[0]).toMatchObject({ code: 'no-quorum' })
    // What one replica last saw is told all the same.
    expect(few.peers).toHaveLength(5)
    expect(codesOf(work, few).flat()).toContain('unreachable')
    expect(none.reasons[0]?.text).toMatch(/^its shard doesn't answer: /)
    expect(none.peers).toEqual([])
  })

  it('retry back-off', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 56,
      behave: () => fails('task-failed')
    })
    const policy = { retries: 5, retryBaseMs: 600 * SECOND_MS, retryMaxMs: 600 * SECOND_MS }
    await work.submit(request('retry', 1, { policy }))
    await work.until(() => work.begun.length === 1)
    await work.mesh.advance(1_000)

    const { reasons } = await work.explain('retry')

    expect(reasons.map(({ code }) => code)).toEqual(['retry'])
    expect(reasons[0]?.text).toMatch(/^tasks that failed are tried again, the next in \d/)
  })

  it('a stage that waits for another one', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 57,
      behave: ({ task }) => returns(task, 30_000)
    })
    const stages = [
      { from: 0, to: 2, after: [], name: 'cut', isOne: false },
      { from: 2, to: 3, after: [0], name: 'glue', isOne: true }
    ]
    await work.submit(request('stages', 3, { stages }))
    await work.until(() => work.begun.length === 2)

    const { reasons } = await work.explain('stages')

    expect(reasons).toEqual([
      { code: 'dependency', text: 'stage "glue" waits for the stages before it' }
    ])
    expect(await work.wait('stages')).toMatchObject({ done: 3 })
  })

  it('a node that could not run its tasks, and a job that has ended', async () => {
    await using work = await WorkMesh.create({
      peers: 2,
      seed: 58,
      workOf: () => ({ offer: { allowsExec: true } })
    })
    await work.submit(request('ended', 1))
    await work.wait('ended')
    expect((await work.explain('ended')).reasons).toEqual([
      { code: 'ended', text: 'the job is ended' }
    ])
    await expect(work.explain('nothing')).rejects.toMatchObject({ code: 'not-found' })
  })
})

describe('a task that failed', () => {
  it('is tried again when it is due, also when nothing else is asked of its shard for long', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 59,
      behave: ({ attempt, task }) => (attempt === 1 ? fails('task-failed') : returns(task))
    })
    const policy = { retryBaseMs: 300 * SECOND_MS, retryMaxMs: 300 * SECOND_MS }
    const id = 'patient'
    await work.submit(request(id, 1, { policy }))
    await work.until(() => work.begun.length === 1)
    await work.mesh.advance(1_000)
    const { nextReadyMs = 0 } = await work.view(id)
    expect(nextReadyMs).toBeGreaterThan(31_000)
    // Or earlier: the shard's time stands still while nothing is asked of it.
    const dueMs = work.clock.monotonicMs() + nextReadyMs

    await work.wait(id)

    expect((work.begun[1]?.atMs ?? Infinity) - dueMs).toBeLessThan(1_000)
  })
})
