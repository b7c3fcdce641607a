// Words are counted as they come: a spout yields lines, two bolts split them, and four count the words,
// each its own ones. When a node dies, its part goes on elsewhere. This runs it on nodes of its own:
//
//   node examples/topology-word-count.ts
//
// and this on a mesh that is up:
//
//   atoll topology deploy examples/topology-word-count.ts
//   atoll topology status word_count

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { topology, type TopologyDefinition } from '../src/index.ts'

const wordCount: TopologyDefinition = topology('word_count')
  .spout('lines', function* (ctx) {
    const lines = ['one fish two fish', 'red fish blue fish', 'this one has a little star']
    for (let number = Number(ctx.position ?? 0); number < 3_000; number++) {
      yield lines[number % lines.length] ?? ''
      // Whoever goes on from here needn't yield what came before.
      ctx.checkpoint(number + 1)
    }
  })
  .bolt('split', (_, line) => line.split(' '), { from: 'lines', parallel: 2 })
  .bolt(
    'count',
    (ctx, word) => {
      // The word counts as processed when its count is durable.
      ctx.state.set(word, Number(ctx.state.get(word) ?? 0) + 1)
    },
    { from: 'split', groupBy: (word) => word, parallel: 4 }
  )

// What `atoll topology deploy` takes.
export default wordCount

if (process.argv[1] === import.meta.filename) {
  const { createNode } = await import('../src/index.ts')
  const root = await mkdtemp(join(tmpdir(), 'atoll-example-'))
  // Each instance of an operator has a slot.
  const common = { preset: 'local', capacityBytes: 2 ** 30, slots: 4 } as const
  try {
    await using first = await createNode({ ...common, dataDir: join(root, 'first') })
    await using second = await createNode({
      ...common,
      dataDir: join(root, 'second'),
      join: first.addresses
    })
    const running = await second.deploy(wordCount)
    const { state } = await running.wait()
    console.log(`${running.name} has ${state}`)
    // Nothing was lost, so nothing was counted twice.
    const counts = new Map<string, unknown>()
    for await (const [word, count] of running.state('count')) counts.set(word, count)
    console.log(`fish ${String(counts.get('fish'))}, star ${String(counts.get('star'))}`)
  } finally {
    await rm(root, { recursive: true, force: true })
  }
}
