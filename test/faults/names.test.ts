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

  it('are as before or as after when the node that changes them is killed at any moment', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 6 })
    const viewer = nodeAt(mesh, 0)
    const [old, next] = [bytesOf(500, 1), bytesOf(500, 2)]
    const seen = new Set<string>()
    for (let round = 0; round < 24; round++) {
      const { files } = viewer
      await files.mkdir('v/dir/inner')
      await files.put('v/dir/inner/f', old, { replace: true })
      const victim = 1 + (round % 3)
      const node = mesh.peers[victim]?.node
      const change = [
        async () => await node?.files.mv('v/dir', 'v/moved'),
        async () => await node?.files.put('v/dir/inner/f', next, { replace: true }),
        async () => await node?.files.rm('v/dir', { recursive: true })
      ][Math.floor(round / 3) % 3]
      const changing = change?.().then(
        () => 'done',
        () => 'failed'
      )
      await mesh.advance(1 + Math.floor(round / 9) * 6 + (round % 9))
      await mesh.kill(victim)
      const answer = await mesh.clock.run(Promise.resolve(changing))

      const states: string[] = []
      for (const path of ['v/dir/inner/f', 'v/moved/inner/f']) {
        const found = await files.stat(path).then(
          async () =>
            (await collect(files.get(path))).every((b, i) => b === old[i]) ? 'old' : 'new',
          () => 'none'
        )
        states.push(found)
      }
      const expected = [
        ['old none', 'none old'],
        ['old none', 'new none'],
        ['old none', 'none none']
      ][Math.floor(round / 3) % 3]
      const state = states.join(' ')
      expect(expected).toContain(state)
      if (answer === 'done') expect(state).toBe(expected?.[1])
      seen.add(state)
      await files.rm('v', { recursive: true })
      await mesh.restart(victim)
      await mesh.settle()
    }
    expect(seen.size).toBeGreaterThan(2)
  }, 120_000)
})
