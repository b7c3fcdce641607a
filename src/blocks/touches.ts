// When each block was touched: written here, or answered for to somebody who counts on it. Told in
// cycles of the collection, protocols/collect: what was touched lately isn't deleted.

import { MeshError } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'

/** Ids that are touched while somebody looks. */
export type TouchWatch = { has(id: BlockId): boolean; end(): void }

export class Touches {
  /** The cycle of the last touch. Without one: long ago, or before this node's last start. */
  readonly #cycles = new Map<BlockId, number>()
  readonly #watches = new Set<Set<BlockId>>()
  #cycle = 0
  #counted = 0

  /** The last cycle that this node heard the beginning of since it started; 0 before the first. */
  get cycle(): number {
    return this.#cycle
  }

  /** Blocks touched in this cycle or the one before: a bound of what has to be remembered. */
  get recentCount(): number {
    return this.#cycles.size
  }

  /** @param cycle of a copy that is moved: what its sender had noted. */
  touch(id: BlockId, cycle: number = this.#cycle): void {
    for (const watch of this.#watches) watch.add(id)
    const noted = Math.min(cycle, this.#cycle)
    if (noted > this.of(id)) this.#cycles.set(id, noted)
  }

  /** @returns the cycle of the last touch; 0 when it is forgotten. */
  of(id: BlockId): number {
    return this.#cycles.get(id) ?? 0
  }

  /** For a block that is deleted. */
  forget(id: BlockId): void {
    this.#cycles.delete(id)
  }

  watch(): TouchWatch {
    const touched = new Set<BlockId>()
    this.#watches.add(touched)
    return { has: (id) => touched.has(id), end: () => void this.#watches.delete(touched) }
  }

  /** A cycle begins. Hearing it again is no error. @throws conflict when a later one has begun */
  begin(cycle: number): void {
    if (cycle < this.#cycle) {
      throw new MeshError('conflict', `Cycle ${cycle} is over: cycle ${this.#cycle} has begun`)
    }
    this.#cycle = cycle
    // No sweep from now on tells these from what was never touched.
    for (const [id, touched] of this.#cycles) if (touched < cycle - 1) this.#cycles.delete(id)
  }

  /**
   * The cycle that has begun is to be swept.
   *
   * @param isCounted whether this node's answer to its beginning came before any shard was in it.
   * @returns whether this node may delete: it is counted, as it was in the cycle before. Once.
   * @throws conflict when another cycle has begun, or this one hasn't
   */
  count(cycle: number, isCounted: boolean): boolean {
    if (cycle !== this.#cycle) {
      throw new MeshError('conflict', `Cycle ${cycle} can't be swept in cycle ${this.#cycle}`)
    }
    const mayDelete = isCounted && this.#counted === cycle - 1
    if (isCounted) this.#counted = cycle
    return mayDelete
  }
}
