// Losing the majority of a group for good: a new generation is founded from one replica that is left,
// because a person said so. Rules N-6 and N-7.

import { MeshError } from '../base/errors.ts'
import { NUMBER_MAX } from '../core/raft/messages.ts'
import type { GroupReplica } from '../wire/node.ts'
import type { ShardHost } from './host.ts'
import { SYSTEM } from './shards.ts'

/** So that there is a newer one. */
const NEWEST_MAX: number = NUMBER_MAX / 2

/**
 * @param order.generation the one that is given up
 * @param order.newest the newest that anybody has heard of, if only by name
 * @returns the new generation
 * @throws invalid-argument; not-found, conflict when there is no need or it was done already; overloaded, storage-failed, disk-full
 */
export async function refound(
  host: ShardHost,
  order: { readonly group: number; readonly generation: number; readonly newest?: number }
): Promise<number> {
  const { group, generation, newest = generation } = order
  const refused = (code: 'not-found' | 'conflict', why: string): MeshError =>
    new MeshError(code, `Cannot found ${nameOf(group)} anew: ${why}`)
  if (newest > NEWEST_MAX) throw new MeshError('invalid-argument', 'There is no such generation')
  const replica = host.replica(group)
  if (replica === undefined || replica.applied.roster.members.length === 0) {
    throw refused('not-found', 'this node has nothing of it to go on from')
  }
  if (replica.generation !== generation) {
    const is = `is of generation ${replica.generation}, not ${generation}`
    throw refused('conflict', `the replica here ${is}; look again`)
  }
  if (!replica.isChecked) {
    const why = 'its state is still being checked; ask again'
    throw new MeshError('overloaded', `Cannot found ${nameOf(group)} anew: ${why}`)
  }
  if (replica.isLeader || replica.isLed) {
    throw refused('conflict', 'it has a leader, so a majority of its voters is there')
  }
  return await host.refound(replica, Math.max(generation, newest))
}

/**
 * @param found what nodes report of one group
 * @returns what it can be founded anew from, best first: all of the newest generation that has anything
 */
export function survivorsOf<Found extends { readonly own: GroupReplica }>(
  found: readonly Found[]
): Found[] {
  const some = found.filter(({ own }) => own.members.length > 0)
  const generation = Math.max(...some.map(({ own }) => own.generation))
  return some
    .filter(({ own }) => own.generation === generation)
    .toSorted((a, b) => byMost(a.own, b.own))
}

/** As a vote would decide: the last entry's term, then its index; for equals, what is applied. */
export function byMost(a: GroupReplica, b: GroupReplica): number {
  return (
    b.lastTerm - a.lastTerm || b.lastIndex - a.lastIndex || b.term - a.term || b.commit - a.commit
  )
}

/** @returns how people call a group. */
export function nameOf(group: number): string {
  return group === 0 ? `the ${SYSTEM} group` : `shard ${group - 1}`
}
