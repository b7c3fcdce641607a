// What the replicas of a node write in one turn goes to the log as one batch.

import { toMeshError, type MeshError } from '../base/errors.ts'
import type { GroupWrite, LogStore } from '../storage/log-store.ts'

/** Called once: the write is durable, or why it never will be. Not a promise, of which each costs. */
export type Written = (error?: MeshError) => void

type Waiting = { readonly write: GroupWrite; readonly done: Written }

export class LogBatch {
  readonly #store: LogStore
  #waiting: Waiting[] = []

  constructor(store: LogStore) {
    this.#store = store
  }

  /** @param done is told what LogStore.write throws */
  add(write: GroupWrite, done: Written): void {
    this.#waiting.push({ write, done })
  }

  /** Writes all that was added. */
  flush(): void {
    const waiting = this.#waiting
    if (waiting.length === 0) return
    this.#waiting = []
    void this.#write(waiting)
  }

  async #write(waiting: readonly Waiting[]): Promise<void> {
    try {
      await this.#store.write(waiting.map(({ write }) => write))
    } catch (error) {
      const failure = toMeshError(error)
      // Of a batch that is refused nothing is written; one group's mistake is not the others'.
      const isOneGroups = ['invalid-argument', 'corrupt', 'too-large'].includes(failure.code)
      if (waiting.length > 1 && isOneGroups) await this.#writeEach(waiting)
      else for (const { done } of waiting) done(failure)
      return
    }
    for (const { done } of waiting) done()
  }

  async #writeEach(waiting: readonly Waiting[]): Promise<void> {
    await Promise.all(waiting.map(async (one) => await this.#write([one])))
  }
}
