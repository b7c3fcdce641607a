// Losing the majority of a group for good: a new generation is founded from one replica that is left,
// because a person said so. Rules N-6 and N-7.

import { MeshError } from '../base/errors.ts'
import type { ShardHost } from './host.ts'
import { SYSTEM } from './shards.ts'

/**
 * @param order.generation the one that is given up
 * @returns the new generation
 * @throws not-found, conflict when there is no need or it was done already; overloaded, storage-failed, disk-full
 */
export async function refound(
  host: ShardHost,
  order: { readonly group: number; readonly generation: number }
): Promise<number> {
  const { group, generation } = order
  const refused = (code: 'not-found' | 'conflict', why: string): MeshError =>
    new MeshError(code, `Cannot found ${nameOf(group)} anew: ${why}`)
  const replica = host.replica(group)
  if (replica === undefined || replica.applied.roster.members.length === 0) {
    throw refused('not-found', 'this node has nothing of it to go on from')
  }
  if (replica.generation !== generation) {
    const is = `is of generation ${replica.generation}, not ${generation}`
    throw refused('conflict', `the replica here ${is}; look again`)
  }
  if (replica.isLeader || replica.isLed) {
    throw refused('conflict', 'it has a leader, so a majority of its voters is there')
  }
  return await host.refound(replica)
}

/** @returns how people call a group. */
export function nameOf(group: number): string {
  return group === 0 ? `the ${SYSTEM} group` : `shard ${group - 1}`
}
