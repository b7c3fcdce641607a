// The log of a replica: what is durable, what is not yet, how far it is committed and applied.
// (Raft, §5.3; the rule of up-to-dateness is §5.4.1.)

import { assert } from '../../base/assert.ts'
import type { LogState, Trace } from './events.ts'
import { entryBytes, limitEntries } from './messages.ts'
import type { Entry, Snapshot } from './messages.ts'
import type { RaftStorage } from './storage.ts'
import { Unstable } from './unstable.ts'

/**
 * Invariants: `applied <= applying <= committed <= lastIndex`; committed entries never change;
 * indexes have no gap; terms never fall from one entry to the next.
 */
export class RaftLog {
  readonly storage: RaftStorage
  readonly unstable: Unstable
  /** The highest index known to be on a quorum. */
  committed: number
  /** The highest index handed out to be applied. */
  applying: number
  /** The highest index that the state machine has. */
  applied: number
  readonly #trace: Trace | undefined
  readonly #applyingBytesMax: number
  #applyingBytes = 0
  #isApplyingPaused = false

  constructor(storage: RaftStorage, applyingBytesMax: number, trace: Trace | undefined) {
    this.storage = storage
    this.#applyingBytesMax = applyingBytesMax
    this.#trace = trace
    const firstIndex = storage.firstIndex()
    this.unstable = new Unstable(storage.lastIndex() + 1, trace)
    this.committed = firstIndex - 1
    this.applying = firstIndex - 1
    this.applied = firstIndex - 1
  }

  get firstIndex(): number {
    const { snapshot } = this.unstable
    return snapshot === undefined ? this.storage.firstIndex() : snapshot.index + 1
  }

  get lastIndex(): number {
    return this.unstable.lastIndex ?? this.storage.lastIndex()
  }

  get lastTerm(): number {
    return this.termAt(this.lastIndex)
  }

  /** @returns the term at an index; undefined when it is compacted or beyond the last. */
  term(index: number): number | undefined {
    const known = this.unstable.term(index)
    if (known !== undefined) return known
    // While a snapshot waits to be installed, the storage has another log.
    if (index >= this.unstable.offset || this.unstable.snapshot !== undefined) return undefined
    return index + 1 < this.storage.firstIndex() ? undefined : this.storage.term(index)
  }

  /** @returns the term at an index, 0 when it is not known. */
  termAt(index: number): number {
    return this.term(index) ?? 0
  }

  matches(index: number, term: number): boolean {
    return this.term(index) === term
  }

  /** @returns whether a log that ends so is at least as good as this one. */
  isUpToDate(lastIndex: number, lastTerm: number): boolean {
    const own = this.lastTerm
    return lastTerm > own || (lastTerm === own && lastIndex >= this.lastIndex)
  }

  /**
   * @returns entries from `low`, up to and without `high`: at least one, then as many as fit;
   *   undefined when `low` is compacted. Empty when `low >= high`.
   */
  slice(low: number, high: number, bytesMax: number): readonly Entry[] | undefined {
    if (low >= high) return []
    if (low < this.firstIndex) return undefined
    const { offset, entries } = this.unstable
    if (low >= offset) return limitEntries(entries.slice(low - offset, high - offset), bytesMax)
    const stable = this.storage.entries(low, Math.min(high, offset), bytesMax)
    if (stable === undefined || high <= offset || stable.length < offset - low) return stable
    const bytes = bytesOf(stable)
    const rest = limitEntries(entries.slice(0, high - offset), bytesMax - bytes)
    // One entry is always given; beyond the limit it is one too many here.
    if (bytes + bytesOf(rest.slice(0, 1)) > bytesMax) return stable
    return [...stable, ...rest]
  }

  /** Adds a leader's own entries. They follow the last one. */
  append(entries: readonly Entry[]): void {
    const [first] = entries
    if (first === undefined) return
    assert(first.index > this.committed, 'no committed entry is replaced')
    this.unstable.append(entries)
  }

