// SnapshotServer and SnapshotPuller with each other, over the memory network.

import { describe, expect, it } from 'vitest'
import { equalBytes, utf8 } from '../../src/base/bytes.ts'
import { MeshError } from '../../src/base/errors.ts'
import { peerId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createRandom } from '../../src/base/random.ts'
import { KIB } from '../../src/base/units.ts'
import { MemoryState } from '../../src/core/machine/memory-state.ts'
import type { KeyRange, Pair } from '../../src/core/machine/ordered-state.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../../src/net/memory/memory-world.ts'
import type { MemoryFaults } from '../../src/net/memory/memory-world.ts'
import type { Body, Network } from '../../src/net/network.ts'
import { SnapshotPuller } from '../../src/shard/snapshot-puller.ts'
import type { PulledSnapshot, SnapshotPullerOptions } from '../../src/shard/snapshot-puller.ts'
import { SnapshotServer } from '../../src/shard/snapshot-server.ts'
import type { SnapshotEnd } from '../../src/shard/snapshot-server.ts'
import { MemoryStateStore } from '../../src/storage/memory/memory-state-store.ts'
import type { StateInstall, StateSnapshot } from '../../src/storage/state-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { encodeChunk } from '../../src/wire/shard-snapshot.ts'
import type { SnapshotHandle } from '../../src/wire/shard-snapshot.ts'

const SERVER = peerId('server')
const PULLER = peerId('puller')
const NOTE = utf8('note')

/** What the test does to an answer; the number counts requests from 1. */
type Meddle = (number: number, body: Body) => Body | Promise<Body>

type Rig = {
  clock: VirtualClock
  world: MemoryWorld
  server: SnapshotServer
  serverNetwork: MemoryNetwork
  puller: SnapshotPuller
  installed: Pair[]
  ends: SnapshotEnd[]
  requests: () => number
  offer: (state: StateSnapshot) => Promise<SnapshotHandle>
  pull: (snapshotId: string, signal?: AbortSignal) => Promise<PulledSnapshot>
}

function makeServer(parts: { world: MemoryWorld; meddle: Meddle; ends: SnapshotEnd[] }): {
  network: MemoryNetwork
  server: SnapshotServer
  count: () => number
} {
  const { world, meddle, ends } = parts
  const network = new MemoryNetwork(
    { world, log: silentLogger },
    { peerId: SERVER, address: '/memory/1', mesh: 'test' }
  )
  let count = 0
  const meddled: Pick<Network, 'handle'> = {
    handle: (protocol, options, handler) =>
      network.handle(protocol, options, async (body, context) => {
        count += 1
        const number = count
        return await meddle(number, await handler(body, context))
      })
  }
  const random = createRandom(5)
  const server = new SnapshotServer(
    { network: meddled, clock: world.clock, log: silentLogger, random },
    { onEnd: (end) => ends.push(end), openMax: 2 }
  )
  return { network, server, count: () => count }
}

async function rig(
  options: {
    meddle?: Meddle
    puller?: SnapshotPullerOptions
    faults?: Partial<MemoryFaults>
  } = {}
): Promise<Rig> {
  const clock = new VirtualClock()
  const world = new MemoryWorld({ clock, random: createRandom(3) }, options.faults)
  const ends: SnapshotEnd[] = []
  const meddle = options.meddle ?? ((_, body) => body)
  const { network: serverNetwork, server, count } = makeServer({ world, meddle, ends })
  const network = new MemoryNetwork(
    { world, log: silentLogger },
    { peerId: PULLER, address: '/memory/2', mesh: 'test' }
  )
  network.handle(
    '/atoll/snapshot/1.0.0',
    { frameBytesMax: 2_097_152, servedPerPeerMax: 8 },
    () => new Uint8Array(0)
  )
  await serverNetwork.start()
  await network.start()
  network.learn(SERVER, serverNetwork.addresses())
  const puller = new SnapshotPuller({ network, clock, log: silentLogger }, options.puller)
  const installed: Pair[] = []
  const install: StateInstall = {
    write: async (pairs) => {
      await Promise.resolve()
      installed.push(...pairs)
    },
    finish: () => Promise.resolve(),
    abort: () => Promise.resolve()
  }
  return {
    clock,
    world,
    server,
    serverNetwork,
    puller,
    installed,
    ends,
    requests: count,
    offer: (state) =>
      server.offer({ peer: PULLER, group: 3, generation: 1, open: () => Promise.resolve(state) }),
    pull: (snapshotId, signal = new AbortController().signal) =>
      puller.pull({ peer: SERVER, group: 3, generation: 1, snapshotId, install, signal })
  }
}

