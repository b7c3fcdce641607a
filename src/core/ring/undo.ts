// Takes back moves that turned out needless: a repair or a chain may move an arc away from an owner
// that later takes another arc. Giving the first one back saves a copy where the rest can be
// arranged among replicas that have to be copied anyway. These are the cycles of negative cost of a
// minimum-cost flow, found by a bounded search: a few may stay.

import type { Draft } from './draft.ts'
import { NO_OWNER } from './layout.ts'
import { NONE } from './replica-sets.ts'

const ROUNDS_MAX = 4
/** Transfers looked at in all. Counted, never timed: every peer must stop at the same place. */
const CHECKS_MAX = 500_000

class Search {
  checksLeft: number = CHECKS_MAX
  readonly #draft: Draft
  /** The search that reached each member, to spare clearing between searches. */
  readonly #reachedIn: Int32Array
  #searches = 0
  /** The slot through which each member was reached. */
  readonly #via: Int32Array
  /** Members of each zone, but for some that were reached; made when a search first needs it. */
  #unreached: number[][] | undefined
  #queue: number[] = []

  constructor(draft: Draft) {
    const count = draft.roster.members.length
    this.#draft = draft
    this.#reachedIn = new Int32Array(count)
    this.#via = new Int32Array(count)
  }

  /**
   * Looks for transfers that cost no copy, by which `from` gives one replica and `to` gets one, on
   * arcs other than `exceptArc`.
   *
   * @returns the slots and their takers, [slot, taker …], the last transfer first; undefined if none.
   */
  findPath(from: number, to: number, exceptArc: number): number[] | undefined {
    const draft = this.#draft
    this.#searches++
    this.#reachedIn[from] = this.#searches
    this.#unreached = undefined
    this.#queue = [from]
    for (let head = 0; head < this.#queue.length; head++) {
      let slot = draft.firstSlot(this.#queue[head] as number)
      for (; slot !== NONE; slot = draft.nextSlot(slot)) {
        if (this.checksLeft <= 0) return undefined
        if (Math.floor(slot / draft.copies) !== exceptArc) this.#reachFrom(slot)
        if (this.#reachedIn[to] === this.#searches) return this.#pathTo(to, from)
      }
    }
    return undefined
  }

  #reachFrom(slot: number): void {
    const draft = this.#draft
    const owner = draft.owners[slot] as number
    const arc = Math.floor(slot / draft.copies)
    this.checksLeft--
    if (draft.wasOwner(arc, owner)) {
      // Only another former owner can take this one without a copy.
      const first = arc * draft.copies
      for (let kept = first; kept < first + draft.copies; kept++) {
        const member = draft.kept[kept] as number
        if (member === NO_OWNER || this.#reachedIn[member] === this.#searches) continue
        if (draft.allows(slot, member)) this.#reach(slot, member)
      }
      return
    }
    const ownZone = draft.roster.zoneOf[owner] as number
    const mayLeave = draft.mayLeaveZone(slot)
    this.#unreached ??= draft.roster.peersOf.map((peers) => [...peers])
    for (const [zone, members] of this.#unreached.entries()) {
      if (members.length === 0 || (zone !== ownZone && !mayLeave)) continue
      const left: number[] = []
      for (const member of members) {
        if (this.#reachedIn[member] === this.#searches) continue
        this.checksLeft--
        if (draft.allows(slot, member)) this.#reach(slot, member)
        else left.push(member)
      }
      this.#unreached[zone] = left
    }
  }

  #reach(slot: number, member: number): void {
    this.#reachedIn[member] = this.#searches
    this.#via[member] = slot
    this.#queue.push(member)
  }

  #pathTo(to: number, from: number): number[] {
    const path: number[] = []
    for (let member = to; member !== from;) {
      const slot = this.#via[member] as number
      path.push(slot, member)
      member = this.#draft.owners[slot] as number
    }
    return path
  }
}

/** Makes all transfers, or none when one of them isn't allowed after those before it. */
function applyAll(draft: Draft, transfers: readonly number[]): boolean {
  const givers: number[] = []
  for (let index = 0; index < transfers.length; index += 2) {
    const slot = transfers[index] as number
    if (!draft.allows(slot, transfers[index + 1] as number)) {
      for (let undone = index - 2; undone >= 0; undone -= 2) {
        draft.give(transfers[undone] as number, givers.pop() as number)
      }
      return false
    }
    givers.push(draft.owners[slot] as number)
    draft.give(slot, transfers[index + 1] as number)
  }
  return true
}

/** Tries to give `arc` back to `loser`, from any owner that is new on it. */
function giveBack(draft: Draft, search: Search, arc: number, loser: number): boolean {
  const from = arc * draft.copies
  for (let slot = from; slot < from + draft.copies; slot++) {
    const newcomer = draft.owners[slot] as number
    if (draft.wasOwner(arc, newcomer) || !draft.allows(slot, loser)) continue
    const path = search.findPath(loser, newcomer, arc)
    if (path !== undefined && applyAll(draft, [slot, loser, ...path])) return true
  }
  return false
}

/**
 * Whether a member both lost an arc and gained one. Without one there is nothing to take back: a path
 * starts at a loser and ends at a gainer; a loser's own replicas go to other losers at no cost, and
 * only a gainer's go further.
 */
function hasExchange(draft: Draft): boolean {
  const lost = new Uint8Array(draft.roster.members.length)
  const gained = new Uint8Array(draft.roster.members.length)
  for (let slot = 0; slot < draft.kept.length; slot++) {
    const arc = Math.floor(slot / draft.copies)
    const before = draft.kept[slot] as number
    const now = draft.owners[slot] as number
    if (before !== NO_OWNER && !draft.isOwner(arc, before)) lost[before] = 1
    if (!draft.wasOwner(arc, now)) gained[now] = 1
  }
  return lost.some((flag, member) => flag === 1 && gained[member] === 1)
}

/** Cancels needless moves. Loads and zone bounds stay as they are. */
export function undoNeedlessMoves(draft: Draft): void {
  const search = new Search(draft)
  for (let round = 0; round < ROUNDS_MAX; round++) {
    if (!hasExchange(draft)) return
    let undone = 0
    for (let slot = 0; slot < draft.kept.length; slot++) {
      const loser = draft.kept[slot] as number
      const arc = Math.floor(slot / draft.copies)
      if (loser === NO_OWNER || draft.isOwner(arc, loser)) continue
      if (giveBack(draft, search, arc, loser)) undone++
    }
    if (undone === 0 || search.checksLeft <= 0) return
  }
}
