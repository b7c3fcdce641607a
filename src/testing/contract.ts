// What a test mesh is, on whatever it runs.

import type { BlocksOptions } from '../blocks/blocks.ts'
import type { MembershipConfig } from '../core/membership/config.ts'
import type { MemoryFaults } from '../net/memory/memory-world.ts'
import { layoutMembers } from '../mesh/placement.ts'
import type { Node } from '../node/node.ts'
import type { Clock } from '../base/clock.ts'
import type { SimulatedWork } from './simulated-peer.ts'

export type TestMeshOptions = {
  /** How many peers to start with, 1 to 1 000 (10 on real sockets). */
  peers: number
  /** Decides everything that is random; 1 unless given. */
  seed?: number
  /** `memory` (virtual time) unless given; `tcp`: real sockets and disks on this machine. */
  transport?: 'memory' | 'tcp'
  /** Shards of a simulated mesh; 4 unless given. */
  shards?: number
  /** Bytes that each peer may store; 1 GiB unless given. */
  capacityBytes?: number
  /** The zone of each peer, by its index; one zone unless given. */
  zoneOf?: (index: number) => string
  /** How long a peer may be away until its blocks move, milliseconds; 15 min unless given. */
  graceMs?: number
  /** Loss, delay and the like of the simulated network. */
  faults?: Partial<MemoryFaults>
  membership?: Partial<MembershipConfig>
  blocks?: Partial<BlocksOptions>
  /** What each simulated peer does for others, by its index. */
  workOf?: (index: number) => SimulatedWork
  /** The clock of a simulated peer after each start, by its index; that of the mesh unless given. */
  clockOf?: (index: number, clock: Clock) => Clock
}

export type TestMesh = AsyncDisposable & {
  /** By index; a node that was killed stays in its place until it is restarted. */
  readonly nodes: readonly Node[]
  /** Switches a node off without a word. */
  kill(index: number): Promise<void>
  /** Starts it again, with its disk, on another address. */
  restart(index: number): Promise<Node>
  /** Adds a peer that joins. @returns its index */
  add(): Promise<number>
  /** Only peers of one group reach each other; a peer in no group is alone. */
  partition(groups: readonly (readonly number[])[]): void
  /** Ends all partitions. */
  heal(): void
  /** Waits until all that run agree on the members and the layout, and no block has to be moved. */
  settle(): Promise<void>
  /** Lets time pass, milliseconds. */
  advance(durationMs: number): Promise<void>
  stop(): Promise<void>
}

/** @returns whether nodes agree on who is here and who owns what, and nothing has to be moved now. */
export function isSettled(nodes: readonly Node[]): boolean {
  const running = nodes.map((node) => node.peerId)
  const [first] = nodes
  return nodes.every((node) => {
    const agrees = node.mesh.layout().hash === first?.mesh.layout().hash
    const sees = running.every((peer) => {
      const member = node.mesh.member(peer)
      return member?.state === 'alive'
    })
    const expected = node.mesh
      .others()
      .every((peer) => running.includes(peer) || !node.mesh.isReachable(peer))
    const wanted = layoutMembers(node.mesh.members()).map(({ id }) => id)
    const placed = new Set(node.mesh.layout().layout.members.map(({ id }) => id))
    const isPlaced = wanted.length === placed.size && wanted.every((id) => placed.has(id))
    const isStill = node.shardLayer.isSettled && node.blocks.isQuiet()
    return agrees && sees && expected && isPlaced && isStill
  })
}
