// The rules of protocols/CONVENTIONS.md about streams of frames, played by one end of a stream.

import { describe, expect, it } from 'vitest'
import { MeshError, type ErrorCode } from '../../src/base/errors.ts'
import { peerId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { RequestHandler } from '../../src/net/network.ts'
import { Rpc } from '../../src/net/rpc.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { decodeFrame, encodeFrame, type Frame, type OutgoingFrame } from '../../src/wire/frame.ts'

type FrameStream = Parameters<Rpc['accept']>[2]

const PROTOCOL = '/atoll-test/rules/1.0.0'
const PEER = peerId('peer')
const LIMIT = 100

class RecordingStream implements FrameStream {
  readonly sent: Frame[] = []
  brokenBy: Error | undefined
  onFrame: FrameStream['onFrame'] = () => {}
  onClose: FrameStream['onClose'] = () => {}

  /** What a peer that doesn't read leaves in the queue. */
  queued = 0
  readonly reads = Promise.withResolvers<void>()

  send(frame: OutgoingFrame): void {
    this.sent.push(decodeFrame(encodeFrame(frame).subarray(4)))
  }

  queuedBytes(): number {
    return this.queued
  }

  async drained(): Promise<void> {
    await this.reads.promise
  }

  close(reason?: Error): void {
    this.brokenBy = reason
    this.onClose(reason)
  }

  codes(): ErrorCode[] {
    return this.sent.flatMap((frame) => (frame.kind === 'error' ? [frame.code] : []))
  }
}

type Setup = { rpc: Rpc; stream: RecordingStream; clock: VirtualClock; opened: RecordingStream[] }

/** An Rpc that serves the protocol on a stream that the test is the opener of. */
function serving(handler: RequestHandler, servedPerPeerMax = 2): Setup {
  const clock = new VirtualClock()
  const opened: RecordingStream[] = []
  const rpc = new Rpc({
    clock,
    log: silentLogger,
    open: () => {
      const stream = new RecordingStream()
      opened.push(stream)
      return Promise.resolve(stream)
    }
  })
  rpc.handle(PROTOCOL, { frameBytesMax: LIMIT, servedPerPeerMax }, handler)
  const stream = new RecordingStream()
  rpc.accept(PEER, PROTOCOL, stream)
  return { rpc, stream, clock, opened }
}

const request = (id: number, timeoutMs = 1_000): Frame => ({
  kind: 'request',
  id,
  timeoutMs,
  body: Uint8Array.of(id)
})
const forever = (): Promise<Uint8Array> => new Promise(() => {})

describe('a server', () => {
  it.each<Frame>([
    { kind: 'response', id: 1, body: new Uint8Array() },
    { kind: 'error', id: 1, code: 'internal', message: '' }
  ])('F-8 breaks the stream off when the opener sends a $kind', (frame) => {
    const { stream } = serving((body) => body)

    stream.onFrame(frame)

    expect(stream.brokenBy).toMatchObject({ code: 'invalid-data' })
  })

  it('F-9 passes over a request whose id is being served', async () => {
    let served = 0
    const { stream, clock } = serving(() => {
      served += 1
      return forever()
    })

    stream.onFrame(request(1))
    stream.onFrame(request(1))
    await clock.advance(1)

    expect(served).toBe(1)
    expect(stream.sent).toEqual([])
  })

  it('F-10 answers overloaded beyond its bound, and drops a notice', async () => {
    let served = 0
    const { stream, clock } = serving(() => {
      served += 1
      return forever()
    })

    for (const id of [1, 2, 3, 4]) stream.onFrame(request(id))
    stream.onFrame({ kind: 'notice', body: new Uint8Array() })
    await clock.advance(1)

    expect(served).toBe(2)
    expect(stream.codes()).toEqual(['overloaded', 'overloaded'])
  })

  it('holds back answers, and the places of their requests, while the opener does not read', async () => {
    const { stream, clock } = serving((body) => body)
    stream.queued = 100 * 1_048_576

    for (const id of [1, 2, 3]) stream.onFrame(request(id))
    await clock.advance(1)
    expect(stream.codes()).toEqual(['overloaded'])
    expect(stream.sent).toHaveLength(1)

    stream.queued = 0
    stream.reads.resolve()
    await clock.advance(1)
    expect(stream.sent.filter(({ kind }) => kind === 'response')).toHaveLength(2)
  })

  it('F-4 tells the handler when the time of the request has passed', async () => {
    const reasons: unknown[] = []
    const { stream, clock } = serving((_, { signal }) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason))
      return forever()
    })

    stream.onFrame(request(1, 50))
    await clock.advance(49)
    expect(reasons).toEqual([])
    await clock.advance(1)

    expect(reasons).toMatchObject([{ code: 'timeout' }])
  })

  it('F-6 gives up what is cancelled, and passes over a cancel for nothing', async () => {
    const reasons: unknown[] = []
    const { stream, clock } = serving((_, { signal }) => {
      signal.addEventListener('abort', () => reasons.push(signal.reason))
      return forever()
    })

    stream.onFrame(request(1))
    stream.onFrame({ kind: 'cancel', id: 77 })
    expect(reasons).toEqual([])
    stream.onFrame({ kind: 'cancel', id: 1 })
    await clock.advance(1)

    expect(reasons).toMatchObject([{ code: 'aborted' }])
    expect(stream.brokenBy).toBeUndefined()
  })

  it('answers with the code that the handler threw, and internal for anything else', async () => {
    const thrown = [new MeshError('disk-full', 'No room'), new TypeError('A bug')]
    const { stream, clock } = serving(() => {
      throw thrown.shift() as Error
    })

    stream.onFrame(request(1))
    stream.onFrame(request(2))
    await clock.advance(1)

    expect(stream.codes()).toEqual(['disk-full', 'internal'])
  })
})

describe('a client', () => {
  it.each<Frame>([
    request(1),
    { kind: 'notice', body: new Uint8Array() },
    { kind: 'cancel', id: 1 }
  ])('F-8 breaks the stream off when the other side sends a $kind', async (frame) => {
    const { rpc, clock, opened } = serving((body) => body)
    const work = rpc.request(PEER, PROTOCOL, new Uint8Array(), { timeoutMs: 1_000 })
    const outcome = work.catch((error: unknown) => error)
    await clock.advance(1)

    opened[0]?.onFrame(frame)

    expect(await outcome).toMatchObject({ code: 'invalid-data' })
    expect(opened[0]?.brokenBy).toMatchObject({ code: 'invalid-data' })
  })

  it('F-9 counts its requests from 1', async () => {
    const { rpc, clock, opened } = serving((body) => body)

    for (let count = 0; count < 3; count++) {
      void rpc.request(PEER, PROTOCOL, new Uint8Array(), { timeoutMs: 1_000 }).catch(() => {})
    }
    await clock.advance(1)

    expect(opened).toHaveLength(1)
    expect(opened[0]?.sent).toMatchObject([{ id: 1 }, { id: 2 }, { id: 3 }])
  })

  it('F-11 refuses a body that fits no frame of the protocol, before it opens a stream', async () => {
    const { rpc, opened } = serving((body) => body)

    const work = rpc.request(PEER, PROTOCOL, new Uint8Array(LIMIT), { timeoutMs: 1_000 })

    await expect(work).rejects.toMatchObject({ code: 'too-large' })
    expect(opened).toEqual([])
  })
})
