// Forgets what keys were, so that history doesn't fill the disk. It runs by itself, a little with
// every entry, one revision after the other: nobody has to remember to call it, and no entry takes
// long. What was overwritten or deleted at the revision that is compacted can't be read any more.
//
// When space is short, history goes sooner: then deletes make room for puts within seconds, and
// nobody has to come and lift an alarm.

import { present } from '../../base/assert.ts'
import { decode } from './codec.ts'
import { COMPACTED_PER_ENTRY, COMPACTED_PER_ENTRY_PRESSED, RETAIN_MS_PRESSED } from './limits.ts'
import type { OrderedReads, OrderedState } from './ordered-state.ts'
import { changesCodec } from './records.ts'
import type { Changes, Meta } from './records.ts'
import { changesKey, pastKey } from './state-keys.ts'

/** @returns what a revision changed, which isn't compacted. */
export function readChanges(state: OrderedReads, revision: number): Changes {
  const stored = present(state.get(changesKey(revision)), `changes of revision ${revision}`)
  return decode(changesCodec, stored)
}

export class Compaction {
  /** The revision to go next and its time: known from the state, kept to save reading it. */
  #next: { readonly revision: number; readonly timeMs: number } | undefined

  /** Compacts what may go, up to a bound. Writes to `state` and changes `meta`. */
  run(state: OrderedState, meta: Meta): void {
    let left = isPressed(meta) ? COMPACTED_PER_ENTRY_PRESSED : COMPACTED_PER_ENTRY
    while (left > 0 && this.#nextDueMs(state, meta) <= meta.timeMs) {
      const revision = meta.compacted + 1
      const { changes } = readChanges(state, revision)
      for (const { area, key, previous, isDelete } of changes) {
        if (previous > 0) state.delete(pastKey(area, key, previous))
        if (isDelete) state.delete(pastKey(area, key, revision))
      }
      state.delete(changesKey(revision))
      meta.compacted = revision
      left -= 1 + changes.length
    }
  }

  /** @returns when there is room to be made; undefined while there is enough. */
  dueMs(state: OrderedReads, meta: Meta): number | undefined {
    if (!isPressed(meta)) return undefined
    const dueMs = this.#nextDueMs(state, meta)
    return dueMs === Infinity ? undefined : dueMs
  }

  /** For when the state was replaced. */
  reset(): void {
    this.#next = undefined
  }

  /** @returns from when on the next revision may be compacted, as things are. */
  #nextDueMs(state: OrderedReads, meta: Meta): number {
    const { revision, compacted, settings } = meta
    if (compacted === revision) return Infinity
    const count = revision - compacted
    if (count > settings.retainCountMax) return 0
    const isFree = count > settings.retainCountMin
    if (!isFree && !isPressed(meta)) return Infinity
    if (this.#next?.revision !== compacted + 1) {
      const { timeMs } = readChanges(state, compacted + 1)
      this.#next = { revision: compacted + 1, timeMs }
    }
    const pressedMs = isPressed(meta) ? RETAIN_MS_PRESSED : Infinity
    const retainMs = isFree ? settings.retainMs : Infinity
    return this.#next.timeMs + Math.min(pressedMs, retainMs)
  }
}

/** Whether less than an eighth of the quota is free. */
function isPressed({ usedBytes, settings }: Meta): boolean {
  return usedBytes > settings.quotaBytes - settings.quotaBytes / 8
}
