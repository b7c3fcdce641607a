// What has come for a receiver and wasn't taken yet: bounded, and shared fairly among its senders.

import { KIB, MIB } from '../../base/units.ts'

/** Batches that senders are given credit for, all together. */
const BATCHES_WANTED = 32
/** Of one sender. */
const CREDIT_MAX = 8
/** T-6: beyond these a batch is refused, whatever credit there was. */
const BATCHES_MAX = 256
const BYTES_MAX: number = 16 * MIB
/** Taken at one time, unless a single batch has more. */
const TAKEN_BYTES_MAX: number = 256 * KIB
/** Senders that aren't forgotten. */
const SENDERS_MAX = 1_024

type Item = { readonly batch: Uint8Array; readonly onTaken: () => void }

export class InboxQueue {
  #items: Item[] = []
  #bytes = 0
  readonly #senders = new Set<string>()

  get count(): number {
    return this.#items.length
  }

  /**
   * @param onTaken called once when the receiver has it
   * @returns a function that takes it back; undefined when there is no room
   */
  offer(from: string, batch: Uint8Array, onTaken: () => void): (() => void) | undefined {
    const isFull = this.#items.length >= BATCHES_MAX || this.#bytes + batch.length > BYTES_MAX
    if (isFull && this.#items.length > 0) return undefined
    if (this.#senders.size < SENDERS_MAX) this.#senders.add(from)
    const item = { batch, onTaken }
    this.#items.push(item)
    this.#bytes += batch.length
    return () => {
      const index = this.#items.indexOf(item)
      if (index === -1) return
      this.#items.splice(index, 1)
      this.#bytes -= batch.length
    }
  }

  /** @returns the oldest batches; their senders may go on. None when there are none */
  take(): Uint8Array[] {
    let count = 0
    let bytes = 0
    for (const { batch } of this.#items) {
      if (count > 0 && bytes + batch.length > TAKEN_BYTES_MAX) break
      count += 1
      bytes += batch.length
    }
    const taken = this.#items.splice(0, count)
    this.#bytes -= bytes
    for (const { onTaken } of taken) onTaken()
    return taken.map(({ batch }) => batch)
  }

  /** How many batches a sender may have under way now: one at least. */
  get credit(): number {
    const room = BATCHES_WANTED - this.#items.length
    const share = Math.floor(room / Math.max(1, this.#senders.size))
    return Math.min(CREDIT_MAX, Math.max(1, share))
  }
}
