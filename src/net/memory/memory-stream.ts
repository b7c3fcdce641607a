// The streams of the simulated network.

import { toMeshError } from '../../base/errors.ts'
import { encodeFrame, FrameDecoder, type OutgoingFrame } from '../../wire/frame.ts'
import type { FrameStream } from '../frame-stream.ts'

/** Sends a frame through the fault model. @returns when it arrives at the latest so far */
export type Carry = (
  bytes: Uint8Array,
  deliver: (bytes: Uint8Array) => void,
  lastMs: number
) => number

/** One end of a simulated stream; `peer` is the other one. */
export class MemoryStream implements FrameStream {
  onFrame: FrameStream['onFrame'] = () => {}
  onClose: FrameStream['onClose'] = () => {}
  peer: MemoryStream | undefined
  onLocalClose: (reason: Error | undefined) => void = () => {}
  readonly #carry: Carry
  readonly #frameBytesMax: number
  #lastMs = 0
  #closed = false

  constructor(carry: Carry, frameBytesMax: number) {
    this.#carry = carry
    this.#frameBytesMax = frameBytesMax
  }

  send(frame: OutgoingFrame): void {
    if (this.#closed) return
    this.#lastMs = this.#carry(
      encodeFrame(frame),
      (bytes) => this.peer?.receive(bytes),
      this.#lastMs
    )
  }

  queuedBytes(): number {
    return 0
  }

  drained(): Promise<void> {
    return Promise.resolve()
  }

  close(reason?: Error): void {
    this.onLocalClose(reason)
  }

  receive(bytes: Uint8Array): void {
    if (this.#closed) return
    try {
      for (const frame of new FrameDecoder(this.#frameBytesMax).push(bytes)) this.onFrame(frame)
    } catch (error) {
      this.close(toMeshError(error))
    }
  }

  fail(reason: Error | undefined): void {
    if (this.#closed) return
    this.#closed = true
    this.onClose(reason)
  }
}
