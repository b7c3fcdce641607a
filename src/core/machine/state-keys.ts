// Where everything of a shard is stored: one ordered space of keys, told apart by a first byte.
//
//   01                                    meta: applied index, revision, time, space used, settings
//   10 area key                           the version of a key that is current
//   11 area key' 00 00 revision           versions that were, and deletions (an empty value)
//   12 revision                           which keys a revision changed, and when
//   20 lease                              a lease
//   21 lease area key                     a key that goes with a lease
//   22 deadline lease                     leases in the order in which they end
//   30 client                             a client whose requests are remembered
//   31 client sequence                    what a request was answered
//   32 deadline client                    clients in the order in which they are forgotten
//   40                                    how far the collection of files is
//   41                                    how many jobs there are
//
// Numbers have eight bytes, the highest first, so that they sort. An *area* is the byte that keeps
// the keys of services apart: a user of kv can't write what a lock is made of. key' is the key with
// 00 as 00 ff: then 00 00 ends it, and versions sort by key first, as the current ones do. A change
// names keys only: the values are in 10 and 11, once each.

import { concatBytes } from '../../base/bytes.ts'

/** The part of the keys that is one service's: one byte. Append only. */
export const AREAS = {
  kv: 1,
  lock: 2,
  'lock-queue': 3,
  file: 4,
  'file-volume': 5,
  'file-trash': 6,
  'file-pin': 7,
  job: 8,
  'job-state': 9,
  'job-task': 10,
  'job-worker': 11,
  'job-ready': 12,
  'job-open': 13
} as const
export type Area = number

const CURRENT = 0x10
const PAST = 0x11
const CHANGES = 0x12
const LEASE = 0x20
const LEASE_KEY = 0x21
const LEASE_DEADLINE = 0x22
const CLIENT = 0x30
const ANSWER = 0x31
const CLIENT_DEADLINE = 0x32

export const META_KEY: Uint8Array = Uint8Array.of(0x01)
export const COLLECTION_KEY: Uint8Array = Uint8Array.of(0x40)
export const JOB_COUNT_KEY: Uint8Array = Uint8Array.of(0x41)

/** Which keys count as used space: those that users make, not the memory of their requests. */
export function isCounted(key: Uint8Array): boolean {
  const tag = key[0] as number
  return tag >= CURRENT && tag <= LEASE_DEADLINE
}

export function currentKey(area: Area, key: Uint8Array): Uint8Array {
  const stored = new Uint8Array(2 + key.length)
  stored[0] = CURRENT
  stored[1] = area
  stored.set(key, 2)
  return stored
}

/** @returns the user's key of a stored one, a copy. */
export function keyOfCurrent(stored: Uint8Array): Uint8Array {
  return stored.slice(2)
}

/** With revision 0: before all versions of the key. */
export function pastKey(area: Area, key: Uint8Array, revision: number): Uint8Array {
  let nulCount = 0
  for (let index = 0; index < key.length; index++) if (key[index] === 0) nulCount += 1
  const stored = new Uint8Array(2 + key.length + nulCount + 2 + 8)
  stored[0] = PAST
  stored[1] = area
  let offset = 2
  for (let index = 0; index < key.length; index++) {
    const byte = key[index] as number
    stored[offset++] = byte
    if (byte === 0) stored[offset++] = 0xff
  }
  setNumber(stored, offset + 2, revision)
  return stored
}

/** @returns the first key after all versions of `key`. */
export function afterPast(area: Area, key: Uint8Array): Uint8Array {
  const stored = pastKey(area, key, 0)
  stored[stored.length - 9] = 0x01
  return stored.subarray(0, stored.length - 8)
}

/** @returns the user's key of a version that was, a copy. */
export function keyOfPast(stored: Uint8Array): Uint8Array {
  const escaped = stored.subarray(2, stored.length - 10)
  const key = new Uint8Array(escaped.length)
  let length = 0
  for (let index = 0; index < escaped.length; index++) {
    const byte = escaped[index] as number
    key[length++] = byte
    if (byte === 0) index += 1
  }
  return key.slice(0, length)
}

export function changesKey(revision: number): Uint8Array {
  return numbered(CHANGES, revision)
}

export function leaseKey(lease: number): Uint8Array {
  return numbered(LEASE, lease)
}

export function leaseKeyKey(lease: number, area: Area, key: Uint8Array): Uint8Array {
  return concatBytes([numbered(LEASE_KEY, lease), Uint8Array.of(area), key])
}

/** @returns all keys of a lease are in [from, to). */
export function leaseKeysSpan(lease: number): { from: Uint8Array; to: Uint8Array } {
  return { from: numbered(LEASE_KEY, lease), to: numbered(LEASE_KEY, lease + 1) }
}

/** @returns area and user's key, a copy. */
export function keyOfLeaseKey(stored: Uint8Array): { area: Area; key: Uint8Array } {
  return { area: stored[9] as number, key: stored.slice(10) }
}

export function leaseDeadlineKey(deadlineMs: number, lease: number): Uint8Array {
  return numbered(LEASE_DEADLINE, deadlineMs, lease)
}

export function clientKey(client: number): Uint8Array {
  return numbered(CLIENT, client)
}

export function answerKey(client: number, sequence: number): Uint8Array {
  return numbered(ANSWER, client, sequence)
}

export function clientDeadlineKey(deadlineMs: number, client: number): Uint8Array {
  return numbered(CLIENT_DEADLINE, deadlineMs, client)
}

/** @returns deadline and id of a key that {@link leaseDeadlineKey} or {@link clientDeadlineKey} made. */
export function partsOfDeadline(stored: Uint8Array): { deadlineMs: number; id: number } {
  return { deadlineMs: numberAt(stored, 1), id: numberAt(stored, 9) }
}

/** @returns the last number of a stored key: a revision or a sequence. */
export function lastNumber(stored: Uint8Array): number {
  return numberAt(stored, stored.length - 8)
}

function numbered(tag: number, first: number, second?: number): Uint8Array {
  const stored = new Uint8Array(second === undefined ? 9 : 17)
  stored[0] = tag
  setNumber(stored, 1, first)
  if (second !== undefined) setNumber(stored, 9, second)
  return stored
}

function setNumber(bytes: Uint8Array, offset: number, value: number): void {
  let high = Math.floor(value / 0x1_0000_0000)
  let low = value >>> 0
  for (let index = 3; index >= 0; index--) {
    bytes[offset + index] = high & 0xff
    bytes[offset + 4 + index] = low & 0xff
    high >>>= 8
    low >>>= 8
  }
}

function numberAt(bytes: Uint8Array, offset: number): number {
  let value = 0
  for (let index = offset; index < offset + 8; index++) {
    value = value * 0x100 + (bytes[index] as number)
  }
  return value
}
