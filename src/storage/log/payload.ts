// What is in a record: the change of a group, as protocols/log has it. (L-7)

import type { ConfigState, Entry, HardState } from '../../core/raft/messages.ts'
import { malformed } from '../../wire/proto.ts'
import { decodeConfigState, decodeEntry, encodeConfigState } from '../../wire/raft.ts'
import { LOG_ENTRY_BYTES_MAX, LOG_META_BYTES_MAX } from '../log-store.ts'
import type { EntryRange, TermRun } from './entry-table.ts'
import { PayloadReader } from './payload-reader.ts'
import { writeU64 } from './record.ts'

const FLAG_REMOVE = 1
const FLAG_DAMAGED = 2
const FLAG_HARD_STATE = 4
const FLAG_START = 8
const FLAG_CONFIG_STATE = 16
const FLAG_TRUNCATE = 32
const FLAG_META = 64
const FLAG_ENTRIES = 128

/** Members of a group, far beyond what a mesh has; so many bytes of them are read. */
const CONFIG_BYTES_MAX = 65_536

/** Where a log begins: after this index. */
export type LogStart = { readonly index: number; readonly term: number }

/**
 * One record's change of a group. In a record of kind `copy` it is the whole of what the group is,
 * except that entries that it doesn't bring stay as they are.
 */
export type GroupUpdate = {
  /** In a copy: the group is gone. */
  readonly isRemoved: boolean
  /** Only in copies. */
  readonly isDamaged: boolean
  readonly hardState: HardState | undefined
  /** A snapshot's; in a copy, where the log begins now. */
  readonly start: LogStart | undefined
  readonly configState: ConfigState | undefined
  readonly truncateTo: number | undefined
  readonly meta: Uint8Array | undefined
  readonly range: EntryRange | undefined
}

export const NO_UPDATE: GroupUpdate = {
  isRemoved: false,
  isDamaged: false,
  hardState: undefined,
  start: undefined,
  configState: undefined,
  truncateTo: undefined,
  meta: undefined,
  range: undefined
}

/** @returns the terms of consecutive entries, equal ones joined. */
export function termRuns(entries: readonly Entry[]): TermRun[] {
  const runs: { term: number; count: number }[] = []
  for (const { term } of entries) {
    const last = runs.at(-1)
    if (last?.term === term) last.count += 1
    else runs.push({ term, count: 1 })
  }
  return runs
}

/** Bytes of an entry in a payload besides its own. */
export const ENTRY_LENGTH_BYTES = 4
/** Bytes of a term run. */
const TERM_RUN_BYTES = 12

/** @param entries encoded ones, those that `update.range` tells of */
export function encodeUpdate(update: GroupUpdate, entries: readonly Uint8Array[]): Uint8Array {
  const config =
    update.configState === undefined ? undefined : encodeConfigState(update.configState)
  const target = Buffer.allocUnsafe(updateBytes(update, { config, entries }))
  target[0] = flagsOf(update)
  let offset = 1
  const putNumber = (value: number): void => {
    writeU64(target, value, offset)
    offset += 8
  }
  const putCount = (value: number): void => {
    offset = target.writeUInt32BE(value, offset)
  }
  const putBytes = (bytes: Uint8Array): void => {
    putCount(bytes.length)
    target.set(bytes, offset)
    offset += bytes.length
  }
  const { hardState, start, truncateTo, meta, range } = update
  if (hardState !== undefined) {
    putNumber(hardState.term)
    putNumber(hardState.vote)
    putNumber(hardState.commit)
  }
  if (start !== undefined) {
    putNumber(start.index)
    putNumber(start.term)
  }
  if (config !== undefined) putBytes(config)
  if (truncateTo !== undefined) putNumber(truncateTo)
  if (meta !== undefined) putBytes(meta)
  if (range === undefined) return target
  putNumber(range.first)
  putCount(range.terms.length)
  for (const { term, count } of range.terms) {
    putNumber(term)
    putCount(count)
  }
  for (const entry of entries) putBytes(entry)
  return target
}

