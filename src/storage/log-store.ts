// One write-ahead log per node that all its Raft groups share. Two implementations, file and memory,
// are held to one suite: test/conformance/log-store.ts. The bytes: protocols/log.

import type { MeshError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import type { ConfigState, Entry, HardState, Snapshot } from '../core/raft/messages.ts'
import type { RaftStorage } from '../core/raft/storage.ts'

/** Names a group in this log: a safe integer from 0. */
export type LogGroupId = number

/** An encoded entry is at most this long: it must fit a frame, and a log record. */
export const LOG_ENTRY_BYTES_MAX: number = MIB
/** The host's own bytes about a group, at most. */
export const LOG_META_BYTES_MAX = 4_096
/** Groups of a log, tombstones included. */
export const LOG_GROUP_COUNT_MAX = 8_192

/**
 * What is to change in one group. Its parts take effect in the order in which they stand here, and
 * `remove`, `snapshot`, term and vote, and the first entries are in one record: after a crash all of
 * it is there or nothing. A write that is too long for one record is continued in others; a crash
 * between those leaves a beginning of the entries and the commit index of before.
 */
export type GroupWrite = {
  readonly group: LogGroupId
  /**
   * Everything about the group goes: log, hard state, configuration, meta, damage. What else this
   * write brings is the beginning of a new replica; when that is nothing, or `meta` alone, the group
   * is gone and a tombstone remains, which only a write with `remove` replaces.
   */
  readonly remove?: true | undefined
  /** Replaces the log: it starts after `index`. Its configuration replaces the one here. */
  readonly snapshot?: Pick<Snapshot, 'index' | 'term' | 'configState'> | undefined
  /** The configuration that a restart begins with, when it is newer than the snapshot's. */
  readonly configState?: ConfigState | undefined
  /** The term never falls, and a vote stands for the rest of its term. */
  readonly hardState?: HardState | undefined
  /** The host's own bytes, replaced as a whole: 0 to {@link LOG_META_BYTES_MAX}. */
  readonly meta?: Uint8Array | undefined
  /** Takes the place of everything from the index of the first one on. */
  readonly entries?: readonly Entry[] | undefined
  /** Entries up to this index may go. One that is gone already is fine; one after the last isn't. */
  readonly truncateTo?: number | undefined
}

/**
 * What is durable of one group, read synchronously: the newest entries from memory, older ones from
 * the disk, and checked again there. A group that nothing was written for is an empty log.
 *
 * Every read throws `corrupt` when something of the group's log was lost: the replica is of no use
 * any more, has to be rebuilt from its peers, and must not vote under its old id. `entries()` may
 * find that out while it reads. Other groups aren't held up by it.
 */
export type GroupLog = RaftStorage & {
  readonly id: LogGroupId
  /** Was it removed, and nothing written since? */
  isRemoved(): boolean
  /** Why reads throw, once they do. */
  damage(): MeshError | undefined
  /** The host's own bytes; not to be written to. Undefined when there never were any. */
  meta(): Uint8Array | undefined
  /** Says where `snapshot()` gets its answer; without it there is none. */
  setSnapshotSource(source: () => Snapshot | undefined): void
}

export type LogUsage = {
  /** Files of the log, the one prepared ahead included. */
  segmentCount: number
  /** Sum of their sizes. */
  bytes: number
}

export type LogStore = {
  /**
   * Reads the log: cuts what a crash left unfinished at its end, and finds what was damaged.
   * Idempotent.
   * @throws corrupt when nothing of the log can be trusted
   * @throws folder-too-new, disk-full, storage-failed
   */
  open(): Promise<void>
  /** Waits for what is under way. Later writes reject with `stopped`. Idempotent. */
  close(): Promise<void>
  /** Ids that something was written for, tombstones and damaged ones included; ascending. */
  groups(): LogGroupId[]
  /** The same object for the same id. */
  group(id: LogGroupId): GroupLog
  /**
   * Writes a batch. When it resolves all of it survives a power cut, and reads see it; not before.
   * Batches that come while a sync is under way are synced together, in their order. Entries and
   * bytes given must not change afterwards.
   *
   * @throws invalid-argument when it doesn't fit the log, such as entries that leave a gap, or
   *   too-large for an entry or meta beyond its limit; nothing of the batch is written
   * @throws corrupt for a damaged group, unless it removes it; nothing of the batch is written
   * @throws overloaded when too much waits for the disk; nothing of the batch is written
   * @throws disk-full when there is no room for it; so does every write that waits. What was
   *   acknowledged stays, a part of the batch may be there, and the store goes on: writes that only
   *   remove, truncate or carry a hard state have some room in reserve
   * @throws storage-failed when a sync or the disk failed: from then on every write rejects with it,
   *   and reads go on (a sync that failed once is never trusted again). The batch may be there after
   *   a restart
   * @throws stopped
   */
  write(batch: readonly GroupWrite[]): Promise<void>
  /**
   * When the oldest write was accepted that is not durable yet, by the clock's `monotonicMs`;
   * undefined when there is none. A host that finds it long ago knows that the disk stalls.
   */
  pendingSinceMs(): number | undefined
  /** Why the store refuses writes, once it does. */
  failure(): MeshError | undefined
  usage(): LogUsage
}
