// What the replicas of a node have applied: an ordered store for each group. Two implementations,
// LMDB and memory, are held to one suite: test/conformance/state-store.ts.
//
// The log is what makes an entry durable. This store may lose its newest batches in a power cut, and
// only whole ones from the end: the replica applies them again.

import type { MeshError } from '../base/errors.ts'
import { KIB, MIB } from '../base/units.ts'
import type { OrderedReads, OrderedState, Pair } from '../core/machine/ordered-state.ts'

/** Names a group in this store: a safe integer from 0. */
export type StateGroupId = number

/** The host's own bytes about a group, at most. */
export const STATE_NOTE_BYTES_MAX: number = 64 * KIB
/** What may wait for the disk before a host has to wait too: see `pendingBytes`. */
export const STATE_PENDING_BYTES_MAX: number = 16 * MIB

/** What may be read while entries go on being applied. Reads throw `corrupt` for damaged pairs. */
export type StateSnapshot = OrderedReads & {
  /** The host's bytes, of the same batch as the pairs. */
  note(): Uint8Array | undefined
  /** Must be called. Idempotent; reading afterwards is a bug of the caller. */
  close(): void
}

/** A state that is brought from elsewhere, beside the one that is there. */
export type StateInstall = {
  /** Adds pairs, in ascending order over all calls. Resolves when there is room for more. @throws disk-full: abort it */
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
 * The state of a group. Reads see all puts, committed or not. Every read checks what it returns; once
 * something of the group was found to be damaged on disk, all reads throw `corrupt`, and `commit` and
 * `snapshot` do. Reads throw `stopped` when the store isn't open.
 */
export type GroupState = OrderedState & {
  readonly id: StateGroupId
  /** The host's own bytes about the group; undefined when there never were any. */
  note(): Uint8Array | undefined
  /** Replaces them, as a part of the batch. 0 to {@link STATE_NOTE_BYTES_MAX}. @throws too-large */
  setNote(note: Uint8Array): void
  /**
   * Ends a batch: what changed since the last call survives a crash together or not at all.
   * @throws storage-failed, disk-full once the disk failed the store; the batch stays open
   * @throws overloaded for a new group beyond the 8,192 that a log has; the batch stays open
   */
  commit(): void
  /** Drops what changed since the last commit. */
  rollback(): void
  /** Resolves when all that was committed before the call is on disk. @throws storage-failed, disk-full while it is */
  flushed(): Promise<void>
  /** Shows what was committed before the call. Open ones keep the file growing. @throws overloaded */
  snapshot(): Promise<StateSnapshot>
  /** One at a time for a group. */
  install(): Promise<StateInstall>
}

export type StateStore = {
  /**
   * Opens the store, and reads what it has of groups as a whole; their pairs are left to `check`.
   * Idempotent. @throws folder-too-new, storage-failed, corrupt when nothing of it can be read
   */
  open(): Promise<void>
  /**
   * Reads all of a group once, as it was when the call began. Single pairs are checked whenever they are
   * read; only this finds out that some have vanished. What it finds is told by `damageOf`.
   * @param isUrgent whether somebody waits for it: if not, it takes a fifth of the time
   * @throws stopped
   */
  check(id: StateGroupId, isUrgent?: () => boolean): Promise<void>
  /** Flushes what is committed. Idempotent. */
  close(): Promise<void>
  /** Groups that something was committed for or installed, damaged ones included; ascending. */
  groups(): StateGroupId[]
  /** The same object for the same id. */
  group(id: StateGroupId): GroupState
  /** Why a group's state is of no use, once it was found to be damaged; `drop`, or an install, ends that. */
  damageOf(id: StateGroupId): MeshError | undefined
  /** Everything of the group goes; durable when it resolves. */
  drop(id: StateGroupId): Promise<void>
  /** Why the store takes nothing: for good, once the disk failed it; `disk-full` while it is. Reads go on. */
  failure(): MeshError | undefined
  /**
   * Did this start find that groups are lost which nobody can name? Whether it did or not, a group with
   * no state, or an older one than its log begins with, has lost its state.
   */
  lost(): boolean
  /**
   * Bytes of memory, about, of batches that aren't on disk yet. `commit` takes more however many there
   * are: a host that finds more than {@link STATE_PENDING_BYTES_MAX} must await `flushed()` first.
   */
  pendingBytes(): number
  /** Bytes of the store on disk. */
  usage(): { readonly bytes: number }
}
