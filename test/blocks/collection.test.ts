// A node's part in the collection: what it notes, what it deletes, and what keeps it from deleting.

import { hash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { concatBytes } from '../../src/base/bytes.ts'
import type { BlockId } from '../../src/base/ids.ts'
import { GIB, MIB } from '../../src/base/units.ts'
import { BLOCK_PROTOCOL, BlockClient } from '../../src/blocks/block-client.ts'
import { createBlockServer } from '../../src/blocks/block-server.ts'
import { shortDigestBytes, Sweeper, type SweepResult } from '../../src/blocks/sweeper.ts'
import { Touches } from '../../src/blocks/touches.ts'
import { arcOf, CODEC_RAW } from '../../src/core/block/block-id.ts'
import { LiveSet } from '../../src/services/files/live-set.ts'
import { hashBlock } from '../../src/storage/block-hash.ts'
import { MemoryBlockStore } from '../../src/storage/memory/memory-block-store.ts'
import { decodeBlockRequest, encodeBlockRequest, type BlockRequest } from '../../src/wire/block.ts'
import {
  decodeCollectReply,
  decodeCollectRequest,
  encodeCollectReply,
  LIVE_PAGE_COUNT_MAX,
  type LivePage
} from '../../src/wire/collect.ts'
import { contentOf, FileMesh } from '../services/files/file-mesh.ts'
import { codeOf } from '../wire/codecs.ts'

const ARC_COUNT = 16

function idOf(seed: number): BlockId {
  return hashBlock(contentOf(seed), CODEC_RAW)
}

const mesh = new FileMesh()
const view = { ...mesh.view, layout: { ...mesh.view.layout, arcCount: ARC_COUNT } }

class Node {
  readonly touches = new Touches()
  readonly store = new MemoryBlockStore({}, { capacityBytes: GIB, arcCount: ARC_COUNT })
  readonly missing = new Set<BlockId>()
  readonly sweeper = new Sweeper({
    store: this.store,
    touches: this.touches,
    missing: this.missing,
    mesh: { layout: () => view } as never
  })
  readonly #serve = createBlockServer({
    store: this.store,
    touches: this.touches,
    mesh: { layout: () => view } as never,
    onReceived: () => undefined,
    onDamaged: () => undefined
  })

  static async with(count: number): Promise<Node> {
    const node = new Node()
    await node.store.open()
    for (let seed = 0; seed < count; seed++) await node.store.put(idOf(seed), contentOf(seed))
    return node
  }

  async ask(request: BlockRequest): Promise<void> {
    const context = { peer: 'peer1', signal: new AbortController().signal } as never
    await this.#serve(concatBytes(encodeBlockRequest(request)), context)
  }

  async sweep(cycle: number, pageOf: (fromArc: number) => LivePage): Promise<SweepResult> {
    const { signal } = new AbortController()
    const paged = (fromArc: number): Promise<LivePage> => Promise.resolve(pageOf(fromArc))
    return await this.sweeper.sweep({ cycle, pageOf: paged, signal })
  }

  held(): number {
    return this.store.usage().count
  }
}

function liveOf(...seeds: number[]): LiveSet {
  const live = new LiveSet({ arcCount: ARC_COUNT })
  for (const seed of seeds) live.add(idOf(seed))
  return live
}

