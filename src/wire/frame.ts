// The frame that every Atoll stream carries: protocols/CONVENTIONS.md.
//
//   length u32 | kind u8 | id u32 | (request: timeout u32 ms) (error: code u16) | body
//
// All integers are big-endian. `length` counts what follows it.

import { ERROR_CODES, errorCodeFromNumber, MeshError, type ErrorCode } from '../base/errors.ts'
import { concatBytes, utf8 } from '../base/bytes.ts'

export type Frame =
  | { kind: 'request'; id: number; timeoutMs: number; body: Uint8Array }
  | { kind: 'response'; id: number; body: Uint8Array }
  | { kind: 'error'; id: number; code: ErrorCode; message: string }
  | { kind: 'notice'; body: Uint8Array }
  | { kind: 'cancel'; id: number }

/** What can be sent: a body may come in parts, which are joined while encoding. */
export type OutgoingFrame =
  | { kind: 'request'; id: number; timeoutMs: number; body: Uint8Array | readonly Uint8Array[] }
  | { kind: 'response'; id: number; body: Uint8Array | readonly Uint8Array[] }
  | { kind: 'error'; id: number; code: ErrorCode; message: string }
  | { kind: 'notice'; body: Uint8Array | readonly Uint8Array[] }
  | { kind: 'cancel'; id: number }

const KIND = { request: 1, response: 2, error: 3, notice: 4, cancel: 5 } as const
const LENGTH_BYTES = 4
const HEAD_BYTES = 5
/** An error's text is cut to this many bytes. */
const ERROR_MESSAGE_BYTES_MAX = 1_024
/** A request may not ask for more time than this: one hour. */
export const REQUEST_TIMEOUT_MS_MAX = 3_600_000

/** A body up to this size is joined with its head; a larger one isn't copied. */
const JOINED_BODY_BYTES_MAX = 16_384

/** @returns the whole frame, length included, in one new array. */
export function encodeFrame(frame: OutgoingFrame): Uint8Array {
  const parts = bodyParts(frame)
  return concatBytes([encodeHead(frame, bytesOf(parts)), ...parts])
}

/**
 * @returns the frame as arrays to be sent one after another. Those of a large body are the caller's
 *   own, so it must leave them as they are until they are sent.
 */
export function encodeFrameParts(frame: OutgoingFrame): Uint8Array[] {
  const parts = bodyParts(frame)
  const bodyBytes = bytesOf(parts)
  const head = encodeHead(frame, bodyBytes)
  return bodyBytes <= JOINED_BODY_BYTES_MAX ? [concatBytes([head, ...parts])] : [head, ...parts]
}

/** @returns the length of a frame without its length field: what the limit of a protocol is held against. */
export function frameBytes(frame: OutgoingFrame): number {
  return HEAD_BYTES + extraBytes(frame).length + bytesOf(bodyParts(frame))
}

function encodeHead(frame: OutgoingFrame, bodyBytes: number): Uint8Array {
  const extra = extraBytes(frame)
  const bytes = new Uint8Array(LENGTH_BYTES + HEAD_BYTES + extra.length)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, HEAD_BYTES + extra.length + bodyBytes)
  view.setUint8(LENGTH_BYTES, KIND[frame.kind])
  view.setUint32(LENGTH_BYTES + 1, frame.kind === 'notice' ? 0 : frame.id)
  bytes.set(extra, LENGTH_BYTES + HEAD_BYTES)
  return bytes
}

function bytesOf(parts: readonly Uint8Array[]): number {
  let length = 0
  for (const part of parts) length += part.length
  return length
}

function extraBytes(frame: OutgoingFrame): Uint8Array {
  if (frame.kind === 'request') {
    const bytes = new Uint8Array(4)
    const timeoutMs = Math.min(Math.max(1, Math.ceil(frame.timeoutMs)), REQUEST_TIMEOUT_MS_MAX)
    new DataView(bytes.buffer).setUint32(0, timeoutMs)
    return bytes
  }
  if (frame.kind === 'error') {
    const bytes = new Uint8Array(2)
    new DataView(bytes.buffer).setUint16(0, ERROR_CODES[frame.code])
    return bytes
  }
  return new Uint8Array(0)
}

function bodyParts(frame: OutgoingFrame): readonly Uint8Array[] {
  if (frame.kind === 'cancel') return []
  if (frame.kind === 'error') return [utf8(frame.message).subarray(0, ERROR_MESSAGE_BYTES_MAX)]
  return frame.body instanceof Uint8Array ? [frame.body] : frame.body
}

