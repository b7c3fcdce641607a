// How much of the ring each member should hold, as fractions: in proportion to weight, no member
// more than one replica of every arc, and small zones filled beyond their weight, within a limit, so
// that arcs can span more zones. Fixed-point integers below 2^53 throughout: every peer gets the
// same numbers.

import { assert } from '../../base/assert.ts'
import { ARC_COUNT_MAX, type Roster } from './roster.ts'

/** One replica. Fractions of a replica are multiples of 1/2^20. */
export const REPLICA_UNITS: number = 2 ** 20
/** A level is share per weight, in 1/2^16 unit: fine enough that heavy members lose nothing to rounding. */
const LEVEL_SCALE = 2 ** 16
/** A zone may be filled up to 4 × its fair level to let arcs reach a second zone (in 1/1024). */
const SECOND_ZONE_STRETCH = 4 * 1024
/** And up to 1.25 × for a third and further one, which protect from less (in 1/1024). */
const FURTHER_ZONE_STRETCH = 1280
/** What rounding may leave a zone off a whole number of rings, in units per member. */
const DUST_UNITS = 256

assert(4 * ARC_COUNT_MAX * REPLICA_UNITS * LEVEL_SCALE <= 2 ** 53, 'stretched levels are exact')

/** Zones filled to one level share what they hold together. */
export type ShareClass = {
  /** Ascending. */
  readonly zones: readonly number[]
  /** Replicas. */
  readonly total: number
}

export type Shares = {
  /** What each member should hold, in units of 1/2^20 replica. */
  readonly fair: Float64Array
  readonly classes: readonly ShareClass[]
  /** For each zone, how many whole rings (`arcCount` replicas) its share reaches. */
  readonly wholeRings: Int32Array
}

/** Zones above one ring are filled to the level `high`, the others to `low`. */
type Levels = { readonly fair: number; readonly high: number; readonly low: number }

/** What one level gives a member: in proportion to weight, at most `ring` (one of every arc). */
function shareAt(weight: number, level: number, ring: number): number {
  if (level >= Math.ceil((ring * LEVEL_SCALE) / weight)) return ring
  return Math.floor((weight * level) / LEVEL_SCALE)
}

/** @returns the largest level in [0, top] whose demand, which rises with it, fits the budget. */
function highestLevel(top: number, budget: number, demand: (level: number) => number): number {
  let from = 0
  let to = top
  while (from < to) {
    const middle = Math.floor((from + to + 1) / 2)
    if (demand(middle) <= budget) from = middle
    else to = middle - 1
  }
  return from
}

function zoneDemand(roster: Roster, zone: number, demand: { level: number; ring: number }): number {
  let sum = 0
  for (const peer of roster.peersOf[zone] as readonly number[]) {
    sum += shareAt(roster.weights[peer] as number, demand.level, demand.ring)
  }
  return sum
}

/** What each zone gets by weight alone. */
function fairTotals(roster: Roster, level: number, ring: number): number[] {
  return roster.zones.map((_, zone) => zoneDemand(roster, zone, { level, ring }))
}

/**
 * An arc can span `d` zones only where zones hold no more than one replica of it besides `copies - d`.
 * What zones hold above that moves to zones below one ring, as far as their stretch allows: first
 * for two zones, to survive the loss of any one, then for more.
 */
function stretch(roster: Roster, arcCount: number, fair: number): Levels {
  const ring = arcCount * REPLICA_UNITS
  const top = ring * LEVEL_SCALE
  const byWeight = fairTotals(roster, fair, ring)
  const above = roster.zones.map((_, zone) => zone).filter((z) => (byWeight[z] as number) > ring)
  const below = roster.zones.map((_, zone) => zone).filter((z) => (byWeight[z] as number) <= ring)
  const demand = (zones: readonly number[], level: number): number => {
    let sum = 0
    for (const zone of zones) {
      const zoneSum = zoneDemand(roster, zone, { level, ring })
      sum += zones === above ? Math.max(ring, zoneSum) : Math.min(ring, zoneSum)
    }
    return sum
  }
  let high = fair
  let low = fair
  const spanMax = Math.min(roster.copies, roster.zones.length)
  for (let span = 2; span <= spanMax; span++) {
    const held = demand(above, high)
    const excess = held - above.length * ring - (roster.copies - span) * ring
    if (excess <= DUST_UNITS * roster.activeCount) continue
    const factor = span === 2 ? SECOND_ZONE_STRETCH : FURTHER_ZONE_STRETCH
    const stretched = Math.floor(fair / 1024) * factor + Math.floor(((fair % 1024) * factor) / 1024)
    const ceiling = Math.min(top, Math.max(low, stretched))
    const room = demand(below, ceiling) - demand(below, low)
    const shift = Math.min(excess, room)
    const raised = demand(below, low) + shift
    high = highestLevel(high, held - shift, (level) => demand(above, level))
    low = highestLevel(ceiling, raised, (level) => demand(below, level))
  }
  return { fair, high, low }
}

