// A replica whose state isn't known to be right yet: it votes and takes entries, and what is committed
// waits. Applied to a state of which something has vanished, entries could do anything.

import type { Message } from '../core/raft/messages.ts'
import type { Raft } from '../core/raft/raft.ts'

export class HeldBack {
  readonly #raft: Raft
  readonly #ended = Promise.withResolvers<void>()
  #entries: Message[] = []
  #isOver: boolean

  /** @param isOver nothing has to be waited for */
  constructor(raft: Raft, isOver: boolean) {
    this.#raft = raft
    this.#isOver = isOver
    raft.holdBack(!isOver)
    if (isOver) this.#ended.resolve()
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Resolves when it is over, or the replica has ended. */
  async whenOver(): Promise<void> {
    await this.#ended.promise
  }

  /** @returns whether committed entries wait */
  keeps(entries: Message): boolean {
    if (!this.#isOver) this.#entries.push(entries)
    return !this.#isOver
  }

  /** The state is right. @returns what has waited */
  release(): readonly Message[] {
    const entries = this.#entries
    this.#isOver = true
    this.#raft.holdBack(false)
    this.end()
    return entries
  }

  /** The replica has ended. */
  end(): void {
    this.#entries = []
    this.#ended.resolve()
  }
}
