// Questions and orders between nodes: protocols/node.

import { peerId, type PeerId } from '../base/ids.ts'
import {
  RecoverReplySchema,
  ReplicasReplySchema,
  RequestSchema,
  ScrubReplySchema,
  StatusReplySchema,
  type Replica,
  type Request
} from './generated/node/v1_pb.ts'
import { decode, encode, malformed, toSafeInteger } from './proto.ts'
import { GROUP_MAX } from './shard-frame.ts'

const GROUP_MEMBERS_MAX = 64
const TEXT_LENGTH_MAX = 256

export type NodeRequest =
  | { kind: 'status' }
  | { kind: 'scrub'; bytesPerSecond: number | undefined }
  | { kind: 'replicas' }
  | RecoverOrder

/**
 * Found a new generation of a group; `generation` is the one that is given up, and `newest`, where it
 * is another one, the newest that anybody has heard of.
 */
export type RecoverOrder = { kind: 'recover'; group: number; generation: number; newest?: number }

export type ScrubReply = {
  readonly checked: number
  readonly bytes: number
  readonly damaged: number
  readonly mended: number
}

export type NodeStatusReply = {
  readonly usedBytes: number
  readonly blockCount: number
  /** Blocks held here of which some owner is known to lack its copy. */
  readonly underReplicated: number
  /** Blocks that this node should have and that nobody could give it. */
  readonly missing: number
  readonly layoutHash: string
  readonly layoutVersion: number
  /** Blocks still to be handed over or copied by this node. */
  readonly pendingMoves: number
  readonly agent: string
  /** Groups that this node leads; undefined when the node doesn't count them. */
  readonly ledGroups?: number | undefined
}

/** What a node has of one group. */
export type GroupReplica = {
  readonly group: number
  readonly generation: number
  readonly replica: number
  readonly isLeader: boolean
  /** Where the leader is, as far as this replica knows. */
  readonly leader?: PeerId | undefined
  readonly term: number
  readonly commit: number
  readonly applied: number
  /** Of the last entry in its log. */
  readonly lastIndex: number
  readonly lastTerm: number
  readonly members: readonly GroupMemberRole[]
  /** Why it serves nothing now, for people; empty when it does. */
  readonly problem: string
}

type GroupMemberRole = {
  readonly peer: PeerId
  readonly replica: number
  readonly isVoter: boolean
  /** While members change in two steps: a voter of those before. */
  readonly isOutgoingVoter: boolean
}

export type ReplicasReply = {
  readonly replicas: readonly GroupReplica[]
  /** Why the node can't keep any group, for people; empty when it can. */
  readonly failure: string
}

export function encodeNodeStatus(status: NodeStatusReply): Uint8Array {
  return encode(StatusReplySchema, {
    usedBytes: BigInt(status.usedBytes),
    blockCount: BigInt(status.blockCount),
    underReplicated: BigInt(status.underReplicated),
    missing: BigInt(status.missing),
    layoutHash: status.layoutHash,
    layoutVersion: BigInt(status.layoutVersion),
    pendingMoves: BigInt(status.pendingMoves),
    agent: status.agent,
    ...(status.ledGroups === undefined ? {} : { ledGroups: BigInt(status.ledGroups) })
  })
}

/** @throws invalid-data */
export function decodeNodeStatus(bytes: Uint8Array): NodeStatusReply {
  const message = decode(StatusReplySchema, bytes)
  const integer = (value: bigint): number => toSafeInteger(value, 'node status')
  return {
    usedBytes: integer(message.usedBytes),
    blockCount: integer(message.blockCount),
    underReplicated: integer(message.underReplicated),
    missing: integer(message.missing),
    layoutHash: message.layoutHash.slice(0, 128),
    layoutVersion: integer(message.layoutVersion),
    pendingMoves: integer(message.pendingMoves),
    agent: message.agent.slice(0, 64),
    ...(message.ledGroups === undefined ? {} : { ledGroups: integer(message.ledGroups) })
  }
}

export function encodeNodeRequest(request: NodeRequest): Uint8Array {
  const operation = { case: request.kind, value: fieldsOf(request) }
  return encode(RequestSchema, { operation: operation as unknown as Request['operation'] })
}

function fieldsOf(request: NodeRequest): Readonly<Record<string, bigint>> {
  if (request.kind === 'scrub') return { bytesPerSecond: BigInt(request.bytesPerSecond ?? 0) }
  if (request.kind !== 'recover') return {}
  const { group, generation, newest = 0 } = request
  return { group: BigInt(group), generation: BigInt(generation), newest: BigInt(newest) }
}

