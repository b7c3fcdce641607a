// Work on the mesh: a task that runs on whatever node has room, many of them at one time, a job that
// goes on without its submitter, and tasks that build on each other.
//
//   node examples/05-work.ts

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode, task } from '../src/index.ts'

// A function that uses nothing from around it travels by itself.
const darts = task(
  'darts',
  (_, { seed, count }: { seed: number; count: number }) => {
    let state = seed
    const next = (): number => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
      return state / 2 ** 32
    }
    let inside = 0
    for (let thrown = 0; thrown < count; thrown++) if (next() ** 2 + next() ** 2 < 1) inside += 1
    return inside
  },
  { pure: true }
)
const square = task('square', (_, side: number) => side * side)
const sum = task('sum', (ctx) => {
  const { three, four } = ctx.after as { three: number; four: number }
  return three + four
})

const root = await mkdtemp(join(tmpdir(), 'atoll-example-'))
const common = { preset: 'local', capacityBytes: 2 ** 30, slots: 2 } as const
try {
  await using first = await createNode({ ...common, dataDir: join(root, 'first') })
  await using second = await createNode({
    ...common,
    dataDir: join(root, 'second'),
    join: first.addresses
  })

  console.log(`one square: ${await first.run(square, 12)}`)

  const THROWS = 200_000
  const seeds = Array.from({ length: 20 }, (_, seed) => ({ seed: seed + 1, count: THROWS }))
  let inside = 0
  for await (const hits of second.map(darts, seeds, { ordered: false })) inside += hits
  const pi = (4 * inside) / (seeds.length * THROWS)
  console.log(`π is about ${pi.toFixed(1)}`)

  // The same name finds the same job, from any node.
  const job = await first.submit(square, [1, 2, 3, 4, 5], { id: 'squares' })
  const { done, failed } = await second.job('squares').wait()
  console.log(`the job ${job.id}: ${done} done, ${failed} given up`)
  for await (const { value } of job.results()) console.log(`a square: ${value}`)

  const graph = await first.compute.dag({
    three: { task: square, input: 3 },
    four: { task: square, input: 4 },
    hypotenuse: { task: sum, after: ['three', 'four'] }
  })
  await graph.job.wait()
  for await (const { task: place, value } of graph.job.results()) {
    if (graph.names[place] === 'hypotenuse') console.log(`3² + 4² = ${String(value)}`)
  }
} finally {
  await rm(root, { recursive: true, force: true })
}
