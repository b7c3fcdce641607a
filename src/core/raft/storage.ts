// What the core reads of the log that is already durable. It reads synchronously, so the driver
// keeps what may be asked for in memory, or on a disk that answers at once.

import type { ConfigState, Entry, HardState, Snapshot } from './messages.ts'

/**
 * The durable part of a replica's log: entries from `firstIndex()` to `lastIndex()`, both included.
 * What came before is covered by a snapshot; of that only the term at `firstIndex() - 1` is known.
 *
 * The driver appends to it, installs snapshots in it and compacts it; never while a method of the
 * core runs.
 */
export type RaftStorage = {
  /** Read once, when the replica starts. */
  initialState(): { readonly hardState: HardState; readonly configState: ConfigState }
  firstIndex(): number
  /** `firstIndex() - 1` when there is no entry. */
  lastIndex(): number
  /** @returns the term at an index; undefined when it is compacted or lies beyond the last. */
  term(index: number): number | undefined
  /**
   * @param low first index wanted; `high` is the first one not wanted; `low < high`
   * @param bytesMax see `limitEntries`
   * @returns at least one entry; undefined when `low` is compacted or beyond the last
   */
  entries(low: number, high: number, bytesMax: number): readonly Entry[] | undefined
  /**
   * A member has no use for a snapshot from before it was added: it is best made when asked for.
   *
   * @returns a snapshot at `firstIndex() - 1` or later; undefined when none is ready yet
   */
  snapshot(): Snapshot | undefined
}
