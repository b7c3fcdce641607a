// What a state store keeps its bytes in: one ordered map on a disk, which takes changes together. It
// knows nothing of groups, checksums or batches.

import type { KeyRange, OrderedReads } from '../../core/machine/ordered-state.ts'

/** A key of the medium is at most this much longer than one of the store: see state-record.ts. */
export const MEDIUM_KEY_PREFIX_BYTES = 7

export type Lookup = { readonly key: Uint8Array; readonly value: Uint8Array | undefined }

export type MediumChange = {
  readonly key: Uint8Array
  /** undefined: the key goes. */
  readonly value: Uint8Array | undefined
}

/**
 * Reads give what the last finished `write` left, or already what the one under way will leave.
 * What they return belongs to the caller. They throw `corrupt` when the disk's bytes make no sense.
 */
export type StateMedium = OrderedReads & {
  /** As `get`, without a copy: good until the next call of any method, and for its first bytes only. */
  peek(key: Uint8Array): Uint8Array | undefined
  /**
   * @returns whether there was something that couldn't be read and was set aside as a whole, and whether
   *   all is as a medium left it that had been read
   */
  open(): Promise<{ readonly wasSetAside: boolean; readonly isKnown: boolean }>
  /** Puts all that is there away, and begins empty. */
  setAside(reason: string): Promise<void>
  close(): Promise<void>
  /**
   * All changes or none of them, and durable when it resolves. Changes have distinct keys. One call at
   * a time. @throws disk-full, storage-failed, corrupt
   */
  write(changes: readonly MediumChange[]): Promise<void>
  /** What is there now, for as long as it is open. Closing the medium closes it. */
  reader(): MediumReader
  /** All that was there at the opening has been read. */
  checked(): void
  /** Something of it isn't right: the next opening knows nothing. */
  doubted(): void
  /** Lets others run between the parts of long work. */
  turn(): Promise<void>
  /** Bytes on the disk. */
  bytes(): number
}

export type MediumReader = OrderedReads & {
  /**
   * The pairs of a range, each as a lookup of its key finds it: undefined where it doesn't. A value is
   * good until the next step.
   */
  lookups(range: KeyRange): Iterable<Lookup>
  /** Idempotent. */
  close(): void
}
