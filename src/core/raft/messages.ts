// What replicas of one group say to each other, what they write down, and how large it is. Terms
// and indexes are safe integers; entries carry bytes that the core never looks into.

/**
 * Names a replica of one group for good: a safe integer from 1, never given out twice. The core
 * compares ids and looks no further into them.
 */
export type ReplicaId = number

/** No replica: no leader is known, or no vote was given. */
export const NO_REPLICA: ReplicaId = 0
/** Where messages for the storage go when writes are asynchronous. */
export const APPEND_THREAD: ReplicaId = -1
/** Where committed entries go when writes are asynchronous. */
export const APPLY_THREAD: ReplicaId = -2

/** Ids, terms and indexes end here, so that adding to one stays exact. */
export const NUMBER_MAX: number = 2 ** 52

/** `committed` and `quorum` say this of a majority of nobody: it agrees to everything. */
export const UNBOUNDED: number = Number.POSITIVE_INFINITY

export type ConfigChangeStep = {
  readonly type: 'add-voter' | 'add-learner' | 'remove' | 'update'
  readonly id: ReplicaId
}

/**
 * A change of the group's members. `auto` takes the simple way when one voter changes and a joint
 * configuration that leaves itself otherwise; `implicit` is always joint and leaves itself;
 * `explicit` is always joint and waits for a change without steps. No steps with `auto` means:
 * leave the joint configuration.
 *
 * Let a member be a learner first: a replica that never had members gives no vote, so a voter that
 * has heard nothing yet can be missing from the majority that it is counted for.
 */
export type ConfigChange = {
  readonly transition: 'auto' | 'implicit' | 'explicit'
  readonly steps: readonly ConfigChangeStep[]
  /** The proposer's own bytes; the core carries them along. */
  readonly context: Uint8Array
}

export type NormalEntry = {
  readonly type: 'normal'
  readonly term: number
  readonly index: number
  /** Empty for the entry that opens a leader's term. */
  readonly data: Uint8Array
}

type ConfigChangeEntry = {
  readonly type: 'config-change'
  readonly term: number
  readonly index: number
  readonly change: ConfigChange
}

/** What the log is made of. In a proposal, before a leader took it, term and index are 0. */
export type Entry = NormalEntry | ConfigChangeEntry

/** What must survive a restart besides the log. Term and vote are written together or not at all. */
export type HardState = {
  readonly term: number
  readonly vote: ReplicaId
  readonly commit: number
}

export const EMPTY_HARD_STATE: HardState = { term: 0, vote: NO_REPLICA, commit: 0 }

/** The members of a group; every list ascending. `votersOutgoing` is empty unless joint. */
export type ConfigState = {
  readonly voters: readonly ReplicaId[]
  readonly votersOutgoing: readonly ReplicaId[]
  readonly learners: readonly ReplicaId[]
  /** Voters of the outgoing half that become learners when the joint configuration is left. */
  readonly learnersNext: readonly ReplicaId[]
  readonly autoLeave: boolean
}

export const EMPTY_CONFIG_STATE: ConfigState = {
  voters: [],
  votersOutgoing: [],
  learners: [],
  learnersNext: [],
  autoLeave: false
}

/** The state that all entries up to `index` made. `data` may be a handle of something larger. */
export type Snapshot = {
  readonly index: number
  readonly term: number
  readonly configState: ConfigState
  readonly data: Uint8Array
}

export const NO_BYTES: Uint8Array = new Uint8Array(0)

/** Messages between replicas. */
export const PEER_MESSAGE_TYPES = [
  'propose',
  'append',
  'append-response',
  'vote',
  'vote-response',
  'pre-vote',
  'pre-vote-response',
  'snapshot',
  'heartbeat',
  'heartbeat-response',
  'transfer-leader',
  'timeout-now',
  'read-index',
  'read-index-response'
] as const

export type PeerMessageType = (typeof PEER_MESSAGE_TYPES)[number]

