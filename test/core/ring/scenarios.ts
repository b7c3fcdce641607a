// Meshes that change, for the ring's property tests, and what to measure between two layouts.

import * as fc from 'fast-check'
import { peerId } from '../../../src/base/ids.ts'
import type { Random } from '../../../src/base/random.ts'
import { type Layout, loadsOf, type RingMember } from '../../../src/core/ring/layout.ts'

/** A change of members, by numbers that are taken modulo whatever is there to choose from. */
export type Step = {
  readonly kind: 'join' | 'leave' | 'weight' | 'drain' | 'relabel' | 'zone-lost' | 'bulk'
  readonly who: number
  readonly weight: number
  readonly zone: number
}

const weights: fc.Arbitrary<number> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(1, 2, 4, 8) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 20 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 100, 800) },
  { weight: 1, arbitrary: fc.integer({ min: 1, max: 65_535 }) }
)

export const steps: fc.Arbitrary<Step> = fc.record({
  kind: fc.oneof(
    { weight: 5, arbitrary: fc.constant('join' as const) },
    { weight: 3, arbitrary: fc.constant('leave' as const) },
    { weight: 3, arbitrary: fc.constant('weight' as const) },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        'drain' as const,
        'relabel' as const,
        'zone-lost' as const,
        'bulk' as const
      )
    }
  ),
  who: fc.nat(1_000_000),
  weight: weights,
  zone: fc.nat(6)
})

/** Members for a start; ids are numbered, `next` is the first free number. */
export type Mesh = { readonly members: readonly RingMember[]; readonly next: number }

export const EMPTY_MESH: Mesh = { members: [], next: 0 }

export function member(number: number, weight: number, zone: string): RingMember {
  return { id: peerId(`peer${String(number).padStart(6, '0')}`), weight, zone }
}

/** Ids are spread, so that a newcomer isn't always the last one. */
function scattered(number: number): number {
  return (number * 7_919) % 1_000_003
}

/** `count` members of weight 1, 2, 4 or 8, over `zones` zones. */
export function mixedMesh(random: Random, count: number, zones: number): Mesh {
  let mesh = EMPTY_MESH
  for (let made = 0; made < count; made++) {
    mesh = join(mesh, 2 ** random.below(4), random.below(zones))
  }
  return mesh
}

function join(mesh: Mesh, weight: number, zone: number): Mesh {
  const joined = member(scattered(mesh.next), weight, `z${zone}`)
  return { members: [...mesh.members, joined], next: mesh.next + 1 }
}

/** @returns the mesh after the step; `zones` bounds how many zones there are. */
export function change(mesh: Mesh, step: Step, zones: number): Mesh {
  const { members } = mesh
  const zone = step.zone % zones
  if (step.kind === 'join' || members.length === 0) return join(mesh, step.weight, zone)
  const chosen = members[step.who % members.length] as RingMember
  const replace = (by: Partial<RingMember>): Mesh => ({
    ...mesh,
    members: members.map((held) => (held === chosen ? { ...held, ...by } : held))
  })
  switch (step.kind) {
    case 'leave':
      return { ...mesh, members: members.filter((held) => held !== chosen) }
    case 'weight':
      return replace({ weight: step.weight })
    case 'drain':
      return replace({ weight: 0 })
    case 'relabel':
      return replace({ zone: `z${zone}` })
    case 'zone-lost':
      return { ...mesh, members: members.filter((held) => held.zone !== chosen.zone) }
    case 'bulk': {
      let changed: Mesh = {
        ...mesh,
        members: members.filter((_, index) => index % 4 !== step.who % 4)
      }
      for (let made = 0; made < 3; made++)
        changed = join(changed, step.weight, (zone + made) % zones)
      return changed
    }
  }
}

/** A step drawn from seeded randomness, for long runs of a fixed course. */
export function randomStep(random: Random, kinds: readonly Step['kind'][]): Step {
  return {
    kind: kinds[random.below(kinds.length)] as Step['kind'],
    who: random.below(1_000_000),
    weight: 2 ** random.below(4),
    zone: random.below(7)
  }
}

/** @returns the replicas of `next` that have to be copied. */
export function movesBetween(previous: Layout, next: Layout): number {
  const before = next.members.map(({ id }) => previous.members.findIndex((held) => held.id === id))
  let moves = 0
  for (const [slot, owner] of next.owners.entries()) {
    const from = slot - (slot % next.replication)
    const row = previous.owners.subarray(from, from + next.replication)
    const index = before[owner]
    if (index !== undefined && !row.includes(index)) moves++
  }
  return moves
}

/** @returns by how much loads grow, summed: no layout with the loads of `next` moves less. */
export function netChange(previous: Layout, next: Layout): number {
  const before = loadsOf(previous)
  let sum = 0
  for (const [index, load] of loadsOf(next).entries()) {
    const held = previous.members.findIndex(({ id }) => id === next.members[index]?.id)
    sum += Math.max(0, load - (held < 0 ? 0 : (before[held] as number)))
  }
  return sum
}

export function countSets(layout: Layout): number {
  const sets = new Set<string>()
  for (let slot = 0; slot < layout.owners.length; slot += layout.replication) {
    sets.add(layout.owners.subarray(slot, slot + layout.replication).join())
  }
  return sets.size
}
