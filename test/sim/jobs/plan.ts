// What a seed means: how many nodes, what they have, which jobs there are, and which kinds of faults.
// Each run has a random part of the faults only, as in the simulation of the mesh.

import { present } from '../../../src/base/assert.ts'
import { chance, pick, shuffle, type Random } from '../../../src/base/random.ts'
import { streamOf } from '../mesh/plan.ts'

/** How the world is while things break. */
const CONDITIONS = [
  // The network.
  'loss',
  'duplication',
  'reorder',
  'delay',
  'deaf',
  // Machines.
  'skew',
  'slow-tasks',
  // A machine is switched off just when something was asked of a job.
  'submit-hunt',
  'grant-hunt',
  'complete-hunt',
  // Besides jobs, tasks that are waited for.
  'runs'
] as const

/** What happens again and again. */
export const ACTS = [
  // The network.
  'partition',
  'one-way',
  'isolate',
  'disconnect',
  // Machines.
  'kill',
  'kill-leader',
  'blackout',
  'stop',
  'pause',
  'stuck-log',
  'full-blocks',
  // What runs tasks.
  'executor-crash',
  // The mesh.
  'join',
  'leave'
] as const

export type Fault = (typeof CONDITIONS)[number] | (typeof ACTS)[number]

const FAULTS: readonly Fault[] = [...CONDITIONS, ...ACTS]

/**
 * What a task does: it is done; fails a few times; fails until the job is mended; never ends; ends
 * the process that runs it; ends the machine.
 */
type TaskKind = 'plain' | 'flaky' | 'broken' | 'endless' | 'poison' | 'killer'

export type JobPlan = {
  readonly id: string
  readonly kinds: readonly TaskKind[]
  /** Tasks of each stage, which follow each other; one stage: none is said. */
  readonly stages: readonly number[]
  readonly isPure: boolean
  readonly priority: number
  readonly retries: number
  readonly retryBaseMs: number
  readonly durationMs: number
  readonly timeoutMs: number
  readonly outputBytes: number
  readonly inputBytes: number
  readonly hasLogs: boolean
  readonly label: string | undefined
  readonly submitMs: number
  /** By two programs at one time. */
  readonly isTwice: boolean
  /** After it was submitted. */
  readonly cancelMs: number | undefined
  /** When it has ended with dead letters it is mended, and tried again. */
  readonly isRetried: boolean
}

export type NodePlan = {
  readonly slots: number
  readonly speedMilli: number
  readonly labels: ReadonlyMap<string, string>
  /** Of its clock, to the true one; and of its calendar. */
  readonly rate: number
  readonly offsetMs: number
}

export type Plan = {
  readonly seed: number
  readonly faults: ReadonlySet<Fault>
  /** At first, and those that may join. */
  readonly nodes: readonly NodePlan[]
  readonly nodeCount: number
  readonly shardCount: number
  readonly jobs: readonly JobPlan[]
  /** How long things break. */
  readonly chaosMs: number
  /** Mean time between two faults. */
  readonly faultMs: number
}

/** One in so many tasks takes so many times as long. */
export const SLOW = { oneIn: 10, times: 10 } as const
/** The longest time that a task takes, by the usual one. */
const LONGEST = 1.5
const JOINERS_MAX = 2
const DAY_MS = 86_400_000

/** @param faults the kinds that there may be; all that the seed says when undefined */
export function planOf(seed: number, faults?: ReadonlySet<Fault>): Plan {
  const random = streamOf(seed, 'plan')
  const nodeCount = [1, 2, 3, 3, 3, 4, 4, 5][random.below(8)] as number
  const share = [15, 30, 50][random.below(3)] as number
  const drawn = FAULTS.filter((kind) => chance(streamOf(seed, kind), share, 100))
  const kept = new Set(drawn.filter((kind) => faults === undefined || faults.has(kind)))
  const jobRandom = streamOf(seed, 'jobs')
  const nodeRandom = streamOf(seed, 'machines')
  return {
    seed,
    faults: kept,
    nodes: Array.from({ length: nodeCount + JOINERS_MAX }, (_, index) =>
      nodeOf(nodeRandom, index, kept.has('skew'))
    ),
    nodeCount,
    shardCount: 1 + random.below(3),
    jobs: Array.from({ length: 1 + jobRandom.below(6) }, (_, index) => jobOf(jobRandom, index)),
    chaosMs: 5_000 + random.below(15_000),
    faultMs: 300 + random.below(2_500)
  }
}

