// How many replicas each member holds, as whole numbers: the fair share rounded so that members keep
// what they hold now where that stays within 1.5 % of fair, and so that no zone crosses a whole
// number of rings, which would cost some arc a zone.

import { assert } from '../../base/assert.ts'
import type { Roster } from './roster.ts'
import { REPLICA_UNITS, type ShareClass, sharesOf } from './shares.ts'

/** With fewer arcs a share is so small that 1.5 % of it is no whole replica. */
const TOLERANT_ARC_COUNT_MIN = 1_024

export type Quotas = {
  /** Replicas each member is to hold, in 0..arcCount. */
  readonly quota: Int32Array
  /** Replicas of one arc that each zone holds at least … */
  readonly zoneMin: Int32Array
  /** … and at most. They differ by one, or not at all. */
  readonly zoneMax: Int32Array
  /** What each member should hold, in 1/2^20 replica. */
  readonly fair: Float64Array
}

type Rounding = {
  readonly roster: Roster
  readonly held: Int32Array
  readonly quota: Int32Array
  readonly zoneTotal: Int32Array
  /** A zone's total stays within these. */
  readonly zoneFloor: Int32Array
  readonly zoneCeiling: Int32Array
  readonly passes: readonly Pass[]
}

/** Who may get one replica more, and up to which quota. */
type Pass = { readonly holdersOnly: boolean; readonly limit: Int32Array }

/** Gives `count` more replicas to `peers`, one by one, each where the quota per weight stays least. */
function handOut(rounding: Rounding, peers: readonly number[], count: number): void {
  const { quota, held, zoneTotal, zoneCeiling, roster } = rounding
  const { weights, zoneOf } = roster
  let left = count
  for (const { holdersOnly, limit } of rounding.passes) {
    while (left > 0) {
      let best = -1
      for (const peer of peers) {
        const next = (quota[peer] as number) + 1
        if (next > (limit[peer] as number)) continue
        if (holdersOnly && (held[peer] as number) < next) continue
        const zone = zoneOf[peer] as number
        if ((zoneTotal[zone] as number) >= (zoneCeiling[zone] as number)) continue
        if (
          best < 0 ||
          next * (weights[best] as number) <
            ((quota[best] as number) + 1) * (weights[peer] as number)
        ) {
          best = peer
        }
      }
      if (best < 0) break
      quota[best] = (quota[best] as number) + 1
      const zone = zoneOf[best] as number
      zoneTotal[zone] = (zoneTotal[zone] as number) + 1
      left--
    }
  }
  assert(left === 0, 'the rounded-up shares of a class cover its total')
}

function roundClass(rounding: Rounding, { zones, total }: ShareClass): void {
  const { roster, zoneTotal, zoneFloor } = rounding
  let left = total
  for (const zone of zones) left -= zoneTotal[zone] as number
  const peers: number[] = []
  for (const zone of zones) {
    const own = roster.peersOf[zone] as readonly number[]
    for (const peer of own) peers.push(peer)
    const missing = (zoneFloor[zone] as number) - (zoneTotal[zone] as number)
    if (missing <= 0) continue
    handOut(rounding, own, missing)
    left -= missing
  }
  peers.sort((a, b) => a - b)
  handOut(rounding, peers, left)
}

function passesFor(fair: Float64Array, arcCount: number): Pass[] {
  const rounded = Int32Array.from(fair, (units) => Math.ceil(units / REPLICA_UNITS))
  if (arcCount < TOLERANT_ARC_COUNT_MIN) {
    return [
      { holdersOnly: true, limit: rounded },
      { holdersOnly: false, limit: rounded }
    ]
  }
  const tolerant = Int32Array.from(fair, (units) =>
    Math.min(arcCount, Math.floor((units + 15 * Math.floor(units / 1_000)) / REPLICA_UNITS))
  )
  return [
    { holdersOnly: true, limit: tolerant },
    { holdersOnly: false, limit: tolerant },
    { holdersOnly: false, limit: rounded }
  ]
}

/**
 * @param held replicas each member holds now, in the order of the roster.
 */
export function quotasOf(roster: Roster, arcCount: number, held: Int32Array): Quotas {
  const { fair, classes, wholeRings } = sharesOf(roster, arcCount)
  const quota = Int32Array.from(fair, (units) => Math.floor(units / REPLICA_UNITS))
  const zoneTotal = new Int32Array(roster.zones.length)
  for (const [peer, replicas] of quota.entries()) {
    const zone = roster.zoneOf[peer] as number
    if (zone >= 0) zoneTotal[zone] = (zoneTotal[zone] as number) + replicas
  }
  const rounding: Rounding = {
    roster,
    held,
    quota,
    zoneTotal,
    zoneFloor: wholeRings.map((rings) => rings * arcCount),
    zoneCeiling: wholeRings.map((rings) => (rings + 1) * arcCount),
    passes: passesFor(fair, arcCount)
  }
  for (const shareClass of classes) roundClass(rounding, shareClass)
  return {
    quota,
    fair,
    zoneMin: zoneTotal.map((total) => Math.floor(total / arcCount)),
    zoneMax: zoneTotal.map((total) => Math.ceil(total / arcCount))
  }
}