class TestSnapshot implements StateSnapshot {
  isOpen = true
  readonly #state: MemoryState

  constructor(pairs: readonly Pair[]) {
    this.#state = new MemoryState()
    for (const { key, value } of pairs) this.#state.put(key, value)
  }

  note(): Uint8Array {
    return NOTE
  }

  close(): void {
    this.isOpen = false
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#state.get(key)
  }

  range(range: KeyRange): Iterable<Pair> {
    if (!this.isOpen) throw new Error('read after close')
    return this.#state.range(range)
  }
}

/** About `count / 5` chunks. */
function makePairs(count: number): Pair[] {
  return Array.from({ length: count }, (_, index) => ({
    key: utf8(`key ${String(index).padStart(4, '0')}`),
    value: new Uint8Array(100 * KIB).fill(index)
  }))
}

function expectPairs(found: readonly Pair[], expected: readonly Pair[]): void {
  expect(found.length).toBe(expected.length)
  const isEqual = (a: Pair, b: Pair | undefined): boolean =>
    b !== undefined && equalBytes(a.key, b.key) && equalBytes(a.value, b.value)
  expect(expected.every((pair, index) => isEqual(pair, found[index]))).toBe(true)
}

async function errorOf(clock: VirtualClock, work: Promise<unknown>): Promise<MeshError> {
  try {
    await clock.run(work)
  } catch (error) {
    expect(error).toBeInstanceOf(MeshError)
    return error as MeshError
  }
  return expect.fail('it succeeded')
}

/** Changes a byte of a value, which the bytes around it don't show. */
function flip(body: Body): Uint8Array {
  const bytes = (body as Uint8Array).slice()
  const at = Math.floor(bytes.length * 0.3)
  bytes[at] = (bytes[at] as number) ^ 1
  return bytes
}

const PAIRS = makePairs(32)
const CHUNKS = 6

describe('a transfer', () => {
  it('S-9 brings all pairs in order, in chunks, with the note', async () => {
    const { clock, installed, offer, pull, requests, ends } = await rig()
    const snapshot = new TestSnapshot(PAIRS)
    const handle = await offer(snapshot)
    expect(handle.note).toEqual(NOTE)
    expect(handle.snapshotId).toMatch(/^[0-9a-f]{16}$/)
    const { pairCount, bytes } = await clock.run(pull(handle.snapshotId))

    expectPairs(installed, PAIRS)
    expect(pairCount).toBe(32)
    expect(bytes).toBeGreaterThan(32 * 100 * KIB)
    expect(requests()).toBe(CHUNKS)
    expect(ends).toEqual([])
    await clock.advance(10_000)
    expect(ends).toEqual([
      {
        peer: PULLER,
        group: 3,
        generation: 1,
        snapshotId: handle.snapshotId,
        error: undefined
      }
    ])
    expect(snapshot.isOpen).toBe(false)
  })

  it('of nothing, of one pair and of empty values works', async () => {
    const empty = utf8('')
    for (const pairs of [
      [],
      [{ key: utf8('a'), value: empty }],
      [
        { key: utf8('a'), value: empty },
        { key: utf8('a\0'), value: utf8('b') }
      ]
    ]) {
      const { clock, installed, offer, pull } = await rig()
      const { snapshotId } = await offer(new TestSnapshot(pairs))
      await clock.run(pull(snapshotId))
      expectPairs(installed, pairs)
    }
  })

  it('goes no faster than it may', async () => {
    const { clock, offer, pull } = await rig({ puller: { bytesPerSecond: 512 * KIB } })
    const { snapshotId } = await offer(new TestSnapshot(PAIRS))
    await clock.run(pull(snapshotId))
    // 3.1 MiB at half a MiB a second; the last chunk isn't waited for.
    expect(clock.monotonicMs()).toBeGreaterThan(5_000)
    expect(clock.monotonicMs()).toBeLessThan(7_000)
  })

  it('many at once share the rate, and wait for each other', async () => {
    const options = { bytesPerSecond: 512 * KIB, pullsMax: 1 }
    const { clock, offer, pull, installed } = await rig({ puller: options })
    const { snapshotId } = await offer(new TestSnapshot(PAIRS))
    await clock.run(Promise.all([pull(snapshotId), pull(snapshotId)]))
    expectPairs(installed, [...PAIRS, ...PAIRS])
    expect(clock.monotonicMs()).toBeGreaterThan(11_000)
  })
})

