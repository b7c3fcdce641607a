// Whether the mesh is as it should be when nothing is broken any more.

import { placesOf } from '../../../src/core/groups/committed-layout.ts'
import type { MeshNode } from './node.ts'
import type { MeshWorld } from './world.ts'

/** @returns what isn't as it should be, in words; undefined when all is well */
export function unsettled(world: MeshWorld): string | undefined {
  const wrong = layoutProblem(world)
  if (wrong !== undefined) return wrong
  for (let group = 0; group <= world.plan.shardCount; group++) {
    const problem = groupProblem(world, group)
    if (problem !== undefined) return `group ${group}: ${problem}`
  }
  return undefined
}

/** Every member knows a layout of all members, as their disks are now. */
function layoutProblem(world: MeshWorld): string | undefined {
  const wanted = world.news().members.map(({ id, store }) => `${id} ${store}`)
  for (const node of world.members) {
    const layout = node.running?.layer.layouts.current()
    if (layout === undefined) return `${node.name} knows no layout`
    const present = layout.members.map(({ id, store }) => `${id} ${store}`)
    if (wanted.toSorted().join() !== present.toSorted().join()) {
      return `${node.name} has layout ${layout.version} with other members`
    }
  }
  return undefined
}

function groupProblem(world: MeshWorld, group: number): string | undefined {
  const replicas = world.running.flatMap((node) => {
    const replica = node.running?.layer.host.replica(group)
    return replica === undefined ? [] : [{ node, replica }]
  })
  const leaders = replicas.filter(({ replica }) => replica.isReadyToLead)
  const [leader] = leaders
  if (leader === undefined) return 'nobody leads'
  if (leaders.length > 1) return 'two lead'
  const { configState, roster, index } = leader.replica.applied
  const { voters, votersOutgoing, learners, learnersNext } = configState
  if (votersOutgoing.length > 0) return 'its change of members has not ended'
  if (learners.length + learnersNext.length > 0) return `has learners ${learners.join()}`
  const layout = leader.node.running?.layer.layouts.current()
  const wanted = layout === undefined ? [] : placesOf(layout, group).map(({ store }) => store)
  const present = roster.members.map(({ store }) => store)
  if (wanted.toSorted().join() !== present.toSorted().join() || voters.length !== wanted.length) {
    const names = namesOf(world, present).join()
    return `its voters are at ${names}, and should be at ${namesOf(world, wanted).join()}`
  }
  for (const { node, replica } of replicas) {
    if (!voters.includes(replica.id)) return `${node.name} still has its replica ${replica.id}`
    if (replica.applied.index < index) return `${node.name} has applied ${replica.applied.index}`
  }
  return replicas.length === voters.length ? undefined : 'a replica is missing'
}

function namesOf(world: MeshWorld, stores: readonly string[]): string[] {
  return stores.map(
    (store) => world.nodes.find((node) => node.store === store)?.name ?? 'a lost disk'
  )
}

/** Whether a node that left has nothing any more. */
export function isEmptied(node: MeshNode): boolean {
  return node.running?.layer.isEmpty === true
}