/** Replica totals for the classes that aren't a whole number of rings, summing to `total` exactly. */
function roundClasses(units: readonly number[], total: number): number[] {
  const rounded = units.map((sum) => Math.floor(sum / REPLICA_UNITS))
  const order = units
    .map((sum, index) => ({ index, fraction: sum % REPLICA_UNITS }))
    .toSorted((a, b) => b.fraction - a.fraction || a.index - b.index)
  let left = total - rounded.reduce((sum, part) => sum + part, 0)
  assert(left >= 0 && left <= units.length, 'rounding leaves less than one replica per class')
  for (const { index } of order) {
    if (left === 0) break
    rounded[index] = (rounded[index] as number) + 1
    left--
  }
  return rounded
}

function classify(
  roster: Roster,
  arcCount: number,
  levels: Levels
): Pick<Shares, 'classes' | 'wholeRings'> {
  const ring = arcCount * REPLICA_UNITS
  const byWeight = fairTotals(roster, levels.fair, ring)
  const wholeRings = new Int32Array(roster.zones.length)
  const classes: ShareClass[] = []
  const groups = new Map<number, { zones: number[]; units: number }>()
  let left = roster.copies * arcCount
  for (const [zone, fairTotal] of byWeight.entries()) {
    const isAbove = fairTotal > ring
    const level = isAbove ? levels.high : levels.low
    const demand = zoneDemand(roster, zone, { level, ring })
    const units = isAbove ? Math.max(ring, demand) : Math.min(ring, demand)
    const nearest = Math.round(units / ring)
    const dust = DUST_UNITS * (roster.peersOf[zone] as readonly number[]).length
    if (nearest > 0 && Math.abs(units - nearest * ring) <= dust) {
      wholeRings[zone] = nearest
      classes.push({ zones: [zone], total: nearest * arcCount })
      left -= nearest * arcCount
      continue
    }
    wholeRings[zone] = Math.floor(units / ring)
    const group = groups.get(level) ?? { zones: [], units: 0 }
    group.zones.push(zone)
    group.units += units
    groups.set(level, group)
  }
  // Zones come in name order, so the groups do, by their first zone.
  const parts = [...groups.values()]
  const totals = roundClasses(
    parts.map(({ units }) => units),
    left
  )
  for (const [index, { zones }] of parts.entries()) {
    classes.push({ zones, total: totals[index] as number })
  }
  return { classes, wholeRings }
}

/** @returns what each member should hold of a ring of `arcCount` arcs, the zone rule applied. */
export function sharesOf(roster: Roster, arcCount: number): Shares {
  const ring = arcCount * REPLICA_UNITS
  const top = ring * LEVEL_SCALE
  const fairLevel = highestLevel(top, roster.copies * ring, (level) => {
    let sum = 0
    for (const total of fairTotals(roster, level, ring)) sum += total
    return sum
  })
  const { classes, wholeRings } = classify(roster, arcCount, stretch(roster, arcCount, fairLevel))
  const fair = new Float64Array(roster.members.length)
  for (const { zones, total } of classes) {
    const level = highestLevel(top, total * REPLICA_UNITS, (level) => {
      let sum = 0
      for (const zone of zones) sum += zoneDemand(roster, zone, { level, ring })
      return sum
    })
    for (const zone of zones) {
      for (const peer of roster.peersOf[zone] as readonly number[]) {
        fair[peer] = shareAt(roster.weights[peer] as number, level, ring)
      }
    }
  }
  return { fair, classes, wholeRings }
}
