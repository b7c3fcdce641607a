// Tells followers how far the groups that are led here are committed, where no entries told them: for
// all groups together, once in a while. Without it every batch of entries would cost a message to
// each follower, and its answer, for its commit alone.

import type { Clock, Timer } from '../base/clock.ts'
import type { Replica } from './replica.ts'

/** How much later than the leader followers may apply an entry; those who read don't wait for it. */
const TELL_AFTER_MS = 10

export class CommitTeller {
  readonly #clock: Clock
  readonly #replicas = new Set<Replica>()
  #timer: Timer | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** What the replica has committed is told soon. */
  add(replica: Replica): void {
    this.#replicas.add(replica)
    this.#timer ??= this.#clock.after(TELL_AFTER_MS, () => {
      this.#timer = undefined
      const replicas = [...this.#replicas]
      this.#replicas.clear()
      for (const one of replicas) one.run((raft) => raft.tellCommit())
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }
}
