// Whether the groups of a mesh are as its layout wants them, from what a node reports of them.

import type { ApiClient } from '../../src/api/http-client.ts'
import type { GroupsReport } from '../../src/node/shard-groups.ts'

const ANSWER_MS = 5_000

export async function groupsOf(client: ApiClient): Promise<GroupsReport> {
  return await client.json<GroupsReport>('shards', { signal: AbortSignal.timeout(ANSWER_MS) })
}

/** @returns what is not as it should be, if anything: leaders, voters, and a replica for each of them */
export function lackOf({ groups, nodes }: GroupsReport): string | undefined {
  for (const { shard, leader, voters, learners, votersWanted } of groups) {
    if (leader === undefined) return `shard ${shard} has no leader`
    if (voters.length !== votersWanted) return `shard ${shard} has ${voters.length} voters`
    if (learners.length > 0) return `shard ${shard} has learners`
  }
  for (const { peerId, name, replicas, failure } of nodes) {
    const places = groups.filter(({ voters }) => voters.includes(peerId)).length
    if (failure !== '') return `${name} has failed: ${failure}`
    if (replicas !== places) return `${name} has ${replicas} replicas, and should have ${places}`
  }
  return undefined
}

/** @returns by how many replicas the fullest member differs from the emptiest */
export function spreadOf({ groups, nodes }: GroupsReport): number {
  const counts = nodes.map(({ peerId }) => {
    return groups.filter(({ voters }) => voters.includes(peerId)).length
  })
  return Math.max(...counts) - Math.min(...counts)
}

/** For people. */
export function describeGroups({ groups, nodes }: GroupsReport): string {
  const nameOf = (peer: string): string => nodes.find(({ peerId }) => peerId === peer)?.name ?? peer
  const lines = groups.map(({ shard, leader, term, voters, learners, commit, applied }) => {
    const members = [...voters.map(nameOf), ...learners.map((peer) => `(${nameOf(peer)})`)].join(
      ' '
    )
    const leads = leader === undefined ? 'nobody' : nameOf(leader)
    return `shard ${shard}: led by ${leads}, of ${members}, term ${term}, ${commit} committed, ${applied} applied`
  })
  const rest = nodes.map(({ name, replicas, leads, failure }) => {
    return `${name}: ${replicas ?? 'unknown'} replicas, leads ${leads} ${failure}`
  })
  return [...lines, ...rest].join('\n')
}
