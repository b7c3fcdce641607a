// Ends leases whose time has come.
//
// It happens when an entry is applied, before its command, in the order of deadlines and then ids:
// not by a command that the leader proposes for each lease. Such a command races with renewals that
// are in the log before it, needs a check of its own, and can be forgotten by a new leader; here
// what ends follows from the log alone. The leader proposes an empty command when `dueMs` has come
// and nothing else does. Work is bounded: what is left waits for the next entry, alive, for to
// end late is safe.

import { EXPIRED_KEYS_PER_ENTRY } from './limits.ts'
import { deleteLease, demandLease, firstLeaseDeadline, keysOfLease } from './leases.ts'
import type { Service } from './operation.ts'
import type { Meta } from './records.ts'
import type { StagedState } from './staged-state.ts'
import type { Area } from './state-keys.ts'
import { Transaction } from './transaction.ts'
import type { RevisionEvents } from './transaction.ts'

export type AreaServices = ReadonlyMap<Area, Service>

/**
 * Ends what is due at `meta.timeMs`: each lease in a revision of its own, which is written.
 *
 * @returns what changed, and whether nothing is left that is due.
 */
export function endDueLeases(
  state: StagedState,
  { meta, index, services }: { meta: Meta; index: number; services: AreaServices }
): { ended: RevisionEvents[]; isDone: boolean } {
  const ended: RevisionEvents[] = []
  for (let keyCount = 0; keyCount < EXPIRED_KEYS_PER_ENTRY; keyCount += 1) {
    const first = firstLeaseDeadline(state)
    if (first === undefined || first.deadlineMs > meta.timeMs) return { ended, isDone: true }
    const { space, keyCount: count } = demandLease(state, first.id)
    const transaction = new Transaction({ state, meta, index, space, isBounded: false })
    endLease(transaction, first.id, services)
    const events = transaction.finish()
    meta.usedBytes += state.commit()
    if (events !== undefined) {
      meta.revision = events.revision
      ended.push(events)
    }
    keyCount += Math.max(count, events?.events.length ?? 0)
  }
  return { ended, isDone: false }
}

/** Ends a lease of the transaction's space with all that goes with it. @throws not-found */
export function endLease(transaction: Transaction, id: number, services: AreaServices): void {
  const { state } = transaction
  deleteLease(state, id, demandLease(state, id))
  for (const { area, key } of keysOfLease(state, id)) {
    // What an earlier key's end did may have untied this one.
    if (transaction.get(area, key)?.lease !== id) continue
    const onLeaseEnd = services.get(area)?.onLeaseEnd
    if (onLeaseEnd === undefined) transaction.delete(area, key)
    else onLeaseEnd(transaction, area, key)
  }
}
