// How many jobs a shard has: of the shard as a whole, hence no key of a space.

import { decode, encode, uint } from './codec.ts'
import type { OrderedReads } from './ordered-state.ts'
import { JOB_COUNT_KEY } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

export function readJobCount(state: OrderedReads): number {
  const stored = state.get(JOB_COUNT_KEY)
  return stored === undefined ? 0 : decode(uint, stored)
}

export function addJobCount({ state }: Transaction, count: number): void {
  state.put(JOB_COUNT_KEY, encode(uint, readJobCount(state) + count))
}