/**
 * @returns how long all tasks take the first machine, which may be the only one that is left; and the
 *   longest of them one after another on the slowest
 */
export function workMs({ jobs, nodes, faults }: Plan): number {
  const { slots, speedMilli } = present(nodes[0], 'there is a first machine')
  const { oneIn, times } = faults.has('slow-tasks') ? SLOW : { oneIn: 1, times: 1 }
  const usualMs = jobs.reduce((sum, { kinds, durationMs }) => sum + kinds.length * durationMs, 0)
  const allMs = (usualMs * (1 + (times - 1) / oneIn) * 1_000) / (speedMilli * slots)
  const slowestMilli = Math.min(...nodes.map((node) => node.speedMilli))
  const chains = jobs.map(({ stages, durationMs }) => stages.length * durationMs * LONGEST * times)
  return allMs + (Math.max(...chains) * 1_000) / slowestMilli
}

function nodeOf(random: Random, index: number, isSkewed: boolean): NodePlan {
  const slots = index === 0 ? 1 + random.below(4) : random.below(5)
  const speedMilli = pick(random, [250, 500, 1_000, 1_000, 2_000])
  // The first one never leaves, so that somebody has it.
  const hasLabel = chance(random, 1, 2) || index === 0
  const rate = 1 + (random.below(11) - 5) / 1_000
  const offsetMs = random.below(2 * DAY_MS) - DAY_MS
  return {
    slots,
    speedMilli,
    labels: new Map(hasLabel ? [['kind', 'big']] : []),
    rate: isSkewed ? rate : 1,
    offsetMs: isSkewed ? offsetMs : 0
  }
}

function jobOf(random: Random, index: number): JobPlan {
  const count = 1 + random.below(pick(random, [3, 12, 40]))
  const durationMs = pick(random, [2, 10, 50, 200, 800, 800, 3_000, 3_000])
  const stages = stagesOf(random, count)
  const bad = pick(random, [0, 0, 1, 3])
  // Slow ones on slow machines are done within it.
  const timeoutMs = Math.max(2_000, 80 * durationMs)
  return {
    id: `job${index}`,
    kinds: kindsOf(random, count, { bad, durationMs }),
    stages,
    isPure: chance(random, 1, 2),
    priority: random.below(4),
    retries: random.below(4),
    retryBaseMs: 50 + random.below(1_000),
    durationMs,
    timeoutMs,
    outputBytes: chance(random, 1, 4) ? 6_000 : 20,
    inputBytes: chance(random, 1, 4) ? 3_000 : 10,
    hasLogs: chance(random, 1, 5),
    label: chance(random, 1, 6) ? 'big' : undefined,
    submitMs: random.below(8_000),
    isTwice: chance(random, 1, 3),
    cancelMs: chance(random, 1, 5) ? random.below(6_000) : undefined,
    isRetried: chance(random, 1, 2)
  }
}

function stagesOf(random: Random, count: number): number[] {
  if (count < 3 || !chance(random, 1, 4)) return [count]
  const first = 1 + random.below(count - 2)
  const second = 1 + random.below(count - first - 1)
  return [first, second, count - first - second]
}

function kindsOf(
  random: Random,
  count: number,
  { bad, durationMs }: { bad: number; durationMs: number }
): TaskKind[] {
  const kinds: TaskKind[] = Array.from({ length: count }, () => 'plain')
  const places = shuffle(random, [...kinds.keys()])
  for (const place of places.slice(0, bad)) {
    // What never ends takes its whole time, often.
    const some: TaskKind[] = ['flaky', 'flaky', 'flaky', 'broken', 'poison', 'killer']
    kinds[place] = pick(random, durationMs <= 50 ? [...some, 'endless'] : some)
  }
  return kinds
}
