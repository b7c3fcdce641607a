// Whose writes came in lately. A writer sees to it that every owner gets its copy; when it dies
// between the acknowledgement and that, only the owners that have the block can.

import type { PeerId } from '../base/ids.ts'

/** Longer than a write takes with all its timeouts, and than a silent death goes unnoticed. */
const RECENT_MS = 120_000
/** The writers that wrote last; of each no more arcs than the ring has. */
const WRITERS_MAX = 64

export class RecentWriters {
  /** When each arc was written to last, by writer; the latest writer is last. */
  readonly #writers = new Map<PeerId, Map<number, number>>()

  note(writer: PeerId, arc: number, nowMs: number): void {
    const arcs = this.#writers.get(writer) ?? new Map<number, number>()
    arcs.set(arc, nowMs)
    this.#writers.delete(writer)
    this.#writers.set(writer, arcs)
    for (const oldest of this.#writers.keys()) {
      if (this.#writers.size <= WRITERS_MAX) break
      this.#writers.delete(oldest)
    }
  }

  /** @returns the arcs that a writer, which is away now, wrote to lately; and forgets them. */
  take(writer: PeerId, nowMs: number): number[] {
    const arcs = this.#writers.get(writer) ?? new Map<number, number>()
    this.#writers.delete(writer)
    return [...arcs].filter(([, writtenMs]) => nowMs - writtenMs <= RECENT_MS).map(([arc]) => arc)
  }
}
