// Entries as they were written: the newest from memory, others from the segments, checked again.

import { entryBytes, type Entry } from '../../core/raft/messages.ts'
import { MeshError, isMeshError, toMeshError } from '../../base/errors.ts'
import type { EntryRun, RecordPlace } from './entry-table.ts'
import type { GroupState } from './group-state.ts'
import { decodeEntries } from './payload.ts'
import { SEGMENT_BYTES_MAX } from './segment.ts'
import type { SegmentLine } from './segment-line.ts'

/** What a record in memory costs besides its entries' bytes, about. */
const RECORD_OVERHEAD_BYTES = 200

type Held = { readonly entries: readonly Entry[]; readonly bytes: number }

export class EntryReader {
  readonly #line: SegmentLine
  readonly #bytesMax: number
  /** By place; oldest first. */
  readonly #held = new Map<number, Held>()
  #bytes = 0

  /** @param bytesMax of entries held in memory */
  constructor(line: SegmentLine, bytesMax: number) {
    this.#line = line
    this.#bytesMax = bytesMax
  }

  /** Holds the entries of a record that was just written. */
  hold(place: RecordPlace, entries: readonly Entry[]): void {
    if (entries.length === 0) return
    let bytes = RECORD_OVERHEAD_BYTES
    for (const entry of entries) bytes += entryBytes(entry)
    this.#held.set(keyOf(place), { entries, bytes })
    this.#bytes += bytes
    for (const [key, oldest] of this.#held) {
      if (this.#bytes <= this.#bytesMax) break
      this.#held.delete(key)
      this.#bytes -= oldest.bytes
    }
  }

  /**
   * Reads entries while their bytes are within `bytesMax`; the first one always.
   * @param range `low` lies in the log; `high` is the first that isn't wanted
   * @throws corrupt: from then on the group counts as damaged
   */
  read(group: GroupState, range: { low: number; high: number; bytesMax: number }): Entry[] {
    const high = Math.min(range.high, group.lastIndex + 1)
    const wanted: Entry[] = []
    let bytes = 0
    for (let index = range.low; index < high;) {
      const run = group.table.runOf(index) as EntryRun
      const record = this.#recordOf(group, run)
      const recordFirst = (record[0] as Entry).index
      for (; index < Math.min(run.end, high); index++) {
        const entry = record[index - recordFirst] as Entry
        bytes += entryBytes(entry)
        if (bytes > range.bytesMax && wanted.length > 0) return wanted
        wanted.push(entry)
      }
    }
    return wanted
  }

  #recordOf(group: GroupState, run: EntryRun): readonly Entry[] {
    const held = this.#held.get(keyOf(run))
    if (held !== undefined) return held.entries
    try {
      const entries = this.#load(group, run)
      this.hold(run, entries)
      return entries
    } catch (error) {
      if (!isMeshError(error)) throw error
      group.markDamaged(toMeshError(error).message)
      throw group.damage as MeshError
    }
  }

  #load(group: GroupState, run: EntryRun): Entry[] {
    const { header, payload } = this.#line.read(run)
    const entries = decodeEntries(payload)
    const [first] = entries
    const isHere =
      header.group === group.id &&
      first !== undefined &&
      first.index <= run.first &&
      first.index + entries.length >= run.end &&
      entries[run.first - first.index]?.term === run.term
    if (isHere) return entries
    throw new MeshError('corrupt', `The record at byte ${run.offset} is another than it was`)
  }
}

/** A number for a place: offsets are below {@link SEGMENT_BYTES_MAX}. */
function keyOf({ segment, offset }: RecordPlace): number {
  return segment * SEGMENT_BYTES_MAX + offset
}