describe('touches', () => {
  it('B-10 come from questions of those who count on the answer, and from writes', async () => {
    const node = await Node.with(4)
    const [asked, looked, written, moved] = [idOf(0), idOf(1), idOf(2), idOf(3)] as const
    const lacking = idOf(9)
    node.touches.begin(7)

    await node.ask({ kind: 'have', ids: [asked, lacking] })
    await node.ask({ kind: 'have', ids: [looked], isPeek: true })
    await node.ask({ kind: 'get', id: looked })
    const bytes = contentOf(2)
    await node.ask({ kind: 'put', id: written, bytes, hintFor: undefined })
    await node.ask({
      kind: 'put',
      id: moved,
      bytes: contentOf(3),
      hintFor: undefined,
      touchedCycle: 5
    })

    const cycles = [asked, lacking, looked, written, moved].map((id) => node.touches.of(id))
    expect(cycles).toEqual([7, 0, 0, 7, 5])
    await node.ask({ kind: 'put', id: written, bytes, hintFor: undefined, touchedCycle: 3 })
    await node.ask({
      kind: 'put',
      id: moved,
      bytes: contentOf(3),
      hintFor: undefined,
      touchedCycle: 99
    })
    expect([node.touches.of(written), node.touches.of(moved)]).toEqual([7, 7])
  })

  it('C-2 are told in the last cycle that began; an earlier one is refused', () => {
    const touches = new Touches()

    touches.begin(4)
    touches.begin(4)

    expect(codeOf(() => touches.begin(3))).toBe('conflict')
    expect(touches.cycle).toBe(4)
  })

  it('are forgotten when no sweep would tell them from none', () => {
    const touches = new Touches()
    for (let cycle = 1; cycle <= 10; cycle++) {
      touches.begin(cycle)
      for (let seed = 0; seed < 10; seed++) touches.touch(idOf(10 * cycle + seed))
    }

    expect(touches.recentCount).toBe(20)
    touches.begin(11)
    touches.begin(12)
    expect(touches.recentCount).toBe(0)
  })

  it('C-4 C-5 count for two cycles in a row, each told once', () => {
    const touches = new Touches()
    const swept = (cycle: number, isCounted = true): boolean => {
      touches.begin(cycle)
      return touches.count(cycle, isCounted)
    }

    expect([swept(5), swept(6), swept(6), swept(7, false), swept(8), swept(9)]).toEqual([
      false,
      true,
      false,
      false,
      false,
      true
    ])
    touches.begin(11)
    expect(codeOf(() => touches.count(10, true))).toBe('conflict')
  })
})

describe('a sweep', () => {
  it('C-6 deletes what is not live and was not touched since the cycle before began', async () => {
    const node = await Node.with(20)
    for (const [cycle, seed] of [
      [4, 0],
      [5, 1],
      [6, 2]
    ] as const) {
      node.touches.begin(cycle)
      node.touches.touch(idOf(seed))
    }

    const result = await node.sweep(6, (arc) => liveOf(10, 11).pageOf(arc))

    const kept = [1, 2, 10, 11].map((seed) => node.store.has(idOf(seed)))
    expect(kept).toEqual([true, true, true, true])
    expect(node.held()).toBe(4)
    expect(result).toEqual({ checked: 20, deleted: 16, deletedBytes: 1_600 })
  })

  it('C-6 does not delete what is touched while the page is on its way', async () => {
    const node = await Node.with(20)
    node.touches.begin(3)

    await node.sweep(3, (arc) => {
      for (let seed = 0; seed < 20; seed++) node.touches.touch(idOf(seed))
      return liveOf().pageOf(arc)
    })

    expect(node.held()).toBe(20)
  })

  it('C-7 deletes nothing by a page that is not what it says', async () => {
    const good = liveOf(1).pageOf(0)
    const digests = Uint8Array.from([...good.digests.slice(0, -1), 0])
    const wrong: LivePage[] = [
      { ...good, digests },
      { ...good, digests: new Uint8Array(0) },
      { ...good, hash: new Uint8Array(32) },
      { ...good, toArc: 0 }
    ]
    for (const page of wrong) {
      const node = await Node.with(20)
      node.touches.begin(3)

      await expect(node.sweep(3, () => page)).rejects.toMatchObject({ code: 'invalid-data' })

      expect(node.held()).toBe(20)
    }
  })

  it('C-7 asks for as many pages as it takes, and for each of its arcs by one', async () => {
    const node = await Node.with(60)
    node.touches.begin(3)
    const seeds = Array.from({ length: 30 }, (_, seed) => seed)
    const asked: number[] = []
    const pageOf = (fromArc: number): LivePage => {
      asked.push(fromArc)
      const own = seeds.filter((seed) => {
        const arc = arcOf(idOf(seed), ARC_COUNT)
        return arc >= fromArc && arc < fromArc + 3
      })
      return { ...liveOf(...own).pageOf(0), toArc: fromArc + 3 }
    }

    const { deleted } = await node.sweep(3, pageOf)

    expect(deleted).toBe(30)
    expect(seeds.every((seed) => node.store.has(idOf(seed)))).toBe(true)
    expect(asked.length).toBeGreaterThan(3)
  })

  it('no longer misses what nothing refers to', async () => {
    const node = await Node.with(0)
    node.touches.begin(3)
    node.missing.add(idOf(1)).add(idOf(2))

    await node.sweep(3, (arc) => liveOf(2).pageOf(arc))

    expect([...node.missing]).toEqual([idOf(2)])
  })
})

