// Brings every member to its quota where no direct transfer is left: chains of transfers, in which each
// member between the ends gives one replica and takes one. They are the augmenting paths of a flow
// from members above quota to members below; taken shortest first, many per round, as Dinic did
// ("Algorithm for solution of a problem of maximum flow", 1970). A flow that meets all quotas and
// zone bounds exists, since the fractional layout meets them, so this always ends with loads = quotas.

import { assert } from '../../base/assert.ts'
import type { Draft } from './draft.ts'
import { NO_OWNER } from './layout.ts'
import { NONE } from './replica-sets.ts'

const UNREACHED = -1

/** Members by how many transfers away from a source they are. Holes are a source of their own. */
class Levels {
  /** For each member. */
  readonly level: Int32Array
  /** The members of each level, in order of discovery. */
  readonly members: number[][] = []
  /** Whether the last level holds a member below quota. */
  reachesNeed = false
  readonly #draft: Draft
  /** Members not yet reached, for each zone, and the zones where there are any. */
  readonly #unreached: number[][]
  #openZones: number[]

  constructor(draft: Draft) {
    this.#draft = draft
    const { roster } = draft
    this.level = new Int32Array(roster.members.length).fill(UNREACHED)
    this.#unreached = roster.peersOf.map((peers) => peers.filter((p) => draft.excess(p) <= 0))
    this.#openZones = [...this.#unreached.keys()]
    const sources = [...this.level.keys()].filter((member) => draft.excess(member) > 0)
    for (const source of sources) this.level[source] = 0
    this.members.push(draft.holes > 0 ? [...sources, NO_OWNER] : sources)
    while (!this.reachesNeed && this.#expand());
  }

  /** Finds the next level; @returns whether there is one. */
  #expand(): boolean {
    const found: number[] = []
    for (const member of this.members.at(-1) as number[]) {
      let slot = this.#draft.firstSlot(member)
      for (; slot !== NONE; slot = this.#draft.nextSlot(slot)) this.#reachFrom(slot, found)
    }
    if (found.length === 0) return false
    this.members.push(found)
    return true
  }

  #reachFrom(slot: number, found: number[]): void {
    const draft = this.#draft
    const owner = draft.owners[slot] as number
    const ownZone = owner === NO_OWNER ? NONE : (draft.roster.zoneOf[owner] as number)
    if (ownZone !== NONE) this.#reachIn(slot, ownZone, found)
    if (!draft.mayLeaveZone(slot)) return
    this.#openZones = this.#openZones.filter(
      (zone) => (this.#unreached[zone] as number[]).length > 0
    )
    for (const zone of this.#openZones) {
      if (zone === ownZone) continue
      if (draft.mayJoinZone(slot, zone)) this.#reachIn(slot, zone, found)
    }
  }

  /** Reaches every member of the zone that isn't on the slot's arc. */
  #reachIn(slot: number, zone: number, found: number[]): void {
    const draft = this.#draft
    const arc = Math.floor(slot / draft.copies)
    const left: number[] = []
    for (const member of this.#unreached[zone] as number[]) {
      if (draft.isOwner(arc, member)) {
        left.push(member)
        continue
      }
      this.level[member] = this.members.length
      if (draft.excess(member) < 0) this.reachesNeed = true
      found.push(member)
    }
    this.#unreached[zone] = left
  }
}

/** One round: as many chains as fit, all of the shortest length. */
class Round {
  readonly #draft: Draft
  readonly #levels: Levels
  /** For each member, and last for holes, the first slot not yet found to lead nowhere. */
  readonly #cursor: Int32Array
  /** Members that lead nowhere. */
  readonly #dead: Uint8Array

  constructor(draft: Draft, levels: Levels) {
    const count = draft.roster.members.length
    this.#draft = draft
    this.#levels = levels
    this.#dead = new Uint8Array(count)
    this.#cursor = new Int32Array(count + 1)
    for (let member = 0; member < count; member++) this.#cursor[member] = draft.firstSlot(member)
    this.#cursor[count] = draft.firstSlot(NO_OWNER)
  }

