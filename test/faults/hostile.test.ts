// Peers that send garbage or lie: nothing crashes, nothing is believed, and files stay readable.

import type { Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { assert } from '../../src/base/assert.ts'
import { equalBytes } from '../../src/base/bytes.ts'
import { sleep } from '../../src/base/clock.ts'
import { peerId, sessionId, storeId } from '../../src/base/ids.ts'
import { BLOCK_FRAME_BYTES_MAX, CONTROL_FRAME_BYTES_MAX } from '../../src/base/limits.ts'
import { createRandom } from '../../src/base/random.ts'
import { Libp2pFrameStream } from '../../src/net/libp2p/frame-stream.ts'
import { createHost, type Host } from '../../src/net/libp2p/host.ts'
import { keyOfSeed } from '../../src/net/libp2p/key.ts'
import type { Node } from '../../src/node/node.ts'
import { systemClock } from '../../src/node/system-clock.ts'
import { createTestMesh } from '../../src/testing/index.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { encodeFrame, FrameDecoder, type Frame } from '../../src/wire/frame.ts'
import { encodeHello } from '../../src/wire/hello.ts'
import { encodeMembershipMessage } from '../../src/wire/membership.ts'
import { blockWhere, bytesOf, collect, nodeAt, ownersIn, simulatedMesh } from './simulated.ts'

const HELLO_PROTOCOL = '/atoll/hello/1.0.0'
const MEMBERSHIP_PROTOCOL = '/atoll/membership/1.0.0'
const BLOCK_PROTOCOL = '/atoll/block/1.0.0'
const NODE_PROTOCOL = '/atoll/node/1.0.0'
const PROTOCOLS = [HELLO_PROTOCOL, MEMBERSHIP_PROTOCOL, BLOCK_PROTOCOL, NODE_PROTOCOL]
const LIMIT_MS = 15_000

/** A libp2p host of its own that speaks to one node, byte by byte. */
class HostilePeer implements AsyncDisposable {
  readonly #host: Host
  readonly #target: string

  private constructor(host: Host, target: string) {
    this.#host = host
    this.#target = target
  }

  static async create(target: Node): Promise<HostilePeer> {
    const privateKey = await keyOfSeed(randomBytes(32))
    const host = await createHost({ privateKey, listen: [], mdns: false })
    await host.start()
    return new HostilePeer(host, target.addresses[0] as string)
  }

  get peerId(): string {
    return this.#host.peerId.toString()
  }

  async open(protocol: string): Promise<Stream> {
    const connection = await this.#host.dial(multiaddr(this.#target))
    return await connection.newStream(protocol)
  }

  /** Sends bytes on a new stream and waits until the node has broken it off. */
  async isBrokenOff(protocol: string, bytes: Uint8Array): Promise<boolean> {
    const stream = await this.open(protocol)
    const closed = new Promise<true>((resolve) => {
      stream.addEventListener('close', () => resolve(true))
    })
    stream.send(bytes)
    return await Promise.race([closed, sleep(systemClock, LIMIT_MS).then(() => false)])
  }

  /** Sends one request and gives its answer. */
  async ask(protocol: string, body: Uint8Array): Promise<Frame> {
    const stream = await this.open(protocol)
    const decoder = new FrameDecoder(BLOCK_FRAME_BYTES_MAX)
    const answer = new Promise<Frame>((resolve, reject) => {
      stream.addEventListener('message', ({ data }) => {
        const [frame] = decoder.push(data instanceof Uint8Array ? data : data.subarray())
        if (frame !== undefined) resolve(frame)
      })
      stream.addEventListener('close', () => reject(new Error('The stream was closed')))
    })
    stream.send(encodeFrame({ kind: 'request', id: 1, timeoutMs: 10_000, body }))
    return await answer.finally(() => stream.abort(new Error('done')))
  }

  /** Makes the hello exchange as a member of the mesh would. */
  async becomeAdmitted(node: Node): Promise<void> {
    const hello = encodeHello({
      versionMin: 1,
      versionMax: 1,
      meshId: node.meshId,
      storeId: storeId(randomBytes(16).toString('hex')),
      session: sessionId(randomBytes(8).toString('hex')),
      incarnation: 1,
      signedGenesis: undefined,
      agent: 'hostile'
    })
    expect((await this.ask(HELLO_PROTOCOL, hello)).kind).toBe('response')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host.stop()
  }
}

function lengthPrefix(length: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, length)
  return bytes
}

