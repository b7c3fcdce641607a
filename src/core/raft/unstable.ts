// The end of a replica's log that its storage may not have yet: entries, or a snapshot that is to
// replace the log. What is in progress was handed to the storage and not confirmed.

import type { Trace } from './events.ts'
import type { Entry, Snapshot } from './messages.ts'

/** The end of what the storage says is durable, and which batch it speaks of. */
type Acknowledged = { readonly index: number; readonly term: number; readonly batch: number }

/**
 * Invariants: `entries[i].index === offset + i`; `offset <= offsetInProgress <= offset +
 * entries.length`; entries below `offsetInProgress` were handed out. When there are no entries,
 * `offset` is the next index of the log.
 */
export class Unstable {
  snapshot: Snapshot | undefined
  isSnapshotInProgress = false
  entries: Entry[] = []
  offset: number
  offsetInProgress: number
  /** How often something was handed out. */
  batch = 0
  /** Where entries were replaced that a batch up to this one may hold in their older form. */
  #replaced: { readonly batch: number; readonly from: number }[] = []
  readonly #trace: Trace | undefined

  constructor(offset: number, trace: Trace | undefined) {
    this.offset = offset
    this.offsetInProgress = offset
    this.#trace = trace
  }

  /** The last index known here; undefined when the storage has to be asked. */
  get lastIndex(): number | undefined {
    if (this.entries.length > 0) return this.offset + this.entries.length - 1
    return this.snapshot?.index
  }

  /** @returns the term at an index, when it is known here. */
  term(index: number): number | undefined {
    if (index >= this.offset) return this.entries[index - this.offset]?.term
    return this.snapshot?.index === index ? this.snapshot.term : undefined
  }

  /** Entries that were not handed out yet. */
  nextEntries(): Entry[] {
    const from = this.offsetInProgress - this.offset
    return from === 0 ? this.entries : this.entries.slice(from)
  }

  hasNextEntries(): boolean {
    return this.offset + this.entries.length > this.offsetInProgress
  }

  /** The snapshot, when it was not handed out yet. */
  nextSnapshot(): Snapshot | undefined {
    return this.isSnapshotInProgress ? undefined : this.snapshot
  }

  /** All that is here was handed to the storage. */
  accept(): void {
    this.batch += 1
    this.offsetInProgress = this.offset + this.entries.length
    if (this.snapshot !== undefined) this.isSnapshotInProgress = true
  }

  /**
   * The storage has entries up to `index`, as they were in `batch`. Whether those are still the ones
   * here is told by the term: meanwhile another leader may have replaced them, and its entries are
   * not durable yet. A leader that lies may bring the same index and term with another beginning, so
   * replacements are remembered too, until the batches before them are done.
   */
  stableTo({ index, term, batch }: Acknowledged): void {
    const known = this.term(index)
    if (known === undefined || index < this.offset) {
      const reason = known === undefined ? 'missing' : 'snapshot'
      this.#trace?.({ type: 'append-ack-ignored', reason, index, ackTerm: term, term: known ?? 0 })
      return
    }
    if (known !== term) {
      this.#trace?.({
        type: 'append-ack-ignored',
        reason: 'term',
        index,
        ackTerm: term,
        term: known
      })
      return
    }
    this.#replaced = this.#replaced.filter((change) => change.batch >= batch)
    if (this.#replaced.some(({ from }) => from <= index)) return
    this.entries = this.entries.slice(index + 1 - this.offset)
    this.offset = index + 1
    this.offsetInProgress = Math.max(this.offsetInProgress, this.offset)
  }

  snapshotStableTo(index: number): void {
    if (this.snapshot?.index !== index) return
    this.snapshot = undefined
    this.isSnapshotInProgress = false
  }

  /** The snapshot replaces the log. */
  restore(snapshot: Snapshot): void {
    this.#noteReplaced(snapshot.index + 1)
    this.offset = snapshot.index + 1
    this.offsetInProgress = this.offset
    this.entries = []
    this.snapshot = snapshot
    this.isSnapshotInProgress = false
  }

  #noteReplaced(from: number): void {
    if (from < this.offsetInProgress) this.#replaced.push({ batch: this.batch, from })
  }

  /** Puts entries in place of what is at their indexes and after. `added` isn't empty. */
  append(added: readonly Entry[]): void {
    const from = (added[0] as Entry).index
    if (from === this.offset + this.entries.length) {
      for (const entry of added) this.entries.push(entry)
    } else if (from <= this.offset) {
      this.#trace?.({ type: 'unstable-replaced', index: from })
      this.#noteReplaced(from)
      this.entries = [...added]
      this.offset = from
      this.offsetInProgress = from
    } else {
      this.#trace?.({ type: 'unstable-truncated', index: from })
      this.#noteReplaced(from)
      this.entries = [...this.entries.slice(0, from - this.offset), ...added]
      this.offsetInProgress = Math.min(this.offsetInProgress, from)
    }
  }
}
