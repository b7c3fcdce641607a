// Leases: keys that go with one are deleted when it ends. A lease ends when it isn't renewed for its
// time to live, told by the stamps of entries; `expiry.ts` ends those that are due.

import { MeshError } from '../../base/errors.ts'
import { decode, encode } from './codec.ts'
import { LEASE_KEYS_MAX, LEASE_TTL_MS_MAX, LEASE_TTL_MS_MIN } from './limits.ts'
import type { OrderedReads, OrderedState } from './ordered-state.ts'
import { leaseCodec } from './records.ts'
import type { Lease } from './records.ts'
import {
  keyOfLeaseKey,
  leaseDeadlineKey,
  leaseKey,
  leaseKeyKey,
  leaseKeysSpan,
  partsOfDeadline
} from './state-keys.ts'
import type { Place } from './versions.ts'

const NO_BYTES = new Uint8Array(0)
const DEADLINES = { from: leaseDeadlineKey(0, 0), to: leaseDeadlineKey(2 ** 53, 0) }

export function readLease(state: OrderedReads, id: number): Lease | undefined {
  const stored = state.get(leaseKey(id))
  return stored === undefined ? undefined : decode(leaseCodec, stored)
}

/** @throws not-found */
export function demandLease(state: OrderedReads, id: number): Lease {
  const lease = readLease(state, id)
  if (lease !== undefined) return lease
  throw new MeshError('not-found', `Lease ${id} has ended or never was; take a new one`)
}

/** @throws invalid-argument */
export function checkTtl(ttlMs: number): void {
  if (ttlMs >= LEASE_TTL_MS_MIN && ttlMs <= LEASE_TTL_MS_MAX) return
  const range = `${LEASE_TTL_MS_MIN} to ${LEASE_TTL_MS_MAX} ms`
  throw new MeshError('invalid-argument', `A lease lives ${range}, not ${ttlMs} ms`)
}

/** Writes a lease and its place among the deadlines, in place of what was there. */
export function putLease(state: OrderedState, id: number, lease: Lease): void {
  const before = readLease(state, id)
  if (before !== undefined) state.delete(leaseDeadlineKey(before.deadlineMs, id))
  state.put(leaseKey(id), encode(leaseCodec, lease))
  state.put(leaseDeadlineKey(lease.deadlineMs, id), NO_BYTES)
}

/** Deletes a lease; its keys are still noted as going with it. */
export function deleteLease(state: OrderedState, id: number, { deadlineMs }: Lease): void {
  state.delete(leaseKey(id))
  state.delete(leaseDeadlineKey(deadlineMs, id))
}

/** @throws overloaded when too many keys go with it. */
export function attachKey(state: OrderedState, id: number, { area, key }: Place): void {
  const lease = demandLease(state, id)
  if (lease.keyCount >= LEASE_KEYS_MAX) {
    throw new MeshError('overloaded', `Lease ${id} has ${LEASE_KEYS_MAX} keys; take another one`)
  }
  state.put(leaseKeyKey(id, area, key), NO_BYTES)
  putLease(state, id, { ...lease, keyCount: lease.keyCount + 1 })
}

export function detachKey(state: OrderedState, id: number, { area, key }: Place): void {
  state.delete(leaseKeyKey(id, area, key))
  const lease = readLease(state, id)
  // One that is ending is gone already, its keys follow.
  if (lease !== undefined) putLease(state, id, { ...lease, keyCount: lease.keyCount - 1 })
}

/** @returns what goes with a lease, ordered by area and key. */
export function keysOfLease(state: OrderedReads, id: number): Place[] {
  return Array.from(state.range(leaseKeysSpan(id)), ({ key }) => keyOfLeaseKey(key))
}

/** @returns the lease that ends first. */
export function firstLeaseDeadline(
  state: OrderedReads
): { deadlineMs: number; id: number } | undefined {
  const [pair] = state.range({ ...DEADLINES, limit: 1 })
  return pair === undefined ? undefined : partsOfDeadline(pair.key)
}
