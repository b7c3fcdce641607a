import { describe, expect, it } from 'vitest'
import { concatBytes, toHex, utf8 } from '../../src/base/bytes.ts'
import { BLOCK_FRAME_BYTES_MAX, CONTROL_FRAME_BYTES_MAX } from '../../src/base/limits.ts'
import {
  decodeFrame,
  encodeFrame,
  FrameDecoder,
  encodeFrameParts,
  frameBytes,
  REQUEST_TIMEOUT_MS_MAX,
  type Frame
} from '../../src/wire/frame.ts'
import { codeOf } from './codecs.ts'

const LIMIT = 1_000
const BODY = Uint8Array.of(1, 2, 3)

/** Hexadecimal with spaces between the fields. */
const spaced = (text: string): string => text.replaceAll(' ', '')

function headOf(length: number): Uint8Array {
  const head = new Uint8Array(4)
  new DataView(head.buffer).setUint32(0, length)
  return head
}

function decodeAll(bytes: Uint8Array, limit = LIMIT): Frame[] {
  return new FrameDecoder(limit).push(bytes)
}

describe('encodeFrame()', () => {
  it('F-1 writes length, kind and id big-endian before the body', () => {
    const request = encodeFrame({ kind: 'request', id: 0x01020304, timeoutMs: 258, body: BODY })

    expect(toHex(request)).toBe(spaced('0000000c 01 01020304 00000102 010203'))
    expect(toHex(encodeFrame({ kind: 'cancel', id: 9 }))).toBe(spaced('00000005 05 00000009'))
  })

  it('joins a body that comes in parts', () => {
    const parts = [Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2, 3)]

    const joined = encodeFrame({ kind: 'response', id: 1, body: parts })

    expect(joined).toEqual(encodeFrame({ kind: 'response', id: 1, body: BODY }))
  })

  it('has the length that frameBytes() says, its length field not counted', () => {
    for (const kind of ['request', 'response', 'notice'] as const) {
      const frame = { kind, id: 1, timeoutMs: 1, body: BODY }
      expect(encodeFrame(frame).length - 4).toBe(frameBytes(frame))
    }
  })

  it('gives the same bytes in parts, a large body uncopied', () => {
    for (const length of [0, 100, 50_000]) {
      const body = new Uint8Array(length).fill(3)
      const parts = encodeFrameParts({ kind: 'response', id: 1, body })
      expect(concatBytes(parts)).toEqual(encodeFrame({ kind: 'response', id: 1, body }))
      expect(parts.includes(body)).toBe(length === 50_000)
    }
  })

  it('F-4 rounds a time up and brings it into the range', () => {
    for (const [asked, sent] of [
      [0, 1],
      [-5, 1],
      [0.2, 1],
      [99.001, 100],
      [Number.POSITIVE_INFINITY, REQUEST_TIMEOUT_MS_MAX]
    ] as const) {
      const frame = encodeFrame({ kind: 'request', id: 1, timeoutMs: asked, body: BODY })
      expect(decodeAll(frame)).toMatchObject([{ timeoutMs: sent }])
    }
  })

  it('F-5 cuts the text of an error to 1024 bytes, even inside a character', () => {
    const frame = encodeFrame({ kind: 'error', id: 1, code: 'corrupt', message: 'é'.repeat(900) })
    expect(frame.length).toBe(4 + 5 + 2 + 1_024)

    const odd = encodeFrame({
      kind: 'error',
      id: 1,
      code: 'corrupt',
      message: `a${'é'.repeat(900)}`
    })
    expect(decodeAll(odd, 2_000)).toMatchObject([{ message: `a${'é'.repeat(511)}\ufffd` }])
  })

  it('F-6 writes id 0 into a notice', () => {
    expect(toHex(encodeFrame({ kind: 'notice', body: BODY }))).toBe(
      spaced('00000008 04 00000000 010203')
    )
  })
})

