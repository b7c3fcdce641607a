// The operation of the key-value service: a transaction. Put, get and delete are transactions with
// one part and no condition.

import { bytes, flag, list, oneOf, optional, record, uint, variant } from './codec.ts'
import type { Codec } from './codec.ts'
import { ANSWER_BYTES_MAX, KEY_BYTES_MAX, RANGE_COUNT_MAX, VALUE_BYTES_MAX } from './limits.ts'
import { concatBytes } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import type { Operation, Service } from './operation.ts'
import { compareBytes, sortableDigits } from './ordered-state.ts'
import { entryCodec } from './records.ts'
import type { Entry, Version } from './records.ts'
import { AREAS } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

export type Relation = '=' | '!=' | '<' | '>'

/**
 * A condition on a key. For a key that isn't there the numbers are 0, and no condition on its value
 * holds.
 */
export type Compare =
  | { readonly kind: 'exists'; readonly key: Uint8Array; readonly exists: boolean }
  | {
      readonly kind: 'value'
      readonly key: Uint8Array
      readonly relation: Relation
      readonly value: Uint8Array
    }
  | {
      readonly kind: 'number'
      readonly key: Uint8Array
      readonly field: 'version' | 'createRevision' | 'modRevision' | 'lease'
      readonly relation: Relation
      readonly number: number
    }

/** A part of a transaction. Each sees what those before it did; all become one revision. */
export type Part =
  | { readonly kind: 'get'; readonly key: Uint8Array }
  /** Keys in [from, to), which lies in `space/…`; limit from 1. */
  | {
      readonly kind: 'range'
      readonly from: Uint8Array
      readonly to: Uint8Array
      readonly limit: number
    }
  /** `lease` 0: the key goes with none. */
  | {
      readonly kind: 'put'
      readonly key: Uint8Array
      readonly value: Uint8Array
      readonly lease: number
    }
  /** Puts a key that sorts after all that were appended to the prefix before: a queue, a stream. */
  | {
      readonly kind: 'append'
      readonly prefix: Uint8Array
      readonly value: Uint8Array
      readonly lease: number
    }
  | { readonly kind: 'delete'; readonly key: Uint8Array }
  | {
      readonly kind: 'delete-range'
      readonly from: Uint8Array
      readonly to: Uint8Array
      readonly limit: number
    }

export type Txn = {
  /** All must hold for `success` to be done, otherwise `failure` is. */
  readonly compares: readonly Compare[]
  readonly success: readonly Part[]
  readonly failure: readonly Part[]
}

/** What a part found or did; `next`: where it stopped for its limit or for size. */
export type PartResult =
  | { readonly kind: 'entry'; readonly entry: Entry | undefined }
  | {
      readonly kind: 'entries'
      readonly entries: readonly Entry[]
      readonly next: Uint8Array | undefined
    }
  | { readonly kind: 'put' }
  | { readonly kind: 'appended'; readonly key: Uint8Array }
  | { readonly kind: 'deleted'; readonly count: number; readonly next: Uint8Array | undefined }

export type TxnResult = {
  /** Whether `success` was done. */
  readonly succeeded: boolean
  /** One for each part that was done. */
  readonly results: readonly PartResult[]
}

/** Compares, and parts of either branch, at most. */
const TXN_PARTS_MAX = 128

const key = bytes(KEY_BYTES_MAX)
const relation = oneOf<Relation>(['=', '!=', '<', '>'])
const field = oneOf(['version', 'createRevision', 'modRevision', 'lease'])
const ofSpan = record({ from: key, to: key, limit: uint })

const compareCodec: Codec<Compare> = variant<Compare>({
  exists: record({ key, exists: flag }),
  value: record({ key, relation, value: bytes(VALUE_BYTES_MAX) }),
  number: record({ key, field, relation, number: uint })
})

const partCodec: Codec<Part> = variant<Part>({
  get: record({ key }),
  range: ofSpan,
  put: record({ key, value: bytes(VALUE_BYTES_MAX), lease: uint }),
  append: record({ prefix: key, value: bytes(VALUE_BYTES_MAX), lease: uint }),
  delete: record({ key }),
  'delete-range': ofSpan
})

const resultCodec: Codec<PartResult> = variant<PartResult>({
  entry: record({ entry: optional(entryCodec) }),
  entries: record({ entries: list(entryCodec, RANGE_COUNT_MAX), next: optional(key) }),
  put: record({}),
  appended: record({ key }),
  deleted: record({ count: uint, next: optional(key) })
})

