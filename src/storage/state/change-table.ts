// Changes of one group that aren't on the disk yet, in the order of their keys.

import { MemoryState, type Below, type Kept } from '../../core/machine/memory-state.ts'
import type { KeyRange } from '../../core/machine/ordered-state.ts'

/** Stands for a key that is to go; told from an empty value by its identity. */
export const DELETED: Uint8Array = new Uint8Array(0)

/** What a change costs in memory besides key and value, about. */
const CHANGE_BYTES = 100

export class ChangeTable {
  // Gone within moments, so it may keep what was given to it.
  #changes = new MemoryState({ isLasting: false })
  #bytes = 0

  /** Bytes of memory, about. */
  get bytes(): number {
    return this.#bytes
  }

  /** @returns a value, {@link DELETED}, or undefined when the key doesn't change. */
  get(key: Uint8Array): Uint8Array | undefined {
    return this.#changes.get(key)
  }

  /**
   * @param below what the disk and other tables have, where that is known
   * @returns what `get` gave before.
   */
  set(key: Uint8Array, change: Uint8Array, below?: Below): Uint8Array | undefined {
    const before = this.#changes.replace(key, change, below)
    if (before === undefined) this.#bytes += CHANGE_BYTES + key.length + change.length
    else this.#bytes += change.length - before.length
    return before
  }

  /** Makes `get` give what it gave before a `set`. */
  restore(key: Uint8Array, before: Uint8Array | undefined): void {
    const now = this.#changes.get(key)
    if (now === undefined) return
    this.#bytes -= now.length
    if (before !== undefined) {
      this.#changes.put(key, before)
      this.#bytes += before.length
      return
    }
    this.#changes.delete(key)
    this.#bytes -= CHANGE_BYTES + key.length
  }

  /** With what is known of the disk. */
  range(range: KeyRange): Iterable<Kept> {
    return this.#changes.range(range)
  }

  /** @returns one with what is here now, at no cost. */
  snapshot(): ChangeTable {
    const copy = new ChangeTable()
    copy.#changes = this.#changes.snapshot()
    copy.#bytes = this.#bytes
    return copy
  }
}