describe('decodeFrame()', () => {
  it('F-3 refuses what is shorter than a head, or than the fields of its kind', () => {
    for (const hex of ['', '02', '02000000', '0100000001', '010000000100', '0300000001']) {
      const content = Uint8Array.from(Buffer.from(hex, 'hex'))
      expect(codeOf(() => decodeFrame(content))).toBe('invalid-data')
    }
  })

  it('F-3 refuses every kind that is not known', () => {
    for (let kind = 0; kind < 256; kind++) {
      if (kind >= 1 && kind <= 5) continue
      expect(codeOf(() => decodeFrame(Uint8Array.of(kind, 0, 0, 0, 1, 0, 0, 0, 1)))).toBe(
        'invalid-data'
      )
    }
  })

  it('reads a view that begins inside its buffer', () => {
    const frame = encodeFrame({ kind: 'request', id: 7, timeoutMs: 5, body: BODY })
    const view = concatBytes([Uint8Array.of(9, 9, 9), frame]).subarray(3 + 4)

    expect(decodeFrame(view)).toEqual({ kind: 'request', id: 7, timeoutMs: 5, body: BODY })
  })
})

describe('FrameDecoder', () => {
  it('F-2 takes a frame as long as the limit, and refuses one that is a byte longer', () => {
    const fits = encodeFrame({ kind: 'response', id: 1, body: new Uint8Array(LIMIT - 5) })
    const over = encodeFrame({ kind: 'response', id: 1, body: new Uint8Array(LIMIT - 4) })

    expect(decodeAll(fits)).toHaveLength(1)
    expect(codeOf(() => decodeAll(over))).toBe('too-large')
  })

  it('F-2 refuses a length over the limit before any content has come, however it is cut', () => {
    for (const length of [LIMIT + 1, BLOCK_FRAME_BYTES_MAX, 0x7fff_ffff, 0xffff_ffff]) {
      const decoder = new FrameDecoder(LIMIT)
      const head = headOf(length)
      for (const byte of head.subarray(0, 3)) expect(decoder.push(Uint8Array.of(byte))).toEqual([])

      expect(codeOf(() => decoder.push(head.subarray(3)))).toBe('too-large')
    }
  })

  it('F-2 refuses a length under that of a head', () => {
    for (const length of [0, 1, 4])
      expect(codeOf(() => decodeAll(headOf(length)))).toBe('invalid-data')
  })

  it('F-7 gives the same frames for every place where the bytes are cut in two', () => {
    const frames: Frame[] = [
      { kind: 'request', id: 1, timeoutMs: 10, body: BODY },
      { kind: 'cancel', id: 1 },
      { kind: 'notice', body: new Uint8Array() },
      { kind: 'error', id: 2, code: 'not-found', message: 'no' },
      { kind: 'response', id: 3, body: utf8('body') }
    ]
    const bytes = concatBytes(frames.map(encodeFrame))

    for (let cut = 0; cut <= bytes.length; cut++) {
      const decoder = new FrameDecoder(LIMIT)
      const heard = [...decoder.push(bytes.slice(0, cut)), ...decoder.push(bytes.slice(cut))]
      expect(heard).toEqual(frames)
      expect(decoder.partial).toBe(false)
    }
  })

  it('F-7 knows whether a frame has begun', () => {
    const frame = encodeFrame({ kind: 'response', id: 1, body: BODY })
    const decoder = new FrameDecoder(LIMIT)
    expect(decoder.partial).toBe(false)
    for (const byte of frame.subarray(0, -1)) {
      expect(decoder.push(Uint8Array.of(byte))).toEqual([])
      expect(decoder.partial).toBe(true)
    }

    expect(decoder.push(frame.subarray(-1))).toHaveLength(1)
    expect(decoder.partial).toBe(false)
  })

  it('keeps the frames before a bad one when they came in an earlier chunk', () => {
    const decoder = new FrameDecoder(CONTROL_FRAME_BYTES_MAX)
    expect(decoder.push(encodeFrame({ kind: 'cancel', id: 1 }))).toHaveLength(1)

    expect(codeOf(() => decoder.push(Uint8Array.of(0, 0, 0, 5, 9, 0, 0, 0, 1)))).toBe(
      'invalid-data'
    )
  })
})