describe('between two stores', () => {
  it('S-9 the state that was there when it was offered arrives, whatever is put meanwhile', async () => {
    const { clock, world, server, puller } = await rig({
      meddle: (number, body) => {
        if (number === 2) world.disconnect(SERVER, PULLER)
        from.put(utf8(`key 0000 ${number}`), utf8('later'))
        from.delete(utf8('key 0031'))
        from.commit()
        return body
      }
    })
    const [first, second] = [new MemoryStateStore({ clock }), new MemoryStateStore({ clock })]
    await clock.run(Promise.all([first.open(), second.open()]))
    const [from, to] = [first.group(3), second.group(3)]
    for (const { key, value } of PAIRS) from.put(key, value)
    from.setNote(NOTE)
    from.commit()
    to.put(utf8('old'), utf8('old'))
    to.commit()

    const handle = await clock.run(
      server.offer({ peer: PULLER, group: 3, generation: 1, open: () => from.snapshot() })
    )
    const install = await clock.run(to.install())
    const { snapshotId } = handle
    const { signal } = new AbortController()
    const pull = { peer: SERVER, group: 3, generation: 1, snapshotId, install, signal }
    await clock.run(puller.pull(pull))
    await clock.run(install.finish(handle.note))

    expectPairs([...to.range({})], PAIRS)
    expect(to.note()).toEqual(NOTE)
    expect(from.get(utf8('key 0031'))).toBeUndefined()
    server.stop()
    await clock.run(Promise.all([first.close(), second.close()]))
  })
})

describe('S-10 a broken connection', () => {
  for (let chunk = 1; chunk <= CHUNKS; chunk++) {
    it(`at chunk ${chunk} is gone on from behind the last key`, async () => {
      const parts = await rig({
        meddle: (number, body) => {
          if (number === chunk) parts.world.disconnect(SERVER, PULLER)
          return body
        }
      })
      const { clock, installed, offer, pull, requests, ends } = parts
      const { snapshotId } = await offer(new TestSnapshot(PAIRS))
      await clock.run(pull(snapshotId))

      expectPairs(installed, PAIRS)
      expect(requests()).toBe(CHUNKS + 1)
      await clock.advance(10_000)
      expect(ends.map(({ error }) => error)).toEqual([undefined])
    })
  }

  it('lost and repeated frames are as good as a slow answer', async () => {
    const faults = { lossPerMille: 300, duplicatePerMille: 300 }
    const { clock, installed, offer, pull } = await rig({
      faults,
      puller: { chunkTimeoutMs: 1_000 }
    })
    const { snapshotId } = await offer(new TestSnapshot(PAIRS))
    await clock.run(pull(snapshotId))
    expectPairs(installed, PAIRS)
  })

  it('that stays broken ends the transfer, and at the server too', async () => {
    const parts = await rig({
      meddle: (number, body) => {
        if (number === 2) {
          parts.world.block(SERVER, PULLER)
          parts.world.block(PULLER, SERVER)
        }
        return body
      }
    })
    const { clock, offer, pull, ends } = parts
    const snapshot = new TestSnapshot(PAIRS)
    const { snapshotId } = await offer(snapshot)
    const error = await errorOf(clock, pull(snapshotId))

    expect(error.code).toBe('unreachable')
    expect(error.message).toMatch(/group 3/)
    expect(clock.monotonicMs()).toBeLessThan(60_000)
    await clock.advance(60_000)
    expect(ends.map((end) => end.error?.code)).toEqual(['timeout'])
    expect(snapshot.isOpen).toBe(false)
  })

  it('to a server that has started anew fails clearly', async () => {
    const parts = await rig({
      meddle: async (number, body) => {
        if (number !== 3) return body
        await parts.serverNetwork.stop()
        const again = makeServer({ world: parts.world, meddle: (_, same) => same, ends: [] })
        await again.network.start()
        return body
      }
    })
    const { clock, offer, pull } = parts
    const { snapshotId } = await offer(new TestSnapshot(PAIRS))
    const error = await errorOf(clock, pull(snapshotId))

    expect(error.code).toBe('not-found')
    expect(error.message).toMatch(/does not offer it any more/)
  })
})

