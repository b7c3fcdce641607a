// What transactions are written with, and what they answer.
//
//   const { succeeded } = await kv.txn(
//     [compare.version('config/a', '=', 3)],
//     [op.put('config/a', 'new'), op.delete('config/draft')],
//     [op.get('config/a')]
//   )

import { MeshError } from '../../base/errors.ts'
import type { Compare, Part, PartResult, Relation } from '../../core/machine/kv.ts'
import { RANGE_COUNT_MAX } from '../../core/machine/limits.ts'
import { KvEntry, entryOf } from './entry.ts'
import { placeOf, toBytes } from './key.ts'
import type { Key, Selector, Value } from './key.ts'

type Numbered = (key: Key, relation: Relation, number: number) => Compare

/** Conditions. For a key that isn't there all numbers are 0, and no condition on its value holds. */
export const compare: {
  readonly exists: (key: Key) => Compare
  readonly absent: (key: Key) => Compare
  /** Bytes are compared as unsigned numbers; the first that differs decides. */
  readonly value: (key: Key, relation: Relation, value: Value) => Compare
  /** How often it was put since it was made. */
  readonly version: Numbered
  /** The change that wrote it: `entry.revision`. */
  readonly revision: Numbered
  /** The change that made it. */
  readonly createRevision: Numbered
  /** The id of the lease that it goes with; 0 for none. */
  readonly lease: Numbered
} = {
  exists: (key) => ({ kind: 'exists', key: toBytes(key), exists: true }),
  absent: (key) => ({ kind: 'exists', key: toBytes(key), exists: false }),
  value: (key, relation, value) => {
    return { kind: 'value', key: toBytes(key), relation, value: toBytes(value) }
  },
  version: numbered('version'),
  revision: numbered('modRevision'),
  createRevision: numbered('createRevision'),
  lease: numbered('lease')
}

/** The id of a lease, or the lease. */
export type LeaseReference = number | { readonly id: number }
type WithLease = { readonly lease?: LeaseReference | undefined }
type PartOf<Kind extends Part['kind']> = Extract<Part, { kind: Kind }>

type WithLimit = { readonly limit?: number | undefined }

/** What a transaction does; each part sees what those before it did. */
export const op: {
  readonly get: (key: Key) => PartOf<'get'>
  readonly put: (key: Key, value: Value, options?: WithLease) => PartOf<'put'>
  /** Puts a key that sorts after all that were appended to the prefix before: a queue, a stream. */
  readonly append: (prefix: Key, value: Value, options?: WithLease) => PartOf<'append'>
  readonly delete: (key: Key) => PartOf<'delete'>
  /** Keys of one space; `limit` 1 to 1000, which is the default. */
  readonly list: (keys: Selector, options?: WithLimit) => PartOf<'range'>
  /** As list. */
  readonly deleteRange: (keys: Selector, options?: WithLimit) => PartOf<'delete-range'>
} = {
  get: (key) => ({ kind: 'get', key: toBytes(key) }),
  put: (key, value, { lease = 0 } = {}) => {
    return { kind: 'put', key: toBytes(key), value: toBytes(value), lease: idOf(lease) }
  },
  append: (prefix, value, { lease = 0 } = {}) => {
    return { kind: 'append', prefix: toBytes(prefix), value: toBytes(value), lease: idOf(lease) }
  },
  delete: (key) => ({ kind: 'delete', key: toBytes(key) }),
  list: (keys, { limit = RANGE_COUNT_MAX } = {}) => {
    return { kind: 'range', ...spanOf(keys), limit }
  },
  deleteRange: (keys, { limit = RANGE_COUNT_MAX } = {}) => {
    return { kind: 'delete-range', ...spanOf(keys), limit }
  }
}

/** `next`: where it stopped for its limit or for size. */
export type ListResult = {
  readonly entries: readonly KvEntry[]
  readonly next: Uint8Array | undefined
}
export type DeleteResult = { readonly count: number; readonly next: Uint8Array | undefined }

type ResultByKind = {
  get: KvEntry | undefined
  put: undefined
  /** The key that was put. */
  append: Uint8Array
  delete: DeleteResult
  range: ListResult
  'delete-range': DeleteResult
}

/** One result for each part, in their order. */
type ResultsOf<Parts extends readonly Part[]> = {
  readonly [Index in keyof Parts]: ResultByKind[Parts[Index]['kind']]
}

export type TxnOutcome<Then extends readonly Part[], Else extends readonly Part[]> =
  | {
      readonly succeeded: true
      /** Of the shard afterwards. */
      readonly revision: number
      readonly results: ResultsOf<Then>
    }
  | { readonly succeeded: false; readonly revision: number; readonly results: ResultsOf<Else> }

/** @returns what callers get for what the machine answered. */
export function resultOfPart(result: PartResult): ResultByKind[Part['kind']] {
  switch (result.kind) {
    case 'entry':
      return entryOf(result.entry)
    case 'put':
      return undefined
    case 'appended':
      return result.key
    case 'deleted':
      return { count: result.count, next: result.next }
    case 'entries':
      return { entries: result.entries.map((entry) => new KvEntry(entry)), next: result.next }
  }
}

/** @returns a key that a condition or a part is about, which tells the space. */
export function keyOf(part: Compare | Part): Uint8Array {
  if ('key' in part) return part.key
  return 'prefix' in part ? part.prefix : part.from
}

function idOf(lease: LeaseReference): number {
  return typeof lease === 'number' ? lease : lease.id
}

function numbered(field: Extract<Compare, { kind: 'number' }>['field']): Numbered {
  return (key, relation, number) => ({
    kind: 'number',
    key: toBytes(key),
    field,
    relation,
    number
  })
}

function spanOf(keys: Selector): { from: Uint8Array; to: Uint8Array } {
  const { space, span } = placeOf(keys)
  if (space !== undefined) return span
  const problem = 'a range lies in one space; begin it with "space/"'
  throw new MeshError('invalid-argument', `Cannot make a transaction: ${problem}`)
}