/** Messages between a replica and its own storage; see {@link Ready} in `ready.ts`. */
type StorageMessageType =
  | 'storage-append'
  | 'storage-append-response'
  | 'storage-apply'
  | 'storage-apply-response'

export type MessageType = PeerMessageType | StorageMessageType

/**
 * One message. Every field is always there, so that all messages have one shape; what a type
 * doesn't use is 0, empty, false or undefined.
 */
export type Message = {
  readonly type: MessageType
  readonly from: ReplicaId
  readonly to: ReplicaId
  /** The sender's term; the campaign's term in (pre-)votes; 0 in messages outside terms. */
  readonly term: number
  /** The term at `index`; in a rejection, the term at `rejectHint`. */
  readonly logTerm: number
  /**
   * append: of the entry before `entries`; append-response: the last one appended, or the one
   * rejected; (pre-)vote: the candidate's last; read-index-response: what must be applied first.
   */
  readonly index: number
  readonly commit: number
  /** storage-append: of the hard state; transfer-leader: who is to lead. */
  readonly vote: ReplicaId
  readonly entries: readonly Entry[]
  readonly snapshot: Snapshot | undefined
  readonly reject: boolean
  /** In a rejected append: where the follower's log may agree with the leader's. */
  readonly rejectHint: number
  /** read-index and its response: the asker's own name for the request. */
  readonly context: Uint8Array
  /** heartbeat and its response: the newest read that it confirms; 0 for none. */
  readonly readSequence: number
  /** storage-append-response: the number of the write that is done. */
  readonly batch: number
  /** vote: it was ordered by the leader, so followers don't wait for its lease to end. */
  readonly isTransfer: boolean
  /** storage messages: what to deliver once the write is durable. */
  readonly responses: readonly Message[]
}

export type MessageDraft = Partial<Message> & Pick<Message, 'type' | 'to'>

/**
 * @param from the sender, when the draft names none
 * @param term the term, when the draft names none
 * @returns a whole message: what the draft doesn't say is 0 or empty
 */
export function createMessage(
  draft: MessageDraft,
  from: ReplicaId = NO_REPLICA,
  term: number = 0
): Message {
  return {
    type: draft.type,
    from: draft.from ?? from,
    to: draft.to,
    term: draft.term ?? term,
    logTerm: draft.logTerm ?? 0,
    index: draft.index ?? 0,
    commit: draft.commit ?? 0,
    vote: draft.vote ?? NO_REPLICA,
    entries: draft.entries ?? [],
    snapshot: draft.snapshot,
    reject: draft.reject ?? false,
    rejectHint: draft.rejectHint ?? 0,
    context: draft.context ?? NO_BYTES,
    readSequence: draft.readSequence ?? 0,
    batch: draft.batch ?? 0,
    isTransfer: draft.isTransfer ?? false,
    responses: draft.responses ?? []
  }
}

/** Bytes that term, index, type and lengths of an entry may take on the wire and in the log. */
const ENTRY_OVERHEAD_BYTES = 24
const STEP_BYTES = 10

/** @returns the bytes that users put into an entry: what the limit on uncommitted bytes counts. */
export function payloadBytes(entry: Entry): number {
  return entry.type === 'normal' ? entry.data.length : entry.change.context.length
}

/** @returns about how many bytes an entry takes: what the limits on messages count. */
export function entryBytes(entry: Entry): number {
  const steps = entry.type === 'normal' ? 0 : entry.change.steps.length * STEP_BYTES
  return ENTRY_OVERHEAD_BYTES + steps + payloadBytes(entry)
}

/**
 * @param bytesMax the first entry is kept even when it alone is larger
 * @returns the longest beginning of `entries` within the limit; the same array when all fit
 */
export function limitEntries<T extends readonly Entry[]>(entries: T, bytesMax: number): T {
  let bytes = 0
  for (let position = 0; position < entries.length; position++) {
    bytes += entryBytes(entries[position] as Entry)
    if (bytes > bytesMax && position > 0) return entries.slice(0, position) as unknown as T
  }
  return entries
}