/**
 * @param content a frame without its length.
 * @throws invalid-data when the kind is unknown or the content too short for it.
 */
export function decodeFrame(content: Uint8Array): Frame {
  if (content.length < HEAD_BYTES) throw malformed(`it has ${content.length} bytes`)
  const view = new DataView(content.buffer, content.byteOffset, content.length)
  const kind = view.getUint8(0)
  const id = view.getUint32(1)
  switch (kind) {
    case KIND.request: {
      if (content.length < HEAD_BYTES + 4) throw malformed('a request has no timeout')
      const timeoutMs = view.getUint32(HEAD_BYTES)
      if (timeoutMs < 1 || timeoutMs > REQUEST_TIMEOUT_MS_MAX)
        throw malformed('its timeout is out of range')
      return { kind: 'request', id, timeoutMs, body: content.subarray(HEAD_BYTES + 4) }
    }
    case KIND.response:
      return { kind: 'response', id, body: content.subarray(HEAD_BYTES) }
    case KIND.error: {
      if (content.length < HEAD_BYTES + 2) throw malformed('an error has no code')
      const text = content.subarray(HEAD_BYTES + 2, HEAD_BYTES + 2 + ERROR_MESSAGE_BYTES_MAX)
      return {
        kind: 'error',
        id,
        code: errorCodeFromNumber(view.getUint16(HEAD_BYTES)),
        message: new TextDecoder().decode(text)
      }
    }
    case KIND.notice:
      return { kind: 'notice', body: content.subarray(HEAD_BYTES) }
    case KIND.cancel:
      if (content.length !== HEAD_BYTES) throw malformed('a cancel has a body')
      return { kind: 'cancel', id }
    default:
      throw malformed(`kind ${kind} is unknown`)
  }
}

function malformed(why: string): MeshError {
  return new MeshError('invalid-data', `Malformed frame: ${why}`)
}

/**
 * Cuts a byte stream into frames. The length is checked before anything is allocated, and at most
 * one frame is held at a time. After it has thrown it must not be used again.
 */
export class FrameDecoder {
  readonly #frameBytesMax: number
  #head: Uint8Array = new Uint8Array(0)
  #content: Uint8Array | undefined
  #filled = 0

  /** @param frameBytesMax longest frame accepted, its length field not counted. */
  constructor(frameBytesMax: number) {
    this.#frameBytesMax = frameBytesMax
  }

  /** Whether a frame has begun and isn't complete. */
  get partial(): boolean {
    return this.#content !== undefined || this.#head.length > 0
  }

  /**
   * @param chunk the next bytes; frames may keep views of it.
   * @returns the frames that are complete now, in order.
   * @throws too-large, invalid-data: the stream can't go on.
   */
  push(chunk: Uint8Array): Frame[] {
    const frames: Frame[] = []
    let rest = chunk
    while (rest.length > 0) {
      if (this.#content === undefined) {
        if (this.#head.length > 0) {
          rest = concatBytes([this.#head, rest])
          this.#head = new Uint8Array(0)
        }
        if (rest.length < LENGTH_BYTES) {
          this.#head = rest.slice()
          break
        }
        const length = this.#lengthOf(rest)
        if (rest.length >= LENGTH_BYTES + length) {
          frames.push(decodeFrame(rest.subarray(LENGTH_BYTES, LENGTH_BYTES + length)))
          rest = rest.subarray(LENGTH_BYTES + length)
          continue
        }
        // Not cleared: it is filled to its end before anybody sees it.
        this.#content = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
        this.#filled = 0
        rest = rest.subarray(LENGTH_BYTES)
      }
      rest = this.#fill(this.#content, rest, frames)
    }
    return frames
  }

  #lengthOf(bytes: Uint8Array): number {
    const length = new DataView(bytes.buffer, bytes.byteOffset, LENGTH_BYTES).getUint32(0)
    if (length > this.#frameBytesMax) {
      throw new MeshError(
        'too-large',
        `Frame of ${length} bytes refused: this protocol's limit is ${this.#frameBytesMax}`
      )
    }
    if (length < HEAD_BYTES) throw malformed(`its length is ${length}`)
    return length
  }

  #fill(content: Uint8Array, chunk: Uint8Array, frames: Frame[]): Uint8Array {
    const taken = chunk.subarray(0, content.length - this.#filled)
    content.set(taken, this.#filled)
    this.#filled += taken.length
    if (this.#filled === content.length) {
      this.#content = undefined
      frames.push(decodeFrame(content))
    }
    return chunk.subarray(taken.length)
  }
}
