// What a seed means: how many nodes, how long, and which kinds of faults. Each run has a random part
// of them only ("swarm testing", Groce and others, 2012): faults that always come together hide each
// other.

import { chance, createRandom, type Random } from '../../../src/base/random.ts'
import type { Trimming } from '../../../src/shard/log-trimmer.ts'

/** How the world is while things break. */
const CONDITIONS = [
  // The network.
  'loss',
  'duplication',
  'reorder',
  'delay',
  // Disks.
  'slow-log',
  'slow-state',
  // A machine is switched off just when something happens on it.
  'leader-hunt',
  'change-hunt',
  'snapshot-hunt',
  // The mesh.
  'late-news',
  'short-logs',
  // Many commands at once.
  'bursts'
] as const

/** What happens again and again. */
export const ACTS = [
  // The network.
  'partition',
  'one-way',
  'flapping',
  'disconnect',
  // Machines and disks.
  'kill',
  'blackout',
  'stop',
  'pause',
  'wipe',
  'flipped-log',
  'flipped-state',
  'full-disk',
  'failed-sync',
  'stuck-log',
  'stuck-state',
  // The mesh.
  'join',
  'leave',
  'wrong-news',
  'transfer'
] as const

export type Fault = (typeof CONDITIONS)[number] | (typeof ACTS)[number]

/** Whatever a run may do without: what a failing run doesn't need is left out when it is shown. */
const FAULTS: readonly Fault[] = [...CONDITIONS, ...ACTS]

export type Plan = {
  readonly seed: number
  readonly faults: ReadonlySet<Fault>
  /** Nodes at first. */
  readonly nodeCount: number
  /** Nodes that may join later. */
  readonly joinerCount: number
  readonly shardCount: number
  /** How long things break. */
  readonly chaosMs: number
  /** Mean time between two faults. */
  readonly faultMs: number
  readonly trimming: Trimming | undefined
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
  const nodeCount = [1, 2, 3, 3, 3, 3, 4, 4, 5][random.below(9)] as number
  const share = [15, 30, 60][random.below(3)] as number
  // Each by itself: what is added later leaves the others of a seed as they are.
  const drawn = FAULTS.filter((kind) => chance(streamOf(seed, kind), share, 100))
  const kept = new Set(drawn.filter((kind) => faults === undefined || faults.has(kind)))
  const keptEntries = 1 + random.below(20)
  return {
    seed,
    faults: kept,
    nodeCount,
    joinerCount: Math.min(5 - nodeCount, 1 + random.below(2)),
    shardCount: 1 + random.below(3),
    chaosMs: 3_000 + random.below(6_000),
    faultMs: 100 + random.below(900),
    trimming: kept.has('short-logs')
      ? { slack: 1 + random.below(20), kept: keptEntries, keptMax: keptEntries + random.below(40) }
      : undefined
  }
}
