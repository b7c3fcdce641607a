// What a member says of itself, what is thought of it, and the order that decides between two
// pieces of news. The order is total, so that nodes that heard the same news agree, however it came.

import { compareText } from '../../base/ids.ts'
import type { PeerId, SessionId, StoreId } from '../../base/ids.ts'

/**
 * Where updates beyond it are refused: 2^48. One refutation a second for eight million years stays
 * below it, and one more than it is still an exact integer.
 */
export const INCARNATION_MAX: number = 2 ** 48
/** Likewise for revisions: 2^32 placement changes. */
export const REVISION_MAX: number = 2 ** 32

export type MemberStatus = 'up' | 'leaving' | 'left'

/** What a member says of itself. Only it raises its incarnation. */
export type MemberRecord = {
  readonly peerId: PeerId
  /** 1..INCARNATION_MAX. Of two records of a member the one with the higher incarnation is newer. */
  readonly incarnation: number
  /** Drawn at each start, so that a restarted node and a copied one can be told from their past. */
  readonly session: SessionId
  readonly storeId: StoreId
  /** ≥ 1. Raised by the member when capacity, zone or status change: no layout falls behind it. */
  readonly revision: number
  readonly name: string
  readonly zone: string
  readonly capacityBytes: number
  /** Sorted by key; no key twice. */
  readonly labels: readonly (readonly [key: string, value: string])[]
  readonly addresses: readonly string[]
  readonly status: MemberStatus
  /**
   * The other session that this record was raised above, when the member met a record of its own
   * peer id from another session. A running session that finds itself named here by another one
   * knows that both run now: see self.ts.
   */
  readonly rival?: SessionId
}

/**
 * What is thought of a member. `dead` means unreachable and nothing more; `left`, `gone` and
 * `evicted` are terminal: such a member owns nothing and is kept as a tombstone only.
 */
export type MemberState = 'alive' | 'suspect' | 'dead' | 'gone' | 'left' | 'evicted'

/** One piece of news, as it travels. */
export type MemberUpdate = {
  readonly record: MemberRecord
  readonly state: MemberState
  /** Who accuses, for `suspect`; else the member itself. */
  readonly from: PeerId
}

/** A member as this node knows it. It is also the update that tells others. */
export type Member = MemberUpdate & {
  /** The tick of this node at which the member entered its state here. */
  readonly sinceTick: number
}

/**
 * Rank at equal incarnation: worse news wins, because only the member itself can deny it, and it
 * does so with a higher incarnation (SWIM, section 4.2). Only the member says `left`.
 */
const STATE_RANK: Readonly<Record<MemberState, number>> = {
  alive: 0,
  suspect: 1,
  dead: 2,
  gone: 3,
  left: 4,
  evicted: 5
}

/** @returns whether the member is out of the mesh. */
export function isTerminal(state: MemberState): boolean {
  return state === 'left' || state === 'gone' || state === 'evicted'
}

/** @returns whether the member is expected to answer, and so is probed and gossiped to. */
export function isAnswering(state: MemberState): boolean {
  return state === 'alive' || state === 'suspect'
}

/**
 * A total order of the news about one member: an eviction above everything, then the higher
 * incarnation, then the worse state, and between two records of equal incarnation (two nodes with
 * one identity, or a forger) their contents, so that every node keeps the same one. The revision
 * doesn't take part: it is merged by itself, as a maximum.
 *
 * @returns > 0 when `a` wins.
 */
export function compareUpdates(
  a: Pick<MemberUpdate, 'record' | 'state'>,
  b: Pick<MemberUpdate, 'record' | 'state'>
): number {
  const eviction = Number(a.state === 'evicted') - Number(b.state === 'evicted')
  if (eviction !== 0) return eviction
  if (a.record.incarnation !== b.record.incarnation) {
    return a.record.incarnation - b.record.incarnation
  }
  const rank = STATE_RANK[a.state] - STATE_RANK[b.state]
  return rank === 0 ? compareContents(a.record, b.record) : rank
}

/** @returns an order of what two records of one member say; 0 when they say the same. */
export function compareContents(a: MemberRecord, b: MemberRecord): number {
  if (a === b) return 0
  return (
    compareText(a.session, b.session) ||
    compareText(a.storeId, b.storeId) ||
    compareText(a.status, b.status) ||
    a.capacityBytes - b.capacityBytes ||
    compareText(a.zone, b.zone) ||
    compareText(a.name, b.name) ||
    compareText(a.rival ?? '', b.rival ?? '') ||
    compareLists(a.addresses, b.addresses) ||
    compareLists(a.labels.flat(), b.labels.flat())
  )
}

function compareLists(a: readonly string[], b: readonly string[]): number {
  if (a.length !== b.length) return a.length - b.length
  for (let index = 0; index < a.length; index++) {
    const order = compareText(a[index] as string, b[index] as string)
    if (order !== 0) return order
  }
  return 0
}

/** @returns whether two records ask for the same placement. A difference needs a higher revision. */
export function samePlacement(a: MemberRecord, b: MemberRecord): boolean {
  return a.capacityBytes === b.capacityBytes && a.zone === b.zone && a.status === b.status
}

/** @returns the record without what no tombstone needs, so that thousands of them stay small. */
export function tombstoneRecord(record: MemberRecord): MemberRecord {
  if (record.addresses.length === 0 && record.labels.length === 0) return record
  return { ...record, addresses: [], labels: [] }
}

/**
 * @returns the number that is merged as a maximum, so that what is shown of a member for placement
 *   never falls: even while it is in the mesh, else odd.
 */
export function updateVersion(update: Pick<MemberUpdate, 'record' | 'state'>): number {
  return 2 * update.record.revision + Number(isTerminal(update.state))
}

/**
 * @param version the highest one heard or shown of a member.
 * @returns the revision to show for it in `state`: the lowest whose version isn't below. A member
 *   that comes back from `gone` at the revision it had then shows a higher one, which it takes over
 *   when it hears of it.
 */
export function revisionFor(version: number, state: MemberState): number {
  return isTerminal(state) ? Math.floor(version / 2) : Math.ceil(version / 2)
}
