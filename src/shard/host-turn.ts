// What replicas do in one turn of the event loop is done at its end, and all that they write goes to
// the log as one batch.

import type { Clock } from '../base/clock.ts'
import type { GroupWrite, LogStore } from '../storage/log-store.ts'
import { CommitTeller } from './commit-teller.ts'
import { LogBatch, type Written } from './log-batch.ts'
import type { Replica } from './replica.ts'

export type HostTurnParts = {
  readonly logStore: LogStore
  readonly clock: Clock
  /** Runs a task at the end of this turn of the event loop. */
  readonly defer: (task: () => void) => void
}

export class HostTurn {
  readonly #batch: LogBatch
  readonly #defer: (task: () => void) => void
  readonly #teller: CommitTeller
  readonly #awake = new Set<Replica>()
  #isSet = false

  constructor({ logStore, defer, clock }: HostTurnParts) {
    this.#batch = new LogBatch(logStore)
    this.#defer = defer
    this.#teller = new CommitTeller(clock)
  }

  stop(): void {
    this.#teller.stop()
  }

  /** The replica has something to do. */
  wake(replica: Replica): void {
    this.#awake.add(replica)
    this.#set()
  }

  write(write: GroupWrite, done: Written): void {
    this.#set()
    this.#batch.add(write, done)
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
      for (const replica of awake) {
        replica.process()
        if (replica.raft.isCommitUntold) this.#teller.add(replica)
      }
      this.#batch.flush()
    })
  }
}
