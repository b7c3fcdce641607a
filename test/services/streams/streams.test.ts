import { describe, expect, it } from 'vitest'
import { StreamServer } from '../../../src/api/remote/stream-server.ts'
import { concatBytes, utf8 } from '../../../src/base/bytes.ts'
import { toMeshError } from '../../../src/base/errors.ts'
import { peerId, type PeerId } from '../../../src/base/ids.ts'
import type { Network, RequestHandler } from '../../../src/net/network.ts'
import { Streams } from '../../../src/services/streams/streams.ts'
import {
  decodeStreamReply,
  encodeStreamCall,
  type StreamCall,
  type StreamReply
} from '../../../src/wire/stream.ts'

const A = peerId('a')
const B = peerId('b')
const never = new AbortController().signal
const bytes = utf8('batch')

/** Nodes that reach each other at once. */
function nodes(): { a: Streams; b: Streams; ask: (body: Uint8Array) => Promise<unknown> } {
  const handlers = new Map<PeerId, RequestHandler>()
  const networkOf = (self: PeerId): Pick<Network, 'handle' | 'request' | 'peerId'> => ({
    peerId: self,
    handle: (_protocol, _options, handler) => {
      handlers.set(self, handler)
    },
    request: async (peer, _protocol, body, { signal = never }) => {
      const parts = body instanceof Uint8Array ? [body] : body
      const answer = await handlers.get(peer)?.(concatBytes(parts), { peer: self, signal })
      return answer as Uint8Array
    }
  })
  const [a, b] = [new Streams(networkOf(A)), new Streams(networkOf(B))]
  const ask = async (body: Uint8Array): Promise<unknown> =>
    await handlers.get(B)?.(body, { peer: A, signal: never })
  return { a, b, ask }
}

const codeOf = async (work: Promise<unknown>): Promise<string> =>
  await work.then(
    () => 'none',
    (error: unknown) => toMeshError(error).code
  )

describe('Streams', () => {
  it('T-3 resolve a send when the receiver takes it, here and elsewhere', async () => {
    const { a, b } = nodes()
    const inbox = b.open('in')
    let isSent = false
    const batch = { inbox: 'in', from: 'one', batch: bytes }
    const sends = [a, b].map(async (node) => {
      const credit = await node.send(B, batch, { signal: never })
      isSent = true
      return credit
    })
    await Promise.resolve()
    expect(isSent).toBe(false)

    expect(await inbox.receive({ signal: never })).toEqual([bytes, bytes])
    for (const credit of await Promise.all(sends)) expect(credit).toBeGreaterThan(0)
  })

  it('gives a batch to whoever waits for it', async () => {
    const { a, b } = nodes()
    const coming = b.open('in').receive({ signal: never })
    await a.send(B, { inbox: 'in', from: 'one', batch: bytes }, { signal: never })
    expect(await coming).toEqual([bytes])
  })

  it('T-3 takes back what its sender has given up', async () => {
    const { a, b } = nodes()
    const inbox = b.open('in')
    const over = new AbortController()
    const batch = { inbox: 'in', from: 'one', batch: bytes }
    const given = a.send(B, batch, { signal: over.signal })
    const kept = a.send(B, { ...batch, batch: utf8('kept') }, { signal: never })
    over.abort(new Error('given up'))
    await expect(given).rejects.toThrow('given up')
    expect(await inbox.receive({ signal: never })).toEqual([utf8('kept')])
    await kept
  })

  it('T-4 answers not-found when the inbox is closed, or was never there', async () => {
    const { a, b } = nodes()
    const inbox = b.open('in')
    const batch = { inbox: 'in', from: 'one', batch: bytes }
    const waiting = codeOf(a.send(B, batch, { signal: never }))
    await Promise.resolve()
    inbox.close()
    expect(await waiting).toBe('not-found')
    expect(await codeOf(a.send(B, batch, { signal: never }))).toBe('not-found')
    expect(await codeOf(inbox.receive({ signal: never }))).toBe('not-found')
    b.open('in')
  })

  it('T-2 takes plain sends only from other nodes', async () => {
    const { b, ask } = nodes()
    b.open('in')
    for (const call of [
      { kind: 'open', inbox: 'more' },
      { kind: 'receive', inbox: 'in' },
      { kind: 'send', inbox: 'in', from: 'x', batch: bytes, peer: A }
    ] as const) {
      expect(await codeOf(ask(encodeStreamCall(call)))).toBe('invalid-data')
    }
  })

  it('T-6 refuse what an inbox has no room for', async () => {
    const { a, b } = nodes()
    b.open('in')
    const over = new AbortController()
    const batch = { inbox: 'in', from: 'one', batch: bytes }
    const waiting = Array.from({ length: 256 }, async () => {
      return await codeOf(a.send(B, batch, { signal: over.signal }))
    })
    expect(await codeOf(a.send(B, batch, { signal: never }))).toBe('overloaded')
    over.abort(new Error('enough'))
    await Promise.all(waiting)
  })

  it('answers whoever asked before when it is asked again', async () => {
    const inbox = nodes().b.open('in')
    const first = inbox.receive({ signal: never })
    void inbox.receive({ signal: never }).catch(() => {})
    expect(await first).toEqual([])
    inbox.close()
  })
})

describe('StreamServer', () => {
  const asker =
    (server: StreamServer) =>
    async (call: StreamCall): Promise<StreamReply> => {
      const answer = await server.handle(encodeStreamCall(call), { peer: A, signal: never })
      return decodeStreamReply(answer as Uint8Array)
    }

  it('A-7 opens, sends and receives for a program, and closes its inboxes with the connection', async () => {
    const { a, b } = nodes()
    const [one, two] = [new StreamServer(a), new StreamServer(b)]
    expect(await asker(two)({ kind: 'open', inbox: 'in' })).toEqual({ kind: 'opened', peer: B })
    const sending = asker(one)({ kind: 'send', inbox: 'in', from: 'x', batch: bytes, peer: B })
    const batches = [bytes]
    expect(await asker(two)({ kind: 'receive', inbox: 'in' })).toEqual({
      kind: 'received',
      batches
    })
    expect((await sending).kind).toBe('taken')
    two.close()
    const late = asker(one)({ kind: 'send', inbox: 'in', from: 'x', batch: bytes, peer: B })
    expect(await codeOf(late)).toBe('not-found')
  })

  it('T-4 receives nothing for a program that another one opened', async () => {
    const { b } = nodes()
    b.open('in')
    const receiving = asker(new StreamServer(b))({ kind: 'receive', inbox: 'in' })
    expect(await codeOf(receiving)).toBe('not-found')
  })
})
