import { describe, expect, it } from 'vitest'
import { nodeAt, simulatedMesh } from '../../faults/simulated.ts'
import { fails, request, returns, WorkMesh } from './work-mesh.ts'

describe('jobs on a mesh', () => {
  it('are done by all nodes, each task once', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 1 })
    const { clock } = mesh
    const node = nodeAt(mesh, 0)
    const job = await clock.run(node.work.jobs.submit<number>(request('first', 100)))
    const progress = await clock.run(job.wait())
    expect(progress).toMatchObject({ state: 'ended', total: 100, done: 100, failed: 0 })
    const values: number[] = []
    await clock.run(
      (async () => {
        for await (const { value } of job.results()) values.push(value)
      })()
    )
    expect(values).toEqual(Array.from({ length: 100 }, (_, index) => index))
  })

  it('are begun with the request that submits them, as far as there is room', async () => {
    await using work = await WorkMesh.create({ peers: 3, seed: 2 })
    const asked = askedOf(work)

    await work.submit(request('small', 1))
    expect(await work.wait('small')).toMatchObject({ state: 'ended', done: 1 })

    expect(asked).toEqual(['job.start', 'job.complete'])
    expect(work.of('small').map(({ node, attempt }) => [node, attempt])).toEqual([[0, 1]])
  })

  it('are only submitted by a node without room, and begun elsewhere', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 3,
      behave: ({ space }) => returns('done', space === '~long' ? 20_000 : 10)
    })
    // More than all nodes have slots for.
    await work.submit(request('long', 100))
    await work.until(() => work.begun.some(({ node }) => node === 0))
    await work.clock.advance(1_000)
    const asked = askedOf(work)

    await work.submit(request('small', 1))

    expect(asked).toContain('job.submit')
    expect(asked).not.toContain('job.start')
    expect(await work.wait('small')).toMatchObject({ state: 'ended', done: 1 })
  })

  it('are tried again elsewhere when what began with the submission fails', async () => {
    await using work = await WorkMesh.create({
      peers: 3,
      seed: 4,
      behave: ({ attempt }) => (attempt === 1 ? fails('task-failed') : returns('done'))
    })

    await work.submit(request('small', 1))

    expect(await work.wait('small')).toMatchObject({ state: 'ended', done: 1, failed: 0 })
    expect(work.of('small').map(({ attempt }) => attempt)).toEqual([1, 2])
  })
})

/** @returns names of the operations on jobs that the first node asks for from now on */
function askedOf(work: WorkMesh): string[] {
  const asked: string[] = []
  const { shards } = work.node(0)
  const execute = shards.execute.bind(shards)
  shards.execute = async (target, operation, ...rest) => {
    if (operation.name.startsWith('job.')) asked.push(operation.name)
    return await execute(target, operation, ...rest)
  }
  return asked
}
