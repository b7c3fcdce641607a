// Gives the oldest segments back once nothing is needed of them. What is still needed and small is
// copied to the end of the log; entries are, when they hold up more than they are. (L-9)
//
// Only the oldest segment goes, and only when the copies are durable. So the segments there are have
// consecutive numbers, and the records in them consecutive sequences: whatever is missing was lost.

import { isMeshError, type MeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { MIB } from '../../base/units.ts'
import { entryBytes } from '../../core/raft/messages.ts'
import type { EntryReader } from './entry-reader.ts'
import type { EntryRun, SegmentUse } from './entry-table.ts'
import type { GroupState } from './group-state.ts'
import { NO_UPDATE, type GroupUpdate } from './payload.ts'
import type { SegmentLine } from './segment-line.ts'
import { copyPart, type RecordPart } from './write-parts.ts'

/** Bytes of entries copied with one sync: what others have to wait for. */
const COPY_BYTES_MAX: number = MIB

export type ReclaimerComponents = {
  readonly line: SegmentLine
  readonly use: SegmentUse
  readonly reader: EntryReader
  readonly states: ReadonlyMap<number, GroupState>
  readonly logger: Logger
  /** Called when the disk failed: what it holds of the folder is unknown. */
  readonly onFailure: (failure: MeshError) => void
}

export type ReclaimerOptions = {
  /** Segments that entries may keep from going before they are copied. */
  readonly segmentCountMax: number
  /** Bytes of entries in one record. */
  readonly chunkBytesMax: number
}

export class Reclaimer {
  readonly #components: ReclaimerComponents
  readonly #options: ReclaimerOptions
  #removing: Promise<void> | undefined
  /** There was no room for copies, or a segment couldn't be removed: wait for the next sync. */
  #isPaused = false

  constructor(components: ReclaimerComponents, options: ReclaimerOptions) {
    this.#components = components
    this.#options = options
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    this.#isPaused = false
  }

  /** @returns what has to be written before the oldest segment can go; none when it may stay. */
  takeCopies(): RecordPart[] {
    const head = this.#components.line.closedHead?.number
    if (head === undefined || this.#isPaused || this.#removing !== undefined) return []
    const hasEntries = this.#components.use.countIn(head) > 0
    if (hasEntries && !this.#isWorthCopying(head)) return []
    const parts: RecordPart[] = []
    let bytes = 0
    for (const state of this.#components.states.values()) {
      const runs = hasEntries ? joined(state.table.runsIn(head)) : []
      if (runs.length === 0 && state.oldestSource > head) continue
      for (const part of this.#copiesOf(state, runs, COPY_BYTES_MAX - bytes)) {
        parts.push(part)
        bytes += part.payload.length
      }
      if (bytes >= COPY_BYTES_MAX) break
    }
    return parts
  }

  /** Removes oldest segments in the background while nothing is needed of them. */
  removeDead(onRemoved: () => void): void {
    if (this.#removing !== undefined || !this.#isHeadDead()) return
    this.#removing = this.#remove().finally(() => {
      this.#removing = undefined
      onRemoved()
    })
  }

  async close(): Promise<void> {
    await this.#removing
  }

  #isHeadDead(): boolean {
    const { line, use, states } = this.#components
    const head = line.closedHead?.number
    if (head === undefined || this.#isPaused || use.countIn(head) > 0) return false
    for (const state of states.values()) if (state.oldestSource <= head) return false
    return true
  }

  async #remove(): Promise<void> {
    const { line, use, logger } = this.#components
    while (this.#isHeadDead()) {
      const { number } = line.closedHead as { number: number }
      try {
        await line.removeHead()
        use.forget(number)
      } catch (error) {
        if (!isMeshError(error)) throw error
        if (error.code === 'storage-failed') this.#components.onFailure(error)
        logger.warn('log.segment_not_removed', { segment: number, reason: error.message })
        this.pause()
      }
    }
  }

  /**
   * Entries of the oldest segment are copied when the segments are too many, and half of what isn't
   * needed of them is more than the copies: so copying costs at most as much writing again as it
   * gives back twice, and a log whose entries are all needed is left to grow.
   */
  #isWorthCopying(head: number): boolean {
    const { line, use } = this.#components
    if (line.closed.length < this.#options.segmentCountMax) return false
    let dead = 0
    for (const { number, size } of line.closed) dead += size * (1 - use.fractionOf(number))
    return 2 * use.fractionOf(head) * line.active.size <= dead
  }

  *#copiesOf(state: GroupState, runs: readonly Span[], bytesMax: number): Generator<RecordPart> {
    const update = copyOf(state)
    let left = bytesMax
    let isWritten = false
    for (const run of state.damage === undefined ? runs : []) {
      for (let low = run.first; low < run.end && left > 0;) {
        const wanted = { low, high: run.end, bytesMax: this.#options.chunkBytesMax }
        const entries = this.#read(state, wanted)
        if (entries === undefined) return
        for (const entry of entries) left -= entryBytes(entry)
        low += entries.length
        isWritten = true
        yield copyPart(state.id, update, entries)
      }
    }
    if (!isWritten) yield copyPart(state.id, copyOf(state), [])
  }

  /** @returns undefined when they are damaged; then the group is, and the next copy says so. */
  #read(
    state: GroupState,
    range: { low: number; high: number; bytesMax: number }
  ): ReturnType<EntryReader['read']> | undefined {
    try {
      return this.#components.reader.read(state, range)
    } catch (error) {
      if (!isMeshError(error)) throw error
      this.#components.logger.error('log.group_damaged', damageFields(state, error))
      return undefined
    }
  }
}

type Span = { readonly first: number; readonly end: number }

function joined(runs: readonly EntryRun[]): Span[] {
  const spans: { first: number; end: number }[] = []
  for (const { first, end } of runs) {
    const last = spans.at(-1)
    if (last?.end === first) last.end = end
    else spans.push({ first, end })
  }
  return spans
}

function damageFields(state: GroupState, error: MeshError): { group: number; reason: string } {
  return { group: state.id, reason: error.message }
}

function copyOf(state: GroupState): GroupUpdate {
  if (state.damage !== undefined) return { ...NO_UPDATE, isDamaged: true }
  const { hardState, start, configState, meta, isRemoved } = state
  return { ...NO_UPDATE, hardState, start, configState, meta, isRemoved }
}
