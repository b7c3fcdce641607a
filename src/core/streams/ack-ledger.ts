// Which tuples of a source are processed to the end. Every tuple has a random id of 64 bits; what a
// source emitted is a tree of tuples with that at its root. The ledger keeps one number for a tree: all
// ids of it, each of which comes in once when the tuple is made and once when it is processed, XORed. It
// is 0 when all are processed, in whatever order that was told (and else with a chance of 2^-64).

/** A number of 64 bits as two of 32. */
export type Id = { readonly high: number; readonly low: number }

type Tree = { high: number; low: number; dueMs: number }

export class AckLedger {
  /** In the order in which they began. Invariant: `dueMs` never falls from one to the next. */
  readonly #trees = new Map<number, Tree>()

  get size(): number {
    return this.#trees.size
  }

  /**
   * A tree begins.
   *
   * @param ids of all that was emitted, XORed
   * @param dueMs not before that of any tree that began before
   * @returns false when it is complete already: nothing was emitted
   */
  begin(root: number, { high, low }: Id, dueMs: number): boolean {
    if (high === 0 && low === 0) return false
    this.#trees.set(root, { high, low, dueMs })
    return true
  }

  /** @returns whether the tree is complete now; it is forgotten then. One that isn't known never is. */
  xor(root: number, high: number, low: number): boolean {
    const tree = this.#trees.get(root)
    if (tree === undefined) return false
    tree.high = (tree.high ^ high) >>> 0
    tree.low = (tree.low ^ low) >>> 0
    if (tree.high !== 0 || tree.low !== 0) return false
    this.#trees.delete(root)
    return true
  }

  /** Gives a tree up. @returns whether it was there */
  drop(root: number): boolean {
    return this.#trees.delete(root)
  }

  /** Gives up the trees whose time is over. @returns their roots, the oldest first */
  takeDue(nowMs: number): number[] {
    const due: number[] = []
    for (const [root, { dueMs }] of this.#trees) {
      if (dueMs > nowMs) break
      due.push(root)
    }
    for (const root of due) this.#trees.delete(root)
    return due
  }

  /** All that is under way has until then at most. */
  hasten(dueMs: number): void {
    for (const tree of this.#trees.values()) tree.dueMs = Math.min(tree.dueMs, dueMs)
  }
}
