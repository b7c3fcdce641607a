// Reads the records of a log back, and tells a write that a crash cut off from records that were
// lost. (L-4, L-5, L-6)
//
// The argument. Batches are written one after another: a batch begins when the one before is synced,
// and lies in one segment. Each record says with which record its batch began. So
//  - a record that is missing or bad, and for which any later record belongs to a later batch, was
//    durable once: it is damage, whatever it was. (A disk may write the sectors of one batch in any
//    order, so a good record of the same batch after a bad one proves nothing.)
//  - when no later batch is there, the bad record belongs to the last one. Then it may have been cut
//    off by a crash, before anybody was told that it is durable, and the log ends before it. If it was
//    damaged later instead, that can't be told apart, unless the log was closed in order: closing
//    adds a batch.
// Records are numbered without a gap over the whole log, so that a lost one is always missed. Each says
// which record of its group came before it, and each segment begins with a catalog of the last
// record of every group. So
//  - a bad record with a good header harms the group that it names, and no other;
//  - when not even that is known, every group is suspect until a later record of it, or a catalog,
//    names the last good one as the one before. Who is never named counts as damaged.
// A group that was new in such a record, and is named nowhere else, can't be known of.

import { isMeshError } from '../../base/errors.ts'
import type { SegmentUse } from './entry-table.ts'
import { GroupState } from './group-state.ts'
import { decodeCatalog } from './catalog.ts'
import { decodeUpdate } from './payload.ts'
import { RECORD_HEADER_BYTES, type RecordCodec } from './record.ts'
import { scanSegment, type Found, type FoundRecord } from './segment-scan.ts'

/** Where the log ends because what follows was never durable. */
export type LogCut = { readonly segment: number; readonly offset: number }

type Held = { readonly segment: number; readonly found: Found; readonly missing: number }

const BEFORE_ALL = 0
const HARMED = 'a part of its log was lost'

export class LogScan {
  readonly states: Map<number, GroupState> = new Map()
  readonly #codec: RecordCodec
  readonly #use: SegmentUse
  /** The sequence of the last record seen; undefined before the first. */
  #last: number | undefined
  /** The sequence of the oldest record there is; 0 when it is unknown. */
  #first: number | undefined
  /** What stands at and after the first bad place that isn't known to be damage. */
  #held: Held[] = []
  /** Groups that a lost record may have belonged to. */
  readonly #suspects = new Set<number>()
  /** Records, or places, that were lost. */
  lossCount = 0

  constructor(codec: RecordCodec, use: SegmentUse) {
    this.#codec = codec
    this.#use = use
  }

  /** The sequence of the last record that counts; 0 when there is none. */
  get lastSequence(): number {
    const [cut] = this.#held
    return cut === undefined ? (this.#last ?? 0) : cut.missing - 1
  }

  /**
   * Reads the next segment that isn't empty. Segments come in order.
   *
   * @param options.isFirst it is the oldest there is
   * @param options.isWhole its header is good, and no segment is missing before it
   * @returns bytes up to the end of its last record
   */
  addSegment(
    bytes: Buffer,
    options: { number: number; isFirst: boolean; isWhole: boolean }
  ): number {
    const { number, isFirst, isWhole } = options
    // This segment was begun when everything before it was durable.
    this.#release(Number.POSITIVE_INFINITY)
    // The log begins with record 1, and only whole segments are ever taken off it.
    if (isFirst && number === 1) {
      this.#last = 0
      this.#first = 1
    }
    if (!isWhole) this.#harm(undefined)
    let end = 0
    for (const found of scanSegment(bytes, this.#codec, this.#last ?? 0)) {
      if (found.type === 'record') end = found.offset + RECORD_HEADER_BYTES + found.header.length
      this.#take(found, number)
    }
    return end
  }

  /** @returns where the log has to be cut; undefined when it ends with a good record. */
  finish(): LogCut | undefined {
    this.#release(BEFORE_ALL + 1)
    for (const state of this.states.values()) {
      const isHarmed = this.#suspects.has(state.id) || !state.isWhole()
      if (isHarmed) state.markDamaged(HARMED)
    }
    const [cut] = this.#held
    return cut && { segment: cut.segment, offset: cut.found.offset }
  }

  #take(found: Found, segment: number): void {
    if (found.type === 'gap') {
      this.#hold(segment, found)
      return
    }
    const { header, isIntact } = found
    const { sequence, batch } = header
    if (this.#last === undefined) {
      // Bad bytes before it: what is the oldest record can't be known.
      this.#first = this.#held.length > 0 ? 0 : sequence
      this.#last = sequence - 1
    }
    const isNext = sequence === this.#last + 1
    if (!isNext && this.#held.at(-1)?.found.type !== 'gap') {
      this.#hold(segment, { type: 'gap', offset: found.offset })
    }
    this.#release(batch)
    this.#last = sequence
    if (!isIntact || this.#held.length > 0) {
      this.#held.push({ segment, found: copyOf(found), missing: sequence })
    } else {
      this.#apply(found, segment)
    }
  }

  /**
   * What stands before the oldest record of a log that had its beginning taken off was durable: the
   * beginning went only after that. So it counts as older than any batch.
   */
  #hold(segment: number, found: Found): void {
    const missing = this.#last === undefined ? BEFORE_ALL : this.#last + 1
    this.#held.push({ segment, found, missing })
  }

