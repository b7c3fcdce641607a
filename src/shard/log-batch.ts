// What the replicas of a node write in one turn goes to the log as one batch.

import { toMeshError } from '../base/errors.ts'
import type { GroupWrite, LogStore } from '../storage/log-store.ts'

type Waiting = {
  readonly write: GroupWrite
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export class LogBatch {
  readonly #store: LogStore
  #waiting: Waiting[] = []

  constructor(store: LogStore) {
    this.#store = store
  }

  /** Resolves when the write is durable. @throws as LogStore.write */
  async add(write: GroupWrite): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push({ write, resolve, reject })
    })
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0
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
      for (const { resolve } of waiting) resolve()
    } catch (error) {
      const failure = toMeshError(error)
      const [first] = waiting
      // Of a batch that is refused nothing is written; one group's mistake is not the others'.
      const isOneGroups = ['invalid-argument', 'corrupt', 'too-large'].includes(failure.code)
      if (waiting.length > 1 && isOneGroups) await this.#writeEach(waiting)
      else if (first !== undefined) for (const { reject } of waiting) reject(failure)
    }
  }

  async #writeEach(waiting: readonly Waiting[]): Promise<void> {
    await Promise.all(waiting.map(async (one) => await this.#write([one])))
  }
}
