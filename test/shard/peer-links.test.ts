import { describe, expect, it } from 'vitest'
import { peerId, storeId } from '../../src/base/ids.ts'
import type { PeerId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { createRandom } from '../../src/base/random.ts'
import { KIB, MIB } from '../../src/base/units.ts'
import { createMessage } from '../../src/core/raft/messages.ts'
import type { Message, MessageDraft } from '../../src/core/raft/messages.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../../src/net/memory/memory-world.ts'
import type { MemoryFaults } from '../../src/net/memory/memory-world.ts'
import type { Body, NotifyOptions } from '../../src/net/network.ts'
import { PeerLinks } from '../../src/shard/peer-links.ts'
import type { OutgoingMessage } from '../../src/shard/send-queue.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { RAFT_FRAME_BYTES_MAX, RAFT_PROTOCOL, decodeRaftFrame } from '../../src/wire/shard-frame.ts'
import type { RaftFrame } from '../../src/wire/shard-frame.ts'

const storeOf = (number: number) => storeId(number.toString(16).padStart(32, '0'))

type End = {
  network: MemoryNetwork
  links: PeerLinks
  heard: { peer: PeerId; frame: RaftFrame }[]
  dropped: OutgoingMessage[]
  events: string[]
}

type Mesh = { clock: VirtualClock; world: MemoryWorld; ends: [End, End, End] }

/** Three nodes that know each other's addresses. */
async function mesh(faults: Partial<MemoryFaults> = {}, seed = 1): Promise<Mesh> {
  const clock = new VirtualClock()
  const world = new MemoryWorld({ clock, random: createRandom(seed) }, faults)
  const ends = [1, 2, 3].map((number) => makeEnd({ clock, world, number })) as [End, End, End]
  for (const { network } of ends) await network.start()
  for (const { network } of ends) {
    for (const other of ends) network.learn(other.network.peerId, other.network.addresses())
  }
  return { clock, world, ends }
}

function makeEnd(parts: { clock: VirtualClock; world: MemoryWorld; number: number }): End {
  const { clock, world, number } = parts
  const network = new MemoryNetwork(
    { world, log: silentLogger },
    { peerId: peerId(`peer${number}`), address: `/memory/${number}`, mesh: 'test' }
  )
  const heard: End['heard'] = []
  const dropped: OutgoingMessage[] = []
  const events: string[] = []
  const log = { ...silentLogger, warn: (event: string) => events.push(event) }
  const links = new PeerLinks(
    { network, clock, log, defer: (task) => clock.after(0, task) },
    {
      store: storeOf(number),
      onFrame: (peer, frame) => heard.push({ peer, frame }),
      onDropped: (_, messages) => dropped.push(...messages)
    }
  )
  return { network, links, heard, dropped, events }
}

function outgoing(draft: MessageDraft, group = 1, to = 2): OutgoingMessage {
  return { toStore: storeOf(to), group, generation: 1, message: createMessage(draft, 1, 3) }
}

function append(index: number, bytes: number, group = 1): OutgoingMessage {
  const entries = [{ type: 'normal', term: 3, index, data: new Uint8Array(bytes) }] as const
  return outgoing({ type: 'append', to: 2, index: index - 1, logTerm: 3, entries }, group)
}

const beat = (group: number, commit = 5): OutgoingMessage =>
  outgoing({ type: 'heartbeat', to: 2, commit }, group)

const messagesOf = (end: End): Message[] =>
  end.heard.flatMap(({ frame }) => frame.groups.flatMap(({ messages }) => messages))

const indexesOf = (messages: readonly Message[]): number[] =>
  messages.map(({ entries }) => entries[0]?.index ?? 0)

describe('frames', () => {
  it('S-2 what all groups have in one turn goes as one frame, and arrives as it was', async () => {
    const { clock, ends } = await mesh()
    const [a, b] = ends
    const sent = [beat(1), beat(2, 9), append(7, 10, 2), append(8, 10, 2)]
    for (const message of sent) a.links.send(b.network.peerId, message)
    await clock.advance(100)

    expect(b.heard).toHaveLength(1)
    const [{ peer, frame } = expect.fail()] = b.heard
    expect(peer).toBe(a.network.peerId)
    expect(frame.fromStore).toBe(storeOf(1))
    expect(frame.groups).toEqual([
      { group: 1, generation: 1, messages: [sent[0]?.message] },
      { group: 2, generation: 1, messages: sent.slice(1).map(({ message }) => message) }
    ])
    expect(a.links.counts()).toMatchObject({ framesSent: 1, dropped: 0 })
    expect(b.links.counts()).toMatchObject({ framesReceived: 1, malformed: 0 })
  })

  it('S-3 go to each peer alone, and to each of its stores', async () => {
    const { clock, ends } = await mesh()
    const [a, b, c] = ends
    a.links.send(b.network.peerId, beat(1))
    a.links.send(c.network.peerId, outgoing({ type: 'vote', to: 3 }, 1, 3))
    a.links.send(b.network.peerId, { ...beat(2), toStore: storeOf(9) })
    await clock.advance(100)

    expect(b.heard.map(({ frame }) => frame.groups.map(({ group }) => group))).toEqual([[1]])
    expect(messagesOf(c).map(({ type }) => type)).toEqual(['vote'])
    expect(b.links.counts()).toMatchObject({ misdirected: 1, framesReceived: 1 })
    expect(b.events).toEqual(['links.misdirected'])
  })

  it('keep the order of appends over many frames, none above the limit', async () => {
    const { clock, ends } = await mesh()
    const [a, b] = ends
    const sizes = [10, 300 * KIB, 40 * KIB, 512 * KIB, MIB - 100, 1, 200 * KIB, 100 * KIB]
    for (const [at, bytes] of sizes.entries()) a.links.send(b.network.peerId, append(at + 1, bytes))
    await clock.advance(100)

    expect(indexesOf(messagesOf(b))).toEqual(sizes.map((_, at) => at + 1))
    expect(b.heard.length).toBeGreaterThan(3)
    expect(a.dropped).toEqual([])
  })

  it('S-6 say what is gone, once', async () => {
    const { clock, ends } = await mesh()
    const [a, b] = ends
    for (let times = 0; times < 3; times++) {
      a.links.sendGone(b.network.peerId, storeOf(2), { group: 4, generation: 1, replica: 6 })
    }
    await clock.advance(100)

    expect(b.heard.map(({ frame }) => frame.gone)).toEqual([
      [{ group: 4, generation: 1, replica: 6 }]
    ])
  })

  it('that no frame can carry are reported, not sent', async () => {
    const { clock, ends } = await mesh()
    const [a, b] = ends
    a.links.send(b.network.peerId, append(1, RAFT_FRAME_BYTES_MAX))
    a.links.send(b.network.peerId, beat(1))
    expect(a.dropped).toEqual([])
    await clock.advance(100)

    expect(a.dropped.map(({ message }) => message.type)).toEqual(['append'])
    expect(messagesOf(b).map(({ type }) => type)).toEqual(['heartbeat'])
  })
})

describe('bad frames', () => {
  it('S-4 are dropped, counted and logged once in a while', async () => {
    const { clock, ends } = await mesh()
    const [a, b] = ends
    for (let round = 0; round < 5; round++) {
      await clock.run(a.network.notify(b.network.peerId, RAFT_PROTOCOL, new Uint8Array([1, 2, 3])))
      await clock.advance(20_000)
    }
    a.links.send(b.network.peerId, beat(1))
    await clock.advance(100)

    expect(b.links.counts()).toMatchObject({ malformed: 5, framesReceived: 1 })
    expect(b.events).toEqual(['links.malformed', 'links.malformed'])
  })
})

describe('a peer that is away', () => {
  it('is dialled with a pause, and all that it misses is reported', async () => {
    const { clock, world, ends } = await mesh()
    const [a, b] = ends
    await b.network.stop()
    let opened = 0
    const connect = world.connect.bind(world)
    a.network.learn(b.network.peerId, ['/memory/2'])
    world.peerAt = () => b.network.peerId
    world.connect = (...args) => {
      opened += 1
      return connect(...args)
    }
    for (let beats = 0; beats < 40; beats++) {
      a.links.send(b.network.peerId, beat(1))
      await clock.advance(500)
    }

    expect(a.dropped).toHaveLength(40)
    // 20 s: pauses double up to 2 s.
    expect(opened).toBeGreaterThan(5)
    expect(opened).toBeLessThan(15)
  })

  it('is spoken to as soon as it has connected again', async () => {
    const { clock, world, ends } = await mesh()
    const [a, old] = ends
    await old.network.stop()
    for (let beats = 0; beats < 10; beats++) {
      a.links.send(old.network.peerId, beat(1))
      await clock.advance(500)
    }
    const b = makeEnd({ clock, world, number: 2 })
    await b.network.start()
    b.network.learn(a.network.peerId, a.network.addresses())
    b.links.send(a.network.peerId, outgoing({ type: 'vote', to: 1 }, 1, 1))
    await clock.advance(20)
    expect(messagesOf(a).map(({ type }) => type)).toEqual(['vote'])
    a.dropped.length = 0
    a.links.send(b.network.peerId, beat(1))
    await clock.advance(20)

    expect(messagesOf(b).map(({ type }) => type)).toEqual(['heartbeat'])
    expect(a.dropped).toEqual([])
  })

  it('loses nothing that was sent before it broke off and after it came back', async () => {
    const { clock, world, ends } = await mesh()
    const [a, b] = ends
    for (let index = 1; index <= 30; index++) {
      a.links.send(b.network.peerId, append(index, 10))
      await clock.advance(50)
      if (index % 10 === 0) world.disconnect(a.network.peerId, b.network.peerId)
    }
    await clock.advance(1_000)
    expect(indexesOf(messagesOf(b))).toEqual(Array.from({ length: 30 }, (_, at) => at + 1))
  })
})

describe('a network that loses, repeats and reorders', () => {
  it('every frame is whole: no message comes that was not sent', async () => {
    const { clock, ends } = await mesh({ lossPerMille: 200, duplicatePerMille: 200 }, 7)
    const [a, b] = ends
    for (let index = 1; index <= 200; index++) {
      a.links.send(b.network.peerId, append(index, index))
      a.links.send(b.network.peerId, beat(2))
      await clock.advance(10)
    }
    await clock.advance(1_000)

    const appends = messagesOf(b).filter(({ type }) => type === 'append')
    expect(appends.every(({ index, entries }) => entries[0]?.index === index + 1)).toBe(true)
    expect(new Set(indexesOf(appends)).size).toBeGreaterThan(100)
    expect(b.links.counts().malformed).toBe(0)
    // One frame has the append and the heartbeat of its turn, so they come or are lost together.
    expect(b.heard.every(({ frame }) => frame.groups.length === 2)).toBe(true)
  })
})

/** A network of which the test decides when it takes a frame. */
class SlowNetwork {
  readonly sent: RaftFrame[] = []
  readonly bodies: number[] = []
  isConnected = true
  #answers: ((isSent: boolean) => void)[] = []

  handle(): void {}

  onConnected(): () => void {
    return () => {}
  }

  connected(): readonly PeerId[] {
    return this.isConnected ? [PEER] : []
  }

  /** Takes at once what doesn't wait for room. */
  isRoomy = false

  async notify(_: PeerId, __: string, body: Body, options?: NotifyOptions): Promise<boolean> {
    const bytes = body as Uint8Array
    const isAtOnce = this.isRoomy && options?.waitsForRoom !== true
    const isSent =
      isAtOnce || (await new Promise<boolean>((resolve) => this.#answers.push(resolve)))
    if (isSent) {
      this.sent.push(decodeRaftFrame(bytes))
      this.bodies.push(bytes.length)
    }
    return isSent
  }

  get waiting(): number {
    return this.#answers.length
  }

  answer(isSent: boolean): void {
    const answers = this.#answers
    this.#answers = []
    for (const answer of answers) answer(isSent)
  }
}

const PEER = peerId('peer2')

function slow(bulkBytesMax?: number): {
  network: SlowNetwork
  clock: VirtualClock
  links: PeerLinks
  dropped: OutgoingMessage[]
} {
  const clock = new VirtualClock()
  const network = new SlowNetwork()
  const dropped: OutgoingMessage[] = []
  const links = new PeerLinks(
    { network, clock, log: silentLogger, defer: (task) => clock.after(0, task) },
    {
      store: storeOf(1),
      onFrame: () => {},
      onDropped: (_, messages) => dropped.push(...messages),
      ...(bulkBytesMax === undefined ? {} : { bulkBytesMax })
    }
  )
  return { network, clock, links, dropped }
}

describe('S-5 a peer that is slow', () => {
  it('is sent one frame at a time; what gathers goes together, heartbeats first', async () => {
    const { network, clock, links } = slow()
    links.send(PEER, append(1, 10))
    await clock.advance(1)
    for (let index = 2; index <= 4; index++) {
      links.send(PEER, append(index, 10))
      await clock.advance(100)
    }
    links.send(PEER, beat(9))
    await clock.advance(100)
    expect(network.waiting).toBe(1)

    network.answer(true)
    await clock.advance(1)
    network.answer(true)
    await clock.advance(1)

    expect(network.waiting).toBe(0)
    expect(network.sent.map(({ groups }) => groups.map(({ group }) => group))).toEqual([
      [1],
      [9, 1]
    ])
    expect(indexesOf(network.sent[1]?.groups[1]?.messages ?? [])).toEqual([2, 3, 4])
  })

  it('gets heartbeats while entries wait for room, and entries alone until they go at once', async () => {
    const { network, clock, links, dropped } = slow()
    network.isRoomy = true
    const typesSent = (): string[] =>
      network.sent
        .splice(0)
        .map(({ groups }) =>
          groups.flatMap(({ messages }) => messages.map(({ type }) => type)).join(' ')
        )
    links.send(PEER, beat(1))
    await clock.advance(1)
    links.send(PEER, append(1, 10))
    await clock.advance(1)
    for (let index = 2; index <= 3; index++) {
      links.send(PEER, append(index, 10))
      links.send(PEER, beat(1))
      await clock.advance(100)
    }
    expect(typesSent()).toEqual(['heartbeat', 'heartbeat', 'heartbeat'])

    network.answer(true)
    await clock.advance(1)
    links.send(PEER, append(4, 10))
    links.send(PEER, beat(1))
    await clock.advance(1)
    expect(typesSent()).toEqual(['append', 'heartbeat'])
    network.answer(true)
    await clock.advance(1)
    network.answer(true)
    await clock.advance(1)
    expect(typesSent()).toEqual(['append append', 'append'])

    links.send(PEER, append(5, 10))
    links.send(PEER, beat(1))
    await clock.advance(1)
    network.answer(true)
    await clock.advance(1)
    expect(typesSent()).toEqual(['heartbeat append'])
    expect(dropped).toEqual([])
  })

  it('gets answers to heartbeats with a frame that goes anyway, or when they have waited', async () => {
    const { clock, ends } = await mesh()
    const [a, b] = ends
    const answer = (group: number, readSequence = 0): OutgoingMessage =>
      outgoing({ type: 'heartbeat-response', to: 2, readSequence }, group)
    const typesHeard = (): string[] =>
      b.heard.splice(0).map(({ frame }) => {
        const messages = frame.groups.flatMap((group) => group.messages)
        return messages.map(({ type }) => type).join(' ')
      })

    a.links.send(b.network.peerId, answer(1))
    await clock.advance(200)
    expect(typesHeard()).toEqual([])
    a.links.send(b.network.peerId, beat(2))
    await clock.advance(200)
    expect(typesHeard()).toEqual(['heartbeat heartbeat-response'])

    a.links.send(b.network.peerId, answer(1))
    await clock.advance(200)
    a.links.flush()
    await clock.advance(200)
    expect(typesHeard()).toEqual(['heartbeat-response'])
    a.links.flush()
    await clock.advance(200)
    expect(typesHeard()).toEqual([])

    // Who takes entries is there.
    a.links.send(b.network.peerId, answer(1))
    a.links.send(b.network.peerId, outgoing({ type: 'append-response', to: 2, index: 4 }))
    a.links.send(b.network.peerId, answer(2))
    await clock.advance(200)
    expect(typesHeard()).toEqual(['heartbeat-response append-response'])

    // A read waits for this one.
    a.links.send(b.network.peerId, answer(1, 7))
    await clock.advance(200)
    expect(typesHeard()).toEqual(['heartbeat-response'])
  })

  it('loses the oldest appends of a group together, never a heartbeat, within the bound', async () => {
    const { network, clock, links, dropped } = slow(MIB)
    links.send(PEER, beat(1))
    await clock.advance(1)
    // Two groups in turn, 1 MiB and a half: the older group's go.
    for (let index = 1; index <= 3; index++) links.send(PEER, append(index, 200 * KIB, 1))
    for (let index = 1; index <= 3; index++) links.send(PEER, append(index, 200 * KIB, 2))
    links.send(PEER, beat(3))
    await clock.advance(1)

    expect(dropped.map(({ group, message }) => [group, ...indexesOf([message])])).toEqual([
      [1, 1],
      [1, 2],
      [1, 3]
    ])
    for (let round = 0; round < 6; round++) {
      network.answer(true)
      await clock.advance(1)
    }
    const carried = network.sent.flatMap(({ groups }) =>
      groups.flatMap(({ group, messages }) => messages.map(({ type }) => `${group} ${type}`))
    )
    expect(carried).toEqual(['1 heartbeat', '3 heartbeat', '2 append', '2 append', '2 append'])
  })

  it('that takes nothing for now gets the same frame later, in order', async () => {
    const { network, clock, links, dropped } = slow()
    links.send(PEER, append(1, 10))
    await clock.advance(1)
    links.send(PEER, append(2, 10))
    network.answer(false)
    await clock.advance(1)
    expect(network.waiting).toBe(0)
    await clock.advance(100)
    expect(network.waiting).toBe(1)
    network.answer(true)
    await clock.advance(1)

    expect(network.sent).toHaveLength(1)
    expect(indexesOf(network.sent[0]?.groups[0]?.messages ?? [])).toEqual([1, 2])
    expect(dropped).toEqual([])
  })

  it('that never takes anything is given up', async () => {
    const { network, clock, links, dropped } = slow()
    links.send(PEER, append(1, 10))
    for (let round = 0; round < 40; round++) {
      await clock.advance(500)
      network.answer(false)
    }
    await clock.advance(1)
    expect(indexesOf(dropped.map(({ message }) => message))).toEqual([1])
    expect(network.waiting).toBe(0)
  })

  it('stop() reports nothing more and leaves no timer', async () => {
    const { network, clock, links, dropped } = slow()
    links.send(PEER, append(1, 10))
    await clock.advance(1)
    network.answer(false)
    await clock.advance(1)
    links.stop()
    links.stop()
    links.send(PEER, append(2, 10))
    await clock.advance(60_000)

    expect(network.waiting).toBe(0)
    expect(dropped).toEqual([])
  })
})
