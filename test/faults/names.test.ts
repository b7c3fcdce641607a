// Names of files on whole nodes: their shards, their blocks, and the collection between them.

import { describe, expect, it } from 'vitest'
import { bytesOf, collect, nodeAt, simulatedMesh } from './simulated.ts'

const MINUTE_MS = 60_000

describe('files with names', () => {
  it('outlive the node that put them, and their space comes back when they are removed', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 5 })
    const content = bytesOf(3_000, 1)
    await nodeAt(mesh, 0).files.mkdir('photos/2026')
    await nodeAt(mesh, 0).files.put('photos/2026/a', content)
    const { cid } = await nodeAt(mesh, 1).files.put('photos/2026/b', bytesOf(3_000, 2))

    await mesh.kill(0)

    const { files } = nodeAt(mesh, 3)
    expect(await collect(files.get('photos/2026/a'))).toEqual(content)
    await files.mv('photos/2026/b', 'photos/b')
    await files.rm('photos/2026', { recursive: true })
    await mesh.restart(0)
    await mesh.advance(15 * MINUTE_MS)
    await mesh.settle()

    const stored = mesh.peers.map(({ disk }) => [...disk.blocks.keys()])
    expect(new Set(stored.flat())).toEqual(new Set([cid]))
    expect(stored.filter((ids) => ids.length === 1)).toHaveLength(3)
    expect(await collect(nodeAt(mesh, 0).files.get('photos/b'))).toEqual(bytesOf(3_000, 2))
  }, 60_000)
})