describe('hostile frames on real sockets', () => {
  it.each([
    { who: 'a stranger', admitted: false },
    { who: 'an admitted peer', admitted: true }
  ])(
    'garbage, truncated, oversized and slow frames of $who on every protocol: the node still serves',
    async ({ admitted }) => {
      await using mesh = await createTestMesh({ peers: 2, transport: 'tcp' })
      const node = mesh.nodes[0] as Node
      const failures: Error[] = []
      node.on('failed', (error) => failures.push(error))
      const bytes = bytesOf(1_500_000, 1)
      const { cid } = await mesh.nodes[1]!.files.put(bytes)
      const random = createRandom(1)
      const garbage = (length: number): Uint8Array =>
        Uint8Array.from({ length }, () => random.below(256))
      await using hostile = await HostilePeer.create(node)
      if (admitted) await hostile.becomeAdmitted(node)

      for (const protocol of PROTOCOLS) {
        // Oversized: refused by its length alone, before its content comes.
        const limit = protocol === BLOCK_PROTOCOL ? BLOCK_FRAME_BYTES_MAX : CONTROL_FRAME_BYTES_MAX
        for (const length of [limit + 1, 0xffff_ffff]) {
          expect(await hostile.isBrokenOff(protocol, lengthPrefix(length)), protocol).toBe(true)
        }
        // Frames that can't be: too short, of an unknown kind, an answer where requests are due.
        for (const content of [
          [0, 0, 0, 1],
          [99, 0, 0, 0, 1],
          [2, 0, 0, 0, 1],
          [1, 0, 0, 0, 1]
        ]) {
          const frame = Buffer.concat([lengthPrefix(content.length), Uint8Array.from(content)])
          expect(await hostile.isBrokenOff(protocol, frame), protocol).toBe(true)
        }
        // Bodies that aren't of the protocol: an answer with a code, and the stream goes on.
        for (let round = 0; round < 20; round++) {
          const { kind } = await hostile.ask(protocol, garbage(random.below(2_000)))
          expect(kind).toBe('error')
        }
        // Pure noise, cut off at any point.
        for (let round = 0; round < 10; round++) {
          const stream = await hostile.open(protocol)
          stream.send(garbage(1 + random.below(5_000)))
          stream.abort(new Error('cut off'))
        }
        // Slow: frames that begin and go no further, on as many streams as are served.
        for (let round = 0; round < 4; round++) {
          const stream = await hostile.open(protocol)
          stream.send(Buffer.concat([lengthPrefix(1_000), garbage(10 + round)]))
        }
        const got = await collect(node.files.get(cid))
        expect(equalBytes(got, bytes)).toBe(true)
      }

      expect(failures).toEqual([])
      expect((await node.status()).members).toHaveLength(2)
      expect(node.mesh.members().map(({ record }) => record.peerId)).not.toContain(hostile.peerId)
      const { cid: after } = await node.files.put(bytesOf(300_000, 2))
      expect(await collect(mesh.nodes[1]!.files.get(after))).toHaveLength(300_000)
    }
  )

  it('a stranger is served the hello protocol and nothing else', async () => {
    await using mesh = await createTestMesh({ peers: 1, transport: 'tcp' })
    await using hostile = await HostilePeer.create(mesh.nodes[0] as Node)

    for (const protocol of [MEMBERSHIP_PROTOCOL, BLOCK_PROTOCOL, NODE_PROTOCOL]) {
      expect(await hostile.ask(protocol, new Uint8Array(0))).toMatchObject({
        kind: 'error',
        code: 'not-admitted'
      })
    }
  })

  it('a member record with lying capacity is left out: 0, 1e18, negative', async () => {
    await using mesh = await createTestMesh({ peers: 1, transport: 'tcp' })
    const node = mesh.nodes[0] as Node
    await using hostile = await HostilePeer.create(node)
    await hostile.becomeAdmitted(node)
    const before = node.mesh.layout().hash
    const tell = async (capacityBytes: number): Promise<Frame> => {
      const record = {
        ...node.mesh.selfRecord(),
        peerId: peerId(hostile.peerId),
        name: 'liar',
        capacityBytes
      }
      const update = { record, state: 'alive', from: record.peerId } as const
      const message = { kind: 'gossip', updates: [update] } as const
      return await hostile.ask(MEMBERSHIP_PROTOCOL, encodeMembershipMessage(message))
    }

    // The last is what a negative number looks like in 64 bits.
    for (const capacityBytes of [0, 1e18, 2 ** 64 - 2_048]) {
      expect((await tell(capacityBytes)).kind).toBe('response')
      expect(node.mesh.members()).toHaveLength(1)
    }

    expect(node.mesh.layout().hash).toBe(before)
    expect((await tell(2 ** 30)).kind).toBe('response')
    expect(node.mesh.members()).toHaveLength(2)
  })
})

