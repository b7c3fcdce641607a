// A layout in the making: owners that change one slot at a time, with all that the steps of placement
// ask about them kept up to date, in typed arrays. A slot is one place for an owner on one arc.

import { NO_OWNER } from './layout.ts'
import type { Quotas } from './quotas.ts'
import { NONE, ReplicaSets } from './replica-sets.ts'
import type { Roster } from './roster.ts'

export class Draft {
  readonly roster: Roster
  readonly arcCount: number
  readonly copies: number
  readonly quota: Int32Array
  readonly zoneMin: Int32Array
  readonly zoneMax: Int32Array
  /** The owner in each slot, or NO_OWNER for a hole. Slots of arc `a` start at `a × copies`. */
  readonly owners: Uint16Array
  /** The owners at the start: what doesn't have to be copied. */
  readonly kept: Uint16Array
  /** Replicas that each member holds; holes last. */
  readonly load: Int32Array
  readonly sets: ReplicaSets
  /** Zones that every arc needs an owner in. There are no more of them than copies. */
  readonly #required: readonly number[]
  readonly #memberCount: number
  /** For each pair of members, how many arcs they share. */
  readonly #shared: Uint16Array
  /** A doubly linked list of slots for each member, and a last one for holes. */
  readonly #first: Int32Array
  readonly #next: Int32Array
  readonly #previous: Int32Array

  /** @param kept owners to start from, `copies` a slot's arc; the draft keeps this array unchanged. */
  constructor(roster: Roster, quotas: Quotas, kept: Uint16Array) {
    const memberCount = roster.members.length
    this.roster = roster
    this.copies = roster.copies
    this.arcCount = kept.length / roster.copies
    this.quota = quotas.quota
    this.zoneMin = quotas.zoneMin
    this.zoneMax = quotas.zoneMax
    this.#required = [...this.zoneMin.keys()].filter((zone) => (this.zoneMin[zone] as number) > 0)
    this.kept = kept
    this.owners = kept.slice()
    this.load = new Int32Array(memberCount + 1)
    this.sets = new ReplicaSets(memberCount, this.arcCount, this.copies)
    this.#memberCount = memberCount
    this.#shared = new Uint16Array(memberCount * memberCount)
    this.#first = new Int32Array(memberCount + 1).fill(NONE)
    this.#next = new Int32Array(kept.length)
    this.#previous = new Int32Array(kept.length)
    // Downward, so that lists start with the lowest arc.
    for (let slot = kept.length - 1; slot >= 0; slot--) this.#link(slot, this.#listOf(slot))
    for (let arc = this.arcCount - 1; arc >= 0; arc--) {
      const from = arc * this.copies
      for (let slot = from; slot < from + this.copies; slot++) {
        const owner = this.owners[slot] as number
        if (owner === NO_OWNER) continue
        for (let earlier = from; earlier < slot; earlier++) {
          this.#countPair(owner, this.owners[earlier] as number, 1)
        }
      }
      this.sets.add(arc, this.owners, from)
    }
  }

