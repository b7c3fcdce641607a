// One record of the log: a header that says how long it is and where it stands, and a payload, each
// with a checksum of its own. (L-3 to L-6)
//
// Two checksums, so that damage in a payload leaves known whose record it is and where the next one
// begins. Both begin with the log's id, which nobody outside of the node knows: bytes that a user had
// written into an entry can't pass for a record, and neither can the remains of another log.

import { crc32 } from 'node:zlib'

import { NUMBER_MAX } from '../../core/raft/messages.ts'

/** magic, kind, two checksums, length, sequence, batch, group, previous. */
export const RECORD_HEADER_BYTES = 48
/** `ALR`, followed by the kind. */
const MAGIC: Buffer = Buffer.from('ALR', 'latin1')
const KIND_OFFSET = 3
const HEADER_SUM_OFFSET = 4
const PAYLOAD_SUM_OFFSET = 8
const LENGTH_OFFSET = 12
const SEQUENCE_OFFSET = 16
const BATCH_OFFSET = 24
const GROUP_OFFSET = 32
const PREVIOUS_OFFSET = 40
/** What comes before isn't under the header's checksum, except that the kind decides its seed. */
const SUMMED_OFFSET = 8

/**
 * - `update`: a change of a group, or a part of one.
 * - `copy`: what a group is, so that older segments can go.
 * - `catalog`: all groups and their last records.
 */
type RecordKind = 'update' | 'copy' | 'catalog'
const KINDS: readonly (RecordKind | undefined)[] = [undefined, 'update', 'copy', 'catalog']

export type RecordHeader = {
  readonly kind: RecordKind
  /** Bytes of the payload. */
  readonly length: number
  /** Counts the records of the log, from 1, without a gap. */
  readonly sequence: number
  /** The sequence of the first record that was synced together with this one. */
  readonly batch: number
  /** 0 in a catalog. */
  readonly group: number
  /** The sequence of the group's record before this one; 0 when it is the first. */
  readonly previous: number
  readonly payloadSum: number
}

export type RecordDraft = Omit<RecordHeader, 'length' | 'payloadSum'> & {
  readonly payload: Uint8Array
}

const HIGH = 0x1_0000_0000

export function writeU64(buffer: Buffer, value: number, offset: number): void {
  buffer.writeUInt32BE(Math.floor(value / HIGH), offset)
  buffer.writeUInt32BE(value % HIGH, offset + 4)
}

/** @returns the number; NaN beyond {@link NUMBER_MAX}. */
export function readU64(buffer: Buffer, offset: number): number {
  const value = buffer.readUInt32BE(offset) * HIGH + buffer.readUInt32BE(offset + 4)
  return value <= NUMBER_MAX ? value : Number.NaN
}

/** Writes and reads the records of one log. */
export class RecordCodec {
  readonly #seed: number

  /** @param logId 16 random bytes, the same in all segments of the log. */
  constructor(logId: Uint8Array) {
    this.#seed = crc32(logId)
  }

  /** Writes a record into `target`. @returns the offset after it */
  write(target: Buffer, offset: number, draft: RecordDraft): number {
    const { payload } = draft
    MAGIC.copy(target, offset)
    target[offset + KIND_OFFSET] = KINDS.indexOf(draft.kind)
    target.writeUInt32BE(crc32(payload, this.#seed), offset + PAYLOAD_SUM_OFFSET)
    target.writeUInt32BE(payload.length, offset + LENGTH_OFFSET)
    writeU64(target, draft.sequence, offset + SEQUENCE_OFFSET)
    writeU64(target, draft.batch, offset + BATCH_OFFSET)
    writeU64(target, draft.group, offset + GROUP_OFFSET)
    writeU64(target, draft.previous, offset + PREVIOUS_OFFSET)
    target.writeUInt32BE(this.#headerSum(target, offset), offset + HEADER_SUM_OFFSET)
    target.set(payload, offset + RECORD_HEADER_BYTES)
    return offset + RECORD_HEADER_BYTES + payload.length
  }

  /** @returns the header at `offset`; undefined when there is no intact one. */
  readHeader(bytes: Buffer, offset: number): RecordHeader | undefined {
    if (offset + RECORD_HEADER_BYTES > bytes.length) return undefined
    if (bytes[offset] !== MAGIC[0] || bytes[offset + 1] !== MAGIC[1]) return undefined
    const kind = KINDS[bytes[offset + KIND_OFFSET] as number]
    if (bytes[offset + 2] !== MAGIC[2] || kind === undefined) return undefined
    const sum = bytes.readUInt32BE(offset + HEADER_SUM_OFFSET)
    if (sum !== this.#headerSum(bytes, offset)) return undefined
    const header = {
      kind,
      length: bytes.readUInt32BE(offset + LENGTH_OFFSET),
      sequence: readU64(bytes, offset + SEQUENCE_OFFSET),
      batch: readU64(bytes, offset + BATCH_OFFSET),
      group: readU64(bytes, offset + GROUP_OFFSET),
      previous: readU64(bytes, offset + PREVIOUS_OFFSET),
      payloadSum: bytes.readUInt32BE(offset + PAYLOAD_SUM_OFFSET)
    }
    return isPossible(header) ? header : undefined
  }

  isPayloadIntact(header: RecordHeader, payload: Uint8Array): boolean {
    return crc32(payload, this.#seed) === header.payloadSum
  }

  /** @returns the offset of the next header from `offset` on whose record is newer than `after`. */
  findHeader(bytes: Buffer, offset: number, after: number): number | undefined {
    let found = bytes.indexOf(MAGIC, offset)
    while (found !== -1) {
      const header = this.readHeader(bytes, found)
      if (header !== undefined && header.sequence > after) return found
      found = bytes.indexOf(MAGIC, found + 1)
    }
    return undefined
  }

  #headerSum(bytes: Buffer, offset: number): number {
    const kind = bytes[offset + KIND_OFFSET] as number
    const summed = bytes.subarray(offset + SUMMED_OFFSET, offset + RECORD_HEADER_BYTES)
    return crc32(summed, (this.#seed ^ kind) >>> 0)
  }
}

function isPossible(header: RecordHeader): boolean {
  const { sequence, batch, group, previous } = header
  const isCounted = batch >= 1 && batch <= sequence && previous >= 0 && previous < sequence
  return isCounted && group >= 0
}