describe('S-11 a chunk', () => {
  for (let chunk = 1; chunk <= CHUNKS; chunk++) {
    it(`${chunk} that is damaged once is asked for again`, async () => {
      const { clock, installed, offer, pull, requests } = await rig({
        meddle: (number, body) => (number === chunk ? flip(body) : body)
      })
      const { snapshotId } = await offer(new TestSnapshot(PAIRS))
      await clock.run(pull(snapshotId))
      expectPairs(installed, PAIRS)
      expect(requests()).toBe(CHUNKS + 1)
    })
  }

  it('that is damaged twice fails the transfer, and nothing of it is written', async () => {
    const { clock, installed, offer, pull, requests } = await rig({
      meddle: (number, body) => (number >= 3 ? flip(body) : body)
    })
    const { snapshotId } = await offer(new TestSnapshot(PAIRS))
    const error = await errorOf(clock, pull(snapshotId))

    expect(error.code).toBe('corrupt')
    expectPairs(installed, PAIRS.slice(0, installed.length))
    expect(installed.length).toBe(12)
    expect(requests()).toBe(4)
  })

  it.each([
    ['goes back', ['key 0000', 'key 0001']],
    ['is out of order', ['x', 'w']],
    ['has a key twice', ['x', 'x']]
  ])('that %s fails the transfer', async (_, keys) => {
    const wrong = encodeChunk({
      pairs: keys.map((key) => ({ key: utf8(key), value: utf8('') })),
      isLast: true
    })
    const { clock, installed, offer, pull } = await rig({
      meddle: (number, body) => (number > 1 ? wrong : body)
    })
    const { snapshotId } = await offer(new TestSnapshot(PAIRS))
    const error = await errorOf(clock, pull(snapshotId))

    expect(error.code).toBe('corrupt')
    expect(installed.length).toBe(6)
  })
})

describe('the one who fetches', () => {
  it('may give up at any time', async () => {
    const giveUp = new AbortController()
    const { clock, offer, pull, ends, installed } = await rig({
      meddle: (number, body) => {
        if (number === 3) giveUp.abort(new MeshError('aborted', 'enough'))
        return body
      }
    })
    const snapshot = new TestSnapshot(PAIRS)
    const { snapshotId } = await offer(snapshot)
    const error = await errorOf(clock, pull(snapshotId, giveUp.signal))

    expect(error.message).toBe('enough')
    expect(installed.length).toBe(12)
    await clock.advance(60_000)
    expect(ends).toHaveLength(1)
    expect(snapshot.isOpen).toBe(false)
  })

  it('is told what the store says', async () => {
    const { clock, offer, puller } = await rig()
    const { snapshotId } = await offer(new TestSnapshot(PAIRS))
    const install: StateInstall = {
      write: () => Promise.reject(new MeshError('disk-full', 'full')),
      finish: () => Promise.resolve(),
      abort: () => Promise.resolve()
    }
    const { signal } = new AbortController()
    const pull = puller.pull({ peer: SERVER, group: 3, generation: 1, snapshotId, install, signal })
    expect((await errorOf(clock, pull)).code).toBe('disk-full')
  })

  it('gets nothing that was offered to another, or of another group', async () => {
    const { clock, server, pull } = await rig()
    const open = () => Promise.resolve(new TestSnapshot(PAIRS))
    const other = peerId('other')
    const offers = [
      { peer: other, group: 3, generation: 1, open },
      { peer: PULLER, group: 4, generation: 1, open }
    ]
    for (const offer of offers) {
      const { snapshotId } = await server.offer(offer)
      expect((await errorOf(clock, pull(snapshotId))).code).toBe('not-found')
    }
  })
})

