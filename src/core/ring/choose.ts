// Which member should take a slot: the judgement that all steps of placement share.

import type { Draft } from './draft.ts'
import { NO_OWNER } from './layout.ts'
import { NONE } from './replica-sets.ts'

/** @returns the members below their quota, ascending. */
export function needyMembers(draft: Draft): number[] {
  const needy: number[] = []
  for (let member = 0; member < draft.quota.length; member++) {
    if (draft.excess(member) < 0) needy.push(member)
  }
  return needy
}

/** Whether `a` lacks a larger part of its quota than `b`. Cross products: no fraction is rounded. */
function needsMore(draft: Draft, a: number, b: number): boolean {
  return (
    -draft.excess(a) * (draft.quota[b] as number) > -draft.excess(b) * (draft.quota[a] as number)
  )
}

/** How many of the slot's other owners the member shares an arc with already. */
function neighbours(draft: Draft, slot: number, member: number): number {
  const from = slot - (slot % draft.copies)
  let count = 0
  for (let other = from; other < from + draft.copies; other++) {
    const owner = draft.owners[other] as number
    if (other !== slot && owner !== NO_OWNER && draft.shared(owner, member) > 0) count++
  }
  return count
}

/** The slot's other owner that has been in the fewest sets; NONE when there is none, or a hole. */
function anchorOf(draft: Draft, slot: number): number {
  const from = slot - (slot % draft.copies)
  let anchor = NONE
  for (let other = from; other < from + draft.copies; other++) {
    if (other === slot) continue
    const owner = draft.owners[other] as number
    if (owner === NO_OWNER) return NONE
    const sets = (draft.sets.setsOf[owner] as number[]).length
    if (anchor === NONE || sets < (draft.sets.setsOf[anchor] as number[]).length) anchor = owner
  }
  return anchor
}

/** The one member of the set that isn't among the slot's other owners; NONE when they aren't all in it. */
function completion(draft: Draft, slot: number, set: number): number {
  const from = slot - (slot % draft.copies)
  let found = NONE
  for (let rank = 0; rank < draft.copies; rank++) {
    const member = draft.sets.member(set, rank)
    let isOther = false
    for (let other = from; other < from + draft.copies; other++) {
      if (other !== slot && draft.owners[other] === member) isOther = true
    }
    if (isOther) continue
    if (found !== NONE) return NONE
    found = member
  }
  return found
}

/**
 * @returns the neediest member below quota that the slot may go to and that makes its arc join an
 * existing replica set; NONE when there is none.
 */
export function bestCompletion(draft: Draft, slot: number): number {
  const anchor = anchorOf(draft, slot)
  if (anchor === NONE) return NONE
  let best = NONE
  for (const set of draft.sets.setsOf[anchor] as number[]) {
    if (draft.sets.arcCount(set) === 0) continue
    const member = completion(draft, slot, set)
    if (member === NONE || draft.excess(member) >= 0 || !draft.allows(slot, member)) continue
    if (
      best === NONE ||
      needsMore(draft, member, best) ||
      (member < best && !needsMore(draft, best, member))
    ) {
      best = member
    }
  }
  return best
}

/**
 * @param candidates ascending; those not below quota are passed over.
 * @returns the candidate that the slot may go to and that shares arcs with the most of its other
 * owners, the neediest of these; NONE when there is none.
 */
export function bestNeighbour(draft: Draft, slot: number, candidates: readonly number[]): number {
  let best = NONE
  let bestScore = -1
  for (const member of candidates) {
    if (draft.excess(member) >= 0 || !draft.allows(slot, member)) continue
    const score = neighbours(draft, slot, member)
    if (score > bestScore || (score === bestScore && needsMore(draft, member, best))) {
      best = member
      bestScore = score
    }
  }
  return best
}
