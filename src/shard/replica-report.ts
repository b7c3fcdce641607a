// What this node says of its replicas when a person or another node asks: protocols/node, `replicas`.

import type { GroupReplica } from '../wire/node.ts'
import type { ShardHost } from './host.ts'
import type { Replica } from './replica.ts'

/** @param count shards of the mesh. @returns what is here of each group; groups of which nothing is are left out */
export function reportReplicas(host: ShardHost, count: number): GroupReplica[] {
  const groups = Array.from({ length: count + 1 }, (_, group) => group)
  return groups.flatMap((group) => {
    const replica = host.replica(group)
    if (replica !== undefined) return [reportOf(replica)]
    const last = host.lastOf(group)
    return last === undefined || last.isGone ? [] : [reportOfStopped(group, last)]
  })
}

function reportOf(replica: Replica): GroupReplica {
  const { group, generation, id, isLeader, term, applied } = replica
  const { log } = replica.raft.state
  const { voters, votersOutgoing } = applied.configState
  const leader = replica.isLed ? replica.leaderPeer() : undefined
  return {
    group,
    generation,
    replica: id,
    isLeader,
    ...(leader === undefined ? {} : { leader }),
    term,
    commit: log.committed,
    applied: applied.index,
    lastIndex: log.lastIndex,
    lastTerm: log.lastTerm,
    members: applied.roster.members.map(({ peer, replica: member }) => ({
      peer,
      replica: member,
      isVoter: voters.includes(member),
      isOutgoingVoter: votersOutgoing.includes(member)
    })),
    problem: problemOf(replica)
  }
}

function problemOf(replica: Replica): string {
  if (replica.applied.index === 0) return 'it has received nothing yet'
  if (!replica.isChecked) return 'its state is being checked'
  return replica.isLed ? '' : 'it hears no leader'
}

function reportOfStopped(group: number, last: { id: number; generation: number }): GroupReplica {
  const none = { term: 0, commit: 0, applied: 0, lastIndex: 0, lastTerm: 0, members: [] }
  const { id: replica, generation } = last
  const problem = 'it is not running: what is stored of it is being looked at, or can not be used'
  return { group, generation, replica, isLeader: false, ...none, problem }
}
