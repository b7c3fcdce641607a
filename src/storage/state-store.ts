// What the replicas of a node have applied: an ordered store for each group. Two implementations,
// LMDB and memory, are held to one suite: test/conformance/state-store.ts.
//
// The log is what makes an entry durable. This store may lose its newest batches in a power cut, and
// only whole ones from the end: the replica applies them again.

import type { MeshError } from '../base/errors.ts'
import type { OrderedReads, OrderedState, Pair } from '../core/machine/ordered-state.ts'

/** Names a group in this store: a safe integer from 0. */
export type StateGroupId = number

/** The host's own bytes about a group, at most. */
export const STATE_NOTE_BYTES_MAX = 65_536

/** What may be read while entries go on being applied. Reads throw `corrupt` for damaged pairs. */
export type StateSnapshot = OrderedReads & {
  /** The host's bytes, of the same batch as the pairs. */
  note(): Uint8Array | undefined
  /** Must be called. Idempotent; reading afterwards is a bug of the caller. */
  close(): void
}

/** A state that is brought from elsewhere, beside the one that is there. */
export type StateInstall = {
  /** Adds pairs, in ascending order over all calls. Resolves when there is room for more. */
  write(pairs: readonly Pair[]): Promise<void>
  /**
   * Takes the place of the group's state, with a note; durable when it resolves, and until then the
   * old one is there, also after a crash. Nothing may be put in the group meanwhile.
   */
  finish(note: Uint8Array): Promise<void>
  /** Throws away what was written. Idempotent, and nothing after `finish`. */
  abort(): Promise<void>
}

/**
 * The state of a group. Reads see all puts, committed or not. Every read checks what it returns, and
 * throws `corrupt` when it was damaged on disk.
 */
export type GroupState = OrderedState & {
  readonly id: StateGroupId
  /** The host's own bytes about the group; undefined when there never were any. */
  note(): Uint8Array | undefined
  /** Replaces them, as a part of the batch. 0 to {@link STATE_NOTE_BYTES_MAX}. */
  setNote(note: Uint8Array): void
  /** Ends a batch: what changed since the last call survives a crash together or not at all. */
  commit(): void
  /** Drops what changed since the last commit. */
  rollback(): void
  /** Resolves when all that was committed before the call is on disk. @throws storage-failed */
  flushed(): Promise<void>
  /** Shows what was committed before the call. */
  snapshot(): Promise<StateSnapshot>
  /** One at a time for a group. */
  install(): Promise<StateInstall>
}

export type StateStore = {
  /**
   * Opens the store, and reads all of it once: what was damaged is known before anybody is served.
   * Idempotent. @throws folder-too-new, storage-failed, corrupt when nothing of it can be read
   */
  open(): Promise<void>
  /** Flushes what is committed. Idempotent. */
  close(): Promise<void>
  /** Groups that have pairs or a note, damaged ones included; ascending. */
  groups(): StateGroupId[]
  /** The same object for the same id. */
  group(id: StateGroupId): GroupState
  /** Why a group's state is of no use, once it was found to be damaged; `drop` ends that. */
  damageOf(id: StateGroupId): MeshError | undefined
  /** Everything of the group goes; durable when it resolves. */
  drop(id: StateGroupId): Promise<void>
  /** Why the store takes nothing any more, once the disk failed it. Reads go on. */
  failure(): MeshError | undefined
  usage(): { readonly bytes: number }
}
