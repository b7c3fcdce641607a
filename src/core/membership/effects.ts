// What goes into the membership core and what comes out of it.

import type { PeerId, SessionId } from '../../base/ids.ts'
import type { Member, MemberRecord, MemberUpdate } from './member.ts'
import type { MembershipMessage } from './messages.ts'

/** What a node may change of its own record. Absent fields stay. */
export type SelfChange = Partial<
  Pick<MemberRecord, 'name' | 'zone' | 'capacityBytes' | 'labels' | 'addresses'>
>

/** One step's input. */
export type MembershipInput =
  /** A message whose sender the connection has proven. */
  | {
      readonly kind: 'message'
      readonly from: PeerId
      readonly message: MembershipMessage
      /** Updates of it that couldn't be decoded, and were left out. */
      readonly malformed?: number
    }
  /** A connection to the peer was made: a suspected or dead member is told so at once. */
  | { readonly kind: 'connected'; readonly peer: PeerId }
  /** The last connection broke: a hint to probe the member now, directly and through others. */
  | { readonly kind: 'disconnected'; readonly peer: PeerId }
  /** A message couldn't be delivered: the direct way counts as failed. */
  | { readonly kind: 'send-failed'; readonly peer: PeerId }
  /** Asks a peer, known or not, for its table and gives it this node's. Repeat until it answers. */
  | { readonly kind: 'join'; readonly peer: PeerId }
  /** Updates that didn't come from a member now: a remembered list, a table from the join. */
  | { readonly kind: 'merge'; readonly updates: readonly MemberUpdate[] }
  | { readonly kind: 'update-self'; readonly change: SelfChange }
  /** This node wants to leave: others may move its data away. */
  | { readonly kind: 'leave-begin' }
  /** This node has left: it is told, and nothing is probed any more. */
  | { readonly kind: 'leave-end' }
  /** The operator's word: the member is out and its identity may never come back. */
  | { readonly kind: 'evict'; readonly peer: PeerId }

export type MemberEventKind =
  /** A member that wasn't in the mesh is; also one that had left and is back. */
  | 'joined'
  /** It didn't answer; it has until the suspicion ends to say otherwise. */
  | 'suspected'
  /** It was suspect, dead or gone, and has said otherwise. */
  | 'recovered'
  /** Unreachable, and nothing more: no data moves, no quorum shrinks. */
  | 'dead'
  /** By its own will. */
  | 'left'
  /** Dead for the grace, as seen from a majority. It comes back when it answers. */
  | 'gone'
  /** By an operator, for good. */
  | 'evicted'
  /** What it says of itself has changed; a new session means that it has restarted unnoticed. */
  | 'changed'

export type MembershipEvent =
  | { readonly kind: MemberEventKind; readonly member: Member }
  /** This node's own record has a new incarnation: remember it for the next start. */
  | { readonly kind: 'self-changed'; readonly record: MemberRecord }
  /** This node is evicted. It says and probes nothing any more. Once. */
  | { readonly kind: 'self-evicted' }
  /** Another node runs with this identity now, in that session. Once. */
  | { readonly kind: 'cloned'; readonly session: SessionId }

export type Outgoing = { readonly to: PeerId; readonly message: MembershipMessage }

/** What the driver does next. No order between the fields is needed: nothing here is durable. */
export type Effects = {
  /** In order per recipient; may be lost. The receiver must not change a message. */
  readonly send: readonly Outgoing[]
  /** In the order in which they happened. */
  readonly events: readonly MembershipEvent[]
}
