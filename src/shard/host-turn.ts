// What replicas do in one turn of the event loop is done at its end, and all that they write goes to
// the log as one batch.

import type { GroupWrite, LogStore } from '../storage/log-store.ts'
import { LogBatch } from './log-batch.ts'
import type { Replica } from './replica.ts'

export class HostTurn {
  readonly #batch: LogBatch
  readonly #defer: (task: () => void) => void
  readonly #awake = new Set<Replica>()
  #isSet = false

  constructor(logStore: LogStore, defer: (task: () => void) => void) {
    this.#batch = new LogBatch(logStore)
    this.#defer = defer
  }

  /** The replica has something to do. */
  wake(replica: Replica): void {
    this.#awake.add(replica)
    this.#set()
  }

  write(write: GroupWrite): Promise<void> {
    this.#set()
    return this.#batch.add(write)
  }

  /** What was written until now goes before all that is written elsewhere. */
  flush(): void {
    this.#batch.flush()
  }

  #set(): void {
    if (this.#isSet) return
    this.#isSet = true
    this.#defer(() => {
      this.#isSet = false
      const awake = [...this.#awake]
      this.#awake.clear()
      for (const replica of awake) replica.process()
      this.#batch.flush()
    })
  }
}
