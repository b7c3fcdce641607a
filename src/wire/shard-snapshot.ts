// How the state of a group goes to a replica that lacks too much of the log: protocols/shard,
// SnapshotHandle and Chunk. The handle is the `data` of a snapshot of protocols/raft.

import { crc32 } from 'node:zlib'
import { toHex } from '../base/bytes.ts'
import { KIB, MIB } from '../base/units.ts'
import { NUMBER_MAX } from '../core/raft/messages.ts'
import { STORED_KEY_BYTES_MAX } from '../core/machine/ordered-state.ts'
import type { Pair } from '../core/machine/ordered-state.ts'
import { hexToBytes, malformed } from './proto.ts'
import { bounded, bytesOf, flagOf, numberOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import { GROUP_MAX } from './shard-frame.ts'

export const SNAPSHOT_PROTOCOL = '/atoll/snapshot/1.0.0'
/** A chunk ends with the pair that reaches this size, so one large pair fits it too. */
export const CHUNK_PAIR_BYTES: number = 512 * KIB
/** A value of the store, as it travels. */
const PAIR_VALUE_BYTES_MAX: number = MIB
export const SNAPSHOT_FRAME_BYTES_MAX: number = 2 * MIB
/** What the host writes into a snapshot about the group, at most. */
export const SNAPSHOT_NOTE_BYTES_MAX: number = 64 * KIB

/** What a leader sends in place of the state: where the state can be fetched. */
export type SnapshotHandle = {
  /** Drawn at random by who serves it: 16 lower-case hexadecimal digits. */
  readonly snapshotId: string
  /** About how many bytes will come; for people and progress, nothing depends on it. */
  readonly pairBytes: number
  /** The host's own bytes about the group, of the same batch as the pairs. */
  readonly note: Uint8Array
}

export type ChunkRequest = {
  readonly group: number
  readonly generation: number
  readonly snapshotId: string
  /** The last key that the asker has; empty for the beginning. */
  readonly afterKey: Uint8Array
}

export type Chunk = {
  /** In ascending order of their keys. Empty only in a last chunk. */
  readonly pairs: readonly Pair[]
  /** Nothing comes after it. */
  readonly isLast: boolean
}

const ID_BYTES = 8
const PAIR_OVERHEAD_BYTES = 16
const PAIRS_BYTES_MAX = SNAPSHOT_FRAME_BYTES_MAX

/** @throws too-large */
export function encodeSnapshotHandle(handle: SnapshotHandle): Uint8Array {
  const writer = new ProtoWriter(handle.note.length + 32)
  writer.bytes(1, hexToBytes(handle.snapshotId))
  writer.uint(2, handle.pairBytes)
  writer.bytes(3, bounded(handle.note, SNAPSHOT_NOTE_BYTES_MAX, 'The note of a snapshot'))
  return writer.finish()
}

/** The note is a view of `bytes`. @throws invalid-data */
export function decodeSnapshotHandle(bytes: Uint8Array): SnapshotHandle {
  const what = 'snapshot handle'
  let snapshotId = ''
  let pairBytes = 0
  let note: Uint8Array = new Uint8Array(0)
  for (const field of readFields(bytes, what)) {
    if (field.field === 1) snapshotId = toSnapshotId(bytesOf(field, what, ID_BYTES), what)
    else if (field.field === 2) pairBytes = numberOf(field, what)
    else if (field.field === 3) note = bytesOf(field, what, SNAPSHOT_NOTE_BYTES_MAX)
  }
  if (snapshotId === '') throw malformed(what, 'it has no id')
  return { snapshotId, pairBytes, note }
}

export function encodeChunkRequest(request: ChunkRequest): Uint8Array {
  const writer = new ProtoWriter(request.afterKey.length + 48)
  writer.uint(1, request.group)
  writer.uint(2, request.generation)
  writer.bytes(3, hexToBytes(request.snapshotId))
  writer.bytes(4, request.afterKey)
  return writer.finish()
}

/** The key is a view of `bytes`. @throws invalid-data */
export function decodeChunkRequest(bytes: Uint8Array): ChunkRequest {
  const what = 'chunk request'
  let group = 0
  let generation = 0
  let snapshotId = ''
  let afterKey: Uint8Array = new Uint8Array(0)
  for (const field of readFields(bytes, what)) {
    if (field.field === 1) group = numberOf(field, what, GROUP_MAX)
    else if (field.field === 2) generation = numberOf(field, what, NUMBER_MAX)
    else if (field.field === 3) snapshotId = toSnapshotId(bytesOf(field, what, ID_BYTES), what)
    else if (field.field === 4) afterKey = bytesOf(field, what, STORED_KEY_BYTES_MAX)
  }
  if (snapshotId === '') throw malformed(what, 'it has no id')
  return { group, generation, snapshotId, afterKey }
}

/** @returns the bytes that a pair takes in a chunk; never fewer. */
export function pairBytes({ key, value }: Pair): number {
  return key.length + value.length + PAIR_OVERHEAD_BYTES
}

/** @throws too-large */
export function encodeChunk({ pairs, isLast }: Chunk): Uint8Array {
  const encoded = encodePairs(pairs)
  const writer = new ProtoWriter(encoded.length + 24)
  writer.bytes(1, encoded)
  writer.uint(2, crc32(encoded))
  writer.bool(3, isLast)
  return writer.finish()
}

/** Keys and values are views of `bytes`. @throws invalid-data also when the checksum is wrong */
export function decodeChunk(bytes: Uint8Array): Chunk {
  const what = 'snapshot chunk'
  let encoded: Uint8Array = new Uint8Array(0)
  let sum = 0
  let isLast = false
  for (const field of readFields(bytes, what)) {
    if (field.field === 1) encoded = bytesOf(field, what, PAIRS_BYTES_MAX)
    else if (field.field === 2) sum = numberOf(field, what)
    else if (field.field === 3) isLast = flagOf(field, what)
  }
  if (crc32(encoded) !== sum) throw malformed(what, 'its checksum is wrong')
  const pairs = decodePairs(encoded, what)
  if (pairs.length === 0 && !isLast) throw malformed(what, 'it is empty, and not the last')
  return { pairs, isLast }
}

function encodePairs(pairs: readonly Pair[]): Uint8Array {
  const expected = pairs.reduce((bytes, pair) => bytes + pairBytes(pair), 0)
  const writer = new ProtoWriter(expected)
  for (const { key, value } of pairs) {
    const inner = new ProtoWriter(pairBytes({ key, value }))
    inner.bytes(1, bounded(key, STORED_KEY_BYTES_MAX, 'A key'))
    inner.bytes(2, bounded(value, PAIR_VALUE_BYTES_MAX, 'A value'))
    writer.present(1, inner.finish())
  }
  return writer.finish()
}

function decodePairs(bytes: Uint8Array, what: string): Pair[] {
  const pairs: Pair[] = []
  for (const field of readFields(bytes, what)) {
    if (field.field !== 1) continue
    let key: Uint8Array = new Uint8Array(0)
    let value: Uint8Array = new Uint8Array(0)
    for (const part of readFields(bytesOf(field, what, bytes.length), what)) {
      if (part.field === 1) key = bytesOf(part, what, STORED_KEY_BYTES_MAX)
      else if (part.field === 2) value = bytesOf(part, what, PAIR_VALUE_BYTES_MAX)
    }
    if (key.length === 0) throw malformed(what, 'a pair has no key')
    pairs.push({ key, value })
  }
  return pairs
}

function toSnapshotId(bytes: Uint8Array, what: string): string {
  if (bytes.length !== ID_BYTES) {
    throw malformed(what, `its id has ${bytes.length} bytes, not ${ID_BYTES}`)
  }
  return toHex(bytes)
}
