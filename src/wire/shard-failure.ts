// A call of a shard that failed: protocols/shard, Failed.

import { utf8 } from '../base/bytes.ts'
import { ERROR_CODES, errorCodeFromNumber, MeshError } from '../base/errors.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { malformed } from './proto.ts'
import { bytesOf, cutText, flagOf, numberOf, peerOf, textOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'

const MESSAGE_BYTES_MAX = 1_024
const DETAILS_MAX = 16
const DETAIL_KEY_BYTES_MAX = 64
const DETAIL_TEXT_BYTES_MAX = 256
const WHAT = 'shard reply'

/** Numbers and texts about an error, as programs want them: `{ revision: 12 }`. */
type FailureDetails = Readonly<Record<string, number | string>>

export type FailedResult = {
  readonly kind: 'failed'
  readonly code: ErrorCode
  /** For people. */
  readonly message: string
  /** Who may lead the group: worth asking next. */
  readonly leader?: PeerId | undefined
  readonly details: FailureDetails
  /** What the machine answers to a command: the same wherever and however often it is asked. */
  readonly isDecided: boolean
}

/** @returns what a call answers that failed: a MeshError's own, or `internal` */
export function failedResult(error: MeshError, leader?: PeerId): FailedResult {
  const details = Object.entries(error.details).filter(
    (entry): entry is [string, number | string] =>
      typeof entry[1] === 'string' || (Number.isSafeInteger(entry[1]) && Number(entry[1]) >= 0)
  )
  return {
    kind: 'failed',
    code: error.code,
    message: error.message,
    leader,
    details: Object.fromEntries(details),
    isDecided: false
  }
}

/** @returns the error that a call failed with, the leader among its details. */
export function failureOf({ code, message, details, leader }: FailedResult): MeshError {
  const about = leader === undefined ? details : { ...details, leader }
  return new MeshError(code, message, { details: about })
}

export function writeFailed(writer: ProtoWriter, result: FailedResult): void {
  writer.uint(1, ERROR_CODES[result.code])
  writer.bytes(2, cutText(result.message, MESSAGE_BYTES_MAX))
  if (result.leader !== undefined) writer.bytes(3, utf8(result.leader))
  for (const [key, value] of Object.entries(result.details).slice(0, DETAILS_MAX)) {
    const detail = new ProtoWriter(64)
    detail.bytes(1, cutText(key, DETAIL_KEY_BYTES_MAX))
    if (typeof value === 'string') detail.present(3, cutText(value, DETAIL_TEXT_BYTES_MAX))
    else detail.uint(2, value)
    writer.present(4, detail.finish())
  }
  writer.bool(5, result.isDecided)
}

/** @throws invalid-data, invalid-argument */
export function decodeFailed(bytes: Uint8Array): FailedResult {
  let code: ErrorCode | undefined
  let message = ''
  let leader: PeerId | undefined
  let isDecided = false
  const details: [string, number | string][] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) code = errorCodeFromNumber(numberOf(field, WHAT))
    else if (field.field === 2) message = textOf(field, WHAT, MESSAGE_BYTES_MAX)
    else if (field.field === 3) leader = peerOf(field, WHAT)
    else if (field.field === 4) {
      if (details.length === DETAILS_MAX) throw malformed(WHAT, 'a failure has too many details')
      details.push(decodeDetail(bytesOf(field, WHAT, bytes.length)))
    } else if (field.field === 5) isDecided = flagOf(field, WHAT)
  }
  if (code === undefined) throw malformed(WHAT, 'a failure has no code')
  const rest = { code, message, details: Object.fromEntries(details), isDecided }
  return leader === undefined ? { kind: 'failed', ...rest } : { kind: 'failed', ...rest, leader }
}

function decodeDetail(bytes: Uint8Array): [string, number | string] {
  let key = ''
  let value: number | string = 0
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) key = textOf(field, WHAT, DETAIL_KEY_BYTES_MAX)
    else if (field.field === 2) value = numberOf(field, WHAT)
    else if (field.field === 3) value = textOf(field, WHAT, DETAIL_TEXT_BYTES_MAX)
  }
  return [key, value]
}
