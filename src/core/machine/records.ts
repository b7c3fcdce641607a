// The values that are stored, and their bytes.

import { MeshError } from '../../base/errors.ts'
import { GIB, MINUTE_MS } from '../../base/units.ts'
import { bytes, decode, encode, flag, list, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import { KEY_BYTES_MAX, SPACE_BYTES_MAX, VALUE_BYTES_MAX } from './limits.ts'
import type { OrderedReads } from './ordered-state.ts'
import { META_KEY } from './state-keys.ts'
import type { Area } from './state-keys.ts'

/** What an operator may change, by an entry, so that all replicas change it at once. */
export type Settings = {
  /** Bytes of live and past versions, changes and leases, above which puts are refused. */
  readonly quotaBytes: number
  /** Revisions that stay readable whatever their age, … */
  readonly retainCountMin: number
  /** … that stay readable at most, … */
  readonly retainCountMax: number
  /** … and the age to which one between them does. */
  readonly retainMs: number
}

export const SETTINGS_DEFAULTS: Settings = {
  quotaBytes: GIB / 2,
  retainCountMin: 1_000,
  retainCountMax: 100_000,
  retainMs: 10 * MINUTE_MS
}

/** What the machine knows besides keys. */
export type Meta = {
  /** Of the last entry that was applied. */
  index: number
  term: number
  /** Of the last transaction that changed a key; 0 before the first. */
  revision: number
  /** Time as the entries' stamps tell it. Its zero is when the shard began. */
  timeMs: number
  /** Reads at a revision below this one aren't possible any more, nor watches from it. */
  compacted: number
  usedBytes: number
  clientCount: number
  settings: Settings
}

/** A key as one revision left it. */
export type Version = {
  /** The revision that made the key, since it was last deleted. */
  readonly createRevision: number
  /** The revision that wrote this version. */
  readonly modRevision: number
  /** 1 when made, one more with each put. */
  readonly version: number
  /** The lease that the key goes with; 0 for none. */
  readonly lease: number
  readonly value: Uint8Array
}

/** A key with its version. */
export type Entry = Version & { readonly key: Uint8Array }

/** That a revision changed a key. */
type Change = {
  readonly isDelete: boolean
  readonly area: Area
  readonly key: Uint8Array
  /** The revision of the version that was there; 0 when none was. */
  readonly previous: number
}

export type Changes = { readonly timeMs: number; readonly changes: readonly Change[] }

export type Lease = {
  readonly ttlMs: number
  readonly deadlineMs: number
  readonly keyCount: number
  /** The space whose keys may go with it. */
  readonly space: Uint8Array
}

export type Client = {
  /** Requests below this sequence are not remembered any more. */
  readonly floor: number
  /** The time of its last request, not exact. */
  readonly activeMs: number
  readonly answersBytes: number
}

const FORMAT = 1

export const settingsCodec: Codec<Settings> = record<Settings>({
  quotaBytes: uint,
  retainCountMin: uint,
  retainCountMax: uint,
  retainMs: uint
})

const metaCodec: Codec<Meta & { format: number }> = record<Meta & { format: number }>({
  format: uint,
  index: uint,
  term: uint,
  revision: uint,
  timeMs: uint,
  compacted: uint,
  usedBytes: uint,
  clientCount: uint,
  settings: settingsCodec
})

const key = bytes(KEY_BYTES_MAX)
const value = bytes(VALUE_BYTES_MAX)

/** Written out, as what follows, because every read and write goes through it. */
export const versionCodec: Codec<Version> = {
  write: (writer, version) => {
    writer.uint(version.createRevision)
    writer.uint(version.modRevision)
    writer.uint(version.version)
    writer.uint(version.lease)
    value.write(writer, version.value)
  },
  read: (reader) => ({
    createRevision: reader.uint(),
    modRevision: reader.uint(),
    version: reader.uint(),
    lease: reader.uint(),
    value: value.read(reader)
  })
}

export const entryCodec: Codec<Entry> = {
  write: (writer, entry) => {
    key.write(writer, entry.key)
    versionCodec.write(writer, entry)
  },
  read: (reader) => ({ key: key.read(reader), ...versionCodec.read(reader) })
}

const changeCodec: Codec<Change> = {
  write: (writer, change) => {
    flag.write(writer, change.isDelete)
    writer.uint(change.area)
    key.write(writer, change.key)
    writer.uint(change.previous)
  },
  read: (reader) => ({
    isDelete: flag.read(reader),
    area: reader.uint(),
    key: key.read(reader),
    previous: reader.uint()
  })
}

/** An operation makes 2048 at most, and so does the end of a lease: its keys, and as many locks that it hands over. */
const CHANGES_MAX = 4_096

export const changesCodec: Codec<Changes> = record<Changes>({
  timeMs: uint,
  changes: list(changeCodec, CHANGES_MAX)
})

export const leaseCodec: Codec<Lease> = record<Lease>({
  ttlMs: uint,
  deadlineMs: uint,
  keyCount: uint,
  space: bytes(SPACE_BYTES_MAX)
})

export const clientCodec: Codec<Client> = record<Client>({
  floor: uint,
  activeMs: uint,
  answersBytes: uint
})

/**
 * @returns the meta of a state; that of an empty shard when there is none.
 * @throws version-mismatch when it was written by a newer program; invalid-data
 */
export function readMeta(state: OrderedReads): Meta {
  const stored = state.get(META_KEY)
  if (stored === undefined) {
    const zero = { index: 0, term: 0, revision: 0, timeMs: 0, compacted: 0 }
    return { ...zero, usedBytes: 0, clientCount: 0, settings: SETTINGS_DEFAULTS }
  }
  return decodeMeta(stored)
}

export function encodeMeta(meta: Meta): Uint8Array {
  return encode(metaCodec, { format: FORMAT, ...meta })
}

/** @throws version-mismatch when it was written by a newer program; invalid-data */
export function decodeMeta(stored: Uint8Array): Meta {
  if (stored[0] !== FORMAT) {
    const problem = `it is of form ${stored[0]}, and this program knows form ${FORMAT}`
    throw new MeshError('version-mismatch', `Cannot read a shard's state: ${problem}`)
  }
  const { format: _, ...meta } = decode(metaCodec, stored)
  return meta
}
