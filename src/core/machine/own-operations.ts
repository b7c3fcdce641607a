// The operations of the machine itself: leases, clients, settings, and the passing of time.

import { MeshError } from '../../base/errors.ts'
import { forgetClient, registerClient } from './clients.ts'
import { nothing, record, uint } from './codec.ts'
import { endLease } from './expiry.ts'
import type { AreaServices } from './expiry.ts'
import { checkTtl, demandLease, putLease } from './leases.ts'
import { QUOTA_BYTES_MIN } from './limits.ts'
import { equalBytes } from '../../base/bytes.ts'
import type { AnyOperation, Operation } from './operation.ts'
import { settingsCodec } from './records.ts'
import type { Lease, Settings } from './records.ts'
import { checkSpace } from './space.ts'
import type { Transaction } from './transaction.ts'

type LeaseId = { readonly lease: number }
const leaseId = record<LeaseId>({ lease: uint })

/** Does nothing but carry a stamp: the leader proposes it when `dueMs` has come. */
export const TICK: Operation<undefined, undefined> = {
  name: 'machine.tick',
  version: 1,
  args: nothing,
  result: nothing,
  apply: () => undefined
}

/** Changes the settings of the shard. */
export const CONFIGURE: Operation<Settings, undefined> = {
  name: 'machine.configure',
  version: 1,
  args: settingsCodec,
  result: nothing,
  isFreeing: true,
  apply: ({ meta }, settings) => {
    const { quotaBytes, retainCountMin, retainCountMax } = settings
    if (quotaBytes < QUOTA_BYTES_MIN) {
      const problem = `A quota has at least ${QUOTA_BYTES_MIN} bytes, not ${quotaBytes}`
      throw new MeshError('invalid-argument', problem)
    }
    if (retainCountMin > retainCountMax) {
      const problem = `retainCountMin ${retainCountMin} is above retainCountMax ${retainCountMax}`
      throw new MeshError('invalid-argument', `Cannot configure the shard: ${problem}`)
    }
    meta.settings = settings
    return undefined
  }
}

/** Registers a client, so that its repeated requests are known. */
export const REGISTER: Operation<undefined, { readonly client: number }> = {
  name: 'client.register',
  version: 1,
  args: nothing,
  result: record<{ readonly client: number }>({ client: uint }),
  apply: ({ state, meta, index }) => {
    registerClient(state, meta, index)
    return { client: index }
  }
}

/** Forgets a client that won't ask again. One that isn't known is no error. */
export const FORGET: Operation<{ readonly client: number }, undefined> = {
  name: 'client.forget',
  version: 1,
  args: record<{ readonly client: number }>({ client: uint }),
  result: nothing,
  isFreeing: true,
  apply: ({ state, meta }, { client }) => {
    forgetClient(state, meta, client)
    return undefined
  }
}

/**
 * Grants a lease for keys of the request's space. Its id is never used again.
 *
 * Refuses with invalid-argument, quota-exceeded.
 */
export const GRANT: Operation<{ readonly ttlMs: number }, LeaseId> = {
  name: 'lease.grant',
  version: 1,
  args: record<{ readonly ttlMs: number }>({ ttlMs: uint }),
  result: leaseId,
  apply: (transaction, { ttlMs }) => {
    const { state, index, space, timeMs } = transaction
    checkSpace(space)
    checkTtl(ttlMs)
    putLease(state, index, { ttlMs, deadlineMs: timeMs + ttlMs, keyCount: 0, space })
    transaction.noteGrowth()
    return { lease: index }
  }
}

/** Gives a lease its full time to live again. Refuses with not-found when it has ended. */
export const KEEP_ALIVE: Operation<LeaseId, { readonly ttlMs: number }> = {
  name: 'lease.keepAlive',
  version: 1,
  args: leaseId,
  result: record<{ readonly ttlMs: number }>({ ttlMs: uint }),
  isFreeing: true,
  apply: (transaction, { lease: id }) => {
    const lease = leaseOfSpace(transaction, id)
    const { ttlMs } = lease
    putLease(transaction.state, id, { ...lease, deadlineMs: transaction.timeMs + ttlMs })
    return { ttlMs }
  }
}

/** @returns what the machine can do without any service. */
export function ownOperations(services: AreaServices): readonly AnyOperation[] {
  /** Ends a lease now, with all that goes with it. Refuses with not-found. */
  const revoke: Operation<LeaseId, undefined> = {
    ...REVOKE,
    apply: (transaction, { lease }) => {
      leaseOfSpace(transaction, lease)
      endLease(transaction, lease, services)
      return undefined
    }
  }
  return [TICK, CONFIGURE, REGISTER, FORGET, GRANT, KEEP_ALIVE, revoke]
}

/** How `lease.revoke` is asked for; what it does depends on the services of a machine. */
export const REVOKE: Omit<Operation<LeaseId, undefined>, 'apply'> = {
  name: 'lease.revoke',
  version: 1,
  args: leaseId,
  result: nothing,
  isFreeing: true
}

function leaseOfSpace({ state, space }: Transaction, id: number): Lease {
  const lease = demandLease(state, id)
  if (equalBytes(lease.space, space)) return lease
  throw new MeshError('invalid-argument', `Lease ${id} is of another space`)
}
