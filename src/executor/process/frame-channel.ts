// Frames over a socket between two processes of one node. What is sent in one turn of the event
// loop goes as one write: with many small tasks, calls to the system are what costs.

import type { Duplex } from 'node:stream'
import { assert } from '../../base/assert.ts'
import { KIB } from '../../base/units.ts'
import { WORK_BYTES_MAX } from '../executor.ts'

/** Length of what follows, kind, and the number of the work. */
const HEADER_BYTES = 9
/** Of what the length counts. */
const HEADER_COUNTED_BYTES = 5
const PAYLOAD_BYTES_MAX: number = WORK_BYTES_MAX + 256 * KIB
/** Frames that are copied together. */
const BATCH_BYTES: number = 64 * KIB
/** What is longer isn't copied. */
const COPIED_BYTES_MAX: number = 16 * KIB

export type Frame = { readonly kind: number; readonly number: number; readonly payload: Buffer }

type Handlers = {
  /** The payload belongs to the handler. */
  onFrame(frame: Frame): void
  /** The other side is gone, or sent what is no frame. Once. */
  onClose(): void
}

export class FrameChannel {
  readonly #stream: Duplex
  readonly #handlers: Handlers
  readonly #decoder: FrameDecoder
  readonly #batch: Buffer = Buffer.allocUnsafeSlow(BATCH_BYTES)
  #batchBytes = 0
  #outgoing: Uint8Array[] = []
  #isFlushDue = false
  #isClosed = false

  constructor(stream: Duplex, handlers: Handlers) {
    this.#stream = stream
    this.#handlers = handlers
    this.#decoder = new FrameDecoder((frame) => {
      if (!this.#isClosed) handlers.onFrame(frame)
    })
    stream.on('data', (chunk: Buffer) => {
      if (!this.#isClosed && !this.#decoder.push(chunk)) this.close()
    })
    stream.on('error', () => this.close())
    stream.on('close', () => this.close())
    stream.on('end', () => this.close())
  }

  /** @param parts not to be changed before they are sent */
  send(kind: number, number: number, ...parts: readonly Uint8Array[]): void {
    if (this.#isClosed) return
    const bytes = parts.reduce((sum, part) => sum + part.length, 0)
    assert(bytes <= PAYLOAD_BYTES_MAX, 'a frame between processes is bounded')
    this.#room(HEADER_BYTES)
    this.#batch.writeUInt32LE(HEADER_COUNTED_BYTES + bytes, this.#batchBytes)
    this.#batch.writeUInt8(kind, this.#batchBytes + 4)
    this.#batch.writeUInt32LE(number, this.#batchBytes + 5)
    this.#batchBytes += HEADER_BYTES
    for (const part of parts) this.#append(part)
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    setImmediate(() => this.flush())
  }

  /** Writes what was sent in this turn. */
  flush(): void {
    this.#isFlushDue = false
    if (this.#isClosed) return
    this.#endBatch()
    const outgoing = this.#outgoing
    this.#outgoing = []
    if (outgoing.length > 1) this.#stream.cork()
    for (const part of outgoing) this.#stream.write(part)
    if (outgoing.length > 1) this.#stream.uncork()
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#outgoing = []
    this.#stream.destroy()
    this.#handlers.onClose()
  }

  #append(part: Uint8Array): void {
    if (part.length > COPIED_BYTES_MAX) {
      this.#endBatch()
      this.#outgoing.push(part)
      return
    }
    this.#room(part.length)
    this.#batch.set(part, this.#batchBytes)
    this.#batchBytes += part.length
  }

  #room(bytes: number): void {
    if (this.#batchBytes + bytes > BATCH_BYTES) this.#endBatch()
  }

  #endBatch(): void {
    if (this.#batchBytes === 0) return
    this.#outgoing.push(Buffer.from(this.#batch.subarray(0, this.#batchBytes)))
    this.#batchBytes = 0
  }
}

/** Finds frames in what arrives in pieces. */
class FrameDecoder {
  readonly #onFrame: (frame: Frame) => void
  /** Less than a header. */
  #rest: Buffer = Buffer.alloc(0)
  /** A frame that has arrived in part, and how much of it has. */
  #partial: { kind: number; number: number; payload: Buffer } | undefined
  #filled = 0

  constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame
  }

  /** @returns false when it is no frame */
  push(chunk: Buffer): boolean {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    for (;;) {
      if (this.#partial !== undefined) bytes = this.#fill(this.#partial, bytes)
      if (this.#partial !== undefined || bytes.length < HEADER_BYTES) break
      const length = bytes.readUInt32LE(0) - HEADER_COUNTED_BYTES
      if (length < 0 || length > PAYLOAD_BYTES_MAX) return false
      const kind = bytes.readUInt8(4)
      const number = bytes.readUInt32LE(5)
      this.#partial = { kind, number, payload: Buffer.allocUnsafeSlow(length) }
      this.#filled = 0
      bytes = bytes.subarray(HEADER_BYTES)
    }
    this.#rest = bytes
    return true
  }

  /** @returns what is left over */
  #fill(frame: Frame, bytes: Buffer): Buffer {
    const count = bytes.copy(frame.payload, this.#filled)
    this.#filled += count
    if (this.#filled < frame.payload.length) return bytes.subarray(count)
    this.#partial = undefined
    this.#onFrame(frame)
    return bytes.subarray(count)
  }
}
