// A connection to a leader broke, and its followers elect at once. Their first try may fail though
// they could agree: the other one hasn't noticed yet, has more in its log, or tries at the same
// moment. So they try again soon, each in its turn, before the time after which any silence counts.

import type { Clock, Timer } from '../base/clock.ts'
import { NO_REPLICA } from '../core/raft/messages.ts'
import type { ReplicaId } from '../core/raft/messages.ts'
import type { Replica } from './replica.ts'

/** When the first voter that is left tries again, … */
const RETRIES_MS: readonly number[] = [120, 420, 780, 1_200]
/** … and how much later each of the others does. */
const TURN_MS = 140

export class HurriedElections {
  readonly #clock: Clock
  readonly #timers = new Set<Timer>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The replica has lost the connection to the member that led it. */
  leaderLost(replica: Replica, leader: ReplicaId): void {
    const { voters, votersOutgoing } = replica.applied.configState
    const left = [...new Set([...voters, ...votersOutgoing])].filter((id) => id !== leader)
    const turn = left.toSorted((a, b) => a - b).indexOf(replica.id)
    if (turn < 0) return
    const { term } = replica
    for (const delayMs of RETRIES_MS) {
      this.#after(delayMs + turn * TURN_MS, () => {
        // Whoever leads now was elected meanwhile; long after, silence is for the core to judge.
        if (replica.leader === NO_REPLICA && replica.term <= term + RETRIES_MS.length) {
          replica.campaign()
        }
      })
    }
  }

  stop(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
  }

  #after(delayMs: number, run: () => void): void {
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(timer)
      run()
    })
    this.#timers.add(timer)
  }
}
