// The rules of protocols/hello and protocols/genesis, between two nodes on the simulated network.

import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { concatBytes, toHex, utf8 } from '../../src/base/bytes.ts'
import { isMeshError, MeshError } from '../../src/base/errors.ts'
import { meshId, peerId, sessionId, storeId, type MeshId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createRandom } from '../../src/base/random.ts'
import { checkFounding, foundMesh } from '../../src/mesh/genesis.ts'
import { HELLO_PROTOCOL, HelloExchange } from '../../src/mesh/hello.ts'
import { identityFromSeed } from '../../src/mesh/identity.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../../src/net/memory/memory-world.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { decodeSignedGenesis, encodeSignedGenesis } from '../../src/wire/genesis.ts'
import { decodeHello, encodeHello, type Hello } from '../../src/wire/hello.ts'
import { codeOf } from './codecs.ts'
import { bytesOf, readVectors } from './vector-files.ts'

const WORK = '/atoll-test/work/1.0.0'
const IDENTITY = identityFromSeed(new Uint8Array(32))
const FOUNDING = foundMesh(IDENTITY, { createdMs: 0, nonce: new Uint8Array(16) })
const OTHER_MESH = meshId('f'.repeat(64))

type Peer = {
  network: MemoryNetwork
  hello: HelloExchange
  refusal: MeshError | undefined
  /** Who told it that it was evicted. */
  evictedBy: string[]
}

class Pair {
  readonly clock: VirtualClock = new VirtualClock()
  readonly #world = new MemoryWorld({ clock: this.clock, random: createRandom(1) })
  #count = 0

  async peer(mesh: MeshId = FOUNDING.meshId): Promise<Peer> {
    const number = ++this.#count
    const network = new MemoryNetwork(
      { world: this.#world, log: silentLogger },
      { peerId: peerId(`peer${number}`), address: `/memory/${number}`, mesh: 'test' }
    )
    const hello = new HelloExchange({
      network,
      log: silentLogger,
      signedGenesis: FOUNDING.signed,
      refusal: () => peer.refusal,
      onCloned: () => {},
      onEvicted: (by) => peer.evictedBy.push(by),
      self: () => ({
        meshId: mesh,
        storeId: storeId('0'.repeat(32)),
        session: sessionId('0'.repeat(16)),
        incarnation: 1,
        agent: 'test'
      })
    })
    const peer: Peer = { network, hello, refusal: undefined, evictedBy: [] }
    network.handle(WORK, { frameBytesMax: 1_000, servedPerPeerMax: 4 }, (body) => body)
    await network.start()
    return peer
  }

  /** Asks `to` for work. @returns the code of the error, or "served" */
  async ask(from: Peer, to: Peer): Promise<string> {
    return await this.#outcome(from, to, WORK, Uint8Array.of(1))
  }

  /** Says hello with the message given. @returns the answer, or the code of the error */
  async say(from: Peer, to: Peer, hello: Partial<Hello>): Promise<Hello | string> {
    from.network.learn(to.network.peerId, to.network.addresses())
    const body = encodeHello({
      versionMin: 1,
      versionMax: 1,
      meshId: FOUNDING.meshId,
      storeId: storeId('1'.repeat(32)),
      session: sessionId('1'.repeat(16)),
      incarnation: 0,
      signedGenesis: undefined,
      agent: '',
      ...hello
    })
    const work = from.network.request(to.network.peerId, HELLO_PROTOCOL, body, { timeoutMs: 5_000 })
    try {
      return decodeHello(await this.clock.run(work))
    } catch (error) {
      return isMeshError(error) ? error.code : String(error)
    }
  }

  async #outcome(from: Peer, to: Peer, protocol: string, body: Uint8Array): Promise<string> {
    from.network.learn(to.network.peerId, to.network.addresses())
    try {
      await this.clock.run(
        from.network.request(to.network.peerId, protocol, body, { timeoutMs: 5_000 })
      )
      return 'served'
    } catch (error) {
      return isMeshError(error) ? error.code : String(error)
    }
  }
}

