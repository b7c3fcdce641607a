// The rules of protocols/block and protocols/node: what the codecs refuse, and one server of blocks.

import { describe, expect, it } from 'vitest'
import { concatBytes, utf8 } from '../../src/base/bytes.ts'
import { isMeshError } from '../../src/base/errors.ts'
import { peerId, type BlockId, type PeerId } from '../../src/base/ids.ts'
import { BLOCK_BYTES_MAX, BLOCK_FRAME_BYTES_MAX } from '../../src/base/limits.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createRandom } from '../../src/base/random.ts'
import { GIB } from '../../src/base/units.ts'
import { BlockClient } from '../../src/blocks/block-client.ts'
import { createBlockServer } from '../../src/blocks/block-server.ts'
import { Touches } from '../../src/blocks/touches.ts'
import { planArc, type OwnerAnswer } from '../../src/core/block/arc-plan.ts'
import { CODEC_RAW } from '../../src/core/block/block-id.ts'
import { nextLayout } from '../../src/core/ring/next-layout.ts'
import type { MeshView } from '../../src/mesh/view.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../../src/net/memory/memory-world.ts'
import { hashBlock } from '../../src/storage/block-hash.ts'
import { MemoryBlockStore } from '../../src/storage/memory/memory-block-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import {
  BLOCK_ID_COUNT_MAX,
  decodeBlockReply,
  decodeBlockRequest,
  encodeBlockReply,
  encodeBlockRequest,
  type BlockReply,
  type BlockRequest
} from '../../src/wire/block.ts'
import { frameBytes } from '../../src/wire/frame.ts'
import {
  decodeNodeRequest,
  decodeNodeStatus,
  encodeNodeRequest,
  encodeNodeStatus
} from '../../src/wire/node.ts'
import { codeOf } from './codecs.ts'
import { bytesOf, readVectors } from './vector-files.ts'

const BYTES = utf8('atoll')
const ID = hashBlock(BYTES, CODEC_RAW)
const SELF = peerId('self')

const idOf = (index: number): BlockId => hashBlock(Uint8Array.of(index, index >> 8), CODEC_RAW)
const ids = (count: number): BlockId[] => Array.from({ length: count }, (_, index) => idOf(index))

describe('block messages', () => {
  it('B-1 a body whose header is cut off is refused, at every length', () => {
    const header = concatBytes(encodeBlockRequest({ kind: 'get', id: ID }))

    for (let length = 0; length < header.length; length++) {
      expect(codeOf(() => decodeBlockRequest(header.subarray(0, length)))).toBe('invalid-data')
    }
    expect(decodeBlockRequest(concatBytes([header, BYTES]))).toEqual({ kind: 'get', id: ID })
  })

  it('B-2 an id of another kind is refused as an argument', () => {
    const wrong = readVectors('block').refused.filter(({ name }) => name.startsWith('get of'))
    expect(wrong.length).toBeGreaterThan(4)
    for (const vector of wrong) {
      expect(codeOf(() => decodeBlockRequest(bytesOf(vector)))).toBe('invalid-argument')
    }
  })

  it.each(['have', 'delete'] as const)('B-3 %s takes 1 to 1024 ids', (kind) => {
    const codeFor = (count: number): string =>
      codeOf(() => decodeBlockRequest(concatBytes(encodeBlockRequest({ kind, ids: ids(count) }))))

    expect([0, 1, BLOCK_ID_COUNT_MAX, BLOCK_ID_COUNT_MAX + 1].map(codeFor)).toEqual([
      'invalid-data',
      'none',
      'none',
      'invalid-data'
    ])
  })

  it('B-4 an answer to another number of ids is refused', () => {
    const answer = concatBytes(encodeBlockReply({ held: ids(9).map(() => true), layoutHash: '' }))

    for (const asked of [0, 1, 8, 17, 1_024]) {
      expect(codeOf(() => decodeBlockReply(answer, asked))).toBe('invalid-data')
    }
    expect(decodeBlockReply(answer, 9).held).toHaveLength(9)
  })

  it('the largest block fits a frame with everything around it', () => {
    const bytes = new Uint8Array(BLOCK_BYTES_MAX)
    const hintFor = peerId('p'.repeat(128))

    const body = concatBytes(encodeBlockRequest({ kind: 'put', id: ID, bytes, hintFor }))

    expect(frameBytes({ kind: 'request', id: 1, timeoutMs: 1, body })).toBeLessThanOrEqual(
      BLOCK_FRAME_BYTES_MAX
    )
    expect(decodeBlockRequest(body)).toMatchObject({ id: ID, hintFor })
  })
})