  /** Decides about what is held, knowing that all before record `batch` was durable. */
  #release(batch: number): void {
    let count = 0
    for (const { segment, found, missing } of this.#held) {
      const isGood = found.type === 'record' && found.isIntact
      if (!isGood && missing >= batch) break
      if (isGood) this.#apply(found, segment)
      else this.#harm(found.type === 'record' ? found : undefined)
      count += 1
    }
    this.#held.splice(0, count)
  }

  /** @param found a bad record; undefined when it isn't known what was lost */
  #harm(found: FoundRecord | undefined): void {
    this.lossCount += 1
    if (found === undefined || found.header.kind === 'catalog') {
      // A catalog that is lost harms nobody; but after it nobody is known to be well either.
      if (found === undefined) for (const id of this.states.keys()) this.#suspects.add(id)
      return
    }
    const { group, sequence } = found.header
    const state = this.#stateOf(group, false)
    state.lastSequence = sequence
    state.markDamaged(HARMED)
  }

  #apply(found: FoundRecord, segment: number): void {
    try {
      if (found.header.kind === 'catalog') this.#applyCatalog(found)
      else this.#applyUpdate(found, segment)
    } catch (error) {
      if (!isMeshError(error, 'invalid-data')) throw error
      // Its checksum is right and its content isn't: written by a program that was wrong.
      this.#harm(found)
    }
  }

  #applyUpdate({ header, payload, offset }: FoundRecord, segment: number): void {
    const { kind, group, sequence, previous } = header
    if (kind === 'catalog') return
    const update = decodeUpdate(payload)
    const state = this.#expect(group, previous)
    state.apply({ kind, update, segment, offset, sequence })
    if (update.isRemoved) this.#suspects.delete(group)
  }

  #applyCatalog({ payload }: FoundRecord): void {
    for (const { group, last, isDamaged } of decodeCatalog(payload)) {
      const state = this.#expect(group, last)
      if (isDamaged) state.markDamaged(HARMED)
    }
  }

  /** @returns the group's state; it counts as damaged unless `previous` is its last record here. */
  #expect(group: number, previous: number): GroupState {
    const known = this.states.get(group)
    const state = known ?? this.#stateOf(group, previous === 0)
    const isOlder = known === undefined && previous < (this.#first ?? 0)
    if (isOlder) state.lastSequence = previous
    if (state.lastSequence === previous) this.#suspects.delete(group)
    else state.markDamaged(HARMED)
    return state
  }

  #stateOf(group: number, isNew: boolean): GroupState {
    const known = this.states.get(group)
    if (known !== undefined) return known
    const state = new GroupState(group, { use: this.#use, isNew })
    this.states.set(group, state)
    return state
  }
}

/** Its bytes stay, when the segment's go. */
function copyOf(found: FoundRecord): FoundRecord {
  return { ...found, payload: Buffer.from(found.payload) }
}
