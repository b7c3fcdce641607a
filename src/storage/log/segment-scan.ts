// Takes the bytes of one segment apart: records, and what is none.

import { RECORD_HEADER_BYTES, type RecordCodec, type RecordHeader } from './record.ts'
import { SEGMENT_START } from './segment.ts'

export type FoundRecord = {
  readonly type: 'record'
  readonly offset: number
  readonly header: RecordHeader
  /** A view of the segment's bytes. */
  readonly payload: Buffer
  readonly isIntact: boolean
}

/** Bytes where a record or the zeros at the end of a segment should be, and that are neither. */
type FoundGap = { readonly type: 'gap'; readonly offset: number }

export type Found = FoundRecord | FoundGap

/**
 * Records begin where the one before ends. Where none does, the next header is looked for: a segment
 * ends where nothing but zeros follows. Zeros before another record are as wrong as other bytes.
 *
 * @param after the sequence of the last record of the segment before; older ones aren't taken
 * @yields in the order of the segment
 */
export function* scanSegment(bytes: Buffer, codec: RecordCodec, after: number): Generator<Found> {
  let offset = SEGMENT_START
  let last = after
  while (offset < bytes.length) {
    const header = codec.readHeader(bytes, offset)
    if (header === undefined || header.sequence <= last) {
      const next = codec.findHeader(bytes, offset, last)
      if (next === undefined && isZero(bytes.subarray(offset))) return
      yield { type: 'gap', offset }
      if (next === undefined) return
      offset = next
      continue
    }
    const begin = offset + RECORD_HEADER_BYTES
    const payload = bytes.subarray(begin, begin + header.length)
    const isIntact = payload.length === header.length && codec.isPayloadIntact(header, payload)
    yield { type: 'record', offset, header, payload, isIntact }
    // A length that is right goes no further than the segment.
    offset = payload.length === header.length ? begin + header.length : begin
    last = header.sequence
  }
}

const ZEROS: Buffer = Buffer.alloc(65_536)

export function isZero(bytes: Buffer): boolean {
  for (let offset = 0; offset < bytes.length; offset += ZEROS.length) {
    const part = bytes.subarray(offset, offset + ZEROS.length)
    if (!part.equals(ZEROS.subarray(0, part.length))) return false
  }
  return true
}