function updateBytes(
  update: GroupUpdate,
  parts: { config: Uint8Array | undefined; entries: readonly Uint8Array[] }
): number {
  const { config, entries } = parts
  let bytes = 1
  if (update.hardState !== undefined) bytes += 24
  if (update.start !== undefined) bytes += 16
  if (config !== undefined) bytes += 4 + config.length
  if (update.truncateTo !== undefined) bytes += 8
  if (update.meta !== undefined) bytes += 4 + update.meta.length
  if (update.range === undefined) return bytes
  bytes += 12 + TERM_RUN_BYTES * update.range.terms.length
  for (const entry of entries) bytes += ENTRY_LENGTH_BYTES + entry.length
  return bytes
}

function flagsOf(update: GroupUpdate): number {
  return (
    (update.isRemoved ? FLAG_REMOVE : 0) |
    (update.isDamaged ? FLAG_DAMAGED : 0) |
    (update.hardState === undefined ? 0 : FLAG_HARD_STATE) |
    (update.start === undefined ? 0 : FLAG_START) |
    (update.configState === undefined ? 0 : FLAG_CONFIG_STATE) |
    (update.truncateTo === undefined ? 0 : FLAG_TRUNCATE) |
    (update.meta === undefined ? 0 : FLAG_META) |
    (update.range === undefined ? 0 : FLAG_ENTRIES)
  )
}

/** The `meta` is a copy. @throws invalid-data */
export function decodeUpdate(payload: Buffer): GroupUpdate {
  const { update, reader } = readUpdate(payload)
  if (update.range === undefined && reader.left > 0) {
    throw malformed('log record', `it has ${reader.left} bytes too many`)
  }
  return update
}

function readUpdate(payload: Buffer): { update: GroupUpdate; reader: PayloadReader } {
  const reader = new PayloadReader(payload)
  const flags = reader.byte()
  const has = (flag: number): boolean => (flags & flag) !== 0
  const hardState = has(FLAG_HARD_STATE)
    ? { term: reader.number(), vote: reader.number(), commit: reader.number() }
    : undefined
  const start = has(FLAG_START) ? { index: reader.number(), term: reader.number() } : undefined
  const update = {
    isRemoved: has(FLAG_REMOVE),
    isDamaged: has(FLAG_DAMAGED),
    hardState,
    start,
    configState: has(FLAG_CONFIG_STATE)
      ? decodeConfigState(Uint8Array.from(reader.part(CONFIG_BYTES_MAX)))
      : undefined,
    truncateTo: has(FLAG_TRUNCATE) ? reader.number() : undefined,
    meta: has(FLAG_META) ? Uint8Array.from(reader.part(LOG_META_BYTES_MAX)) : undefined,
    range: has(FLAG_ENTRIES) ? readRange(reader) : undefined
  }
  return { update, reader }
}

function readRange(reader: PayloadReader): EntryRange {
  const first = reader.number()
  const runCount = reader.count()
  const terms: TermRun[] = []
  let count = 0
  for (let run = 0; run < runCount; run++) {
    const term = reader.number()
    const length = reader.count()
    if (length === 0) throw malformed('log record', 'a term has no entries')
    count += length
    terms.push({ term, count: length })
  }
  if (count === 0 || first === 0 || count * ENTRY_LENGTH_BYTES > reader.left) {
    throw malformed('log record', `it can't have ${count} entries from ${first} on`)
  }
  return { first, terms }
}

/** @returns the entries of a record; what is in them are views of `payload`. @throws invalid-data */
export function decodeEntries(payload: Buffer): Entry[] {
  const { update, reader } = readUpdate(payload)
  const entries: Entry[] = []
  if (update.range === undefined) return entries
  let index = update.range.first
  for (const { term, count } of update.range.terms) {
    for (let place = 0; place < count; place++) {
      const part = reader.part(LOG_ENTRY_BYTES_MAX)
      // No Buffer: that is another class to those who compare.
      const entry = decodeEntry(new Uint8Array(part.buffer, part.byteOffset, part.length))
      if (entry.index !== index || entry.term !== term) {
        const found = `index ${entry.index}, term ${entry.term}`
        throw malformed('log record', `an entry has ${found} instead of ${index}, ${term}`)
      }
      entries.push(entry)
      index += 1
    }
  }
  if (reader.left > 0) throw malformed('log record', `it has ${reader.left} bytes too many`)
  return entries
}
