// A socket as a stream of frames: what is sent in one turn of the event loop is one write.

import type { Socket } from 'node:net'
import { concatBytes } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { toMeshError } from '../../base/errors.ts'
import { FrameReader } from '../../net/frame-reader.ts'
import type { FrameStream } from '../../net/frame-stream.ts'
import { encodeFrameParts, type OutgoingFrame } from '../../wire/frame.ts'

export class SocketFrameStream implements FrameStream {
  onFrame: FrameStream['onFrame'] = () => {}
  readonly #socket: Socket
  readonly #reader: FrameReader
  #onClose: FrameStream['onClose'] | undefined
  #closed: { reason: Error | undefined } | undefined
  #queue: Uint8Array[] = []
  #queued = 0
  #waiting: (() => void)[] = []

  /** Takes the socket over. @param options.head bytes that were read from it already */
  constructor(
    components: { socket: Socket; clock: Clock },
    options: { frameBytesMax: number; head?: Uint8Array }
  ) {
    const { socket, clock } = components
    this.#socket = socket
    this.#reader = new FrameReader({ stream: this, clock }, options.frameBytesMax)
    socket.setNoDelay(true)
    socket.setTimeout(0)
    const { head } = options
    if (head !== undefined && head.length > 0) socket.unshift(head)
    // No Buffer: its slices are views where those of an array are copies.
    socket.on('data', ({ buffer, byteOffset, length }: Uint8Array) =>
      this.#reader.push(new Uint8Array(buffer, byteOffset, length))
    )
    socket.on('drain', () => this.#wake())
    socket.on('end', () => this.close())
    socket.on('error', (error) => this.#end(toMeshError(error, 'unreachable')))
    socket.on('close', () => this.#end(undefined))
  }

  get isClosed(): boolean {
    return this.#closed !== undefined
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
    const isFirst = this.#queue.length === 0
    for (const part of encodeFrameParts(frame)) {
      this.#queue.push(part)
      this.#queued += part.length
    }
    if (isFirst) queueMicrotask(() => this.#flush())
  }

  queuedBytes(): number {
    return this.#queued + this.#socket.writableLength
  }

  async drained(): Promise<void> {
    if (this.#closed !== undefined || !this.#socket.writableNeedDrain) return
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  close(reason?: Error): void {
    if (this.#closed !== undefined) return
    // What was sent in this turn goes out still; the other side may be waiting for just that.
    this.#flush()
    this.#socket.end()
    this.#socket.destroySoon()
    this.#end(reason)
  }

  #flush(): void {
    if (this.#closed !== undefined || this.#queue.length === 0) return
    const parts = this.#queue
    this.#queue = []
    this.#queued = 0
    this.#socket.write(parts.length === 1 ? (parts[0] as Uint8Array) : concatBytes(parts))
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
