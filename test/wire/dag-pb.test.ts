// The links of inner nodes: what is overlooked here would be collected.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { concatBytes } from '../../src/base/bytes.ts'
import type { BlockId } from '../../src/base/ids.ts'
import { MIB } from '../../src/base/units.ts'
import { blockIdToBytes, CODEC_DAG_PB } from '../../src/core/block/block-id.ts'
import { hashBlock } from '../../src/storage/block-hash.ts'
import { linksOf } from '../../src/wire/dag-pb.ts'
import { contentOf, FileMesh } from '../services/files/file-mesh.ts'
import { codeOf } from './codecs.ts'

const ids = [1, 2, 3].map((seed) => hashBlock(contentOf(seed), CODEC_DAG_PB))

function field(number: number, bytes: Uint8Array): Uint8Array {
  return concatBytes([Uint8Array.of((number << 3) | 2, bytes.length), bytes])
}

function link(hash: Uint8Array): Uint8Array {
  const size = Uint8Array.of(3 << 3, 0x80, 0x01)
  return field(2, concatBytes([field(1, hash), field(2, new Uint8Array(0)), size]))
}

describe('linksOf()', () => {
  it('finds all blocks of a file, as the importer writes it', async () => {
    await using mesh = await FileMesh.start(1)
    const { cid } = await mesh.run(mesh.peer(0).files.put(contentOf(1, 5.5 * MIB)))
    const { store } = mesh.peer(0)

    const links = linksOf(await store.get(cid as BlockId))

    expect(new Set([cid, ...links])).toEqual(mesh.stored())
    expect(links).toHaveLength(6)
  })

  it('takes links of either CID version, and data before or after them', () => {
    const data = field(1, Uint8Array.of(8, 1))
    const [a, b, c] = ids.map((id) => blockIdToBytes(id)) as [Uint8Array, Uint8Array, Uint8Array]

    expect(linksOf(concatBytes([link(a), link(b.subarray(2)), data, link(c)]))).toEqual(ids)
    expect(linksOf(data)).toEqual([])
    expect(linksOf(new Uint8Array(0))).toEqual([])
  })

  it('refuses what it does not understand whole', () => {
    const cid = blockIdToBytes(ids[0] as BlockId)
    const good = link(cid)
    const wrong: Uint8Array[] = [
      good.subarray(0, -1),
      field(2, new Uint8Array(0)),
      field(2, concatBytes([field(1, cid), field(1, cid)])),
      link(cid.subarray(0, 35)),
      link(Uint8Array.from([1, 0x71, ...cid.subarray(2)])),
      link(Uint8Array.from([1, 0x55, 0x13, ...cid.subarray(3)])),
      concatBytes([good, Uint8Array.of((2 << 3) | 3)]),
      concatBytes([good, Uint8Array.of((2 << 3) | 5, 0, 0, 0, 0)]),
      Uint8Array.from({ length: 12 }, () => 0xff)
    ]

    for (const block of wrong) expect(codeOf(() => linksOf(block))).toBe('invalid-data')
  })

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(['none', 'invalid-data']).toContain(codeOf(() => linksOf(bytes)))
      }),
      { numRuns: 2_000 }
    )
  })
})
