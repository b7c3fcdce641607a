// The layout: who owns which arc of the ring, as a plain value. It is a partitioned consistent-hash
// ring (DeCandia et al., "Dynamo", SOSP 2007, strategy 3): a fixed number of equal arcs, each with
// its own replica set, so that a change of members moves whole arcs and never a boundary.

import { utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import { fingerprint } from './fingerprint.ts'

/** The version of the placement rules. Other rules give other layouts and take another number. */
export const RING_ALGORITHM = 1
/** Stands in {@link Layout.owners} where an arc has no owner. Sorts after every member. */
export const NO_OWNER = 0xffff

/** A peer as placement sees it. */
export type RingMember = {
  readonly id: PeerId
  /** Capacity in any common unit: an integer in 0..65535. Zero means that it owns nothing. */
  readonly weight: number
  /** What fails together. Members of one zone carry the same text, at most 63 UTF-16 units. */
  readonly zone: string
}

/** Both are fixed when a mesh is made. */
export type RingOptions = {
  /** Arcs of the ring, in 1..16384. */
  readonly arcCount: number
  /** Owners of an arc where enough members are active, in 1..7. Promises about zones hold up to 3. */
  readonly replication: number
}

/** A value: never written to once made. */
export type Layout = RingOptions & {
  readonly algorithm: typeof RING_ALGORITHM
  /** Sorted by id. */
  readonly members: readonly RingMember[]
  /**
   * `arcCount × replication` indexes into `members`: the owners of arc `a` start at
   * `a × replication`, in ascending order, and {@link NO_OWNER} fills up the end.
   */
  readonly owners: Uint16Array
}

/** @returns the index of `id` in the layout's members, or -1. */
export function memberIndex(layout: Layout, id: PeerId): number {
  let from = 0
  let to = layout.members.length
  while (from < to) {
    const middle = (from + to) >>> 1
    if ((layout.members[middle] as RingMember).id < id) from = middle + 1
    else to = middle
  }
  return layout.members[from]?.id === id ? from : -1
}

/**
 * @param arc in [0, arcCount).
 * @returns the ids of its owners, sorted: none when no member is active.
 * @throws invalid-argument when there is no such arc.
 */
export function ownersOf(layout: Layout, arc: number): PeerId[] {
  if (!Number.isInteger(arc) || arc < 0 || arc >= layout.arcCount) {
    throw new MeshError('invalid-argument', `Arc ${arc} is not in 0..${layout.arcCount - 1}`)
  }
  const ids: PeerId[] = []
  for (let rank = 0; rank < layout.replication; rank++) {
    const member = layout.members[layout.owners[arc * layout.replication + rank] as number]
    if (member !== undefined) ids.push(member.id)
  }
  return ids
}

/** @returns the arcs that `id` owns, ascending; none for a peer that isn't a member. */
export function arcsOf(layout: Layout, id: PeerId): number[] {
  const index = memberIndex(layout, id)
  const arcs: number[] = []
  if (index < 0) return arcs
  for (let slot = 0; slot < layout.owners.length; slot++) {
    if (layout.owners[slot] === index) arcs.push(Math.floor(slot / layout.replication))
  }
  return arcs
}

/** @returns how many arcs each member owns, in the order of `members`. */
export function loadsOf(layout: Layout): Int32Array {
  const loads = new Int32Array(layout.members.length)
  for (const owner of layout.owners) {
    if (owner !== NO_OWNER) loads[owner] = (loads[owner] as number) + 1
  }
  return loads
}

/**
 * A fingerprint for telling at a glance whether two peers hold the same layout. It covers everything
 * in it, and is the same on every platform. Whoever can choose members can make two layouts
 * collide: it protects from mistakes, not from forgery.
 *
 * @returns 32 lower-case hexadecimal digits.
 */
export function layoutHash(layout: Layout): string {
  const names: Uint8Array[] = layout.members.flatMap(({ id, zone }) => [utf8(id), utf8(zone)])
  let length = 4 * 4 + layout.members.length * 2 + layout.owners.length * 2
  for (const name of names) length += 2 + name.length
  const bytes = new Uint8Array(length)
  const view = new DataView(bytes.buffer)
  let offset = 0
  for (const part of [
    layout.algorithm,
    layout.arcCount,
    layout.replication,
    layout.members.length
  ]) {
    view.setUint32(offset, part, true)
    offset += 4
  }
  for (const { weight } of layout.members) {
    view.setUint16(offset, weight, true)
    offset += 2
  }
  for (const name of names) {
    // The length comes first, so that no two lists of names give the same bytes.
    view.setUint16(offset, name.length, true)
    bytes.set(name, offset + 2)
    offset += 2 + name.length
  }
  for (const owner of layout.owners) {
    view.setUint16(offset, owner, true)
    offset += 2
  }
  return fingerprint(bytes)
}
