// The first steps toward the next layout: open holes where an arc breaks its zone bounds, then fill these
// and the holes that members left behind.

import { bestCompletion, bestNeighbour, needyMembers } from './choose.ts'
import type { Draft } from './draft.ts'
import { NO_OWNER } from './layout.ts'
import { NONE } from './replica-sets.ts'

/** The arc's slot whose owner is furthest above quota, among those that `counts` says; or NONE. */
function mostExcessive(draft: Draft, arc: number, counts: (zone: number) => boolean): number {
  const from = arc * draft.copies
  let best = NONE
  for (let slot = from; slot < from + draft.copies; slot++) {
    const owner = draft.owners[slot] as number
    if (owner === NO_OWNER || !counts(draft.roster.zoneOf[owner] as number)) continue
    if (best === NONE) {
      best = slot
      continue
    }
    const held = draft.owners[best] as number
    const more = draft.excess(owner) - draft.excess(held)
    // Of equals the lower id: slots may be in any order here.
    if (more > 0 || (more === 0 && owner < held)) best = slot
  }
  return best
}

function releaseSurplus(draft: Draft, arc: number): void {
  const from = arc * draft.copies
  for (let slot = from; slot < from + draft.copies; slot++) {
    const owner = draft.owners[slot] as number
    if (owner === NO_OWNER) continue
    const zone = draft.roster.zoneOf[owner] as number
    while (draft.zoneCount(arc, zone) > (draft.zoneMax[zone] as number)) {
      draft.give(
        mostExcessive(draft, arc, (other) => other === zone),
        NO_OWNER
      )
    }
  }
}

/**
 * Makes room on every arc, in the form of holes, until no zone has too many owners there and each zone
 * that has too few can be given what it lacks.
 */
export function releaseMisplaced(draft: Draft): void {
  for (let arc = 0; arc < draft.arcCount; arc++) {
    releaseSurplus(draft, arc)
    const isAboveMin = (zone: number): boolean =>
      draft.zoneCount(arc, zone) > (draft.zoneMin[zone] as number)
    while (draft.missingOn(arc) > draft.holesOn(arc)) {
      draft.give(mostExcessive(draft, arc, isAboveMin), NO_OWNER)
    }
  }
}

/** Arcs with holes, those with the fewest owners left first: they are in the most danger. */
function arcsWithHoles(draft: Draft): number[] {
  const arcs: number[] = []
  for (let holes = draft.copies; holes > 0; holes--) {
    for (let arc = 0; arc < draft.arcCount; arc++) {
      if (draft.holesOn(arc) === holes) arcs.push(arc)
    }
  }
  return arcs
}

/** Fills holes with members below quota, best with one that makes no new replica set. */
export function fillHoles(draft: Draft): void {
  if (draft.holes === 0) return
  const needy = needyMembers(draft)
  for (const arc of arcsWithHoles(draft)) {
    const from = arc * draft.copies
    for (let slot = from; slot < from + draft.copies; slot++) {
      if (draft.owners[slot] !== NO_OWNER) continue
      const completing = bestCompletion(draft, slot)
      const member = completing === NONE ? bestNeighbour(draft, slot, needy) : completing
      if (member === NONE) continue
      draft.give(slot, member)
      if (draft.excess(member) === 0) needy.splice(needy.indexOf(member), 1)
    }
  }
}
