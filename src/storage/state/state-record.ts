// The keys and values in the medium: what the store, a group and a pair look like there. (D-12 to D-14)
//
// A group's pairs have the number of a slot before their keys, not the group's: a state that is
// installed gets a slot of its own, and one small record says which slot is the group's.

import { crc32 } from 'node:zlib'

import { concatBytes } from '../../base/bytes.ts'
import type { KeyRange } from '../../core/machine/ordered-state.ts'
import { MEDIUM_KEY_PREFIX_BYTES, type MediumChange } from './state-medium.ts'

export const STATE_FORMAT = 1

const STORE_KIND = 0
const GROUP_KIND = 1
const PAIR_KIND = 2
const SUM_BYTES = 4
const GROUP_KEY_BYTES = 9
const STORE_PAYLOAD_BYTES = 14
const GROUP_PAYLOAD_BYTES = 19
/** Numbers of six bytes, which sums stay below. */
const SUM_MODULUS: number = 2 ** 48

export const STORE_KEY: Uint8Array = Uint8Array.of(STORE_KIND)
export const GROUP_KEYS: KeyRange = {
  from: Uint8Array.of(GROUP_KIND),
  to: Uint8Array.of(PAIR_KIND)
}

/** All groups that have a record: should one of those vanish, these don't fit any more. */
export type StoreRecord = {
  readonly format: number
  readonly groupCount: number
  readonly groupSum: number
}

/** A group's state as a whole: what its slot must hold. */
export type GroupRecord = {
  readonly slot: number
  readonly pairCount: number
  /** Of the checksums of all pairs. */
  readonly pairSum: number
  readonly note: Uint8Array | undefined
}

/** @returns the sum of an unordered set after one was added to it, or with `-` taken out. */
export function addToSum(sum: number, part: number): number {
  const next = (sum + part) % SUM_MODULUS
  return next < 0 ? next + SUM_MODULUS : next
}

export function groupKey(id: number): Uint8Array {
  const key = Buffer.alloc(GROUP_KEY_BYTES)
  key[0] = GROUP_KIND
  key.writeBigUInt64BE(BigInt(id), 1)
  return key
}

/** @returns undefined when it is no key of a group. */
export function groupOfKey(key: Uint8Array): number | undefined {
  if (key.length !== GROUP_KEY_BYTES) return undefined
  const id = Number(bufferOf(key).readBigUInt64BE(1))
  return Number.isSafeInteger(id) ? id : undefined
}

/** Where an array of so many bytes comes from. */
type Take = (length: number) => Uint8Array

const newArray: Take = (length) => new Uint8Array(length)

/** @param take unless given, an array of its own */
export function pairKey(slot: number, key: Uint8Array, take: Take = newArray): Uint8Array {
  const whole = take(MEDIUM_KEY_PREFIX_BYTES + key.length)
  whole[0] = PAIR_KIND
  whole[1] = slot / 0x100_0000_0000
  whole[2] = slot / 0x1_0000_0000
  whole[3] = slot >>> 24
  whole[4] = slot >>> 16
  whole[5] = slot >>> 8
  whole[6] = slot
  whole.set(key, MEDIUM_KEY_PREFIX_BYTES)
  return whole
}

export function keyOfPair(key: Uint8Array): Uint8Array {
  return key.subarray(MEDIUM_KEY_PREFIX_BYTES)
}

export function slotOfPair(key: Uint8Array): number {
  return bufferOf(key).readUIntBE(1, 6)
}

/** @returns the keys of a slot within a range of its own keys. */
export function slotRange(slot: number, range: KeyRange = {}): KeyRange & { from: Uint8Array } {
  const { from, to, ...rest } = range
  const none = new Uint8Array(0)
  return {
    ...rest,
    from: pairKey(slot, from ?? none),
    to: to === undefined ? pairKey(slot + 1, none) : pairKey(slot, to)
  }
}

/** All pairs from a slot on. */
export function slotsFrom(slot: number): KeyRange {
  return { from: pairKey(slot, new Uint8Array(0)), to: Uint8Array.of(PAIR_KIND + 1), limit: 1 }
}

/** @returns a value as it is stored: under a checksum, over its key too. */
export function seal(key: Uint8Array, payload: Uint8Array, take: Take = newArray): Uint8Array {
  const value = take(SUM_BYTES + payload.length)
  const sum = crc32(payload, crc32(key))
  value[0] = sum >>> 24
  value[1] = sum >>> 16
  value[2] = sum >>> 8
  value[3] = sum
  value.set(payload, SUM_BYTES)
  return value
}

/** @returns what was sealed, a part of `value`; undefined when key or value were damaged. */
export function unseal(key: Uint8Array, value: Uint8Array): Uint8Array | undefined {
  if (value.length < SUM_BYTES) return undefined
  const payload = value.subarray(SUM_BYTES)
  return crc32(payload, crc32(key)) === sumOf(value) ? payload : undefined
}

/** The checksum that a sealed value has. */
export function sumOf(value: Uint8Array): number {
  const [a = 0, b = 0, c = 0, d = 0] = value
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0
}

/** @param groups that have a record */
export function storeRecord(groups: Iterable<number>): MediumChange {
  let groupCount = 0
  let groupSum = 0
  for (const id of groups) {
    groupCount += 1
    groupSum = addToSum(groupSum, id + 1)
  }
  const payload = Buffer.alloc(STORE_PAYLOAD_BYTES)
  payload.writeUInt32BE(STATE_FORMAT, 0)
  payload.writeUInt32BE(groupCount, 4)
  payload.writeUIntBE(groupSum, 8, 6)
  return { key: STORE_KEY, value: seal(STORE_KEY, payload) }
}

/** Of a newer format only that is read. @returns undefined when it was damaged. */
export function decodeStoreRecord(value: Uint8Array): StoreRecord | undefined {
  const payload = unseal(STORE_KEY, value)
  if (payload === undefined || payload.length < STORE_PAYLOAD_BYTES) return undefined
  const bytes = bufferOf(payload)
  return {
    format: bytes.readUInt32BE(0),
    groupCount: bytes.readUInt32BE(4),
    groupSum: bytes.readUIntBE(8, 6)
  }
}

export function encodeGroupRecord(key: Uint8Array, record: GroupRecord): Uint8Array {
  const { slot, pairCount, pairSum, note } = record
  const head = Buffer.alloc(GROUP_PAYLOAD_BYTES)
  head.writeUIntBE(slot, 0, 6)
  head.writeUIntBE(pairCount, 6, 6)
  head.writeUIntBE(pairSum, 12, 6)
  head[18] = note === undefined ? 0 : 1
  return seal(key, note === undefined ? head : concatBytes([head, note]))
}

/** @returns undefined when it was damaged. */
export function decodeGroupRecord(key: Uint8Array, value: Uint8Array): GroupRecord | undefined {
  const payload = unseal(key, value)
  if (payload === undefined || payload.length < GROUP_PAYLOAD_BYTES) return undefined
  const bytes = bufferOf(payload)
  return {
    slot: bytes.readUIntBE(0, 6),
    pairCount: bytes.readUIntBE(6, 6),
    pairSum: bytes.readUIntBE(12, 6),
    note: bytes[18] === 1 ? payload.slice(GROUP_PAYLOAD_BYTES) : undefined
  }
}

function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
