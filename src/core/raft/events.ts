// What a replica tells of itself while it works: for logs, metrics, tests and traces. Nothing
// depends on it, and without a listener it costs nothing.

import type { ConfigChange, ConfigState, Message, ReplicaId, Snapshot } from './messages.ts'
import type { Progress } from './progress.ts'

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

/** The state of a log when a snapshot is about to replace it. */
export type LogState = {
  readonly committed: number
  readonly applied: number
  readonly applying: number
  readonly unstableOffset: number
  readonly unstableOffsetInProgress: number
  readonly unstableCount: number
}

/** Why an input was refused, in a word. The replica goes on as if it had not come. */
type Refusal =
  /** No leader is known, a transfer is under way, or too much waits to be committed. */
  | 'proposal-dropped'
  /** No leader is known that could be asked for a read. */
  | 'no-leader'
  /** A response from a replica that is no member of this group here. */
  | 'unknown-replica'
  /** A storage message that no storage of this replica sent, or one that isn't for this replica. */
  | 'misdirected'
  /** A field is missing, of a wrong type or outside its range. */
  | 'malformed'
  /** A right replica can't have sent it: it contradicts what is committed or was promised. */
  | 'impossible'
  /** A leader believes that more is stored here than there is: this replica has lost data. */
  | 'data-loss'
  /** Too many reads wait. */
  | 'overloaded'

/** Why an input was refused, in a word for programs and a sentence for people. */
export type Refused = { readonly refusal: Refusal; readonly problem: string }

type VoteWeighed = {
  readonly kind: 'vote' | 'pre-vote'
  readonly from: ReplicaId
  readonly term: number
  /** This replica's last entry and its vote before. */
  readonly lastTerm: number
  readonly lastIndex: number
  readonly vote: ReplicaId
  readonly candidateTerm: number
  readonly candidateIndex: number
}

export type RaftEvent =
  | { readonly type: 'config-switched'; readonly config: ConfigState }
  | { readonly type: 'became'; readonly role: Role; readonly term: number }
  | {
      readonly type: 'started'
      readonly voters: readonly ReplicaId[]
      readonly term: number
      readonly commit: number
      readonly applied: number
      readonly lastIndex: number
      readonly lastTerm: number
    }
  | { readonly type: 'campaign-refused'; readonly reason: 'leader' | 'unpromotable' | 'unapplied' }
  | { readonly type: 'election-started'; readonly term: number }
  | {
      readonly type: 'vote-requested'
      readonly kind: 'vote' | 'pre-vote'
      readonly to: ReplicaId
      readonly term: number
      readonly lastTerm: number
      readonly lastIndex: number
    }
  | {
      readonly type: 'vote-received'
      readonly kind: 'vote' | 'pre-vote'
      readonly from: ReplicaId
      readonly term: number
      readonly reject: boolean
    }
  | {
      readonly type: 'votes-counted'
      readonly kind: 'vote' | 'pre-vote'
      readonly granted: number
      readonly rejected: number
    }
  | ({ readonly type: 'vote-cast' | 'vote-rejected' } & VoteWeighed)
  | ({ readonly type: 'vote-ignored'; readonly remainingTicks: number } & VoteWeighed)
  | {
      readonly type: 'higher-term' | 'lower-term'
      readonly term: number
      readonly message: Message
    }
  /** A storage-append-response of an earlier term; only its snapshot counts. */
  | { readonly type: 'stale-append-ack'; readonly term: number; readonly ackTerm: number }
  | {
      readonly type: 'proposal-dropped'
      readonly term: number
      readonly reason: 'no-leader' | 'forwarding-off' | 'not-member' | 'transfer' | 'full'
      readonly transferTo: ReplicaId
    }
  | {
      readonly type: 'config-change-refused'
      readonly change: ConfigChange
      readonly config: ConfigState
      readonly reason: 'unapplied' | 'joint' | 'not-joint'
      readonly pendingIndex: number
      readonly applied: number
    }
  | { readonly type: 'auto-leave'; readonly config: ConfigState }
  | {
      readonly type: 'log-conflict'
      readonly index: number
      readonly existingTerm: number
      readonly conflictingTerm: number
    }
  | { readonly type: 'unstable-replaced' | 'unstable-truncated'; readonly index: number }
  | {
      readonly type: 'append-ack-ignored'
      readonly reason: 'missing' | 'snapshot' | 'term'
      readonly index: number
      readonly ackTerm: number
      readonly term: number
    }
  | { readonly type: 'restore-started'; readonly log: LogState; readonly snapshot: Snapshot }
  | {
      readonly type: 'restored' | 'snapshot-fast-forwarded'
      readonly commit: number
      readonly lastIndex: number
      readonly lastTerm: number
      readonly snapshot: Snapshot
    }
  | {
      readonly type: 'snapshot-answered'
      readonly isRestored: boolean
      readonly commit: number
      readonly snapshot: Snapshot
    }
  | { readonly type: 'leader-forgotten'; readonly leader: ReplicaId; readonly term: number }
  | { readonly type: 'forget-leader-refused' }
  | { readonly type: 'transfer-started'; readonly to: ReplicaId; readonly term: number }
  | {
      readonly type: 'timeout-now-sent'
      readonly to: ReplicaId
      readonly reason: 'at-once' | 'caught-up'
    }
  | { readonly type: 'timeout-now-received'; readonly from: ReplicaId; readonly term: number }
  | { readonly type: 'quorum-lost' }
  | { readonly type: 'append-rejected'; readonly message: Message; readonly term: number }
  | { readonly type: 'append-rejection'; readonly message: Message }
  /** `progress` is live: read it now or never. */
  | {
      readonly type:
        | 'progress-decreased'
        | 'snapshot-paused'
        | 'snapshot-recovered'
        | 'snapshot-reported'
        | 'unreachable'
      readonly id: ReplicaId
      readonly progress: Progress
    }
  | {
      readonly type: 'snapshot-sent'
      readonly id: ReplicaId
      readonly progress: Progress
      readonly firstIndex: number
      readonly commit: number
      readonly snapshot: Snapshot
    }
  | { readonly type: 'snapshot-withheld'; readonly id: ReplicaId }
  | {
      readonly type: 'message-refused'
      readonly refusal: Refusal
      readonly problem: string
      readonly message: Message
    }

export type Trace = (event: RaftEvent) => void