  /** @returns the chains applied. */
  run(): number {
    let chains = 0
    for (const source of this.#levels.members[0] as number[]) {
      while (this.#isSource(source)) {
        const slots = this.#findChain(source)
        if (slots === undefined) break
        if (this.#apply(slots)) chains++
      }
    }
    return chains
  }

  #isSource(source: number): boolean {
    return source === NO_OWNER ? this.#draft.holes > 0 : this.#draft.excess(source) > 0
  }

  /** @returns a chain as slots and, between them, who takes each: [slot, taker, slot, taker …]. */
  #findChain(source: number): number[] | undefined {
    const chain: number[] = []
    let member = source
    let depth = 0
    for (;;) {
      if (depth > 0 && this.#draft.excess(member) < 0) return chain
      const taker =
        depth < this.#levels.members.length - 1 ? this.#advance(member, depth + 1) : NONE
      if (taker !== NONE) {
        chain.push(this.#cursor[this.#cursorOf(member)] as number, taker)
        member = taker
        depth++
        continue
      }
      if (depth === 0) return undefined
      this.#dead[member] = 1
      chain.length -= 2
      depth--
      member = depth === 0 ? source : (chain.at(-1) as number)
    }
  }

  #cursorOf(member: number): number {
    return member === NO_OWNER ? this.#dead.length : member
  }

  /** Moves the member's cursor to a slot that someone at the next level may take; @returns who, or NONE. */
  #advance(member: number, level: number): number {
    const at = this.#cursorOf(member)
    for (;;) {
      const slot = this.#cursor[at] as number
      if (slot === NONE) return NONE
      const taker = this.#takerOf(slot, level)
      if (taker !== NONE) return taker
      this.#cursor[at] = this.#draft.nextSlot(slot)
    }
  }

  #takerOf(slot: number, level: number): number {
    const draft = this.#draft
    const isLast = level === this.#levels.members.length - 1
    const owner = draft.owners[slot] as number
    const candidates = draft.mayLeaveZone(slot)
      ? (this.#levels.members[level] as number[])
      : (draft.roster.peersOf[draft.roster.zoneOf[owner] as number] as readonly number[])
    for (const member of candidates) {
      if (this.#levels.level[member] !== level || this.#dead[member] === 1) continue
      if (isLast && draft.excess(member) >= 0) continue
      if (draft.allows(slot, member)) return member
    }
    return NONE
  }

  /**
   * Makes the transfers, the last first. Each was checked alone, and a chain as short as can be never
   * uses one arc twice in a way that matters; but chains of this round have changed the draft since
   * the levels were found, so each is checked again and all are taken back when one fails.
   */
  #apply(chain: readonly number[]): boolean {
    const owners: number[] = []
    for (let index = chain.length - 2; index >= 0; index -= 2) {
      const slot = chain[index] as number
      const giver = this.#draft.owners[slot] as number
      // The slot leaves the giver's list, so the cursor has to step off it first.
      const next = this.#draft.nextSlot(slot)
      this.#cursor[this.#cursorOf(giver)] = next
      if (!this.#draft.allows(slot, chain[index + 1] as number)) {
        for (let undone = index + 2; undone < chain.length; undone += 2) {
          this.#draft.give(chain[undone] as number, owners.pop() as number)
        }
        return false
      }
      owners.push(giver)
      this.#draft.give(slot, chain[index + 1] as number)
    }
    return true
  }
}

/** Ends with every load equal to its quota and no hole. */
export function balanceByChains(draft: Draft): void {
  const isBalanced = (): boolean =>
    draft.holes === 0 && draft.quota.every((_, m) => draft.excess(m) === 0)
  while (!isBalanced()) {
    const levels = new Levels(draft)
    assert(levels.reachesNeed, 'a layout that meets all quotas and zone bounds exists')
    const chains = new Round(draft, levels).run()
    assert(chains > 0, 'the first chain of a round can always be applied')
  }
}
