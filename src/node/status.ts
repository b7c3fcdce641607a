// How the mesh is, as a node sees it: what `atoll status` prints.

import type { MeshId, PeerId } from '../base/ids.ts'
import type { Blocks } from '../blocks/blocks.ts'
import { isTerminal, type Member, type MemberState } from '../core/membership/member.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { ShardLayer } from '../shard/shard-layer.ts'
import type { NodeStatusReply } from '../wire/node.ts'
import type { Colleagues } from './colleagues.ts'

export type MemberStatus = {
  peerId: PeerId
  name: string
  zone: string
  /** `leaving` while a member that still answers hands its blocks over. */
  state: MemberState | 'leaving'
  capacityBytes: number
  /** Undefined while it can't be asked. */
  usedBytes: number | undefined
  addresses: readonly string[]
  labels: Readonly<Record<string, string>>
}

export type NodeStatus = {
  peerId: PeerId
  meshId: MeshId
  name: string
  addresses: readonly string[]
  /** Members that haven't left, this node included. */
  members: MemberStatus[]
  layout: { version: number; hash: string }
  /** `count` and `bytes` of this node; the rest summed over the members that answered. */
  blocks: {
    count: number
    bytes: number
    underReplicated: number
    missing: number
    pendingMoves: number
  }
  /** Groups that agree: the shards and the system group. */
  shards: {
    count: number
    /** How many have a leader, of which the members that answered know. */
    led: number
    ledHere: number
    /** Why this node can't keep any, once it is so. */
    failure: string | undefined
  }
  /** How many members may fail at once so that every acknowledged block stays readable and writable. */
  failuresTolerated: number
}

/** Members that don't answer within 1.5 s have no usage. */
export async function statusOf(parts: {
  mesh: Mesh
  blocks: Blocks
  shardLayer: ShardLayer
  colleagues: Colleagues
  addresses: readonly string[]
}): Promise<NodeStatus> {
  const { mesh, blocks, shardLayer, colleagues, addresses } = parts
  const present = mesh.members().filter(({ state }) => !isTerminal(state))
  const replies = await Promise.all(
    present.map((member) => colleagues.statusOf(member.record.peerId))
  )
  const own = blocks.status()
  const sum = (of: (reply: NodeStatusReply) => number): number =>
    replies.reduce((total, reply) => total + (reply === undefined ? 0 : of(reply)), 0)
  const { version, hash } = mesh.layout()
  const groupCount = shardLayer.router.count + 1
  return {
    peerId: mesh.self,
    meshId: mesh.founding.meshId,
    name: mesh.selfRecord().name,
    addresses,
    members: present.map((member, index) => memberStatus(member, replies[index]?.usedBytes)),
    layout: { version, hash },
    blocks: {
      count: own.count,
      bytes: own.bytes,
      underReplicated: sum((reply) => reply.underReplicated),
      missing: sum((reply) => reply.missing),
      pendingMoves: sum((reply) => reply.pendingMoves)
    },
    shards: {
      count: groupCount,
      // One that has just lost a leadership may not know it yet.
      led: Math.min(
        groupCount,
        sum((reply) => reply.ledGroups ?? 0)
      ),
      ledHere: shardLayer.ledCount,
      failure: shardLayer.host.failure()?.message
    },
    failuresTolerated: failuresTolerated(present, mesh.founding.genesis.replication)
  }
}

/** @param usedBytes undefined when the member couldn't be asked */
function memberStatus(member: Member, usedBytes: number | undefined): MemberStatus {
  const { record, state } = member
  return {
    peerId: record.peerId,
    name: record.name,
    zone: record.zone,
    state: state === 'alive' && record.status === 'leaving' ? 'leaving' : state,
    capacityBytes: record.capacityBytes,
    usedBytes,
    addresses: record.addresses,
    labels: Object.fromEntries(record.labels)
  }
}

/** With n members a block has min(n, RF) owners, and a majority of them must be there. */
function failuresTolerated(members: readonly Member[], replication: number): number {
  const owners = Math.min(
    members.filter(({ record }) => record.status === 'up').length,
    replication
  )
  return Math.max(0, Math.floor((owners - 1) / 2))
}