/** @throws invalid-data */
export function decodeNodeRequest(bytes: Uint8Array): NodeRequest {
  const { operation } = decode(RequestSchema, bytes)
  switch (operation.case) {
    case 'status':
      return { kind: 'status' }
    case 'scrub': {
      const bytesPerSecond = toSafeInteger(operation.value.bytesPerSecond, 'rate')
      return { kind: 'scrub', bytesPerSecond: bytesPerSecond === 0 ? undefined : bytesPerSecond }
    }
    case 'replicas':
      return { kind: 'replicas' }
    case 'recover': {
      const { value } = operation
      const newest = toSafeInteger(value.newest, 'generation')
      return {
        kind: 'recover',
        group: groupOf(value.group),
        generation: toSafeInteger(value.generation, 'generation'),
        ...(newest === 0 ? {} : { newest })
      }
    }
    case undefined:
      throw malformed('node request', 'it names no operation that is known here')
  }
}

export function encodeScrubReply(reply: ScrubReply): Uint8Array {
  return encode(ScrubReplySchema, {
    checked: BigInt(reply.checked),
    bytes: BigInt(reply.bytes),
    damaged: BigInt(reply.damaged),
    mended: BigInt(reply.mended)
  })
}

/** @throws invalid-data */
export function decodeScrubReply(bytes: Uint8Array): ScrubReply {
  const message = decode(ScrubReplySchema, bytes)
  const integer = (value: bigint): number => toSafeInteger(value, 'scrub reply')
  return {
    checked: integer(message.checked),
    bytes: integer(message.bytes),
    damaged: integer(message.damaged),
    mended: integer(message.mended)
  }
}

export function encodeReplicas({ replicas, failure }: ReplicasReply): Uint8Array {
  return encode(ReplicasReplySchema, {
    failure: failure.slice(0, TEXT_LENGTH_MAX),
    replicas: replicas.map((replica) => ({
      group: BigInt(replica.group),
      generation: BigInt(replica.generation),
      replica: BigInt(replica.replica),
      isLeader: replica.isLeader,
      leader: replica.leader ?? '',
      term: BigInt(replica.term),
      commit: BigInt(replica.commit),
      applied: BigInt(replica.applied),
      lastIndex: BigInt(replica.lastIndex),
      lastTerm: BigInt(replica.lastTerm),
      members: replica.members
        .slice(0, GROUP_MEMBERS_MAX)
        .map((member) => ({ ...member, replica: BigInt(member.replica) })),
      problem: replica.problem.slice(0, TEXT_LENGTH_MAX)
    }))
  })
}

/** @throws invalid-data, invalid-argument */
export function decodeReplicas(bytes: Uint8Array): ReplicasReply {
  const { replicas, failure } = decode(ReplicasReplySchema, bytes)
  if (replicas.length > GROUP_MAX + 1) {
    throw malformed('replicas reply', `it has ${replicas.length} of at most ${GROUP_MAX + 1}`)
  }
  return { replicas: replicas.map(replicaOf), failure: failure.slice(0, TEXT_LENGTH_MAX) }
}

export function encodeRecovered(generation: number): Uint8Array {
  return encode(RecoverReplySchema, { generation: BigInt(generation) })
}

/** @returns the new generation. @throws invalid-data */
export function decodeRecovered(bytes: Uint8Array): number {
  return toSafeInteger(decode(RecoverReplySchema, bytes).generation, 'generation')
}

function replicaOf(message: Replica): GroupReplica {
  const integer = (value: bigint): number => toSafeInteger(value, 'replica')
  const { leader, isLeader, members, problem } = message
  if (members.length > GROUP_MEMBERS_MAX) {
    throw malformed('replicas reply', `a group has ${members.length} members`)
  }
  return {
    group: groupOf(message.group),
    generation: integer(message.generation),
    replica: integer(message.replica),
    isLeader,
    ...(leader === '' ? {} : { leader: peerId(leader) }),
    term: integer(message.term),
    commit: integer(message.commit),
    applied: integer(message.applied),
    lastIndex: integer(message.lastIndex),
    lastTerm: integer(message.lastTerm),
    members: members.map(({ peer, replica, isVoter, isOutgoingVoter }) => {
      return { peer: peerId(peer), replica: integer(replica), isVoter, isOutgoingVoter }
    }),
    problem: problem.slice(0, TEXT_LENGTH_MAX)
  }
}

function groupOf(value: bigint): number {
  const group = toSafeInteger(value, 'group')
  if (group > GROUP_MAX) throw malformed('node message', `there is no group ${group}`)
  return group
}
