// How the mesh is, as a node sees it: what `atoll status` prints.

import type { MeshId, PeerId } from '../base/ids.ts'
import type { Member, MemberState } from '../core/membership/member.ts'

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
  /** How many members may fail at once so that every acknowledged block stays readable and writable. */
  failuresTolerated: number
}

/** @param usedBytes undefined when the member couldn't be asked */
export function memberStatus(member: Member, usedBytes: number | undefined): MemberStatus {
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
export function failuresTolerated(members: readonly Member[], replication: number): number {
  const owners = Math.min(
    members.filter(({ record }) => record.status === 'up').length,
    replication
  )
  return Math.max(0, Math.floor((owners - 1) / 2))
}
