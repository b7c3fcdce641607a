// A segment: a file of the log with a header in two copies, records one after another, and zeros.
// (L-1, L-2)

import { crc32 } from 'node:zlib'

import { MeshError } from '../../base/errors.ts'
import { KIB, MIB } from '../../base/units.ts'
import type { LogFile } from './log-folder.ts'
import { readU64, writeU64 } from './record.ts'

/** The second copy of the header stands here: in another page, so that one bad page leaves one. */
const SECOND_COPY_OFFSET: number = 4 * KIB
/** Where records begin. */
export const SEGMENT_START: number = 8 * KIB
/** A longer file is not read. */
export const SEGMENT_BYTES_MAX: number = 64 * MIB
export const LOG_ID_BYTES = 16

const MAGIC: Buffer = Buffer.from('ATOLLLOG', 'latin1')
const FORMAT = 1
const HEADER_BYTES = 44
const SUM_OFFSET = 40
const NAME: RegExp = /^(\d{10})\.log$/

export type SegmentHeader = {
  readonly number: number
  /** Bytes of the file. */
  readonly size: number
  readonly logId: Uint8Array
}

/** A segment in use. */
export type Segment = {
  /** From 1. */
  readonly number: number
  readonly name: string
  readonly file: LogFile
  readonly size: number
}

export function segmentName(number: number): string {
  return `${String(number).padStart(10, '0')}.log`
}

/** @returns the number of a segment's file; undefined for any other name. */
export function segmentNumber(name: string): number | undefined {
  const match = NAME.exec(name)
  return match === null ? undefined : Number(match[1])
}

/** @returns what a new segment begins with. */
export function encodeSegmentHead(header: SegmentHeader): Uint8Array {
  const head = Buffer.alloc(SEGMENT_START)
  MAGIC.copy(head)
  head.writeUInt32BE(FORMAT, 8)
  head.writeUInt32BE(header.size, 12)
  writeU64(head, header.number, 16)
  head.set(header.logId, 24)
  head.writeUInt32BE(crc32(head.subarray(0, SUM_OFFSET)), SUM_OFFSET)
  head.copy(head, SECOND_COPY_OFFSET, 0, HEADER_BYTES)
  return head
}

/**
 * @param bytes the beginning of a segment
 * @returns its header, from whichever copy is intact; undefined when none is
 * @throws folder-too-new
 */
export function decodeSegmentHead(bytes: Uint8Array): SegmentHeader | undefined {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return decodeCopy(buffer, 0) ?? decodeCopy(buffer, SECOND_COPY_OFFSET)
}

function decodeCopy(bytes: Buffer, offset: number): SegmentHeader | undefined {
  const copy = bytes.subarray(offset, offset + HEADER_BYTES)
  if (copy.length < HEADER_BYTES || !MAGIC.equals(copy.subarray(0, MAGIC.length))) return undefined
  if (crc32(copy.subarray(0, SUM_OFFSET)) !== copy.readUInt32BE(SUM_OFFSET)) return undefined
  const format = copy.readUInt32BE(8)
  if (format > FORMAT) {
    throw new MeshError(
      'folder-too-new',
      `Cannot read the log: its format is ${format}, and this version knows up to ${FORMAT}; update`
    )
  }
  const logId = Uint8Array.from(copy.subarray(24, 24 + LOG_ID_BYTES))
  return { number: readU64(copy, 16), size: copy.readUInt32BE(12), logId }
}
