// Moves single replicas from members above their quota straight to members below it. Each such move is
// needed in any case, so the choice among them is free, and goes to those that make the fewest new
// replica sets.

import { bestCompletion, bestNeighbour, needyMembers } from './choose.ts'
import type { Draft } from './draft.ts'
import { NONE } from './replica-sets.ts'
import { TupleTable } from './tuple-table.ts'

/** Beyond this many pairs of member and offer, weighing them in groups takes too long. */
const GROUPED_WORK_MAX = 1_500_000
/** What one owner that the taker shares arcs with already is worth, in arcs offered. */
const NEIGHBOUR_WORTH = 2

/** The slot of `member`, which owns the arc. */
function slotOf(draft: Draft, arc: number, member: number): number {
  let slot = arc * draft.copies
  while (draft.owners[slot] !== member) slot++
  return slot
}

/** Makes the transfers that end in a replica set that exists. */
function reuseSets(draft: Draft): void {
  for (let member = 0; member < draft.quota.length; member++) {
    if (draft.excess(member) <= 0) continue
    const sets = draft.sets.setsOf[member] as number[]
    // Sets made meanwhile have no place in this pass.
    const length = sets.length
    for (let index = 0; index < length; index++) {
      const set = sets[index] as number
      while (draft.excess(member) > 0 && draft.sets.arcCount(set) > 0) {
        const slot = slotOf(draft, draft.sets.lastArc(set), member)
        const taker = bestCompletion(draft, slot)
        if (taker === NONE) break
        draft.give(slot, taker)
      }
    }
  }
}

/** All that could be given: a member above quota, and one of its sets. Offers that leave the same
 * other owners behind form a group, since they all end in the same set. */
class Offers {
  readonly giver: number[] = []
  readonly set: number[] = []
  readonly group: number[] = []
  readonly groups: TupleTable
  readonly #draft: Draft
  #setsSeen = 0

  constructor(draft: Draft) {
    this.#draft = draft
    this.groups = new TupleTable(draft.copies - 1, draft.arcCount)
    this.addNewSets()
  }

  /** Adds the sets numbered since the last call. */
  addNewSets(): void {
    const { sets } = this.#draft
    const { key } = this.groups
    for (; this.#setsSeen < sets.count; this.#setsSeen++) {
      for (let rank = 0; rank < sets.size; rank++) {
        const giver = sets.member(this.#setsSeen, rank)
        if (this.#draft.excess(giver) <= 0) continue
        for (let other = 0, place = 0; other < sets.size; other++) {
          if (other !== rank) key[place++] = sets.member(this.#setsSeen, other)
        }
        this.giver.push(giver)
        this.set.push(this.#setsSeen)
        this.group.push(this.groups.number())
      }
    }
  }
}

/** One group of offers that a taker may accept, and what it is worth now. */
type Choice = { readonly group: number; readonly offers: number[] }

function choicesFor(draft: Draft, offers: Offers, taker: number): Choice[] {
  const choices: Choice[] = []
  const choiceOf = new Map<number, Choice>()
  for (let offer = 0; offer < offers.set.length; offer++) {
    const set = offers.set[offer] as number
    const giver = offers.giver[offer] as number
    if (draft.excess(giver) <= 0 || draft.sets.arcCount(set) === 0) continue
    if (!draft.allows(slotOf(draft, draft.sets.lastArc(set), giver), taker)) continue
    const group = offers.group[offer] as number
    let choice = choiceOf.get(group)
    if (choice === undefined) {
      choice = { group, offers: [] }
      choiceOf.set(group, choice)
      choices.push(choice)
    }
    choice.offers.push(offer)
  }
  return choices
}

function arcsOffered(draft: Draft, offers: Offers, choice: Choice): number {
  let arcs = 0
  for (const offer of choice.offers) {
    arcs += Math.min(
      Math.max(0, draft.excess(offers.giver[offer] as number)),
      draft.sets.arcCount(offers.set[offer] as number)
    )
  }
  return arcs
}

function neighboursIn(
  draft: Draft,
  offers: Offers,
  choice: { group: number; taker: number }
): number {
  let count = 0
  for (let rank = 0; rank < draft.copies - 1; rank++) {
    if (draft.shared(offers.groups.member(choice.group, rank), choice.taker) > 0) count++
  }
  return count
}

/** Lets the taker accept whole groups, each time the one worth most, until it has its quota. */
function takeGroups(draft: Draft, offers: Offers, taker: number): void {
  let choices = choicesFor(draft, offers, taker)
  while (draft.excess(taker) < 0) {
    let best: Choice | undefined
    let bestWorth = 0
    const open: Choice[] = []
    for (const choice of choices) {
      const arcs = arcsOffered(draft, offers, choice)
      if (arcs === 0) continue
      open.push(choice)
      const known = neighboursIn(draft, offers, { group: choice.group, taker })
      const worth = Math.min(arcs, -draft.excess(taker)) + NEIGHBOUR_WORTH * known
      if (worth > bestWorth) {
        best = choice
        bestWorth = worth
      }
    }
    if (best === undefined) return
    for (const offer of best.offers) {
      const giver = offers.giver[offer] as number
      const set = offers.set[offer] as number
      while (draft.excess(taker) < 0 && draft.excess(giver) > 0 && draft.sets.arcCount(set) > 0) {
        draft.give(slotOf(draft, draft.sets.lastArc(set), giver), taker)
      }
    }
    choices = open
  }
}

/** The same, arc by arc, without weighing one arc against another. */
function takeSingly(draft: Draft, needy: number[]): void {
  for (let slot = 0; slot < draft.owners.length; slot++) {
    if (needy.length === 0) return
    const giver = draft.owners[slot] as number
    if (giver >= draft.quota.length || draft.excess(giver) <= 0) continue
    const taker = bestNeighbour(draft, slot, needy)
    if (taker === NONE) continue
    draft.give(slot, taker)
    if (draft.excess(taker) === 0) needy.splice(needy.indexOf(taker), 1)
  }
}

/** Makes the transfers that need no third member. */
export function transferDirectly(draft: Draft): void {
  reuseSets(draft)
  const needy = needyMembers(draft)
  if (needy.length === 0) return
  const offers = new Offers(draft)
  if (needy.length * offers.groups.count > GROUPED_WORK_MAX) {
    takeSingly(draft, needy)
    return
  }
  // The member that lacks most first; sort is stable, so of equals the lower id.
  for (const taker of needy.toSorted((a, b) => draft.excess(a) - draft.excess(b))) {
    takeGroups(draft, offers, taker)
    offers.addNewSets()
  }
}