type Server = {
  store: MemoryBlockStore
  damaged: BlockId[]
  setLayoutHash: (hash: string) => void
  ask: (request: BlockRequest) => Promise<BlockReply>
}

async function server(): Promise<Server> {
  const store = new MemoryBlockStore({}, { capacityBytes: GIB, arcCount: 8 })
  await store.open()
  const damaged: BlockId[] = []
  const layout = nextLayout(null, [], { arcCount: 8, replication: 3 })
  let hash = 'one'
  const mesh: MeshView = {
    self: SELF,
    layout: () => ({ version: 1, hash, layout }),
    earlierLayouts: () => [],
    isReachable: () => true,
    others: () => [],
    onLayoutChanged: () => () => {},
    onReachable: () => () => {}
  }
  const handler = createBlockServer({
    store,
    mesh,
    touches: new Touches(),
    onReceived: () => {},
    onDamaged: (id) => damaged.push(id)
  })
  return {
    store,
    damaged,
    setLayoutHash: (next) => {
      hash = next
    },
    ask: async (request) => {
      const body = concatBytes(encodeBlockRequest(request))
      const context = { peer: peerId('asker'), signal: new AbortController().signal }
      const answer = await handler(body, context)
      const asked = request.kind === 'have' ? request.ids.length : 0
      return decodeBlockReply(answer instanceof Uint8Array ? answer : concatBytes(answer), asked)
    }
  }
}

const put = (bytes: Uint8Array): BlockRequest => ({
  kind: 'put',
  id: ID,
  bytes,
  hintFor: undefined
})

describe('a server of blocks', () => {
  it('B-5 an asker takes no bytes that are not the block', async () => {
    const clock = new VirtualClock()
    const world = new MemoryWorld({ clock, random: createRandom(1) })
    const make = (name: string): MemoryNetwork =>
      new MemoryNetwork(
        { world, log: silentLogger },
        { peerId: peerId(name), address: `/memory/${name}`, mesh: 'test' }
      )
    const [asker, liar] = [make('asker'), make('liar')]
    for (const network of [asker, liar]) {
      network.handle('/atoll/block/1.0.0', { frameBytesMax: 9_999, servedPerPeerMax: 9 }, () =>
        encodeBlockReply({ layoutHash: '', payload: utf8('other') })
      )
      await network.start()
    }
    asker.learn(liar.peerId, liar.addresses())
    const client = new BlockClient({ network: asker, clock })

    const outcome = await clock.run(client.get(liar.peerId, ID)).catch((error: unknown) => error)

    expect(isMeshError(outcome, 'corrupt')).toBe(true)
  })

  it('B-6 stores what matches its id, twice alike, and refuses what does not', async () => {
    const { store, ask } = await server()

    await expect(ask(put(utf8('other')))).rejects.toMatchObject({ code: 'invalid-data' })
    expect(store.has(ID)).toBe(false)
    await ask(put(BYTES))
    await ask(put(BYTES))

    expect((await ask({ kind: 'get', id: ID })).payload).toEqual(BYTES)
    expect((await ask({ kind: 'have', ids: [idOf(1), ID] })).held).toEqual([false, true])
    await ask({ kind: 'delete', ids: [ID, ID] })
    await expect(ask({ kind: 'get', id: ID })).rejects.toMatchObject({ code: 'not-found' })
  })

  it('B-6 answers a put only when the disk has taken it', async () => {
    const { store, ask } = await server()

    store.faults.failNextSync()

    await expect(ask(put(BYTES))).rejects.toMatchObject({ code: 'storage-failed' })
  })

  it('B-7 says with every answer which layout it acts on', async () => {
    const { ask, setLayoutHash } = await server()
    const requests: BlockRequest[] = [
      put(BYTES),
      { kind: 'have', ids: [ID] },
      { kind: 'get', id: ID },
      { kind: 'inspect', id: ID },
      { kind: 'delete', ids: [ID] }
    ]

    for (const [index, request] of requests.entries()) {
      setLayoutHash(`layout ${index}`)
      expect((await ask(request)).layoutHash).toBe(`layout ${index}`)
    }
  })

  it('B-9 looks at its own copy when it is told that it may be bad', async () => {
    const { store, damaged, ask } = await server()
    await ask(put(BYTES))

    await ask({ kind: 'inspect', id: ID })
    await ask({ kind: 'inspect', id: idOf(7) })
    expect(damaged).toEqual([])
    store.faults.corrupt(ID)
    await ask({ kind: 'inspect', id: ID })

    expect(damaged).toEqual([ID])
  })
})

