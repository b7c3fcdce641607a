// One libp2p stream as a stream of frames: joined writes, back-pressure, bounded reads.

import type { Stream } from '@libp2p/interface'
import type { Clock } from '../../base/clock.ts'
import { concatBytes } from '../../base/bytes.ts'
import { errorMessage, MeshError, toMeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import { encodeFrameParts, type OutgoingFrame } from '../../wire/frame.ts'
import { FrameReader } from '../frame-reader.ts'
import type { FrameStream } from '../frame-stream.ts'
import { giveWindowBackByHalves } from './fewer-writes.ts'

/** libp2p may hold this much before the next frame is handed to it; one yamux window. */
const TRANSPORT_BYTES_MAX = 262_144
/** Small frames queued in one turn are joined into writes of about this size. */
const JOINED_BYTES = 65_536
/** `drained` resolves when less than this is queued. */
const LOW_WATER_BYTES = 1_048_576

/**
 * libp2p streams queue without limit, and their `onDrain()` works only once: so frames wait here
 * and follow the `drain` event and the length of the transport's own queue.
 */
export class Libp2pFrameStream implements FrameStream {
  onFrame: FrameStream['onFrame'] = () => {}
  readonly #stream: Stream
  readonly #reader: FrameReader
  #onClose: FrameStream['onClose'] | undefined
  #closed: { reason: Error | undefined } | undefined
  #queue: Uint8Array[] = []
  #queued = 0
  #flushing = false
  #waiting: (() => void)[] = []

  constructor(components: { stream: Stream; clock: Clock }, options: { frameBytesMax: number }) {
    this.#stream = components.stream
    giveWindowBackByHalves(this.#stream)
    this.#reader = new FrameReader({ stream: this, clock: components.clock }, options.frameBytesMax)
    this.#stream.addEventListener('message', (event) => {
      // A list's parts are taken one by one: joining them would copy every byte once more.
      const { data } = event
      for (const part of data instanceof Uint8Array ? [data] : data) this.#reader.push(part)
    })
    this.#stream.addEventListener('drain', () => this.#flush())
    this.#stream.addEventListener('remoteCloseWrite', () => this.close())
    this.#stream.addEventListener('close', (event) => this.#end(event.error))
  }

  /** Set late: a stream that closed before is reported at once. */
  get onClose(): FrameStream['onClose'] {
    return this.#onClose ?? (() => {})
  }

  set onClose(listener: FrameStream['onClose']) {
    this.#onClose = listener
    if (this.#closed !== undefined) listener(this.#closed.reason)
  }

  send(frame: OutgoingFrame): void {
    if (this.#closed !== undefined) return
    for (const part of encodeFrameParts(frame)) {
      this.#queue.push(part)
      this.#queued += part.length
    }
    if (this.#flushing) return
    this.#flushing = true
    // One turn later, so that frames of one burst travel together.
    queueMicrotask(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  queuedBytes(): number {
    return this.#queued
  }

  async drained(): Promise<void> {
    if (this.#queued < LOW_WATER_BYTES || this.#closed !== undefined) return
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  close(reason?: Error): void {
    if (this.#closed !== undefined) return
    this.#stream.abort(reason ?? new MeshError('unreachable', 'The stream was closed'))
    this.#end(reason)
  }

  #flush(): void {
    while (
      this.#closed === undefined &&
      this.#queue.length > 0 &&
      this.#stream.writeBufferLength <= TRANSPORT_BYTES_MAX
    ) {
      const bytes = this.#take()
      this.#queued -= bytes.length
      try {
        this.#stream.send(bytes)
      } catch (error) {
        this.close(toMeshError(error, 'unreachable'))
        return
      }
    }
    if (this.#queued < LOW_WATER_BYTES) this.#wake()
  }

  /** @returns the next part, with the small ones that follow it. */
  #take(): Uint8Array {
    let count = 0
    let length = 0
    for (const frame of this.#queue) {
      if (count > 0 && length + frame.length > JOINED_BYTES) break
      count += 1
      length += frame.length
    }
    const frames = this.#queue.splice(0, count)
    return frames.length === 1 ? (frames[0] as Uint8Array) : concatBytes(frames)
  }

  #end(reason: Error | undefined): void {
    if (this.#closed !== undefined) return
    this.#closed = { reason }
    this.#reader.end()
    this.#queue = []
    this.#queued = 0
    this.#wake()
    this.#onClose?.(reason)
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

/** @returns why a stream couldn't be opened, as the layers above know it. */
export function streamError(error: unknown, peer: PeerId, protocol: string): MeshError {
  const unsupported = error instanceof Error && error.name === 'UnsupportedProtocolError'
  return unsupported
    ? new MeshError('unsupported-protocol', `${peer} does not serve ${protocol}`, { cause: error })
    : new MeshError('unreachable', `Cannot open a stream to ${peer}: ${errorMessage(error)}`, {
        cause: error
      })
}
