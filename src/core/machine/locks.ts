// Locks: one holder at a time, those who wait in the order in which they came.
//
// A lock is held under a lease, and lost when the lease ends, whatever its holder thinks. So who
// acts on what the lock guards passes the *token* along, and what is guarded refuses a token below
// one that it has seen: only that makes a lock safe. A token is the revision at which the lock was
// granted, so it only ever grows.
//
// The holder is a key in the area `lock`, named as the lock. Those who wait are keys in `lock-queue`:
// the name, a NUL and the ticket. Both can be watched; both go with a lease.

import { concatBytes, fromUtf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { bytes, decode, encode, flag, nothing, oneOf, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import { readLease } from './leases.ts'
import { LOCK_NAME_BYTES_MAX, LOCK_OWNER_BYTES_MAX, LOCK_WAITERS_MAX } from './limits.ts'
import type { Operation, Service } from './operation.ts'
import { sortableDigits } from './ordered-state.ts'
import type { Entry } from './records.ts'
import { shown, spanOfPrefix } from './space.ts'
import type { Span } from './space.ts'
import { AREAS } from './state-keys.ts'
import type { Area } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

const NUL = 0
const SLASH = 0x2f
const TICKET_DIGITS = 14

/** The value of a lock's key while it is held. */
export type LockHolder = {
  /** What the holder got when it asked. */
  readonly ticket: number
  /** The revision at which it was granted. */
  readonly token: number
  readonly owner: Uint8Array
}

export const lockHolderCodec: Codec<LockHolder> = record<LockHolder>({
  ticket: uint,
  token: uint,
  owner: bytes(LOCK_OWNER_BYTES_MAX)
})

export type AcquireArgs = {
  /** `space/path`, without a NUL. */
  readonly name: Uint8Array
  /** Of that space. One that holds a lock already may ask for it again, and waits for itself. */
  readonly lease: number
  /** For people to read. */
  readonly owner: Uint8Array
  /** Whether to wait in order when it is held. */
  readonly isWaiting: boolean
}

export type AcquireResult = {
  readonly state: 'granted' | 'waiting' | 'held'
  /** Names this request from now on; 0 when held by another. Watch the lock's key for it. */
  readonly ticket: number
  /** The holder's: this request's own when granted. */
  readonly token: number
}

const name = bytes(LOCK_NAME_BYTES_MAX)

/**
 * Takes a lock, or waits for it. Refuses with invalid-argument (the name), not-found (the lease has
 * ended), overloaded (too many wait, or keys go with the lease) and quota-exceeded.
 */
export const ACQUIRE: Operation<AcquireArgs, AcquireResult> = {
  name: 'lock.acquire',
  version: 1,
  args: record<AcquireArgs>({
    name,
    lease: uint,
    owner: bytes(LOCK_OWNER_BYTES_MAX),
    isWaiting: flag
  }),
  result: record<AcquireResult>({
    state: oneOf<AcquireResult['state']>(['granted', 'waiting', 'held']),
    ticket: uint,
    token: uint
  }),
  apply: (transaction, { name, lease, owner, isWaiting }) => {
    checkName(name)
    if (lease === 0) throw new MeshError('invalid-argument', 'A lock is held under a lease')
    const { revision } = transaction
    const held = transaction.get(AREAS.lock, name)
    if (held === undefined) {
      putHolder(transaction, name, { ticket: revision, owner, lease })
      return { state: 'granted', ticket: revision, token: revision }
    }
    const { token } = decode(lockHolderCodec, held.value)
    if (!isWaiting) return { state: 'held', ticket: 0, token }
    if (
      transaction.count(AREAS['lock-queue'], queueSpan(name), LOCK_WAITERS_MAX) === LOCK_WAITERS_MAX
    ) {
      const problem = `${LOCK_WAITERS_MAX} wait for lock "${shown(name)}" already`
      throw new MeshError('overloaded', `${problem}; try again later`)
    }
    const waiter = { value: owner, lease }
    transaction.put(AREAS['lock-queue'], waiterKey(name, revision), waiter)
    return { state: 'waiting', ticket: revision, token }
  }
}

export type ReleaseArgs = { readonly name: Uint8Array; readonly token: number }

/**
 * Gives a lock back; who waited longest has it at once. Refuses with not-found when it isn't held
 * with this token (any more).
 */
export const RELEASE: Operation<ReleaseArgs, undefined> = {
  name: 'lock.release',
  version: 1,
  args: record<ReleaseArgs>({ name, token: uint }),
  result: nothing,
  isFreeing: true,
  apply: (transaction, { name, token }) => {
    checkName(name)
    if (holderOf(transaction, name)?.token !== token) {
      const problem = `Lock "${shown(name)}" isn't held with token ${token}`
      throw new MeshError('not-found', `${problem} any more; its lease may have ended`)
    }
    handOver(transaction, name)
    return undefined
  }
}

export type CancelArgs = { readonly name: Uint8Array; readonly ticket: number }
export type CancelResult = { readonly was: 'waiting' | 'holding' | 'gone' }

/**
 * Takes a request back: it leaves the queue, or gives the lock back if it was granted meanwhile. A
 * request that is gone is no error.
 */
export const CANCEL: Operation<CancelArgs, CancelResult> = {
  name: 'lock.cancel',
  version: 1,
  args: record<CancelArgs>({ name, ticket: uint }),
  result: record<CancelResult>({
    was: oneOf<CancelResult['was']>(['waiting', 'holding', 'gone'])
  }),
  isFreeing: true,
  apply: (transaction, { name, ticket }) => {
    checkName(name)
    if (transaction.delete(AREAS['lock-queue'], waiterKey(name, ticket))) return { was: 'waiting' }
    if (holderOf(transaction, name)?.ticket !== ticket) return { was: 'gone' }
    handOver(transaction, name)
    return { was: 'holding' }
  }
}

export const LOCKS: Service = {
  areas: [AREAS.lock, AREAS['lock-queue']],
  operations: [ACQUIRE, RELEASE, CANCEL],
  onLeaseEnd: (transaction: Transaction, area: Area, key: Uint8Array): void => {
    if (area === AREAS.lock) handOver(transaction, key)
    else transaction.delete(area, key)
  }
}

/** @returns the keys in `lock-queue` of those who wait, in the order in which they will get it. */
export function queueSpan(name: Uint8Array): Span {
  return spanOfPrefix(concatBytes([name, Uint8Array.of(NUL)]))
}

/** @returns the ticket of a key in `lock-queue`. */
export function ticketOf(waiterKey: Uint8Array): number {
  return Number.parseInt(fromUtf8(waiterKey.subarray(-TICKET_DIGITS)), 16)
}

function waiterKey(name: Uint8Array, ticket: number): Uint8Array {
  return concatBytes([name, Uint8Array.of(NUL), sortableDigits(ticket, TICKET_DIGITS)])
}

/** Makes the first who waits the holder; the lock is free when there is none. */
function handOver(transaction: Transaction, name: Uint8Array): void {
  for (const waiter of waiters(transaction, name)) {
    transaction.delete(AREAS['lock-queue'], waiter.key)
    // Of the lease that ends right now. No other waits without one.
    if (readLease(transaction.state, waiter.lease) === undefined) continue
    const { lease: id, value: owner } = waiter
    putHolder(transaction, name, { ticket: ticketOf(waiter.key), owner, lease: id })
    return
  }
  transaction.delete(AREAS.lock, name)
}

/** One after the other, read anew each time, because the caller deletes them. */
function* waiters(transaction: Transaction, name: Uint8Array): Generator<Entry> {
  for (;;) {
    const [first] = transaction.range(AREAS['lock-queue'], queueSpan(name))
    if (first === undefined) return
    yield first
  }
}

function putHolder(
  transaction: Transaction,
  name: Uint8Array,
  { ticket, owner, lease }: { ticket: number; owner: Uint8Array; lease: number }
): void {
  const value = encode(lockHolderCodec, { ticket, token: transaction.revision, owner })
  transaction.put(AREAS.lock, name, { value, lease })
}

function holderOf(transaction: Transaction, name: Uint8Array): LockHolder | undefined {
  const held = transaction.get(AREAS.lock, name)
  return held === undefined ? undefined : decode(lockHolderCodec, held.value)
}

/** @throws invalid-argument */
function checkName(name: Uint8Array): void {
  const slash = name.indexOf(SLASH)
  if (slash > 0 && slash < name.length - 1 && !name.includes(NUL)) return
  const problem = 'a lock is called space/path, with a path and without a NUL'
  throw new MeshError('invalid-argument', `"${shown(name)}" is no lock: ${problem}`)
}
