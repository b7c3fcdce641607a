// What the log holds of one group: everything but the entries' bytes. Built by the same calls when
// records are written and when they are read back.

import { MeshError } from '../../base/errors.ts'
import { EMPTY_CONFIG_STATE, EMPTY_HARD_STATE } from '../../core/raft/messages.ts'
import type { ConfigState, HardState } from '../../core/raft/messages.ts'
import { EntryTable, type RecordPlace, type SegmentUse } from './entry-table.ts'
import type { GroupUpdate, LogStart } from './payload.ts'

/** The segments of the records that say what the group is now; 0: never said. */
type Sources = {
  /** Of the record before which nothing of the group counts. */
  base: number
  hardState: number
  start: number
  configState: number
  meta: number
}

export type StoredRecord = RecordPlace & {
  readonly kind: 'update' | 'copy'
  readonly sequence: number
  readonly update: GroupUpdate
}

/** A start whose term is not known yet. Only while a log is read. */
const TERM_UNKNOWN = -1

export class GroupState {
  readonly id: number
  readonly table: EntryTable
  readonly #use: SegmentUse
  hardState: HardState = EMPTY_HARD_STATE
  configState: ConfigState = EMPTY_CONFIG_STATE
  /** The log starts after this index. */
  start: LogStart = { index: 0, term: 0 }
  meta: Uint8Array | undefined
  isRemoved = false
  /** Why nothing of the group can be believed. */
  damage: MeshError | undefined
  /** Is all that came before the first record seen of it known? */
  isComplete: boolean
  /** The sequence of its last record. */
  lastSequence = 0
  #sources: Sources = onlyBase(0)

  /** @param options.isNew nothing was written for it before */
  constructor(id: number, options: { use: SegmentUse; isNew: boolean }) {
    this.id = id
    this.table = new EntryTable(options.use)
    this.#use = options.use
    this.isComplete = options.isNew
  }

  get lastIndex(): number {
    return this.table.isEmpty() ? this.start.index : this.table.end - 1
  }

  /** @returns the term at an index; undefined when it is compacted or beyond the last. */
  term(index: number): number | undefined {
    return index === this.start.index ? this.start.term : this.table.runOf(index)?.term
  }

  /** The oldest segment that something other than entries is in. */
  get oldestSource(): number {
    return Math.min(...Object.values(this.#sources).filter((segment) => segment > 0))
  }

  apply(record: StoredRecord): void {
    const { kind, update, segment } = record
    this.lastSequence = record.sequence
    if (this.#sources.base === 0) this.#sources.base = segment
    if (this.damage !== undefined && (kind === 'copy' || !update.isRemoved)) {
      if (kind === 'copy') this.#sources = onlyBase(segment)
      return
    }
    if (kind === 'copy') this.#applyCopy(record)
    else this.#applyUpdate(record)
    const { range } = update
    if (range !== undefined) {
      this.#use.noteWritten(
        segment,
        range.terms.reduce((sum, { count }) => sum + count, 0)
      )
    }
  }

  #applyUpdate(record: StoredRecord): void {
    const { update, segment } = record
    if (update.isRemoved) this.#reset(segment)
    const { start, range, truncateTo } = update
    if (start !== undefined) {
      this.table.clear()
      this.start = start
      this.#sources.start = segment
    }
    this.#applyState(update, segment)
    if (range !== undefined) this.table.append(range, record)
    if (truncateTo !== undefined) this.#truncate(truncateTo, segment)
    // A write that only removes leaves a tombstone; one that removes and goes on begins anew.
    const isEmpty = update.hardState === undefined && start === undefined && range === undefined
    if (update.isRemoved) this.isRemoved = isEmpty && update.configState === undefined
  }

  #applyState(update: GroupUpdate, segment: number): void {
    if (update.hardState !== undefined) {
      this.hardState = update.hardState
      this.#sources.hardState = segment
    }
    if (update.configState !== undefined) {
      this.configState = update.configState
      this.#sources.configState = segment
    }
    if (update.meta !== undefined) {
      this.meta = update.meta
      this.#sources.meta = segment
    }
  }

  #applyCopy(record: StoredRecord): void {
    const { update, segment } = record
    this.#sources = onlyBase(segment)
    this.isComplete = true
    this.isRemoved = update.isRemoved
    if (update.isDamaged) this.markDamaged('a part of its log was lost')
    if (update.start !== undefined) this.start = update.start
    this.#applyState(update, segment)
    if (update.range !== undefined) this.table.move(update.range, record)
    this.table.dropUpTo(this.start.index)
  }

  #truncate(index: number, segment: number): void {
    if (index <= this.start.index) return
    const run = this.table.runOf(index)
    this.start = { index, term: run?.term ?? TERM_UNKNOWN }
    // The record says the index, and the entry the term: its segment can't go before a copy says it.
    this.#sources.start = run?.segment ?? segment
    this.table.dropUpTo(index)
  }

  #reset(segment: number): void {
    this.table.clear()
    this.hardState = EMPTY_HARD_STATE
    this.configState = EMPTY_CONFIG_STATE
    this.start = { index: 0, term: 0 }
    this.meta = undefined
    this.damage = undefined
    this.isComplete = true
    this.#sources = onlyBase(segment)
  }

  /** @param why for people. The entries are given up; only removing the group heals it. */
  markDamaged(why: string): void {
    this.damage ??= new MeshError(
      'corrupt',
      `Cannot use the log of group ${this.id}: ${why}; rebuild this replica from its peers`,
      { details: { group: this.id } }
    )
    this.table.clear()
  }

  /** Is everything there that the records told of? */
  isWhole(): boolean {
    const { table, start } = this
    const isJoined = table.isEmpty() || table.first === start.index + 1
    return this.isComplete && start.term !== TERM_UNKNOWN && isJoined && table.isWhole()
  }
}

function onlyBase(base: number): Sources {
  return { base, hardState: 0, start: 0, configState: 0, meta: 0 }
}
