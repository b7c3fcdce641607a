// Serving one stream that a peer opened: its requests side by side, bounded, each with a deadline.

import type { Clock } from '../base/clock.ts'
import { errorMessage, MeshError, toMeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { frameBytes, type Frame, type OutgoingFrame } from '../wire/frame.ts'
import type { FrameStream } from './frame-stream.ts'
import type { ProtocolOptions, RequestHandler } from './network.ts'

export type RpcServerComponents = {
  stream: FrameStream
  clock: Clock
  log: Logger
  isAdmitted: (peer: PeerId) => boolean
}

export type RpcServerOptions = {
  /** Who opened the stream. */
  peer: PeerId
  options: ProtocolOptions
  handler: RequestHandler
}

/** Answers wait while this much is queued on their stream. */
const QUEUED_BYTES_MAX = 8 * 1_048_576

type Call = Frame & { kind: 'request' | 'notice' }

export class RpcServer {
  /** Called once, when the stream has closed. */
  onEnd: () => void = () => {}
  readonly #components: RpcServerComponents
  readonly #options: RpcServerOptions
  /** Requests in service by their id; notices by negative numbers. */
  readonly #running = new Map<number, AbortController>()
  #nextNotice = -1

  constructor(components: RpcServerComponents, options: RpcServerOptions) {
    this.#components = components
    this.#options = options
    const { stream } = components
    stream.onClose = (reason) => {
      const gone = reason ?? new MeshError('unreachable', 'The stream has closed')
      for (const controller of this.#running.values()) controller.abort(gone)
      this.onEnd()
    }
    stream.onFrame = (frame) => this.#onFrame(frame)
  }

  close(reason: Error): void {
    this.#components.stream.close(reason)
  }

  #onFrame(frame: Frame): void {
    const { stream } = this.#components
    if (frame.kind === 'request' || frame.kind === 'notice') {
      this.#onCall(frame)
    } else if (frame.kind === 'cancel') {
      this.#running.get(frame.id)?.abort(new MeshError('aborted', 'The caller cancelled'))
    } else {
      stream.close(new MeshError('invalid-data', `A ${frame.kind} came on a stream for requests`))
    }
  }

  #onCall(call: Call): void {
    const { peer, options } = this.#options
    if (options.beforeHello !== true && !this.#components.isAdmitted(peer)) {
      const why = 'The hello exchange comes before any other request'
      this.#refuse(call, new MeshError('not-admitted', why))
      return
    }
    const id = call.kind === 'request' ? call.id : this.#nextNotice--
    if (this.#running.has(id)) return // A duplicated frame: its first copy is being served.
    if (this.#running.size >= options.servedPerPeerMax) {
      this.#refuse(call, new MeshError('overloaded', 'Too many requests at once from this peer'))
      return
    }
    void this.#serve(call, id)
  }

  /** Answers; never rejects. */
  async #serve(call: Call, id: number): Promise<void> {
    const { clock } = this.#components
    const { peer, handler } = this.#options
    const controller = new AbortController()
    this.#running.set(id, controller)
    const timer =
      call.kind === 'request'
        ? clock.after(call.timeoutMs, () =>
            controller.abort(new MeshError('timeout', 'The deadline of the request passed'))
          )
        : undefined
    try {
      const timeoutMs = call.kind === 'request' ? call.timeoutMs : undefined
      const body = await handler(call.body, { peer, signal: controller.signal, timeoutMs })
      if (call.kind === 'request')
        await this.#respond({ kind: 'response', id, body }, controller.signal)
    } catch (error) {
      this.#refuse(call, toMeshError(error))
    } finally {
      timer?.cancel()
      this.#running.delete(id)
    }
  }

  /** A peer that asks and doesn't read holds up its own requests only: their places stay taken. */
  async #respond(
    response: OutgoingFrame & { kind: 'response' },
    signal: AbortSignal
  ): Promise<void> {
    const { stream } = this.#components
    const { frameBytesMax } = this.#options.options
    if (frameBytes(response) > frameBytesMax) {
      throw new MeshError(
        'too-large',
        `The answer is longer than the limit of ${frameBytesMax} bytes`
      )
    }
    while (stream.queuedBytes() >= QUEUED_BYTES_MAX && !signal.aborted) await stream.drained()
    if (!signal.aborted) stream.send(response)
  }

  /** A notice has no answer: why it failed is only of interest here. */
  #refuse(call: Call, error: MeshError): void {
    const { stream, log } = this.#components
    if (call.kind === 'request') {
      stream.send({ kind: 'error', id: call.id, code: error.code, message: error.message })
    } else {
      log.debug('rpc.notice_failed', { peer: this.#options.peer, reason: errorMessage(error) })
    }
  }
}
