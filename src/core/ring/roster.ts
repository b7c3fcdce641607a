// The members of a ring, checked, sorted and grouped by zone: the only form placement works on, so
// that the order in which a caller lists them can't matter.

import { MeshError } from '../../base/errors.ts'
import { compareText } from '../../base/ids.ts'
import { MEMBER_COUNT_MAX, WEIGHT_MAX, ZONE_LENGTH_MAX } from '../../base/limits.ts'
import type { RingMember, RingOptions } from './layout.ts'

/** More arcs than this would take sums past what a double holds exactly, and balance no better. */
export const ARC_COUNT_MAX = 16_384
/** Copies beyond this cost more than they protect. */
const REPLICATION_MAX = 7

export type Roster = {
  /** Sorted by id; all arrays below follow this order. */
  readonly members: readonly RingMember[]
  readonly weights: Int32Array
  /** Index into `zones`, or -1 for a member of weight 0, which owns nothing. */
  readonly zoneOf: Int32Array
  /** Names of the zones that have an active member, sorted. */
  readonly zones: readonly string[]
  /** The active members of each zone, ascending. */
  readonly peersOf: readonly (readonly number[])[]
  /** Active members. */
  readonly activeCount: number
  /** Owners of each arc: the replication, or all active members when they are fewer. */
  readonly copies: number
}

/** @throws invalid-argument unless both are integers within their range. */
function checkOptions({ arcCount, replication }: RingOptions): void {
  if (!Number.isInteger(arcCount) || arcCount < 1 || arcCount > ARC_COUNT_MAX) {
    throw new MeshError('invalid-argument', `arcCount ${arcCount} is not in 1..${ARC_COUNT_MAX}`)
  }
  if (!Number.isInteger(replication) || replication < 1 || replication > REPLICATION_MAX) {
    throw new MeshError(
      'invalid-argument',
      `replication ${replication} is not in 1..${REPLICATION_MAX}`
    )
  }
}

function checkMember({ id, weight, zone }: RingMember): void {
  if (!Number.isInteger(weight) || weight < 0 || weight > WEIGHT_MAX) {
    throw new MeshError(
      'invalid-argument',
      `Weight ${weight} of ${id} is not an integer in 0..${WEIGHT_MAX}`
    )
  }
  // Half a surrogate pair has no bytes of its own, so two such names would share a hash.
  if (zone.length > ZONE_LENGTH_MAX || !zone.isWellFormed()) {
    throw new MeshError(
      'invalid-argument',
      `The zone of ${id} is not text of at most ${ZONE_LENGTH_MAX} characters`
    )
  }
}

/** @throws invalid-argument on a bad weight or zone, an id listed twice, or too many members. */
export function createRoster(members: readonly RingMember[], options: RingOptions): Roster {
  checkOptions(options)
  if (members.length > MEMBER_COUNT_MAX) {
    throw new MeshError(
      'invalid-argument',
      `${members.length} members are more than the limit of ${MEMBER_COUNT_MAX}`
    )
  }
  const sorted = members
    .map(({ id, weight, zone }) => ({ id, weight, zone }))
    .toSorted((a, b) => compareText(a.id, b.id))
  for (const [index, member] of sorted.entries()) {
    checkMember(member)
    if (index > 0 && sorted[index - 1]?.id === member.id) {
      throw new MeshError('invalid-argument', `Member ${member.id} is listed twice`)
    }
  }
  return groupByZone(sorted, options.replication)
}

/** @param sorted by id, and checked. */
export function groupByZone(sorted: readonly RingMember[], replication: number): Roster {
  const active = sorted.filter(({ weight }) => weight > 0)
  const zones = [...new Set(active.map(({ zone }) => zone))].toSorted(compareText)
  const indexOfZone = new Map(zones.map((zone, index) => [zone, index]))
  const peersOf = zones.map((): number[] => [])
  const zoneOf = new Int32Array(sorted.length).fill(-1)
  for (const [index, { weight, zone }] of sorted.entries()) {
    if (weight === 0) continue
    const zoneIndex = indexOfZone.get(zone) as number
    zoneOf[index] = zoneIndex
    peersOf[zoneIndex]?.push(index)
  }
  return {
    members: sorted,
    weights: Int32Array.from(sorted, ({ weight }) => weight),
    zoneOf,
    zones,
    peersOf,
    activeCount: active.length,
    copies: Math.min(replication, active.length)
  }
}
