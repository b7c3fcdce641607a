// How much a sender may have under way: as much as the receiver said last. A slow receiver says little,
// and so slows down all that comes before it. protocols/stream, T-5.

export class CreditWindow {
  #credit = 1
  #unanswered = 0

  /** Batches that were sent and aren't answered. */
  get unanswered(): number {
    return this.#unanswered
  }

  get mayBegin(): boolean {
    return this.#unanswered < this.#credit
  }

  begin(): void {
    this.#unanswered += 1
  }

  /** @param credit what the receiver allows from now on, at least 1 */
  answered(credit: number): void {
    this.#unanswered -= 1
    this.#credit = Math.max(1, credit)
  }

  /** The receiver is gone, or overloaded: it is tried with little. */
  failed(): void {
    this.#unanswered -= 1
    this.#credit = 1
  }
}