describe('the server', () => {
  it('opens no more than it may, and has room again when one was fetched', async () => {
    const { clock, server, pull } = await rig()
    const offer = (group: number) => {
      const open = () => Promise.resolve(new TestSnapshot(PAIRS))
      return server.offer({ peer: PULLER, group, generation: 1, open })
    }
    const { snapshotId } = await offer(3)
    await offer(4)
    expect((await errorOf(clock, offer(5))).code).toBe('overloaded')
    await clock.run(pull(snapshotId))
    await offer(5)
    expect(server.openCount).toBe(3)
    // In place of one that is there.
    await offer(4)
    expect(server.openCount).toBe(3)
  })

  it('keeps the one of two that was opened last', async () => {
    const { clock, server } = await rig()
    const snapshots = [new TestSnapshot(PAIRS), new TestSnapshot(PAIRS)]
    const offers = snapshots.map((snapshot) =>
      server.offer({ peer: PULLER, group: 3, generation: 1, open: () => Promise.resolve(snapshot) })
    )
    await clock.run(Promise.all(offers))
    expect(server.openCount).toBe(1)
    expect(snapshots.map(({ isOpen }) => isOpen)).toEqual([false, true])
  })

  it('replaces what it offered before, and tells nothing of that', async () => {
    const { clock, offer, pull, ends, installed, server } = await rig()
    const first = new TestSnapshot(PAIRS)
    const { snapshotId } = await offer(first)
    const second = await offer(new TestSnapshot(PAIRS.slice(0, 3)))
    expect(first.isOpen).toBe(false)
    expect((await errorOf(clock, pull(snapshotId))).code).toBe('not-found')
    await clock.run(pull(second.snapshotId))
    expectPairs(installed, PAIRS.slice(0, 3))
    server.cancel(3)
    await clock.advance(60_000)
    expect(ends).toEqual([])
  })

  it('says that a state is damaged, to both sides', async () => {
    const { clock, offer, pull, ends } = await rig()
    const snapshot = new TestSnapshot(PAIRS)
    snapshot.range = () => {
      throw new MeshError('corrupt', 'a pair is damaged')
    }
    const { snapshotId } = await offer(snapshot)
    expect((await errorOf(clock, pull(snapshotId))).code).toBe('corrupt')
    expect(ends.map(({ error }) => error?.code)).toEqual(['corrupt'])
    expect(snapshot.isOpen).toBe(false)
  })

  it('closes all when it stops, also what is being opened', async () => {
    const { clock, server, ends, offer } = await rig()
    const open = new TestSnapshot(PAIRS)
    const late = new TestSnapshot(PAIRS)
    await offer(open)
    const opening = Promise.withResolvers<StateSnapshot>()
    const offered = server.offer({
      peer: PULLER,
      group: 9,
      generation: 1,
      open: () => opening.promise
    })
    server.stop()
    server.stop()
    opening.resolve(late)

    expect((await errorOf(clock, offered)).code).toBe('stopped')
    expect([open.isOpen, late.isOpen]).toEqual([false, false])
    expect((await errorOf(clock, offer(open))).code).toBe('stopped')
    await clock.advance(60_000)
    expect(ends).toEqual([])
  })
})