  /**
   * Takes what a leader sent: entries that follow the one at `prevIndex`, if that is of `prevTerm`
   * here too. Entries that are here already stay; only a conflict cuts the log.
   *
   * @param prevIndex at least `committed`, so that nothing committed can be in conflict
   * @returns the index up to which the logs are now known to be equal; undefined when they differ
   *   before that
   */
  tryAppend(prevIndex: number, prevTerm: number, entries: readonly Entry[]): number | undefined {
    if (!this.matches(prevIndex, prevTerm)) return undefined
    const lastIndex = prevIndex + entries.length
    const conflict = entries.findIndex(({ index, term }) => !this.matches(index, term))
    if (conflict === -1) return lastIndex
    const { index, term } = entries[conflict] as Entry
    if (index <= this.lastIndex) {
      const existingTerm = this.termAt(index)
      this.#trace?.({ type: 'log-conflict', index, existingTerm, conflictingTerm: term })
    }
    this.append(conflict === 0 ? entries : entries.slice(conflict))
    return lastIndex
  }

  /**
   * Walks down from `index` to the first entry whose term is at most `term`: no entry above it can
   * be in a log whose entry at `index` has that term. (Raft, §5.3, the optimisation at its end.)
   *
   * @returns that index and its term; term 0 when it is not known
   */
  findConflictByTerm(index: number, term: number): { index: number; term: number } {
    for (let at = index; at > 0; at--) {
      const own = this.term(at)
      if (own === undefined) return { index: at, term: 0 }
      if (own <= term) return { index: at, term: own }
    }
    return { index: 0, term: 0 }
  }

  commitTo(index: number): void {
    if (index <= this.committed) return
    assert(index <= this.lastIndex, 'only what is in the log is committed')
    this.committed = index
  }

  /** @param withUnstable whether entries may be handed out that are not durable here yet */
  #appliableIndex(withUnstable: boolean): number {
    return withUnstable ? this.committed : Math.min(this.committed, this.unstable.offset - 1)
  }

  hasNextCommitted(withUnstable: boolean): boolean {
    if (this.#isApplyingPaused || this.unstable.snapshot !== undefined) return false
    return this.applying < this.#appliableIndex(withUnstable)
  }

  /** @returns committed entries to be applied next. */
  nextCommitted(withUnstable: boolean): readonly Entry[] {
    if (!this.hasNextCommitted(withUnstable)) return []
    const end = this.#appliableIndex(withUnstable) + 1
    const room = this.#applyingBytesMax - this.#applyingBytes
    const entries = this.slice(this.applying + 1, end, room)
    assert(entries !== undefined, 'what is not applied is not compacted')
    return entries
  }

  /** `entries` were handed out. */
  acceptApplying(entries: readonly Entry[], withUnstable: boolean): void {
    const last = entries.at(-1)
    if (last === undefined) return
    this.applying = last.index
    this.#applyingBytes += bytesOf(entries)
    this.#isApplyingPaused =
      this.#applyingBytes >= this.#applyingBytesMax ||
      last.index < this.#appliableIndex(withUnstable)
  }

  /** The state machine has everything up to `index`; `bytes` of what was handed out are done. */
  appliedTo(index: number, bytes: number): void {
    assert(index <= this.committed, 'only what is committed is applied')
    this.applied = Math.max(this.applied, index)
    this.applying = Math.max(this.applying, this.applied)
    this.#applyingBytes = Math.max(0, this.#applyingBytes - bytes)
    this.#isApplyingPaused = this.#applyingBytes >= this.#applyingBytesMax
  }

  /** The snapshot becomes the log. */
  restore(snapshot: Snapshot): void {
    this.#trace?.({ type: 'restore-started', log: this.state, snapshot })
    this.committed = snapshot.index
    this.unstable.restore(snapshot)
  }

  get state(): LogState {
    const { unstable } = this
    return {
      committed: this.committed,
      applied: this.applied,
      applying: this.applying,
      unstableOffset: unstable.offset,
      unstableOffsetInProgress: unstable.offsetInProgress,
      unstableCount: unstable.entries.length
    }
  }
}

/** @returns about how many bytes all of them take. */
export function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0
  for (const entry of entries) bytes += entryBytes(entry)
  return bytes
}
