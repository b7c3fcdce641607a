// What a majority, or two majorities at once, agree on. (Raft, §5.4.2 for commits; dissertation,
// §4.3: in a joint configuration a majority of each half is needed.)

import { UNBOUNDED } from './messages.ts'
import type { ReplicaId } from './messages.ts'

export type VoteResult = 'pending' | 'lost' | 'won'

/** The voters of a configuration; each list ascending, `outgoing` empty unless joint. */
export type Voters = {
  readonly incoming: readonly ReplicaId[]
  readonly outgoing: readonly ReplicaId[]
}

/** @returns how many of `count` voters are a majority. */
export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1
}

/**
 * @param ackedIndex what a voter has acknowledged; undefined counts as 0
 * @returns the highest index that a majority of `voters` has; unbounded for nobody's majority
 */
export function majorityCommitted(
  voters: readonly ReplicaId[],
  ackedIndex: (id: ReplicaId) => number | undefined
): number {
  if (voters.length === 0) return UNBOUNDED
  // Insertion sort, ascending: groups are small, and this runs for each acknowledgement.
  const sorted: number[] = []
  for (const id of voters) {
    const acked = ackedIndex(id) ?? 0
    let place = sorted.length
    while (place > 0 && (sorted[place - 1] as number) > acked) {
      sorted[place] = sorted[place - 1] as number
      place -= 1
    }
    sorted[place] = acked
  }
  return sorted[voters.length - majorityOf(voters.length)] as number
}

/** @returns the highest index that a quorum has: a majority of both halves. */
export function jointCommitted(
  voters: Voters,
  ackedIndex: (id: ReplicaId) => number | undefined
): number {
  return Math.min(
    majorityCommitted(voters.incoming, ackedIndex),
    majorityCommitted(voters.outgoing, ackedIndex)
  )
}

/** @param voteOf true for yes, false for no, undefined for no answer yet */
export function majorityVote(
  voters: readonly ReplicaId[],
  voteOf: (id: ReplicaId) => boolean | undefined
): VoteResult {
  if (voters.length === 0) return 'won'
  let yes = 0
  let open = 0
  for (const id of voters) {
    const vote = voteOf(id)
    if (vote === true) yes += 1
    else if (vote === undefined) open += 1
  }
  const needed = majorityOf(voters.length)
  if (yes >= needed) return 'won'
  return yes + open >= needed ? 'pending' : 'lost'
}

/** @returns the outcome of a vote that needs both halves. */
export function jointVote(
  voters: Voters,
  voteOf: (id: ReplicaId) => boolean | undefined
): VoteResult {
  const incoming = majorityVote(voters.incoming, voteOf)
  const outgoing = majorityVote(voters.outgoing, voteOf)
  if (incoming === outgoing) return incoming
  return incoming === 'lost' || outgoing === 'lost' ? 'lost' : 'pending'
}
