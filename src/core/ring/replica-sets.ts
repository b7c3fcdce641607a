// The distinct replica sets of a layout in the making. Few of them is safer: all copies of something
// are lost only when the dead peers cover a whole set, so the chance that three random deaths lose
// anything is the number of sets over the number of triples (Cidon et al., "Copysets", USENIX ATC
// 2013). This index finds a set by its members, and its arcs.

import { NO_OWNER } from './layout.ts'
import { grown, TupleTable } from './tuple-table.ts'

/** Stands for no set, no arc and no slot. */
export const NONE = -1

export class ReplicaSets {
  /** Members of a set. */
  readonly size: number
  /** The sets that a member has been in since the start, those with no arc left included. */
  readonly setsOf: readonly number[][]
  readonly #table: TupleTable
  /** The set of each arc, or NONE while the arc has a hole. */
  readonly #setOf: Int32Array
  /** Arcs of each set. */
  #arcCount: Int32Array
  /** A doubly linked list of arcs for each set. */
  #firstArc: Int32Array
  readonly #nextArc: Int32Array
  readonly #previousArc: Int32Array

  constructor(memberCount: number, arcCount: number, size: number) {
    this.size = size
    this.setsOf = Array.from({ length: memberCount }, () => [])
    this.#table = new TupleTable(size, arcCount)
    this.#setOf = new Int32Array(arcCount).fill(NONE)
    this.#arcCount = new Int32Array(arcCount)
    this.#firstArc = new Int32Array(arcCount)
    this.#nextArc = new Int32Array(arcCount).fill(NONE)
    this.#previousArc = new Int32Array(arcCount).fill(NONE)
  }

  /** Sets numbered so far: they are 0 … `count - 1`, those with no arc left included. */
  get count(): number {
    return this.#table.count
  }

  /** @returns how many arcs have this set now. */
  arcCount(set: number): number {
    return this.#arcCount[set] as number
  }

  /** @returns a member by its rank in [0, size), ascending. */
  member(set: number, rank: number): number {
    return this.#table.member(set, rank)
  }

  has(set: number, member: number): boolean {
    return this.#table.has(set, member)
  }

  /** @returns the arc that joined this set last, or NONE. */
  lastArc(set: number): number {
    return this.#arcCount[set] === 0 ? NONE : (this.#firstArc[set] as number)
  }

  /** Puts an arc, which is in no set, into the set of its owners: `owners` from `from`. */
  add(arc: number, owners: Uint16Array, from: number): void {
    const { key } = this.#table
    for (let rank = 0; rank < this.size; rank++) {
      const owner = owners[from + rank] as number
      if (owner === NO_OWNER) return
      let place = rank
      while (place > 0 && (key[place - 1] as number) > owner) {
        key[place] = key[place - 1] as number
        place--
      }
      key[place] = owner
    }
    const set = this.#number()
    const first = this.lastArc(set)
    this.#nextArc[arc] = first
    this.#previousArc[arc] = NONE
    if (first !== NONE) this.#previousArc[first] = arc
    this.#firstArc[set] = arc
    this.#arcCount[set] = (this.#arcCount[set] as number) + 1
    this.#setOf[arc] = set
  }

  /** Takes an arc out of its set, if it is in one. */
  remove(arc: number): void {
    const set = this.#setOf[arc] as number
    if (set === NONE) return
    const next = this.#nextArc[arc] as number
    const previous = this.#previousArc[arc] as number
    if (next !== NONE) this.#previousArc[next] = previous
    if (previous === NONE) this.#firstArc[set] = next
    else this.#nextArc[previous] = next
    this.#arcCount[set] = (this.#arcCount[set] as number) - 1
    this.#setOf[arc] = NONE
  }

  #number(): number {
    const known = this.#table.count
    const set = this.#table.number()
    if (set < known) return set
    for (const member of this.#table.key) this.setsOf[member]?.push(set)
    if (set >= this.#arcCount.length) {
      this.#arcCount = grown(this.#arcCount, set * 2)
      this.#firstArc = grown(this.#firstArc, set * 2)
    }
    return set
  }
}
