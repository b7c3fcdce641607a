// What a shard knows of the collection of files: which cycle it is in, so that a put can tell that
// its blocks may be gone by now; services/files/collector.ts has the protocol. It is of the shard as
// a whole, hence no key of a space.

import { MeshError } from '../../base/errors.ts'
import { decode, encode, nothing, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import type { Operation } from './operation.ts'
import type { OrderedReads } from './ordered-state.ts'
import type { Query } from './query.ts'
import { COLLECTION_KEY } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

export type Collection = {
  /** Of the last cycle that went through this shard; 0 before the first. */
  readonly cycle: number
  /** How often something let go of blocks: a removal, a replacement, a version or pin that ended. */
  readonly releases: number
}

const collectionCodec: Codec<Collection> = record<Collection>({ cycle: uint, releases: uint })

export function readCollection(state: OrderedReads): Collection {
  const stored = state.get(COLLECTION_KEY)
  return stored === undefined ? { cycle: 0, releases: 0 } : decode(collectionCodec, stored)
}

function putCollection({ state }: Transaction, collection: Collection): void {
  state.put(COLLECTION_KEY, encode(collectionCodec, collection))
}

export function noteRelease(transaction: Transaction): void {
  const { cycle, releases } = readCollection(transaction.state)
  putCollection(transaction, { cycle, releases: releases + 1 })
}

/**
 * @param cycle of some shard, as the writer read it before it touched the first block.
 * @throws conflict when another cycle may have collected what the writer found
 */
export function checkCycle(transaction: Transaction, cycle: number): void {
  const now = readCollection(transaction.state).cycle
  if (now <= cycle + 1) return
  const problem = `it began in collection cycle ${cycle} and this is ${now}`
  throw new MeshError('conflict', `Cannot name a file: ${problem}; look at its blocks again`)
}

/**
 * A cycle of the collection goes through this shard: each number once. Refuses with conflict when
 * this number or a higher one was here.
 */
export const CYCLE: Operation<{ readonly cycle: number }, undefined> = {
  name: 'file.cycle',
  version: 1,
  args: record<{ readonly cycle: number }>({ cycle: uint }),
  result: nothing,
  isFreeing: true,
  apply: (transaction, { cycle }) => {
    const { cycle: before, releases } = readCollection(transaction.state)
    if (cycle <= before) {
      throw new MeshError('conflict', `Collection cycle ${cycle} comes after ${before}; end it`)
    }
    putCollection(transaction, { cycle, releases })
    return undefined
  }
}

/** How far the collection is at a shard. */
export const COLLECTION: Query<undefined, Collection> = {
  name: 'file.collection',
  version: 1,
  args: nothing,
  result: collectionCodec,
  read: (reads) => reads.collection
}
