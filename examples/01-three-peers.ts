// Three nodes in one process: a file that goes in on one comes out on another, and outlives the one
// that took it.
//
//   node examples/01-three-peers.ts

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createNode } from '../src/index.ts'

const root = await mkdtemp(join(tmpdir(), 'atoll-example-'))
const common = { preset: 'local', capacityBytes: 2 ** 30 } as const
try {
  // On an empty folder, with nobody to join, a node founds a mesh.
  await using first = await createNode({ ...common, name: 'first', dataDir: join(root, 'first') })
  await using second = await createNode({
    ...common,
    name: 'second',
    dataDir: join(root, 'second'),
    join: first.addresses
  })
  await using third = await createNode({
    ...common,
    name: 'third',
    dataDir: join(root, 'third'),
    join: first.addresses
  })

  // It resolves when a majority of the owners has every block on disk.
  const { cid } = await second.files.put(new TextEncoder().encode('hello, reef'))
  await first.stop()

  const decoder = new TextDecoder()
  let text = ''
  for await (const part of third.files.get(cid)) text += decoder.decode(part, { stream: true })
  console.log(`${cid} says: ${text}`)
} finally {
  await rm(root, { recursive: true, force: true })
}