describe('slow frames', () => {
  const FRAME_TIMEOUT_MS = 30_000

  const slowStream = (): {
    clock: VirtualClock
    receive: (bytes: Uint8Array) => void
    closed: Error[]
  } => {
    const clock = new VirtualClock()
    const closed: Error[] = []
    const events = new EventTarget()
    const stream = Object.assign(events, {
      writeBufferLength: 0,
      send: () => true,
      abort: (error: Error) => closed.push(error)
    })
    const frames = new Libp2pFrameStream(
      { stream: stream as unknown as Stream, clock },
      { frameBytesMax: 10_000 }
    )
    frames.onClose = () => {}
    return {
      clock,
      closed,
      receive: (data) => events.dispatchEvent(Object.assign(new Event('message'), { data }))
    }
  }

  it('a frame that began and is never completed breaks its stream after the frame timeout', async () => {
    const { clock, receive, closed } = slowStream()

    receive(lengthPrefix(100))
    for (let second = 0; second < 29; second++) {
      // A byte a second doesn't buy more time.
      await clock.advance(1_000)
      receive(new Uint8Array(1))
      expect(closed).toEqual([])
    }
    await clock.advance(FRAME_TIMEOUT_MS - 29_000)

    expect(closed).toMatchObject([{ code: 'timeout' }])
  })

  it('a stream that is silent between frames stays open', async () => {
    const { clock, receive, closed } = slowStream()

    receive(encodeFrame({ kind: 'notice', body: new Uint8Array(100) }))
    await clock.advance(10 * FRAME_TIMEOUT_MS)

    expect(closed).toEqual([])
  })
})

describe('a peer that lies about blocks', () => {
  it('serves wrong bytes for a CID: the reader gets the right ones from another, whoever is asked first', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 21 })
    const { id, bytes } = blockWhere((block) => !ownersIn(mesh, block).includes(0))
    await nodeAt(mesh, 1).files.put(bytes)
    await mesh.settle()
    const owners = ownersIn(mesh, id)
    let asked = 0
    for (const liar of owners.slice(0, 2)) {
      const store = mesh.peers[liar]?.store
      assert(store !== undefined, 'the peer runs')
      store.get = () => {
        asked += 1
        return Promise.resolve(bytesOf(500, 9_999))
      }
    }

    for (let round = 0; round < 5; round++) {
      expect(await collect(nodeAt(mesh, 0).files.get(id))).toEqual(bytes)
    }

    expect(asked).toBeGreaterThan(0)
    expect(mesh.peers[0]?.disk.blocks.has(id)).toBe(false)
    const honest = owners[2] as number
    await mesh.kill(honest)
    await expect(collect(nodeAt(mesh, 0).files.get(id))).rejects.toMatchObject({
      code: 'no-quorum'
    })
  })

  it('claims blocks it lacks: the others have them, and the reader asks on', async () => {
    await using mesh = await simulatedMesh({ peers: 4, seed: 22 })
    const { id, bytes } = blockWhere((block) => !ownersIn(mesh, block).includes(0))
    const liar = ownersIn(mesh, id)[0] as number
    const store = mesh.peers[liar]?.store
    assert(store !== undefined, 'the peer runs')
    store.has = () => true

    await nodeAt(mesh, 0).files.put(bytes)
    await mesh.advance(5_000)

    expect(mesh.peers[liar]?.disk.blocks.has(id)).toBe(false)
    for (const index of [0, 1, 2, 3]) {
      if (index === liar) continue
      for (let round = 0; round < 3; round++) {
        expect(await collect(nodeAt(mesh, index).files.get(id))).toEqual(bytes)
      }
    }
    const good = mesh.peers.filter(({ disk }) => disk.blocks.has(id))
    expect(good.length).toBeGreaterThanOrEqual(2)
  })
})
