// The next layout from the one before it and the members of now. Two questions, kept apart: how many
// replicas each member holds (integer quotas by weight, zones included), and which (all that can be
// kept, then single transfers straight from members above their quota to members below, then
// chains). The sticky form of a partitioned ring (DeCandia et al., "Dynamo", SOSP 2007, strategy 3)
// with few replica sets (Cidon et al., "Copysets", USENIX ATC 2013). Integers only, no clock and no
// randomness: the same input gives the same layout on every peer.

import { MeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import { balanceByChains } from './chains.ts'
import { deal } from './deal.ts'
import { Draft } from './draft.ts'
import {
  type Layout,
  NO_OWNER,
  RING_ALGORITHM,
  type RingMember,
  type RingOptions
} from './layout.ts'
import { quotasOf } from './quotas.ts'
import { fillHoles, releaseMisplaced } from './repair.ts'
import { createRoster, type Roster } from './roster.ts'
import { transferDirectly } from './transfer.ts'
import { undoNeedlessMoves } from './undo.ts'

/** @returns the previous owners that may stay, `roster.copies` an arc, holes last. */
function keepOwners(previous: Layout, roster: Roster): Uint16Array {
  const indexOf = new Map<PeerId, number>()
  for (const [index, { id, weight }] of roster.members.entries()) {
    if (weight > 0) indexOf.set(id, index)
  }
  const indexNow = previous.members.map(({ id }) => indexOf.get(id) ?? NO_OWNER)
  const { copies } = roster
  const kept = new Uint16Array(previous.arcCount * copies).fill(NO_OWNER)
  for (let arc = 0; arc < previous.arcCount; arc++) {
    // All active members at most are kept, each once, so they fit into the arc's copies.
    let slot = arc * copies
    for (let rank = 0; rank < previous.replication; rank++) {
      const owner = indexNow[previous.owners[arc * previous.replication + rank] as number]
      if (owner === undefined || owner === NO_OWNER) continue
      let held = arc * copies
      while (held < slot && kept[held] !== owner) held++
      if (held < slot) continue
      kept[slot++] = owner
    }
  }
  return kept
}

function loadsOfKept(kept: Uint16Array, memberCount: number): Int32Array {
  const loads = new Int32Array(memberCount)
  for (const owner of kept) if (owner !== NO_OWNER) loads[owner] = (loads[owner] as number) + 1
  return loads
}

/** @returns owners in the form of a layout: `replication` an arc, ascending. */
function arranged(owners: Uint16Array, copies: number, replication: number): Uint16Array {
  const arcCount = copies === 0 ? 0 : owners.length / copies
  const result = new Uint16Array(arcCount * replication).fill(NO_OWNER)
  for (let from = 0; from < owners.length; from += copies) {
    const row = (from / copies) * replication
    for (let rank = 0; rank < copies; rank++) {
      const owner = owners[from + rank] as number
      let place = row + rank
      for (; place > row && (result[place - 1] as number) > owner; place--) {
        result[place] = result[place - 1] as number
      }
      result[place] = owner
    }
  }
  return result
}

function place(previous: Layout | null, roster: Roster, arcCount: number): Uint16Array {
  const kept =
    previous === null
      ? new Uint16Array(arcCount * roster.copies).fill(NO_OWNER)
      : keepOwners(previous, roster)
  const held = loadsOfKept(kept, roster.members.length)
  const quotas = quotasOf(roster, arcCount, held)
  // A new deal would move everything, so even one replica kept rules it out.
  if (held.every((load) => load === 0)) return deal(roster, quotas, arcCount)
  const draft = new Draft(roster, quotas, kept)
  releaseMisplaced(draft)
  fillHoles(draft)
  transferDirectly(draft)
  balanceByChains(draft)
  undoNeedlessMoves(draft)
  return draft.owners
}

/**
 * Places the arcs on the members: each holds its quota exactly, in proportion to its weight but at
 * most one replica of an arc; arcs span as many zones as the quotas allow; and little more moves
 * than has to.
 *
 * @param previous the last committed layout, or null for the first one. Members missing from
 * `members`, or of weight 0 now, lose all they own.
 * @param members in any order; at most 1000.
 * @param options the same as those of `previous`.
 * @throws invalid-argument on a bad weight or zone, an id listed twice, too many members, options
 * out of range, or options that differ from those of `previous`.
 */
export function nextLayout(
  previous: Layout | null,
  members: readonly RingMember[],
  options: RingOptions
): Layout {
  const { arcCount, replication } = options
  const roster = createRoster(members, options)
  if (
    previous !== null &&
    (previous.arcCount !== arcCount || previous.replication !== replication)
  ) {
    throw new MeshError(
      'invalid-argument',
      `A ring of ${previous.arcCount} arcs × ${previous.replication} can't become ${arcCount} × ${replication}`
    )
  }
  const owners =
    roster.copies === 0
      ? new Uint16Array(arcCount * replication).fill(NO_OWNER)
      : arranged(place(previous, roster, arcCount), roster.copies, replication)
  return { algorithm: RING_ALGORITHM, arcCount, replication, members: roster.members, owners }
}
