// What tests of groups that are founded anew do: write, read, and look at what is left.

import { fromUtf8, utf8 } from '../../src/base/bytes.ts'
import { TXN } from '../../src/core/machine/kv.ts'
import { GET } from '../../src/core/machine/own-queries.ts'
import { AREAS } from '../../src/core/machine/state-keys.ts'
import { MachineReads } from '../../src/core/machine/reads.ts'
import { survivorsOf } from '../../src/shard/refound.ts'
import { reportReplicas } from '../../src/shard/replica-report.ts'
import { decodeReplicaNote } from '../../src/shard/replica-note.ts'
import type { ShardLayer } from '../../src/shard/shard-layer.ts'
import type { GroupReplica } from '../../src/wire/node.ts'
import { GROUP_MAX } from '../../src/wire/shard-frame.ts'
import { ShardMesh, type ShardPeer } from './shard-mesh.ts'

export const SPACES = 8

export async function put(
  layer: ShardLayer,
  space: string,
  value: string,
  timeoutMs = 10_000
): Promise<void> {
  const part = { kind: 'put', key: utf8(`${space}/x`), value: utf8(value), lease: 0 } as const
  const txn = { compares: [], success: [part], failure: [] }
  await layer.router.execute({ space: utf8(space) }, TXN, txn, { timeoutMs })
}

export async function get(layer: ShardLayer, space: string): Promise<string | undefined> {
  const asked = { area: AREAS.kv, key: utf8(`${space}/x`), revision: undefined }
  const { result } = await layer.router.query({ space: utf8(space) }, GET, asked)
  return result.entry === undefined ? undefined : fromUtf8(result.entry.value)
}

/** Five nodes with a value in each of some spaces. */
export async function started(seed: number): Promise<ShardMesh> {
  const mesh = new ShardMesh({ seed })
  for (let count = 0; count < 5; count++) await mesh.add()
  await mesh.until(() => mesh.isSettled())
  const [first] = mesh.peers as [ShardPeer]
  for (let space = 0; space < SPACES; space++)
    await mesh.clock.run(put(first.layer, `s${space}`, '1'))
  return mesh
}

export type Left = { readonly peer: ShardPeer; readonly own: GroupReplica }

/** What those that run have of each group. */
export function leftOf(mesh: ShardMesh, side: readonly ShardPeer[] = mesh.peers): Left[][] {
  const found = side
    .filter(({ isRunning }) => isRunning)
    .flatMap((peer) => reportReplicas(peer.layer.host, mesh.count).map((own) => ({ peer, own })))
  const groups = Array.from({ length: mesh.count + 1 }, (_, group) => group)
  return groups.map((group) => found.filter(({ own }) => own.group === group))
}

/** Groups that nobody leads, at these nodes, and what is left of them, best first. */
export function leaderless(
  mesh: ShardMesh,
  side: readonly ShardPeer[] = mesh.peers
): { group: number; survivors: Left[]; newest: number }[] {
  return leftOf(mesh, side).flatMap((found, group) => {
    if (found.some(({ own }) => own.leader !== undefined)) return []
    const newest = Math.max(0, ...found.map(({ own }) => own.generation))
    return [{ group, survivors: survivorsOf(found), newest }]
  })
}

/** What a node has set aside of a value: by group, and the generation that it is of. */
export function keptOf(
  { stateStore }: ShardPeer,
  group: number,
  space: string
): Map<number, string | undefined> {
  const numbers = stateStore.groups().filter((number) => number > GROUP_MAX)
  const kept = numbers.filter((number) => number % (GROUP_MAX + 1) === group)
  return new Map(
    kept.map((number) => {
      const state = stateStore.group(number)
      const { roster } = decodeReplicaNote(state.note() as Uint8Array)
      const { entry } = new MachineReads(state).get({ area: AREAS.kv, key: utf8(`${space}/x`) })
      return [roster.generation, entry === undefined ? undefined : fromUtf8(entry.value)]
    })
  )
}

/** What a node has of a value by itself, whatever the others have. */
export function hereOf(peer: ShardPeer, group: number, space: string): string | undefined {
  const reads = peer.layer.host.replica(group)?.applied.machine.reads
  const value = reads?.get({ area: AREAS.kv, key: utf8(`${space}/x`) }).entry?.value
  return value === undefined ? undefined : fromUtf8(value)
}
