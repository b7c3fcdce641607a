// What a leader knows of one member's log, and how much may be on its way to it. (Raft, §5.3;
// dissertation, §10.2.1: pipelining.)

import { assert } from '../../base/assert.ts'

/**
 * `probe`: where the logs agree is not known; one append at a time. `replicate`: it is known;
 * appends follow each other without waiting. `snapshot`: the member lacks entries that are
 * compacted here; nothing is sent until it has the snapshot.
 */
export type ProgressState = 'probe' | 'replicate' | 'snapshot'

/**
 * The appends on their way to a member, oldest first, bounded by count and by bytes. The bound on
 * bytes may be passed by the last append, so that one larger than it can be sent at all.
 */
export class Inflights {
  readonly #countMax: number
  readonly #bytesMax: number
  /** The last index and the bytes of each append, from `#start` on. */
  #indexes: number[] = []
  #sizes: number[] = []
  #start = 0
  #bytes = 0

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax
    this.#bytesMax = bytesMax
  }

  get count(): number {
    return this.#indexes.length - this.#start
  }

  get bytes(): number {
    return this.#bytes
  }

  get isFull(): boolean {
    return this.count >= this.#countMax || this.#bytes >= this.#bytesMax
  }

  add(lastIndex: number, bytes: number): void {
    assert(!this.isFull, 'an append is sent only when the window has room')
    this.#indexes.push(lastIndex)
    this.#sizes.push(bytes)
    this.#bytes += bytes
  }

  /** Takes out every append whose last index is at most `index`. */
  freeTo(index: number): void {
    while (this.#start < this.#indexes.length && (this.#indexes[this.#start] as number) <= index) {
      this.#bytes -= this.#sizes[this.#start] as number
      this.#start += 1
    }
    if (this.#start === this.#indexes.length) this.clear()
    else if (this.#start >= 64 && this.#start * 2 >= this.#indexes.length) this.#compact()
  }

  clear(): void {
    if (this.#indexes.length > 0) {
      this.#indexes = []
      this.#sizes = []
    }
    this.#start = 0
    this.#bytes = 0
  }

  #compact(): void {
    this.#indexes = this.#indexes.slice(this.#start)
    this.#sizes = this.#sizes.slice(this.#start)
    this.#start = 0
  }
}

/** Invariant: `0 <= match < next`. In snapshot state nothing is sent by it; the way out sets it. */
export class Progress {
  /** The member's log is known to equal the leader's up to here, durably. */
  match: number
  /** The first index to send next. */
  next: number
  state: ProgressState = 'probe'
  /** The probe is on its way, or the window is full: send no entries now. */
  isPaused = false
  /** In snapshot state: the index of the snapshot; otherwise 0. */
  pendingSnapshot = 0
  /** It was heard since the last check of the quorum. */
  isActive: boolean
  isLearner: boolean
  /** The highest commit index sent to it that it may have taken over. */
  sentCommit = 0
  readonly inflights: Inflights

  constructor(next: number, isLearner: boolean, inflights: Inflights) {
    this.match = 0
    this.next = next
    this.isLearner = isLearner
    this.isActive = true
    this.inflights = inflights
  }

  /** A copy for a change of members that may yet be refused; the window is the same one. */
  clone(): Progress {
    return Object.assign(new Progress(this.next, this.isLearner, this.inflights), this)
  }

  /** Whether no entries may be sent now. */
  get isBlocked(): boolean {
    return this.state === 'snapshot' || this.isPaused
  }

  /** A new term or a new leader: nothing is known any more. */
  reset(next: number, match: number): void {
    this.#enter('probe')
    this.match = match
    this.next = next
    this.isActive = false
    this.sentCommit = 0
  }

  becomeProbe(): void {
    // After a snapshot was sent, the member may have it although nobody said so yet.
    const next =
      this.state === 'snapshot' ? Math.max(this.match, this.pendingSnapshot) + 1 : this.match + 1
    this.#enter('probe')
    this.next = next
    this.#lowerSentCommit()
  }

  becomeReplicate(): void {
    this.#enter('replicate')
    this.next = this.match + 1
  }

  becomeSnapshot(index: number): void {
    this.#enter('snapshot')
    this.pendingSnapshot = index
    this.next = index + 1
    this.sentCommit = index
  }

  /**
   * The member says that its log equals the leader's up to `index`.
   *
   * @returns false when that was known.
   */
  acknowledge(index: number): boolean {
    if (index <= this.match) return false
    this.match = index
    this.next = Math.max(this.next, index + 1)
    this.isPaused = false
    return true
  }

  /** `count` entries of `bytes` bytes in all, from `next` on, are on their way. */
  noteSent(count: number, bytes: number): void {
    if (this.state === 'replicate') {
      if (count > 0) {
        this.next += count
        this.inflights.add(this.next - 1, bytes)
      }
      // An empty append to a full window is a probe: one is enough.
      this.isPaused = this.inflights.isFull
    } else if (count > 0) {
      this.isPaused = true
    }
  }

  /**
   * The member refused an append that followed the entry at `rejected`.
   *
   * @param hint where its log may agree
   * @returns false when the refusal is an old one
   */
  decrease(rejected: number, hint: number): boolean {
    if (this.state === 'replicate') {
      if (rejected <= this.match) return false
      this.next = this.match + 1
    } else {
      if (rejected !== this.next - 1) return false
      this.next = Math.max(Math.min(rejected, hint + 1), this.match + 1)
      this.isPaused = false
    }
    this.#lowerSentCommit()
    return true
  }

  #enter(state: ProgressState): void {
    this.state = state
    this.isPaused = false
    this.pendingSnapshot = 0
    this.inflights.clear()
  }

  #lowerSentCommit(): void {
    this.sentCommit = Math.min(this.sentCommit, this.next - 1)
  }
}