describe('a mover', () => {
  const [pa, pb, pc] = [peerId('pa'), peerId('pb'), peerId('pc')]
  const has: OwnerAnswer = { reached: true, sameLayout: true, held: new Set([ID]) }
  const drops = (answers: readonly (readonly [PeerId, OwnerAnswer])[], self = SELF): BlockId[] =>
    planArc({
      self,
      owners: [pa, pb, pc],
      holding: [ID],
      answers: new Map(answers),
      round: 9
    }).drops

  it('B-8 drops a copy when every owner has the block under the same layout, and never else', () => {
    const lacking: readonly OwnerAnswer[] = [
      { reached: false },
      { reached: true, sameLayout: true, held: new Set() },
      { ...has, sameLayout: false }
    ]

    expect(drops([pa, pb, pc].map((owner) => [owner, has] as const))).toEqual([ID])
    for (const answer of lacking) {
      for (const odd of [pa, pb, pc]) {
        const answers = [pa, pb, pc].map((owner) => [owner, owner === odd ? answer : has] as const)
        expect(drops(answers)).toEqual([])
      }
    }
    expect(drops([])).toEqual([])
    // An owner keeps its copy.
    expect(drops([[pb, has] as const, [pc, has] as const], pa)).toEqual([])
  })
})

describe('node messages', () => {
  it('N-1 an operation that is not known is refused', () => {
    for (const field of [3, 6, 15]) {
      expect(codeOf(() => decodeNodeRequest(Uint8Array.of((field << 3) | 2, 0)))).toBe(
        'invalid-data'
      )
    }
    expect(codeOf(() => decodeNodeRequest(new Uint8Array()))).toBe('invalid-data')
  })

  it('N-2 a counter beyond 2^53 - 1 is refused', () => {
    // Each field in turn, as a varint of 2^53.
    for (const field of [1, 2, 3, 4, 6, 7]) {
      const bytes = Uint8Array.of(field << 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10)
      expect(codeOf(() => decodeNodeStatus(bytes))).toBe('invalid-data')
    }
  })

  it('N-3 a rate of 0 is none', () => {
    const bytes = encodeNodeRequest({ kind: 'scrub', bytesPerSecond: 0 })

    expect(decodeNodeRequest(bytes)).toEqual({ kind: 'scrub', bytesPerSecond: undefined })
  })

  it('N-4 texts of a status are cut', () => {
    const zero = { usedBytes: 0, blockCount: 0, underReplicated: 0, missing: 0, pendingMoves: 0 }
    const long = { ...zero, layoutVersion: 0, layoutHash: 'h'.repeat(500), agent: 'a'.repeat(500) }

    const status = decodeNodeStatus(encodeNodeStatus(long))

    expect([status.layoutHash.length, status.agent.length]).toEqual([128, 64])
  })
})