describe('the live set', () => {
  it('comes in pages of whole arcs, each block once, sorted', () => {
    const live = new LiveSet({ arcCount: ARC_COUNT })
    for (let round = 0; round < 3; round++) {
      for (let seed = 0; seed < 500; seed++) live.add(idOf(seed))
    }

    const page = live.pageOf(4)

    const wanted = Array.from({ length: 500 }, (_, seed) => idOf(seed))
      .filter((id) => arcOf(id, ARC_COUNT) >= 4)
      .map((id) => Buffer.from(shortDigestBytes(id)))
      .toSorted((a, b) => Buffer.compare(a, b))
    expect(page.toArc).toBe(ARC_COUNT)
    expect(Buffer.compare(page.digests, Buffer.concat(wanted))).toBe(0)
    expect(live.pageOf(ARC_COUNT - 1).toArc).toBe(ARC_COUNT)
  })

  it('C-1 is refused beyond the bound of a page, and with other wrong counts', () => {
    const digests = new Uint8Array(16 * (LIVE_PAGE_COUNT_MAX + 1))
    const page = {
      kind: 'live',
      toArc: 1,
      digests,
      hash: hash('sha256', digests, 'buffer')
    } as const

    expect(codeOf(() => decodeCollectReply(encodeCollectReply(page)))).toBe('invalid-data')
    expect(codeOf(() => decodeCollectRequest(new Uint8Array(0)))).toBe('invalid-data')
    expect(LIVE_PAGE_COUNT_MAX * 16 + 4_096).toBeLessThan(MIB)
  })
})

describe('a mover', () => {
  it('B-11 keeps a copy that somebody counts on since it asked, and asks again', async () => {
    await using mesh = await FileMesh.start(6)
    mesh.setOwners([0, 1, 2])
    const { cid } = await mesh.run(mesh.peer(0).files.put(contentOf(1)))
    const id = cid as BlockId
    await mesh.clock.advance(5_000)
    const { network, self, disk } = mesh.peer(0)
    const client = new BlockClient({ network: mesh.peer(5).network, clock: mesh.clock })
    const request = network.request.bind(network)
    /** Whether the copy was still there at each last question. */
    const wasHeld: boolean[] = []
    network.request = async (peer, protocol, body, options) => {
      const sent = body instanceof Uint8Array ? body : concatBytes(body)
      const asked = protocol === BLOCK_PROTOCOL ? decodeBlockRequest(sent) : undefined
      const isLast = asked?.kind === 'have' && asked.isPeek === undefined
      if (isLast && wasHeld.push(disk.blocks.has(id)) === 1) {
        const answer = await request(peer, protocol, sent, options)
        expect((await client.have(self, [id])).held.has(id)).toBe(true)
        return answer
      }
      return await request(peer, protocol, sent, options)
    }

    mesh.setOwners([3, 4, 5])
    await mesh.clock.advance(60_000)

    expect(wasHeld.slice(0, 6)).toEqual([true, true, true, true, true, true])
    expect([0, 1, 2, 3, 4, 5].map((index) => mesh.peer(index).disk.blocks.has(id))).toEqual([
      false,
      false,
      false,
      true,
      true,
      true
    ])
  })
})
