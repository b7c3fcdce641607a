// Requests, answers and notices over long-lived frame streams; shared by every Network.
//
// Each pair of peers has at most one stream per protocol and direction: the side that asks opens
// it, and the answers come back on it. Nothing here knows what carries the frames.

import type { Clock, Timer } from '../base/clock.ts'
import { errorMessage, isMeshError, MeshError, toMeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { frameBytes, type Frame, type OutgoingFrame } from '../wire/frame.ts'
import type { FrameStream } from './frame-stream.ts'
import type {
  Admission,
  Body,
  NotifyOptions,
  ProtocolOptions,
  RequestHandler,
  RequestOptions
} from './network.ts'
import { RpcServer } from './rpc-server.ts'

/** What the transport does for the RPC layer. */
export type StreamOpener = (
  peer: PeerId,
  protocol: string,
  options: { signal: AbortSignal; frameBytesMax: number }
) => Promise<FrameStream>

/** A request waits while this much is queued on its stream already; a notice is dropped. */
const QUEUED_BYTES_MAX = 8 * 1_048_576
/** Requests without an answer on one stream, at most. */
const PENDING_MAX = 4_096
/** Opening a stream: dialling, the handshake and the hello exchange together. */
const OPEN_TIMEOUT_MS = 10_000

type Pending = Pick<Settle, 'resolve' | 'reject'>
type Client = { stream: FrameStream; pending: Map<number, Pending>; nextId: number }
type Served = { options: ProtocolOptions; handler: RequestHandler }

export class Rpc {
  readonly #open: StreamOpener
  readonly #clock: Clock
  readonly #log: Logger
  readonly #served = new Map<string, Served>()
  /** Keyed by peer and protocol, joined by a space (neither contains one). */
  readonly #clients = new Map<string, Promise<Client>>()
  readonly #inbound = new Set<RpcServer>()
  readonly #stopping = new AbortController()
  #admission: Admission = { isAdmitted: () => true, admit: async () => {} }

  constructor(components: { open: StreamOpener; clock: Clock; log: Logger }) {
    this.#open = components.open
    this.#clock = components.clock
    this.#log = components.log
  }

  setAdmission(admission: Admission): void {
    this.#admission = admission
  }

  handle(protocol: string, options: ProtocolOptions, handler: RequestHandler): void {
    this.#served.set(protocol, { options, handler })
  }

  protocols(): readonly [string, ProtocolOptions][] {
    return [...this.#served].map(([protocol, served]) => [protocol, served.options])
  }

  /** Rejects what is pending and closes every stream. */
  stop(): void {
    const reason = new MeshError('stopped', 'The node is stopping')
    this.#stopping.abort(reason)
    for (const client of this.#clients.values()) {
      client.then((ready) => ready.stream.close(reason)).catch(() => {})
    }
    for (const server of this.#inbound) server.close(reason)
  }

  async request(
    peer: PeerId,
    protocol: string,
    body: Body,
    options: RequestOptions
  ): Promise<Uint8Array> {
    try {
      return await this.#attempt(peer, protocol, body, options)
    } catch (error) {
      // The far end restarted behind a connection that we still believe in: say hello again, once.
      if (!isMeshError(error, 'not-admitted') || this.#isHello(protocol)) throw error
      const signal = this.#signalFor(options)
      await this.#admission.admit(peer, { signal })
      return await this.#attempt(peer, protocol, body, options)
    }
  }

  async notify(
    peer: PeerId,
    protocol: string,
    body: Body,
    options: NotifyOptions = {}
  ): Promise<boolean> {
    try {
      const notice = { kind: 'notice', body } as const
      this.#checkLength(notice, protocol)
      const { stream } = await this.#client(peer, protocol)
      if (options.waitsForRoom === true) await stream.drained()
      if (stream.queuedBytes() >= QUEUED_BYTES_MAX) return false
      stream.send(notice)
      return true
    } catch (error) {
      this.#log.debug('rpc.notice_dropped', { peer, protocol, reason: errorMessage(error) })
      return false
    }
  }

  /** Serves a stream that `peer` opened. */
  accept(peer: PeerId, protocol: string, stream: FrameStream): void {
    const served = this.#served.get(protocol)
    if (served === undefined || this.#stopping.signal.aborted) {
      stream.close(new MeshError('unsupported-protocol', `Protocol ${protocol} is not served here`))
      return
    }
    const server = new RpcServer(
      {
        stream,
        clock: this.#clock,
        log: this.#log,
        isAdmitted: (id) => this.#admission.isAdmitted(id)
      },
      { peer, ...served }
    )
    this.#inbound.add(server)
    server.onEnd = () => this.#inbound.delete(server)
  }

  #isHello(protocol: string): boolean {
    return this.#served.get(protocol)?.options.beforeHello === true
  }

  #frameBytesMax(protocol: string): number {
    const served = this.#served.get(protocol)
    if (served === undefined) {
      throw new MeshError('unsupported-protocol', `Protocol ${protocol} is not known here`)
    }
    return served.options.frameBytesMax
  }

  /** @throws too-large when the far end would have to break the stream */
  #checkLength(frame: OutgoingFrame, protocol: string): void {
    const max = this.#frameBytesMax(protocol)
    const length = frameBytes(frame)
    if (length > max) {
      const problem = `${length} bytes is over the limit of ${protocol}, ${max}`
      throw new MeshError('too-large', `A frame of ${problem}`)
    }
  }

  #signalFor(options: RequestOptions): AbortSignal {
    const signals = [this.#stopping.signal]
    if (options.signal !== undefined) signals.push(options.signal)
    return signals.length === 1 ? this.#stopping.signal : AbortSignal.any(signals)
  }

  async #attempt(
    peer: PeerId,
    protocol: string,
    body: Body,
    options: RequestOptions
  ): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    this.#stopping.signal.throwIfAborted()
    this.#checkLength({ kind: 'request', id: 0, timeoutMs: options.timeoutMs, body }, protocol)
    const deadlineMs = this.#clock.monotonicMs() + options.timeoutMs
    return await this.#withDeadline(peer, options, async (settle) => {
      const client = await this.#client(peer, protocol)
      while (client.stream.queuedBytes() >= QUEUED_BYTES_MAX && !settle.done()) {
        await client.stream.drained()
      }
      if (settle.done()) return
      if (client.pending.size >= PENDING_MAX) {
        throw new MeshError('overloaded', `Too many requests wait for ${peer}`)
      }
      const id = client.nextId
      client.nextId = id === 0xffff_ffff ? 1 : id + 1
      settle.onEnd((answered) => {
        client.pending.delete(id)
        if (!answered) client.stream.send({ kind: 'cancel', id })
      })
      client.pending.set(id, { resolve: settle.resolve, reject: settle.reject })
      const timeoutMs = Math.max(1, deadlineMs - this.#clock.monotonicMs())
      client.stream.send({ kind: 'request', id, timeoutMs, body })
    })
  }

  /** Runs `start` until it settles, the deadline passes, the caller aborts or the node stops. */
  async #withDeadline(
    peer: PeerId,
    options: RequestOptions,
    start: (settle: Settle) => Promise<void>
  ): Promise<Uint8Array> {
    const stopping = this.#stopping.signal
    return await new Promise<Uint8Array>((resolve, reject) => {
      let done = false
      let onEnd: ((answered: boolean) => void) | undefined
      let timer: Timer | undefined = undefined
      const finish = (answered: boolean, settle: () => void): void => {
        if (done) return
        done = true
        timer?.cancel()
        options.signal?.removeEventListener('abort', onAbort)
        stopping.removeEventListener('abort', onStop)
        onEnd?.(answered)
        settle()
      }
      const fail = (error: Error, answered = false): void => finish(answered, () => reject(error))
      const onAbort = (): void => fail(options.signal?.reason as Error)
      const onStop = (): void => fail(stopping.reason as Error)
      timer = this.#clock.after(options.timeoutMs, () => {
        const limit = `${Math.round(options.timeoutMs)} ms`
        fail(new MeshError('timeout', `No answer from ${peer} within ${limit}`))
      })
      options.signal?.addEventListener('abort', onAbort)
      stopping.addEventListener('abort', onStop)
      start({
        resolve: (body) => finish(true, () => resolve(body)),
        reject: (error) => fail(error, true),
        done: () => done,
        onEnd: (listener) => {
          onEnd = listener
        }
      }).catch((error: unknown) => fail(toMeshError(error), true))
    })
  }

  /** The stream for requests to `peer`; opened on first use, and again after it broke. */
  async #client(peer: PeerId, protocol: string): Promise<Client> {
    const key = `${peer} ${protocol}`
    const known = this.#clients.get(key)
    if (known !== undefined) return await known
    const opening = this.#openClient(peer, protocol, key)
    this.#clients.set(key, opening)
    opening.catch(() => {
      if (this.#clients.get(key) === opening) this.#clients.delete(key)
    })
    return await opening
  }

  async #openClient(peer: PeerId, protocol: string, key: string): Promise<Client> {
    const limit = new AbortController()
    const timer = this.#clock.after(OPEN_TIMEOUT_MS, () =>
      limit.abort(new MeshError('unreachable', `${peer} did not answer in ${OPEN_TIMEOUT_MS} ms`))
    )
    try {
      const signal = AbortSignal.any([limit.signal, this.#stopping.signal])
      if (!this.#isHello(protocol) && !this.#admission.isAdmitted(peer)) {
        await this.#admission.admit(peer, { signal })
      }
      const stream = await this.#open(peer, protocol, {
        signal,
        frameBytesMax: this.#frameBytesMax(protocol)
      })
      const client: Client = { stream, pending: new Map(), nextId: 1 }
      stream.onFrame = (frame) => this.#onClientFrame(client, frame)
      stream.onClose = (reason) => {
        this.#clients.delete(key)
        const error = isMeshError(reason)
          ? reason
          : new MeshError('unreachable', `The stream to ${peer} broke`, { cause: reason })
        for (const pending of client.pending.values()) pending.reject(error)
      }
      return client
    } catch (error) {
      throw toMeshError(limit.signal.aborted ? limit.signal.reason : error, 'unreachable')
    } finally {
      timer.cancel()
    }
  }

  #onClientFrame(client: Client, frame: Frame): void {
    if (frame.kind === 'response') {
      client.pending.get(frame.id)?.resolve(frame.body)
    } else if (frame.kind === 'error') {
      client.pending.get(frame.id)?.reject(new MeshError(frame.code, frame.message))
    } else {
      client.stream.close(
        new MeshError('invalid-data', `A ${frame.kind} came on a stream for answers`)
      )
    }
  }
}

type Settle = {
  resolve: (body: Uint8Array) => void
  reject: (error: Error) => void
  done: () => boolean
  /** Called once when the request ends; `answered` is false when the far end may still work on it. */
  onEnd: (listener: (answered: boolean) => void) => void
}
