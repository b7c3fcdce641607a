// How long the ring takes to place arcs.

import { peerId } from '../../src/base/ids.ts'
import { createRandom, type Random } from '../../src/base/random.ts'
import type { Layout, RingMember, RingOptions } from '../../src/core/ring/layout.ts'
import { nextLayout } from '../../src/core/ring/next-layout.ts'

const ROUNDS = 7
/** A grown mesh has come to its size in this many steps. */
const GROWTH_STEPS = 90

type Scale = { readonly peers: number; readonly zones: number; readonly options: RingOptions }
type Start = { readonly layout: Layout; readonly members: readonly RingMember[] }
type Change = {
  readonly name: string
  readonly previous: Layout | null
  readonly draw: () => readonly RingMember[]
}

const SCALES: readonly Scale[] = [
  { peers: 100, zones: 1, options: { arcCount: 4_096, replication: 3 } },
  { peers: 100, zones: 3, options: { arcCount: 4_096, replication: 3 } },
  { peers: 1_000, zones: 1, options: { arcCount: 16_384, replication: 3 } },
  { peers: 1_000, zones: 3, options: { arcCount: 16_384, replication: 3 } },
  { peers: 1_000, zones: 10, options: { arcCount: 16_384, replication: 3 } }
]

function drawMembers(random: Random, count: number, zones: number): RingMember[] {
  return Array.from({ length: count }, () => ({
    id: peerId(`peer${random.u32().toString(36)}x${random.u32().toString(36)}`),
    weight: 2 ** random.below(4),
    zone: `zone${random.below(zones)}`
  }))
}

/** Members drawn anew each round, so that no round is a lucky one. */
function changesOf({ layout, members }: Start, zones: number): Change[] {
  const random = createRandom(2)
  const tenth = Math.floor(members.length / 10)
  const previous = layout
  const changes: Change[] = [
    { name: 'fresh deal', previous: null, draw: () => members },
    { name: 'one join', previous, draw: () => [...members, ...drawMembers(random, 1, zones)] },
    {
      name: 'one leave',
      previous,
      draw: () => members.toSpliced(random.below(members.length), 1)
    },
    {
      name: 'one weight change',
      previous,
      draw: () => {
        const index = random.below(members.length)
        const held = members[index] as RingMember
        return members.with(index, { ...held, weight: held.weight === 1 ? 8 : 1 })
      }
    },
    {
      name: '10 % of the peers replaced',
      previous,
      draw: () => {
        const first = random.below(members.length - tenth)
        return members.toSpliced(first, tenth, ...drawMembers(random, tenth, zones))
      }
    },
    {
      name: '10 % of the weights redrawn',
      previous,
      draw: () => members.map((m, n) => (n % 10 === 0 ? { ...m, weight: 2 ** random.below(4) } : m))
    }
  ]
  if (zones > 1) {
    const draw = (): RingMember[] => members.filter(({ zone }) => zone !== 'zone0')
    changes.push({ name: 'one zone lost', previous, draw })
  }
  return changes
}

function medianMs(durations: readonly number[]): string {
  const sorted = durations.toSorted((a, b) => a - b)
  return `${(sorted[Math.floor(sorted.length / 2)] as number).toFixed(1).padStart(7)} ms`
}

function timeChanges(print: (line: string) => void, changes: Change[], options: RingOptions): void {
  for (const { name, previous, draw } of changes) {
    const durations: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const members = draw()
      const startMs = performance.now()
      nextLayout(previous, members, options)
      durations.push(performance.now() - startMs)
    }
    print(`${medianMs(durations)}  ${name}`)
  }
}

/** A tenth of the members at first, the others in small groups: many more replica sets than a deal. */
function grow(members: readonly RingMember[], options: RingOptions): Layout {
  let layout = nextLayout(null, members.slice(0, Math.ceil(members.length / 10)), options)
  for (let step = 1; step <= GROWTH_STEPS; step++) {
    const count = Math.ceil(((10 + step) * members.length) / (10 + GROWTH_STEPS))
    layout = nextLayout(layout, members.slice(0, count), options)
  }
  return layout
}

/**
 * Prints median times of placement, for changes of a fresh deal and of a mesh grown step by step.
 *
 * @param print is given one line at a time.
 */
export async function run(print: (line: string) => void): Promise<void> {
  for (const { peers, zones, options } of SCALES) {
    // One short of the limit, to leave room for a join.
    const members = drawMembers(createRandom(1), peers - 1, zones)
    const shape = `${peers} peers, ${options.arcCount} arcs, zones: ${zones}`
    print(`ring, ${shape}, dealt afresh`)
    const dealt = nextLayout(null, members, options)
    timeChanges(print, changesOf({ layout: dealt, members }, zones), options)
    print(`ring, ${shape}, grown`)
    const grown = grow(members, options)
    timeChanges(print, changesOf({ layout: grown, members }, zones), options)
  }
}
