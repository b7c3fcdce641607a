// The catalog of all groups that each segment begins with, and that a log closed in order ends with.
// (L-8)

import { malformed } from '../../wire/proto.ts'
import { LOG_GROUP_COUNT_MAX } from '../log-store.ts'
import { PayloadReader } from './payload-reader.ts'
import { writeU64 } from './record.ts'

/** A group as a catalog knows it. */
export type CatalogLine = {
  readonly group: number
  /** The sequence of its last record. */
  readonly last: number
  readonly isDamaged: boolean
}

const CATALOG_LINE_BYTES = 17

export function encodeCatalog(lines: readonly CatalogLine[]): Uint8Array {
  const target = Buffer.allocUnsafe(4 + CATALOG_LINE_BYTES * lines.length)
  let offset = target.writeUInt32BE(lines.length)
  for (const { group, last, isDamaged } of lines) {
    writeU64(target, group, offset)
    writeU64(target, last, offset + 8)
    offset = target.writeUInt8(isDamaged ? 1 : 0, offset + 16)
  }
  return target
}

/** @throws invalid-data */
export function decodeCatalog(payload: Buffer): CatalogLine[] {
  const reader = new PayloadReader(payload)
  const count = reader.count()
  if (count > LOG_GROUP_COUNT_MAX || reader.left !== count * CATALOG_LINE_BYTES) {
    throw malformed('log catalog', `it can't have ${count} groups in ${payload.length} bytes`)
  }
  return Array.from({ length: count }, () => ({
    group: reader.number(),
    last: reader.number(),
    isDamaged: reader.byte() !== 0
  }))
}
