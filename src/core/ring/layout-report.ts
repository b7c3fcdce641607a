// What people want to know about a layout: who holds how much, how safe it is, what is missing.

import { peerId, type PeerId } from '../../base/ids.ts'
import { WEIGHT_MAX } from '../../base/limits.ts'
import { type Layout, loadsOf, NO_OWNER, type RingMember } from './layout.ts'
import { groupByZone, type Roster } from './roster.ts'
import { REPLICA_UNITS, sharesOf } from './shares.ts'

type PeerReport = {
  readonly id: PeerId
  readonly zone: string
  readonly weight: number
  /** Arcs it owns, which is its quota: layouts are made so that both are equal. */
  readonly load: number
  /** Arcs it should own by weight, once the zone rule is applied: a fraction, for display only. */
  readonly fair: number
}

export type LayoutReport = {
  /** Sorted by id. */
  readonly peers: readonly PeerReport[]
  /** Owners of each arc: the replication, or fewer while there are fewer active members. */
  readonly copies: number
  /**
   * Distinct sets of owners. When `copies` random peers out of n die at once, some arc is lost with
   * a chance of this number over n choose `copies`.
   */
  readonly replicaSetCount: number
  /** How many arcs span 0, 1, 2 … zones; `copies + 1` numbers that sum to the arc count. */
  readonly arcsBySpan: readonly number[]
  /** Zones that every arc would span if weights allowed: the copies, or the zones when fewer. */
  readonly spanWanted: number
  /** Zones that hold less than one replica of every arc, sorted; empty when no arc spans too few. */
  readonly shortZones: readonly string[]
  /**
   * The least weight that one more peer in each of `shortZones` would need, so that they are short no
   * more; 0 when none is, and null when even the largest weight wouldn't do.
   */
  readonly weightMissing: number | null
}

/** Whether all arcs would span `spanWanted` zones, or at least no zone of `watched` would be short. */
function isRelieved(roster: Roster, layout: Layout, watched: readonly string[]): boolean {
  const { fair } = sharesOf(roster, layout.arcCount)
  // Shares are rounded down, by far less than half a replica in all.
  const dust = REPLICA_UNITS / 2
  const ring = layout.arcCount * REPLICA_UNITS
  let spanned = 0
  let watchedShort = false
  for (const [zone, peers] of roster.peersOf.entries()) {
    let units = 0
    for (const peer of peers) units += fair[peer] as number
    spanned += Math.min(ring, units)
    if (units < ring - dust && watched.includes(roster.zones[zone] as string)) watchedShort = true
  }
  const spanWanted = Math.min(roster.copies, roster.zones.length)
  return !watchedShort || spanned >= spanWanted * ring - dust
}

function missingWeight(layout: Layout, shortZones: readonly string[]): number | null {
  const suffices = (weight: number): boolean => {
    const added = shortZones.map((zone, index): RingMember => {
      return { id: peerId(`more${index}`), weight, zone }
    })
    const larger = groupByZone([...layout.members, ...added], layout.replication)
    return isRelieved(larger, layout, shortZones)
  }
  if (!suffices(WEIGHT_MAX)) return null
  let from = 1
  let to = WEIGHT_MAX
  while (from < to) {
    const middle = (from + to) >>> 1
    if (suffices(middle)) to = middle
    else from = middle + 1
  }
  return from
}

type Ownership = { arcsBySpan: number[]; replicaSetCount: number }

function countOwnership(layout: Layout, roster: Roster): Ownership {
  const sets = new Set<string>()
  const arcsBySpan = Array.from({ length: roster.copies + 1 }, () => 0)
  for (let arc = 0; arc < layout.arcCount; arc++) {
    const from = arc * layout.replication
    const owners = layout.owners.subarray(from, from + layout.replication)
    const zones = new Set<number>()
    for (const owner of owners) if (owner !== NO_OWNER) zones.add(roster.zoneOf[owner] as number)
    arcsBySpan[zones.size] = (arcsBySpan[zones.size] as number) + 1
    if (zones.size > 0) sets.add(owners.join())
  }
  return { arcsBySpan, replicaSetCount: sets.size }
}

/** @returns a report on a layout made by `nextLayout`, for people to read. */
export function layoutReport(layout: Layout): LayoutReport {
  const roster = groupByZone(layout.members, layout.replication)
  const { fair } = sharesOf(roster, layout.arcCount)
  const loads = loadsOf(layout)
  const spanWanted = Math.min(roster.copies, roster.zones.length)
  const ownership = countOwnership(layout, roster)
  const allSpan = ownership.arcsBySpan[spanWanted] === layout.arcCount
  const shortZones = roster.zones.filter((_, zone) => {
    let held = 0
    for (const peer of roster.peersOf[zone] as readonly number[]) held += loads[peer] as number
    return !allSpan && held < layout.arcCount
  })
  return {
    peers: layout.members.map((member, index) => ({
      ...member,
      load: loads[index] as number,
      fair: (fair[index] as number) / REPLICA_UNITS
    })),
    copies: roster.copies,
    ...ownership,
    spanWanted,
    shortZones,
    weightMissing: allSpan ? 0 : missingWeight(layout, shortZones)
  }
}
