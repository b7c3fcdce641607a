// Reads that wait until a quorum has confirmed that this leader still leads. (Dissertation, §6.4.)

import type { ReplicaId } from './messages.ts'

/** A read that someone asked this leader for. */
export type PendingRead = {
  /** Who asked: this replica, or a follower that waits for the answer. */
  readonly from: ReplicaId
  /** The asker's own name for the request. */
  readonly context: Uint8Array
}

export type ConfirmedRead = PendingRead & {
  /** The commit index when it was asked: what must be applied before it may be answered. */
  readonly index: number
}

type WaitingRead = ConfirmedRead & { readonly sequence: number }

/**
 * Reads in the order in which they were asked. Each gets a number of its own, never the asker's
 * name: a heartbeat that a retried request left under way must not confirm the later one. One
 * answered heartbeat confirms every read up to the number that it carried.
 *
 * Invariants: sequences ascend by one, indexes don't fall; `confirmed` of a member is the highest
 * number that it echoed in this term.
 */
export class ReadQueue {
  #waiting: WaitingRead[] = []
  #sequence = 0
  readonly #confirmed = new Map<ReplicaId, number>()
  /** Reads that came before this leader committed an entry of its term. */
  #postponed: PendingRead[] = []

  get count(): number {
    return this.#waiting.length + this.#postponed.length
  }

  get hasPostponed(): boolean {
    return this.#postponed.length > 0
  }

  /** The number that heartbeats carry now; 0 when nothing waits. */
  get newest(): number {
    return this.#waiting.length === 0 ? 0 : this.#sequence
  }

  add(read: ConfirmedRead): void {
    this.#sequence += 1
    this.#waiting.push({ ...read, sequence: this.#sequence })
  }

  postpone(read: PendingRead): void {
    this.#postponed.push(read)
  }

  /** @returns the reads that waited for the first commit of the term, and forgets them. */
  takePostponed(): PendingRead[] {
    const postponed = this.#postponed
    this.#postponed = []
    return postponed
  }

  /** @returns false when the member was never sent that number. */
  confirm(id: ReplicaId, sequence: number): boolean {
    if (sequence > this.#sequence) return false
    this.#confirmed.set(id, Math.max(sequence, this.#confirmed.get(id) ?? 0))
    return true
  }

  /** @returns the highest number that a member echoed. */
  confirmedBy(id: ReplicaId): number | undefined {
    return this.#confirmed.get(id)
  }

  /** @returns the reads up to `sequence`, oldest first, and forgets them. */
  takeConfirmed(sequence: number): ConfirmedRead[] {
    let count = 0
    while (
      count < this.#waiting.length &&
      (this.#waiting[count] as WaitingRead).sequence <= sequence
    )
      count += 1
    return count === 0 ? [] : this.#waiting.splice(0, count)
  }

  /** The term ended: whoever asked must ask again. */
  clear(): void {
    this.#waiting = []
    this.#postponed = []
    this.#sequence = 0
    this.#confirmed.clear()
  }
}
