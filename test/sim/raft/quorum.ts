// Majorities as the checker counts them: written again, so that a mistake of the core isn't
// repeated here.

import type { ConfigState, ReplicaId } from '../../../src/core/raft/messages.ts'

/** @returns whether those of whom `has` is true are a majority of each half. */
export function isQuorum(config: ConfigState, has: (id: ReplicaId) => boolean): boolean {
  return isMajority(config.voters, has) && isMajority(config.votersOutgoing, has)
}

function isMajority(voters: readonly ReplicaId[], has: (id: ReplicaId) => boolean): boolean {
  return voters.length === 0 || voters.filter(has).length * 2 > voters.length
}

export function membersOf(config: ConfigState): Set<ReplicaId> {
  return new Set([...config.voters, ...config.votersOutgoing, ...config.learners])
}

const words = new WeakMap<ConfigState, string>()

/** @returns the same words for equal members. */
export function configInWords(config: ConfigState): string {
  const known = words.get(config) ?? describe(config)
  words.set(config, known)
  return known
}

function describe(config: ConfigState): string {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = config
  const parts = [`voters ${voters.join(' ')}`]
  if (votersOutgoing.length > 0) parts.push(`outgoing ${votersOutgoing.join(' ')}`)
  if (learners.length > 0) parts.push(`learners ${learners.join(' ')}`)
  if (learnersNext.length > 0) parts.push(`next ${learnersNext.join(' ')}`)
  if (autoLeave) parts.push('leaves itself')
  return `(${parts.join(', ')})`
}
