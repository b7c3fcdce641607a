import { describe, expect, it } from 'vitest'
import { createRandom } from '../../src/base/random.ts'
import { createTestMesh } from '../../src/testing/index.ts'

function randomBytes(length: number, seed = 1): Uint8Array {
  const random = createRandom(seed)
  return Uint8Array.from({ length }, () => random.below(256))
}

async function collect(parts: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all: Uint8Array[] = []
  for await (const part of parts) all.push(part)
  return Uint8Array.from(Buffer.concat(all))
}

describe('createTestMesh()', () => {
  it('makes peers that know each other, and keeps a file while one of them is killed', async () => {
    await using mesh = await createTestMesh({ peers: 5, seed: 7 })
    const bytes = randomBytes(3_000_000)

    const { cid } = await mesh.nodes[0]!.files.put(bytes)
    await mesh.kill(0)

    for (const index of [1, 2, 3, 4]) {
      expect(await collect(mesh.nodes[index]!.files.get(cid))).toEqual(bytes)
    }
    const status = await mesh.nodes[1]!.status()
    expect(status.members).toHaveLength(5)
    await mesh.restart(0)
    await mesh.settle()
    expect(await collect(mesh.nodes[0]!.files.get(cid))).toEqual(bytes)
  })

  it('gives the same run for the same seed, and another for another', async () => {
    const run = async (seed: number): Promise<string> => {
      await using mesh = await createTestMesh({ peers: 4, seed, faults: { lossPerMille: 20 } })
      const { cid } = await mesh.nodes[1]!.files.put(randomBytes(1_500_000))
      await mesh.kill(2)
      await mesh.advance(5_000)
      await mesh.restart(2)
      await mesh.settle()
      const { members, layout, blocks } = await mesh.nodes[2]!.status()
      return JSON.stringify([cid, members, layout, blocks])
    }

    const first = await run(11)
    expect(await run(11)).toBe(first)
    expect(await run(12)).not.toBe(first)
  })

  it('partition() and heal() separate peers and bring them together again', async () => {
    await using mesh = await createTestMesh({ peers: 5, seed: 3 })

    mesh.partition([
      [0, 1],
      [2, 3, 4]
    ])
    await mesh.advance(60_000)
    const seen = mesh.nodes[0]!.mesh.members().filter(({ state }) => state === 'alive')
    expect(seen).toHaveLength(2)

    mesh.heal()
    await mesh.settle()
    const again = mesh.nodes[0]!.mesh.members().filter(({ state }) => state === 'alive')
    expect(again).toHaveLength(5)
  })

  it('runs on real sockets too', async () => {
    await using mesh = await createTestMesh({ peers: 3, transport: 'tcp' })
    const bytes = randomBytes(100_000)

    const { cid } = await mesh.nodes[2]!.files.put(bytes)
    await mesh.kill(2)

    expect(await collect(mesh.nodes[0]!.files.get(cid))).toEqual(bytes)
  })
})
