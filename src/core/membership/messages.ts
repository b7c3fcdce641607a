// What members say to each other. The protocol's document is protocols/membership/README.md.

import type { PeerId } from '../../base/ids.ts'
import { MEMBER_COUNT_MAX } from '../../base/limits.ts'
import type { MemberUpdate } from './member.ts'

/** Updates in any message but a table exchange; a longer list is refused whole. */
export const UPDATES_PER_MESSAGE_MAX = 64
/** Members that are in the mesh, and tombstones: what one node may hold, so what one may send. */
export const TOMBSTONE_COUNT_MAX: number = 2 * MEMBER_COUNT_MAX
export const UPDATES_PER_SYNC_MAX: number = MEMBER_COUNT_MAX + TOMBSTONE_COUNT_MAX
/** Sequence numbers count from 0 and start again below this: they are 32 bits on the wire. */
export const SEQUENCE_LIMIT: number = 2 ** 32

/** News that rides along: the recipient's own accusation first, then the least told. */
type Piggyback = { readonly updates: readonly MemberUpdate[] }

/** "Do you answer?" Answered with an `ack` of the same `seq`. */
export type PingMessage = Piggyback & { readonly kind: 'ping'; readonly seq: number }

/** Answers a `ping`, or passes on that the target of a `ping-request` answered. */
export type AckMessage = Piggyback & { readonly kind: 'ack'; readonly seq: number }

/** "Ping this member for me." Answered with an `ack` or a `nack` of the same `seq`. */
export type PingRequestMessage = Piggyback & {
  readonly kind: 'ping-request'
  readonly seq: number
  readonly target: PeerId
}

/**
 * "The target hasn't answered me yet." Proves that the asked member and the way to it are well: a
 * `nack` that doesn't come speaks against the health of the asker itself (Lifeguard, section IV.A).
 */
export type NackMessage = {
  readonly kind: 'nack'
  readonly seq: number
  readonly target?: PeerId
}

/** News alone, sent while there is some, so that it spreads faster than the probes that carry it. */
export type GossipMessage = Piggyback & { readonly kind: 'gossip' }

/** The whole table, to join or against lost news. Answered with the receiver's. */
type SyncMessage = {
  readonly kind: 'sync'
  readonly updates: readonly MemberUpdate[]
  /** True on every part but the last of a table too large for one frame; only the last is answered. */
  readonly more: boolean
}

/** The answer: the table as it is after the merge, in one or several parts. */
type SyncReplyMessage = {
  readonly kind: 'sync-reply'
  readonly updates: readonly MemberUpdate[]
}

export type MembershipMessage =
  | PingMessage
  | AckMessage
  | PingRequestMessage
  | NackMessage
  | GossipMessage
  | SyncMessage
  | SyncReplyMessage

export type MembershipMessageKind = MembershipMessage['kind']
