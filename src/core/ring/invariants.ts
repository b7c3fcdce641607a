// What holds of every layout that `nextLayout` makes. Run after each step in tests and simulation, and
// before a layout from disk or from another peer is used.

import { assert } from '../../base/assert.ts'
import { type Layout, loadsOf, NO_OWNER } from './layout.ts'
import { createRoster, type Roster } from './roster.ts'
import { REPLICA_UNITS, sharesOf } from './shares.ts'

/** Up to this many copies, the bounds on zones alone make every arc span as many as any other, ± 1. */
const SPAN_PROMISED_COPIES_MAX = 3

function ownersFault(layout: Layout, roster: Roster): string | null {
  const { arcCount, replication, owners } = layout
  if (owners.length !== arcCount * replication) return 'owners has no slot per arc and copy'
  for (let slot = 0; slot < owners.length; slot++) {
    const owner = owners[slot] as number
    const rank = slot % replication
    if (rank >= roster.copies) {
      if (owner !== NO_OWNER) return 'an arc has more owners than there are copies'
      continue
    }
    if (owner >= roster.members.length) return 'an arc has fewer owners than there are copies'
    if (roster.weights[owner] === 0) return 'an owner has weight 0'
    if (rank > 0 && (owners[slot - 1] as number) >= owner) return 'owners are not ascending'
  }
  return null
}

function sharesFault(layout: Layout, roster: Roster): string | null {
  const { fair } = sharesOf(roster, layout.arcCount)
  for (const [member, load] of loadsOf(layout).entries()) {
    const units = fair[member] as number
    const tolerance = layout.arcCount < 1_024 ? 0 : Math.floor((units * 15) / 1_000)
    if (load * REPLICA_UNITS <= units - REPLICA_UNITS) return 'a load is a replica below fair'
    if (load * REPLICA_UNITS - units > Math.max(REPLICA_UNITS, tolerance)) {
      return 'a load is more than 1.5 %, or one replica, above fair'
    }
  }
  return null
}

function zonesFault(layout: Layout, roster: Roster): string | null {
  const { arcCount, replication, owners } = layout
  const loads = loadsOf(layout)
  const totals = roster.peersOf.map((peers) =>
    peers.reduce((sum, peer) => sum + (loads[peer] as number), 0)
  )
  const spans = totals.reduce((sum, total) => sum + Math.min(arcCount, total), 0)
  const least = totals.map((total) => Math.floor(total / arcCount))
  const required = [...least.keys()].filter((zone) => (least[zone] as number) > 0)
  for (let arc = 0; arc < arcCount; arc++) {
    const from = arc * replication
    const counts = new Map<number, number>()
    for (let slot = from; slot < from + roster.copies; slot++) {
      const zone = roster.zoneOf[owners[slot] as number] as number
      counts.set(zone, (counts.get(zone) ?? 0) + 1)
    }
    for (const [zone, count] of counts) {
      const most = Math.ceil((totals[zone] as number) / arcCount)
      if (count > most) return 'an arc has too many owners in a zone'
    }
    for (const zone of required) {
      const count = counts.get(zone) ?? 0
      if (count < (least[zone] as number)) return 'an arc has too few owners in a zone'
    }
    const span = counts.size
    if (roster.copies > SPAN_PROMISED_COPIES_MAX) continue
    if (span < Math.floor(spans / arcCount)) return 'an arc spans fewer zones than loads allow'
    if (span > Math.ceil(spans / arcCount)) return 'spans are not spread evenly'
  }
  return null
}

/**
 * @returns what is wrong with a layout, or null when `nextLayout` could have made it.
 * @throws invalid-argument when members or options are out of range.
 */
export function layoutFault(layout: Layout): string | null {
  const roster = createRoster(layout.members, layout)
  for (const [index, { id }] of layout.members.entries()) {
    if (roster.members[index]?.id !== id) return 'members are not sorted by id'
  }
  // Later checks rely on what the earlier ones found sound.
  return ownersFault(layout, roster) ?? sharesFault(layout, roster) ?? zonesFault(layout, roster)
}

/** Crashes unless the layout is sound. For layouts made here: those of others go to {@link layoutFault}. */
export function assertLayout(layout: Layout): void {
  const fault = layoutFault(layout)
  assert(fault === null, `a layout is sound: ${fault}`)
}