  /** Slots without an owner. */
  get holes(): number {
    return this.load[this.#memberCount] as number
  }

  /** The first slot of a member, or of the holes for NO_OWNER; NONE when there is none. */
  firstSlot(owner: number): number {
    return this.#first[owner === NO_OWNER ? this.#memberCount : owner] as number
  }

  /** The slot after this one in the list of its owner, or NONE. */
  nextSlot(slot: number): number {
    return this.#next[slot] as number
  }

  /** How many replicas the member holds above its quota; negative below it. */
  excess(member: number): number {
    return (this.load[member] as number) - (this.quota[member] as number)
  }

  /** How many arcs two members share. */
  shared(a: number, b: number): number {
    return this.#shared[a * this.#memberCount + b] as number
  }

  isOwner(arc: number, member: number): boolean {
    const from = arc * this.copies
    for (let slot = from; slot < from + this.copies; slot++) {
      if (this.owners[slot] === member) return true
    }
    return false
  }

  /** Whether the member owned the arc at the start. */
  wasOwner(arc: number, member: number): boolean {
    const from = arc * this.copies
    for (let slot = from; slot < from + this.copies; slot++) {
      if (this.kept[slot] === member) return true
    }
    return false
  }

  /** How many owners of the arc are in the zone. */
  zoneCount(arc: number, zone: number): number {
    const { zoneOf } = this.roster
    const from = arc * this.copies
    let count = 0
    for (let slot = from; slot < from + this.copies; slot++) {
      const owner = this.owners[slot] as number
      if (owner !== NO_OWNER && zoneOf[owner] === zone) count++
    }
    return count
  }

  /** @returns how many holes the arc has. */
  holesOn(arc: number): number {
    const from = arc * this.copies
    let count = 0
    for (let slot = from; slot < from + this.copies; slot++) {
      if (this.owners[slot] === NO_OWNER) count++
    }
    return count
  }

  /** @returns how many owners the arc lacks in zones where it has too few. */
  missingOn(arc: number): number {
    let missing = 0
    for (const zone of this.#required) {
      missing += Math.max(0, (this.zoneMin[zone] as number) - this.zoneCount(arc, zone))
    }
    return missing
  }

  /** Whether the slot may go to a member of another zone without leaving its own zone too few. */
  mayLeaveZone(slot: number): boolean {
    const owner = this.owners[slot] as number
    if (owner === NO_OWNER) return true
    const zone = this.roster.zoneOf[owner] as number
    const arc = Math.floor(slot / this.copies)
    return this.zoneCount(arc, zone) > (this.zoneMin[zone] as number)
  }

  /** Whether the zone may have one owner more on the slot's arc, if it takes the slot from another. */
  mayJoinZone(slot: number, zone: number): boolean {
    const arc = Math.floor(slot / this.copies)
    const count = this.zoneCount(arc, zone)
    if (count >= (this.zoneMax[zone] as number)) return false
    // Holes that other zones have to fill are theirs.
    if (this.owners[slot] !== NO_OWNER || count < (this.zoneMin[zone] as number)) return true
    return this.holesOn(arc) > this.missingOn(arc)
  }

  /** Whether giving the slot to the member keeps owners distinct and every zone within its bounds. */
  allows(slot: number, member: number): boolean {
    const { zoneOf } = this.roster
    const zone = zoneOf[member] as number
    const from = slot - (slot % this.copies)
    const current = this.owners[slot] as number
    const left = current === NO_OWNER ? NONE : (zoneOf[current] as number)
    let leftCount = 0
    let joinedCount = 0
    for (let other = from; other < from + this.copies; other++) {
      const owner = this.owners[other] as number
      if (owner === NO_OWNER) continue
      if (owner === member) return false
      if (zoneOf[owner] === zone) joinedCount++
      else if (zoneOf[owner] === left) leftCount++
    }
    if (left === zone) return true
    if (left === NONE) return this.mayJoinZone(slot, zone)
    if (joinedCount >= (this.zoneMax[zone] as number)) return false
    return leftCount > (this.zoneMin[left] as number)
  }

  /** Gives the slot to a member that isn't on its arc, or makes it a hole (NO_OWNER). */
  give(slot: number, member: number): void {
    const arc = Math.floor(slot / this.copies)
    const current = this.owners[slot] as number
    this.sets.remove(arc)
    if (current !== NO_OWNER) this.#countOthers(slot, current, -1)
    this.#unlink(slot, this.#listOf(slot))
    this.owners[slot] = member
    this.#link(slot, this.#listOf(slot))
    if (member !== NO_OWNER) this.#countOthers(slot, member, 1)
    this.sets.add(arc, this.owners, arc * this.copies)
  }

  #listOf(slot: number): number {
    const owner = this.owners[slot] as number
    return owner === NO_OWNER ? this.#memberCount : owner
  }

  #link(slot: number, list: number): void {
    const first = this.#first[list] as number
    this.#next[slot] = first
    this.#previous[slot] = NONE
    if (first !== NONE) this.#previous[first] = slot
    this.#first[list] = slot
    this.load[list] = (this.load[list] as number) + 1
  }

  #unlink(slot: number, list: number): void {
    const next = this.#next[slot] as number
    const previous = this.#previous[slot] as number
    if (next !== NONE) this.#previous[next] = previous
    if (previous === NONE) this.#first[list] = next
    else this.#next[previous] = next
    this.load[list] = (this.load[list] as number) - 1
  }

  /** Counts the slot's arc in or out as shared by `owner` and each other owner. */
  #countOthers(slot: number, owner: number, change: number): void {
    const from = slot - (slot % this.copies)
    for (let other = from; other < from + this.copies; other++) {
      if (other !== slot) this.#countPair(owner, this.owners[other] as number, change)
    }
  }

  #countPair(a: number, b: number, change: number): void {
    if (b === NO_OWNER) return
    const there = a * this.#memberCount + b
    const back = b * this.#memberCount + a
    this.#shared[there] = (this.#shared[there] as number) + change
    this.#shared[back] = (this.#shared[back] as number) + change
  }
}