describe('hello', () => {
  it('H-1 a peer that is not admitted is served nothing else', async () => {
    const pair = new Pair()
    const [a, b] = [await pair.peer(), await pair.peer()]
    // This one believes everybody, and so says no hello of its own.
    a.network.setAdmission({
      isAdmitted: () => true,
      admit: () => Promise.reject(new MeshError('not-admitted', 'No hello'))
    })

    expect(await pair.ask(a, b)).toBe('not-admitted')
    expect(b.hello.isAdmitted(a.network.peerId)).toBe(false)
  })

  it('H-2 the exchange comes before the first request, and admits both sides', async () => {
    const pair = new Pair()
    const [a, b] = [await pair.peer(), await pair.peer()]

    expect(await pair.ask(a, b)).toBe('served')
    expect(a.hello.isAdmitted(b.network.peerId)).toBe(true)
    expect(b.hello.isAdmitted(a.network.peerId)).toBe(true)
    expect(await pair.ask(b, a)).toBe('served')
  })

  it('H-3 a peer of another mesh is refused, whoever asks', async () => {
    const pair = new Pair()
    const [a, b] = [await pair.peer(), await pair.peer(OTHER_MESH)]

    expect(await pair.ask(a, b)).toBe('wrong-mesh')
    expect(await pair.ask(b, a)).toBe('wrong-mesh')
    expect(await pair.say(a, b, {})).toBe('wrong-mesh')
  })

  it('H-4 a joiner is told the genesis record, and is not admitted', async () => {
    const pair = new Pair()
    const [a, b] = [await pair.peer(), await pair.peer()]

    const answer = await pair.say(a, b, { meshId: undefined })

    expect(answer).toMatchObject({ meshId: FOUNDING.meshId })
    const { signedGenesis } = answer as Hello
    expect(checkFounding(signedGenesis as Uint8Array).meshId).toBe(FOUNDING.meshId)
    expect(b.hello.isAdmitted(a.network.peerId)).toBe(false)
    // A member isn't told what it knows.
    expect(await pair.say(a, b, {})).toMatchObject({ meshId: FOUNDING.meshId })
    expect(((await pair.say(a, b, {})) as Hello).signedGenesis).toBeUndefined()
  })

  it('H-5 a peer without a generation in common is refused', async () => {
    const pair = new Pair()
    const [a, b] = [await pair.peer(), await pair.peer()]

    expect(await pair.say(a, b, { versionMin: 2, versionMax: 9 })).toBe('version-mismatch')
    expect(b.hello.isAdmitted(a.network.peerId)).toBe(false)
    expect(await pair.say(a, b, { versionMin: 1, versionMax: 9 })).toMatchObject({ versionMin: 1 })
    expect(b.hello.isAdmitted(a.network.peerId)).toBe(true)
  })

  it('H-6 a peer that may not come in is refused, and put out when it was in', async () => {
    const pair = new Pair()
    const [a, b] = [await pair.peer(), await pair.peer()]
    b.refusal = new MeshError('evicted', 'Put out')
    expect(await pair.ask(a, b)).toBe('evicted')
    expect([a.evictedBy, b.evictedBy]).toEqual([[b.network.peerId], []])

    b.refusal = undefined
    await pair.clock.advance(1_000)
    expect(await pair.ask(a, b)).toBe('served')

    b.refusal = new MeshError('evicted', 'Put out')
    expect(await pair.ask(a, b)).toBe('evicted')
    expect(b.hello.isAdmitted(a.network.peerId)).toBe(false)
  })
})

describe('genesis', () => {
  const vector = readVectors('genesis').golden.find((golden) => 'meshId' in golden)

  it('G-1 the mesh id is the SHA-256 of the bytes that were signed', () => {
    const bytes = bytesOf(vector as { hex: string })
    const { genesis } = decodeSignedGenesis(bytes)

    expect(checkFounding(bytes).meshId).toBe(createHash('sha256').update(genesis).digest('hex'))
    expect(vector).toMatchObject({ meshId: checkFounding(bytes).meshId })
  })

  it('G-2 a record is refused unless its founder signed it', () => {
    const { genesis, signature } = decodeSignedGenesis(FOUNDING.signed)
    const flipped = Uint8Array.from(signature, (byte, index) => (index === 63 ? byte ^ 1 : byte))
    const stranger = identityFromSeed(new Uint8Array(32).fill(1))
    const forged = stranger.sign(concatBytes([utf8('atoll genesis v1\n'), genesis]))
    const bare = IDENTITY.sign(genesis)

    for (const wrong of [flipped, forged, bare, new Uint8Array(64)]) {
      const signed = encodeSignedGenesis({ genesis, signature: wrong })
      expect(codeOf(() => checkFounding(signed))).toBe('invalid-data')
    }
    const changed = concatBytes([genesis, Uint8Array.of(0xf8, 0x07, 1)])
    const signed = encodeSignedGenesis({ genesis: changed, signature })
    expect(codeOf(() => checkFounding(signed))).toBe('invalid-data')
  })

  it('G-3 a record out of range is refused although it is signed', () => {
    for (const { hex, code } of readVectors('genesis').refused.filter(
      ({ message }) => message === 'Genesis'
    )) {
      const genesis = bytesOf({ hex })
      const signature = IDENTITY.sign(concatBytes([utf8('atoll genesis v1\n'), genesis]))
      expect(codeOf(() => checkFounding(encodeSignedGenesis({ genesis, signature })))).toBe(code)
    }
  })

  it('G-4 a record is kept as it came, with what a newer version put into it', () => {
    const { genesis } = decodeSignedGenesis(FOUNDING.signed)
    const newer = concatBytes([genesis, Uint8Array.of(0xf8, 0x07, 1)])
    const signature = IDENTITY.sign(concatBytes([utf8('atoll genesis v1\n'), newer]))
    const signed = encodeSignedGenesis({ genesis: newer, signature })

    const founding = checkFounding(signed)

    expect(toHex(founding.signed)).toBe(toHex(signed))
    expect(founding.meshId).not.toBe(FOUNDING.meshId)
    expect(founding.genesis).toEqual(FOUNDING.genesis)
  })
})
