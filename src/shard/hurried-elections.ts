// Elections without waiting for the time after which any silence counts: when the connection to a
// leader breaks, its followers elect at once, and when a node has started, its replicas do as soon
// as they meet others. A try may fail though they could agree: the other one hasn't noticed yet, has
// more in its log, or tries at the same moment. So they try again soon, each in its turn.

import type { Clock, Timer } from '../base/clock.ts'
import { NO_REPLICA } from '../core/raft/messages.ts'
import type { ReplicaId } from '../core/raft/messages.ts'
import type { RaftState } from '../core/raft/state.ts'
import { RAFT_TICK_MS } from './raft-core.ts'
import type { Replica } from './replica.ts'
import { turnOf } from './turns.ts'

/** When the first voter tries, and how much later each of the others does. */
type Schedule = { readonly triesMs: readonly number[]; readonly turnMs: number }

/** The first one has tried already, when the connection broke. */
const LOST: Schedule = { triesMs: [120, 420, 780, 1_200], turnMs: 140 }
/** All groups of a node elect at once, and everybody has a lot else to do. */
const STARTED: Schedule = { triesMs: [0, 1_200, 2_400], turnMs: 500 }
/** So often a term may have ended without a leader, and a replica goes on trying. */
const TERMS_MAX = 4
/** A leader that is there has spoken within this time after nodes have met. */
const MEETING_MS: number = RAFT_TICK_MS + 50
/** Whoever was voted for has so long, in ticks, to be heard of: on a busy machine answers take that. */
const VOTED_TICKS = 2

export class HurriedElections {
  readonly #clock: Clock
  readonly #timers = new Set<Timer>()
  /** How many tries are still to come. */
  readonly #left = new Map<Replica, number>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The replica has lost the connection to the member that led it. */
  leaderLost(replica: Replica, leader: ReplicaId): void {
    const { voters, votersOutgoing } = replica.applied.configState
    const left = [...new Set([...voters, ...votersOutgoing])].filter((id) => id !== leader)
    const turn = left.toSorted((a, b) => a - b).indexOf(replica.id)
    this.#tryFrom(0, replica, { ...LOST, turn })
  }

  /** A node with a member of the group is connected, and nobody is known to lead it. */
  met(replica: Replica): void {
    if (this.#left.has(replica)) return
    this.#tryFrom(MEETING_MS, replica, { ...STARTED, turn: turnOf(replica) })
  }

  /** The state of a replica is known to be right, so it may lead. */
  checked(replica: Replica): void {
    if (replica.leader !== NO_REPLICA) return
    this.#tryFrom(0, replica, { ...STARTED, turn: turnOf(replica) })
  }

  stop(): void {
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
    this.#left.clear()
  }

  #tryFrom(startMs: number, replica: Replica, schedule: Schedule & { turn: number }): void {
    const { triesMs, turnMs, turn } = schedule
    if (turn < 0) return
    const { term } = replica
    for (const delayMs of triesMs) {
      this.#after(startMs + delayMs + turn * turnMs, replica, () => {
        if (mayTry(replica.raft.state, term)) replica.run((raft) => raft.campaign())
      })
    }
  }

  #after(delayMs: number, replica: Replica, run: () => void): void {
    this.#left.set(replica, (this.#left.get(replica) ?? 0) + 1)
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(timer)
      const left = (this.#left.get(replica) ?? 0) - 1
      if (left > 0) this.#left.set(replica, left)
      else this.#left.delete(replica)
      run()
    })
    this.#timers.add(timer)
  }
}

/**
 * @param state of a replica that wants to try
 * @param term it was in when it began to hurry
 */
export function mayTry(
  { leader, term: now, electionElapsed }: Pick<RaftState, 'leader' | 'term' | 'electionElapsed'>,
  term: number
): boolean {
  // Long after, silence is for the core to judge.
  if (leader !== NO_REPLICA || now > term + TERMS_MAX) return false
  return now === term || electionElapsed >= VOTED_TICKS
}
