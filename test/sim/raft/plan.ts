// What a seed means: how many replicas, with which knobs, and which kinds of faults. Each run has a
// random part of them only ("swarm testing", Groce and others, 2012): faults that always come
// together hide each other.

import { chance, createRandom, type Random } from '../../../src/base/random.ts'
import { RAFT_DEFAULTS, type RaftConfig } from '../../../src/core/raft/config.ts'
import { UNBOUNDED, type ReplicaId } from '../../../src/core/raft/messages.ts'

/** Whatever a run may do without. What a failing run doesn't need is left out when it is shown. */
const FAULTS = [
  // The network.
  'loss',
  'duplication',
  'reorder',
  'delay',
  'replay',
  'garbage',
  'partition',
  'one-way',
  'flapping',
  'rotation',
  'lag',
  'snapshot-loss',
  // Machines and disks.
  'crash',
  'torn-write',
  'crash-in-ready',
  'pause',
  'slow-disk',
  'stuck-disk',
  'lazy-machine',
  'drift',
  // Something happens just when a replica has come to lead.
  'leader-hunt',
  // What a driver may say.
  'campaign',
  'transfer',
  'forget-leader',
  'connection-lost',
  'unreachable',
  'compaction',
  'members',
  'joint',
  'reads',
  // Knobs.
  'async-writes',
  'small-limits',
  'no-pre-vote',
  'no-check-quorum',
  'leads-when-removed'
] as const

export type Fault = (typeof FAULTS)[number]

export type Plan = {
  readonly seed: number
  readonly faults: ReadonlySet<Fault>
  /** 1 to `replicaCount` exist; those that are no members at first have nothing. */
  readonly replicaCount: number
  readonly voters: readonly ReplicaId[]
  readonly learners: readonly ReplicaId[]
  /** How long things break. */
  readonly safetyTicks: number
  /** Mean ticks between two faults of one kind. */
  readonly faultTicks: number
  /** Mean units between two proposals. */
  readonly proposalUnits: number
  readonly payloadBytesMax: number
  readonly knobs: Omit<RaftConfig, 'id' | 'applied'>
}

/** A stream of its own for each use, so that leaving one fault out leaves the others alike. */
export function streamOf(seed: number, use: string): Random {
  let mixed = seed >>> 0
  for (let at = 0; at < use.length; at++) mixed = Math.imul(mixed ^ use.charCodeAt(at), 0x01000193)
  return createRandom(mixed)
}

/** @param faults the kinds that there may be; all that the seed says when undefined */
export function planOf(seed: number, faults?: ReadonlySet<Fault>): Plan {
  const random = streamOf(seed, 'plan')
  const replicaCount = replicaCountOf(random)
  const share = [25, 50, 75][random.below(3)] as number
  const drawn = new Set(FAULTS.filter(() => chance(random, share, 100)))
  const kept = faults === undefined ? drawn : new Set([...drawn].filter((kind) => faults.has(kind)))
  // Without pre-votes groups whose members change may not go on (see healing.ts): a few are enough.
  const isHopeless = kept.has('members') && kept.has('no-pre-vote') && chance(random, 3, 4)
  if (isHopeless) kept.delete('no-pre-vote')
  const voterCount = kept.has('members')
    ? 1 + random.below(Math.min(replicaCount, 5))
    : Math.max(1, replicaCount - random.below(2))
  const ids = Array.from({ length: replicaCount }, (_, index) => index + 1)
  return {
    seed,
    faults: kept,
    replicaCount,
    voters: ids.slice(0, voterCount),
    learners: ids.slice(voterCount, voterCount + random.below(2)),
    safetyTicks: 150 + random.below(1_000),
    faultTicks: 8 + random.below(60),
    proposalUnits: 4 + random.below(40),
    payloadBytesMax: 8 + random.below(40),
    knobs: knobsOf(kept, streamOf(seed, 'knobs'))
  }
}

/** Three and five are what groups are made of; the others are there to be sure. */
function replicaCountOf(random: Random): number {
  return [1, 2, 3, 3, 3, 3, 4, 4, 5, 5, 5, 6, 7][random.below(13)] as number
}

function knobsOf(faults: ReadonlySet<Fault>, random: Random): Plan['knobs'] {
  const electionTicks = 5 + random.below(8)
  const heartbeatTicks = 1 + random.below(2)
  const limit = (small: number): number =>
    faults.has('small-limits') && chance(random, 2, 3) ? 1 + random.below(small) : UNBOUNDED
  return {
    ...RAFT_DEFAULTS,
    electionTicks,
    heartbeatTicks,
    asyncStorageWrites: faults.has('async-writes'),
    preVote: !faults.has('no-pre-vote'),
    checkQuorum: !faults.has('no-check-quorum'),
    appendBytesMax: limit(120),
    committedBytesMax: limit(200),
    uncommittedBytesMax: limit(400),
    inflightCountMax: Math.min(limit(4), RAFT_DEFAULTS.inflightCountMax),
    inflightBytesMax: limit(200),
    pendingReadsMax: Math.min(limit(6), RAFT_DEFAULTS.pendingReadsMax),
    stepDownOnRemoval: !faults.has('leads-when-removed'),
    tellsCommitLate: chance(random, 1, 3)
  }
}