/**
 * Compares and then does one or the other, at once. Refuses with invalid-argument (a key of another
 * space, a limit out of range), not-found (a lease that has ended), too-large (the answer, a key, the
 * number of changes), overloaded (keys of a lease) and quota-exceeded.
 */
export const TXN: Operation<Txn, TxnResult> = {
  name: 'kv.txn',
  version: 1,
  args: record<Txn>({
    compares: list(compareCodec, TXN_PARTS_MAX),
    success: list(partCodec, TXN_PARTS_MAX),
    failure: list(partCodec, TXN_PARTS_MAX)
  }),
  result: record<TxnResult>({ succeeded: flag, results: list(resultCodec, TXN_PARTS_MAX) }),
  apply: (transaction, txn) => {
    const succeeded = txn.compares.every((compare) => holds(transaction, compare))
    const room = { bytes: ANSWER_BYTES_MAX }
    const parts = succeeded ? txn.success : txn.failure
    return {
      succeeded,
      results: parts.map((part, place) => run(transaction, { part, place }, room))
    }
  }
}

export const KV: Service = { areas: [AREAS.kv], operations: [TXN] }

function holds(transaction: Transaction, compare: Compare): boolean {
  const version = transaction.get(AREAS.kv, compare.key)
  if (compare.kind === 'exists') return (version !== undefined) === compare.exists
  if (compare.kind === 'value') {
    if (version === undefined) return false
    return isRelated(compareBytes(version.value, compare.value), compare.relation)
  }
  return isRelated((version?.[compare.field] ?? 0) - compare.number, compare.relation)
}

function isRelated(order: number, relation: Relation): boolean {
  if (relation === '=') return order === 0
  if (relation === '!=') return order !== 0
  return relation === '<' ? order < 0 : order > 0
}

/** What the answer has room for. */
type Room = { bytes: number }

function run(
  transaction: Transaction,
  { part, place }: { part: Part; place: number },
  room: Room
): PartResult {
  switch (part.kind) {
    case 'get': {
      const version = transaction.get(AREAS.kv, part.key)
      const entry = version === undefined ? undefined : { key: part.key, ...version }
      if (entry !== undefined) room.bytes -= sizeOf(part.key, entry)
      return { kind: 'entry', entry }
    }
    case 'put':
      transaction.put(AREAS.kv, part.key, part)
      return { kind: 'put' }
    case 'append': {
      const suffix = sortableDigits(transaction.revision, 14)
      const key = concatBytes([part.prefix, suffix, sortableDigits(place, 2)])
      transaction.put(AREAS.kv, key, part)
      return { kind: 'appended', key }
    }
    case 'delete': {
      const count = transaction.delete(AREAS.kv, part.key) ? 1 : 0
      return { kind: 'deleted', count, next: undefined }
    }
    case 'range':
      return listOf(transaction, part, room)
    case 'delete-range': {
      checkLimit(part.limit)
      const found = firstOf(transaction, part)
      for (const { key } of found.entries) transaction.delete(AREAS.kv, key)
      return { kind: 'deleted', count: found.entries.length, next: found.next }
    }
  }
}

type Ranged = Extract<Part, { kind: 'range' | 'delete-range' }>

function listOf(transaction: Transaction, part: Ranged, room: Room): PartResult {
  checkLimit(part.limit)
  const entries: Entry[] = []
  for (const entry of transaction.range(AREAS.kv, part)) {
    const size = sizeOf(entry.key, entry)
    if (entries.length >= part.limit || size > room.bytes) {
      return { kind: 'entries', entries, next: entry.key }
    }
    room.bytes -= size
    entries.push(entry)
  }
  return { kind: 'entries', entries, next: undefined }
}

function firstOf(
  transaction: Transaction,
  part: Ranged
): { entries: Entry[]; next: Uint8Array | undefined } {
  const entries: Entry[] = []
  for (const entry of transaction.range(AREAS.kv, part)) {
    if (entries.length >= part.limit) return { entries, next: entry.key }
    entries.push(entry)
  }
  return { entries, next: undefined }
}

/** What an entry takes in an answer, at most. */
function sizeOf(key: Uint8Array, { value }: Version): number {
  return key.length + value.length + 48
}

function checkLimit(limit: number): void {
  if (limit >= 1 && limit <= RANGE_COUNT_MAX) return
  const problem = `limit is ${limit}; accepted is 1 to ${RANGE_COUNT_MAX}`
  throw new MeshError('invalid-argument', `Cannot go through a range: ${problem}`)
}
