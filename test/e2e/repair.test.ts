// Done-when 4: damaged block files are never served, and are mended by the first read, or by a scrub
// when nobody reads.

import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NodeProcess } from '../../src/api/node-process.ts'
import type { ScrubReport } from '../../src/blocks/scrub.ts'
import { blockFile, bytesOf, ProcessMesh, sha256, statusOf, until } from './process-mesh.ts'

/** One block: its CID is the block's id. */
const FILE_BYTES = 300_000
const MEND_LIMIT_MS = 20_000

type Damage = { name: string; apply: (path: string) => Promise<void> }

const DAMAGES: readonly Damage[] = [
  {
    name: 'flipped',
    apply: async (path) => {
      const bytes = await readFile(path)
      const middle = bytes.length >> 1
      bytes[middle] = (bytes[middle] as number) ^ 1
      await writeFile(path, bytes)
    }
  },
  { name: 'zeroed', apply: (path) => writeFile(path, new Uint8Array(FILE_BYTES)) },
  { name: 'truncated', apply: (path) => truncate(path, FILE_BYTES / 2) },
  { name: 'missing', apply: (path) => rm(path) }
]

describe('repair', () => {
  let mesh: ProcessMesh
  /** Every test has a file of its own. */
  let seed = 100

  beforeAll(async () => {
    mesh = await ProcessMesh.create(3)
  })

  afterAll(async () => {
    await mesh[Symbol.asyncDispose]()
  })

  it.each(DAMAGES)(
    '$name block file: never served, and mended by the first read',
    async ({ apply }) => {
      const bytes = bytesOf(FILE_BYTES, seed++)
      const { cid } = await mesh.put(0, bytes)
      const path = await copyOf(mesh.at(1), cid)
      // Nothing but the read may be the reason that it is mended.
      await mesh.settled(0)
      await apply(path)

      const got = await mesh.get(1, cid)

      expect(sha256(got)).toBe(sha256(bytes))
      await untilGood(mesh.at(1), cid, bytes)
      expect(sha256(await mesh.get(1, cid))).toBe(sha256(bytes))
    }
  )

  it.each(DAMAGES)(
    'scrub finds and mends a $name block file that nobody read',
    async ({ apply }) => {
      const bytes = bytesOf(FILE_BYTES, seed++)
      const { cid } = await mesh.put(0, bytes)
      const path = await copyOf(mesh.at(2), cid)
      await mesh.settled(0)
      await apply(path)

      const { code, stdout } = await mesh.atoll(0, ['scrub', '--json'])

      expect(code).toBe(0)
      const { nodes } = JSON.parse(stdout.toString()) as {
        nodes: { peerId: string; report?: ScrubReport }[]
      }
      for (const [index, node] of mesh.nodes.entries()) {
        const report = nodes.find(({ peerId }) => peerId === node.up.peerId)?.report
        const damaged = index === 2 ? 1 : 0
        const checked = (await statusOf(node)).blocks.count
        const expected = { checked, bytes: checked * FILE_BYTES, damaged, mended: damaged }
        expect(report).toEqual(expected)
      }
      await untilGood(mesh.at(2), cid, bytes)
    }
  )

  it('a byte flipped in one replica is never served to another node, not even when it is the only copy that answers', async () => {
    await using mesh = await ProcessMesh.create(4)
    const bytes = bytesOf(FILE_BYTES, 3)
    const { cid } = await mesh.put(0, bytes)
    await mesh.settled(0)
    let holders: number[] = []
    // A put right after the start may go by an older layout: the fourth copy is dropped soon.
    await until('its owners hold it, and nobody else', MEND_LIMIT_MS, async () => {
      holders = []
      for (const index of mesh.nodes.keys()) {
        if ((await blockFile(mesh.dirOf(index), cid)) !== undefined) holders.push(index)
      }
      return holders.length === 3 || `held by ${holders.join(', ')}`
    })
    const [bad, ...others] = holders as [number, number, number]
    const reader = mesh.nodes.findIndex((_, index) => !holders.includes(index))
    await DAMAGES[0]?.apply(await copyOf(mesh.at(bad), cid))
    for (const index of others) await mesh.at(index).kill()

    const alone = await mesh.atoll(reader, ['get', cid])

    expect(alone.code).toBe(1)
    expect(alone.stdout).toHaveLength(0)
    expect(alone.stderr).toMatch(/^atoll: Cannot read block .*try again when they are back\n$/)
    for (const index of others) await mesh.start(index)
    await mesh.everybodySees(4)
    expect(sha256(await mesh.get(reader, cid))).toBe(sha256(bytes))
    await untilGood(mesh.at(bad), cid, bytes)
  })

  it('a damaged copy is mended although its node restarted in between', async () => {
    const bytes = bytesOf(FILE_BYTES, seed++)
    const { cid } = await mesh.put(0, bytes)
    const path = await copyOf(mesh.at(1), cid)
    // Nothing but the read may be the reason: a writer whose write was still open would send again.
    await until('all copies are answered for', MEND_LIMIT_MS, async () => {
      return (await mesh.put(0, bytes)).copiesWritten === 0
    })
    await mesh.settled(0)
    expect(await mesh.at(1).stop()).toBe(0)
    // A size that the block can't have keeps it out of the index from the start.
    await truncate(path, 0)
    await mesh.start(1)
    await mesh.everybodySees(3)

    expect(sha256(await mesh.get(1, cid))).toBe(sha256(bytes))

    await untilGood(mesh.at(1), cid, bytes)
    expect((await statusOf(mesh.at(1))).blocks.missing).toBe(0)
  })
})

async function copyOf(node: NodeProcess, cid: string): Promise<string> {
  let path: string | undefined
  await until('the node has its copy', MEND_LIMIT_MS, async () => {
    path = await blockFile(node.dataDir, cid)
    return path !== undefined
  })
  return path as string
}

async function untilGood(node: NodeProcess, cid: string, bytes: Uint8Array): Promise<void> {
  await until('the copy on disk is good again', MEND_LIMIT_MS, async () => {
    const path = await blockFile(node.dataDir, cid)
    return path !== undefined && sha256(await readFile(path)) === sha256(bytes)
  })
}
