// A write as the payloads of its records: one, unless its entries are too many for that.

import { MeshError } from '../../base/errors.ts'
import type { Entry, HardState } from '../../core/raft/messages.ts'
import { encodeEntry } from '../../wire/raft.ts'
import { LOG_ENTRY_BYTES_MAX, type GroupWrite } from '../log-store.ts'
import {
  ENTRY_LENGTH_BYTES,
  NO_UPDATE,
  encodeUpdate,
  termRuns,
  type GroupUpdate
} from './payload.ts'

/** A record that is to be written. */
export type RecordPart = {
  readonly kind: 'update' | 'copy'
  readonly group: number
  readonly update: GroupUpdate
  readonly payload: Uint8Array
  /** Those that the update tells of. */
  readonly entries: readonly Entry[]
  /** May it use the room that is kept for making room? */
  readonly isRelief: boolean
}

/** A term for each entry is the worst case. */
const ENTRY_OVERHEAD_BYTES: number = ENTRY_LENGTH_BYTES + 12

type Chunk = { entries: Entry[]; encoded: Uint8Array[] }

/**
 * The first part has term and vote, and every part a beginning of the entries; the last one has the
 * commit index and the truncation. After a crash between two of them the log is as if the write had
 * brought fewer entries, which Raft allows: nothing of it was acknowledged.
 *
 * @param options.chunkBytesMax of entries in a part; one entry may be longer
 * @param options.commit what the group's commit index is before
 * @throws too-large for an entry beyond {@link LOG_ENTRY_BYTES_MAX}
 */
export function splitWrite(
  write: GroupWrite,
  options: { chunkBytesMax: number; commit: number }
): RecordPart[] {
  const entryBytesMax = Math.min(LOG_ENTRY_BYTES_MAX, options.chunkBytesMax)
  const { group, remove, snapshot, hardState, entries = [] } = write
  const chunks = chunksOf(write, entryBytesMax, options.chunkBytesMax)
  const isRelief = entries.length === 0 && snapshot === undefined
  const lastChunk = Math.max(0, chunks.length - 1)
  return Array.from({ length: lastChunk + 1 }, (_, position) => {
    const chunk = chunks[position]
    const isFirst = position === 0
    const isLast = position === lastChunk
    const head = isFirst
      ? {
          isRemoved: remove === true,
          start: snapshot && { index: snapshot.index, term: snapshot.term },
          configState: write.configState ?? snapshot?.configState,
          meta: write.meta
        }
      : {}
    const update: GroupUpdate = {
      ...NO_UPDATE,
      ...head,
      hardState: hardStateOf(hardState, { isFirst, isLast, commit: options.commit }),
      truncateTo: isLast ? write.truncateTo : undefined,
      range: chunk && rangeOf(chunk.entries)
    }
    const payload = encodeUpdate(update, chunk?.encoded ?? [])
    return { kind: 'update', group, update, payload, entries: chunk?.entries ?? [], isRelief }
  })
}

/** @returns a record that puts a copy of what a group is at the end of the log. */
export function copyPart(
  group: number,
  update: GroupUpdate,
  entries: readonly Entry[]
): RecordPart {
  const range = entries.length === 0 ? undefined : rangeOf(entries)
  const whole = { ...update, range }
  const payload = encodeUpdate(whole, entries.map(encodeEntry))
  const isRelief = entries.length === 0
  return { kind: 'copy', group, update: whole, payload, entries, isRelief }
}

function hardStateOf(
  hardState: HardState | undefined,
  part: { isFirst: boolean; isLast: boolean; commit: number }
): HardState | undefined {
  if (hardState === undefined || part.isLast) return hardState
  return part.isFirst ? { ...hardState, commit: part.commit } : undefined
}

function rangeOf(entries: readonly Entry[]): GroupUpdate['range'] {
  return { first: (entries[0] as Entry).index, terms: termRuns(entries) }
}

function chunksOf(write: GroupWrite, entryBytesMax: number, bytesMax: number): Chunk[] {
  const { group, entries = [] } = write
  const chunks: Chunk[] = []
  let bytes = 0
  for (const entry of entries) {
    const encoded = encodeEntry(entry)
    if (encoded.length > entryBytesMax) {
      const problem = `entry ${entry.index} has ${encoded.length} bytes`
      throw new MeshError('too-large', `Cannot write to group ${group}: ${problem}`)
    }
    bytes += encoded.length + ENTRY_OVERHEAD_BYTES
    let chunk = chunks.at(-1)
    if (chunk === undefined || bytes > bytesMax) {
      chunk = { entries: [], encoded: [] }
      chunks.push(chunk)
      bytes = encoded.length + ENTRY_OVERHEAD_BYTES
    }
    chunk.entries.push(entry)
    chunk.encoded.push(encoded)
  }
  return chunks
}
