// Streams between programs of the mesh: an inbox at a node, and batches that others send to it. A
// batch counts as sent when its receiver has taken it; how many may be under way the receiver says.
// Nothing is kept: what has to survive a node is sent again by whoever sent it.

import { MeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import { SECOND_MS } from '../../base/units.ts'
import { InboxQueue } from '../../core/streams/inbox-queue.ts'
import type { Network } from '../../net/network.ts'
import {
  decodeStreamCall,
  decodeStreamReply,
  encodeStreamCall,
  encodeStreamReply,
  STREAM_FRAME_BYTES_MAX,
  STREAM_PROTOCOL,
  STREAM_SERVED_MAX
} from '../../wire/stream.ts'

/** A batch that nobody has taken by then is taken back. */
const SEND_MS: number = 30 * SECOND_MS
const INBOXES_MAX = 1_024

export type Batch = {
  readonly inbox: string
  /** One of the sender's own at that inbox. */
  readonly from: string
  readonly batch: Uint8Array
}

/** What programs use, on a node or over a connection to one. */
export type StreamsClient = {
  /** Makes an inbox here. @returns the node @throws exists, overloaded */
  open(inbox: string): Promise<PeerId>
  /** Waits for batches. None came when there is none. @throws not-found, aborted */
  receive(inbox: string): Promise<readonly Uint8Array[]>
  /**
   * Resolves when the receiver has taken the batch.
   *
   * @returns how many the sender may have unanswered from now on
   * @throws not-found (no such inbox), overloaded, unreachable, timeout: it may have been taken
   */
  send(peer: PeerId, batch: Batch): Promise<number>
}

export class Streams {
  readonly #network: Pick<Network, 'handle' | 'request' | 'peerId'>
  readonly #inboxes = new Map<string, Inbox>()

  /** Registers its protocol, so it is made before the network is started. */
  constructor(network: Pick<Network, 'handle' | 'request' | 'peerId'>) {
    this.#network = network
    const options = { frameBytesMax: STREAM_FRAME_BYTES_MAX, servedPerPeerMax: STREAM_SERVED_MAX }
    network.handle(STREAM_PROTOCOL, options, async (body, { signal }) => {
      const call = decodeStreamCall(body)
      // T-2: all else is between a program and its own node.
      if (call.kind !== 'send' || call.peer !== undefined) {
        throw new MeshError('invalid-data', 'Between nodes there are plain sends only')
      }
      return encodeStreamReply({ kind: 'taken', credit: await this.#put(call, signal) })
    })
  }

  get self(): PeerId {
    return this.#network.peerId
  }

  /** @throws exists, overloaded */
  open(name: string): Inbox {
    if (this.#inboxes.has(name)) throw new MeshError('exists', `There is an inbox "${name}"`)
    if (this.#inboxes.size >= INBOXES_MAX) {
      throw new MeshError('overloaded', `There are ${INBOXES_MAX} inboxes here already`)
    }
    const inbox = new Inbox(() => this.#inboxes.delete(name))
    this.#inboxes.set(name, inbox)
    return inbox
  }

  /** See {@link StreamsClient.send}. */
  async send(peer: PeerId, batch: Batch, options: { signal: AbortSignal }): Promise<number> {
    const { signal } = options
    if (peer === this.self) return await this.#put(batch, signal)
    const body = encodeStreamCall({ kind: 'send', ...batch })
    const asked = { timeoutMs: SEND_MS, signal }
    const bytes = await this.#network.request(peer, STREAM_PROTOCOL, body, asked)
    const reply = decodeStreamReply(bytes)
    if (reply.kind === 'taken') return reply.credit
    throw new MeshError('invalid-data', `A peer answered a batch with "${reply.kind}"`)
  }

  /** T-3: @returns the sender's credit once the batch was taken */
  async #put({ inbox: name, from, batch }: Batch, signal: AbortSignal): Promise<number> {
    const inbox = this.#inboxes.get(name)
    if (inbox === undefined) throw new MeshError('not-found', `There is no inbox "${name}" here`)
    return await inbox.put(from, batch, signal)
  }
}

/** Where batches wait for the one who takes them. */
export class Inbox {
  readonly #queue = new InboxQueue()
  readonly #onClose: () => void
  readonly #closed = new AbortController()
  #waiting: ((batches: readonly Uint8Array[]) => void) | undefined

  /** Made by {@link Streams}. */
  constructor(onClose: () => void) {
    this.#onClose = onClose
  }

  async put(from: string, batch: Uint8Array, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted()
    return await new Promise<number>((resolve, reject) => {
      const settle = (end: () => void): void => {
        signal.removeEventListener('abort', onAbort)
        this.#closed.signal.removeEventListener('abort', onClose)
        end()
      }
      const takeBack = this.#queue.offer(from, batch, () =>
        settle(() => resolve(this.#queue.credit))
      )
      const onAbort = (): void => {
        takeBack?.()
        settle(() => reject(signal.reason as Error))
      }
      const onClose = (): void => settle(() => reject(this.#closed.signal.reason as Error))
      if (takeBack === undefined) {
        reject(new MeshError('overloaded', 'The inbox is full'))
        return
      }
      signal.addEventListener('abort', onAbort)
      this.#closed.signal.addEventListener('abort', onClose)
      this.#deliver()
    })
  }

  /** One at a time. @returns what has come, or none when `waitMs` says so @throws not-found */
  async receive(options: { signal: AbortSignal }): Promise<readonly Uint8Array[]> {
    const { signal } = options
    this.#closed.signal.throwIfAborted()
    if (this.#queue.count > 0) return this.#queue.take()
    // Whoever asked before is answered, so that it isn't forgotten.
    this.#waiting?.([])
    return await new Promise<readonly Uint8Array[]>((resolve, reject) => {
      const onEnd = (): void => {
        if (this.#waiting === waiting) this.#waiting = undefined
        forget()
        reject((signal.aborted ? signal : this.#closed.signal).reason as Error)
      }
      const forget = (): void => {
        signal.removeEventListener('abort', onEnd)
        this.#closed.signal.removeEventListener('abort', onEnd)
      }
      const waiting = (batches: readonly Uint8Array[]): void => {
        forget()
        resolve(batches)
      }
      signal.addEventListener('abort', onEnd)
      this.#closed.signal.addEventListener('abort', onEnd)
      this.#waiting = waiting
    })
  }

  close(): void {
    this.#onClose()
    this.#closed.abort(new MeshError('not-found', 'The inbox is closed'))
  }

  #deliver(): void {
    const waiting = this.#waiting
    if (waiting === undefined) return
    this.#waiting = undefined
    waiting(this.#queue.take())
  }
}
