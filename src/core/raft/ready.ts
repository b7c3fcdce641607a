// What a replica wants done, handed out piece by piece; and, where writes are asynchronous, the
// messages to the storage that take the place of `advance`.

import { assert } from '../../base/assert.ts'
import type { Role } from './events.ts'
import { APPEND_THREAD, APPLY_THREAD, createMessage } from './messages.ts'
import type { Entry, HardState, Message, ReplicaId, Snapshot } from './messages.ts'
import { flushReads, hasUnaskedReads } from './read-index.ts'
import type { RaftState, ReadState } from './state.ts'
import { stepFromStorage, step } from './step.ts'

/** What may change without being written down. */
export type SoftState = { readonly leader: ReplicaId; readonly role: Role }

/**
 * The order of obligations, with synchronous writes: `hardState`, `entries` and `snapshot` are
 * durable before any of `messages` is sent; the snapshot is installed before entries after it are
 * written; `committedEntries` are applied in order. Then `advance`.
 *
 * With asynchronous writes all of it is in `messages` besides: one `storage-append` carries hard
 * state, entries and snapshot, one `storage-apply` the committed entries. Messages to peers go out
 * at once. Storage messages are done in order, each of the two kinds by itself, and the responses
 * that one carries are delivered when it is durable: to the peers they name, or to `step` here.
 *
 * What a crash leaves of a batch is a beginning of this: term and vote, both at once; the snapshot;
 * the entries; the commit index. An entry of a term that is not written, or a commit index without
 * the entries that it speaks of, would be believed at the next start. Where no sync is asked for
 * the commit index may be lost, and the state machine may then be ahead of it.
 *
 * The arrays belong to the driver; what is in them is shared and never changes.
 */
export type Ready = {
  /** Only when it changed. */
  readonly softState: SoftState | undefined
  /** Only when it changed. */
  readonly hardState: HardState | undefined
  readonly readStates: readonly ReadState[]
  /** To be written to the log, in place of what is there from the first index on. */
  readonly entries: readonly Entry[]
  /** To take the place of the log and the state machine. */
  readonly snapshot: Snapshot | undefined
  readonly committedEntries: readonly Entry[]
  readonly messages: readonly Message[]
  /** Whether hard state and entries must be synced, not only written, before going on. */
  readonly mustSync: boolean
}

type Writable<T> = { -readonly [key in keyof T]: T[key] }

/** Remembers what was handed out, so that a Ready says only what is new. */
export class Handout {
  readonly #raft: RaftState
  #softState: SoftState
  #hardState: HardState
  /** What `advance` delivers to the replica itself. */
  #onAdvance: Message[] = []
  #isTaken = false

  constructor(raft: RaftState) {
    this.#raft = raft
    this.#softState = { leader: raft.leader, role: raft.role }
    this.#hardState = raft.hardState
  }

  get #isAsync(): boolean {
    return this.#raft.config.asyncStorageWrites
  }

  hasReady(): boolean {
    const raft = this.#raft
    const { log } = raft
    return (
      raft.outbox.length > 0 ||
      raft.afterAppend.length > 0 ||
      log.unstable.hasNextEntries() ||
      log.hasNextCommitted(!this.#isAsync) ||
      this.#isSoftStateNew() ||
      this.#isHardStateNew() ||
      log.unstable.nextSnapshot() !== undefined ||
      raft.readStates.length > 0 ||
      (raft.role === 'leader' && hasUnaskedReads(raft))
    )
  }

  #isSoftStateNew(): boolean {
    const { leader, role } = this.#raft
    return leader !== this.#softState.leader || role !== this.#softState.role
  }

  #isHardStateNew(): boolean {
    const { term, vote, log } = this.#raft
    const known = this.#hardState
    return term !== known.term || vote !== known.vote || log.committed !== known.commit
  }

  take(): Ready {
    const raft = this.#raft
    assert(!this.#isTaken, 'a Ready is done with before the next one is taken')
    if (raft.role === 'leader') flushReads(raft)
    const ready = this.#collect()
    this.#accept(ready)
    return ready
  }

  #collect(): Ready {
    const raft = this.#raft
    const { leader, role } = raft
    const entries = raft.log.unstable.nextEntries().slice()
    const hardState = this.#isHardStateNew() ? raft.hardState : undefined
    const { term, vote } = this.#hardState
    const mustSync = entries.length > 0 || raft.term !== term || raft.vote !== vote
    const ready: Writable<Ready> = {
      softState: this.#isSoftStateNew() ? { leader, role } : undefined,
      hardState,
      readStates: raft.readStates,
      entries,
      snapshot: raft.log.unstable.nextSnapshot(),
      committedEntries: raft.log.nextCommitted(!this.#isAsync),
      messages: [],
      mustSync
    }
    ready.messages = this.#messages(ready)
    return ready
  }

  #messages(ready: Ready): Message[] {
    const { id, outbox, afterAppend } = this.#raft
    if (!this.#isAsync) {
      // The outbox is this Ready's from now on.
      for (const message of afterAppend) {
        if (message.to === id) this.#onAdvance.push(message)
        else outbox.push(message)
      }
      const ack = this.#appendAck(ready.snapshot)
      if (ack !== undefined) this.#onAdvance.push(ack)
      if (ready.committedEntries.length > 0) this.#onAdvance.push(this.#applyAck(ready))
      return outbox
    }
    const messages = outbox
    const append = this.#storageAppend(ready)
    if (append !== undefined) messages.push(append)
    if (ready.committedEntries.length > 0) {
      const responses = [this.#applyAck(ready)]
      const entries = ready.committedEntries
      const draft = { type: 'storage-apply', from: id, to: APPLY_THREAD } as const
      messages.push(createMessage({ ...draft, entries, responses }))
    }
    return messages
  }

  #storageAppend(ready: Ready): Message | undefined {
    const { id, afterAppend } = this.#raft
    const { entries, hardState, snapshot } = ready
    const isNeeded =
      entries.length > 0 ||
      hardState !== undefined ||
      snapshot !== undefined ||
      afterAppend.length > 0
    if (!isNeeded) return undefined
    const ack = this.#appendAck(snapshot)
    const responses = ack === undefined ? afterAppend : [...afterAppend, ack]
    const draft = { type: 'storage-append', from: id, to: APPEND_THREAD } as const
    // Term, vote and commit of 0: no hard state to be written.
    return createMessage({ ...draft, ...hardState, entries, snapshot, responses })
  }

  /**
   * The word that everything is durable up to the end of the log as it is now, not only up to the
   * end of this batch: when it comes, all batches before it are done too.
   */
  #appendAck(snapshot: Snapshot | undefined): Message | undefined {
    const { id, term, log } = this.#raft
    const hasEntries = log.unstable.entries.length > 0
    if (!hasEntries && snapshot === undefined) return undefined
    const index = hasEntries ? log.lastIndex : 0
    const logTerm = hasEntries ? log.lastTerm : 0
    const draft = { type: 'storage-append-response', from: APPEND_THREAD, to: id } as const
    const batch = log.unstable.batch + 1
    return createMessage({ ...draft, term, index, logTerm, snapshot, batch })
  }

  #applyAck(ready: Ready): Message {
    const draft = { type: 'storage-apply-response', from: APPLY_THREAD } as const
    return createMessage({ ...draft, to: this.#raft.id, entries: ready.committedEntries })
  }

  #accept(ready: Ready): void {
    const raft = this.#raft
    if (ready.softState !== undefined) this.#softState = ready.softState
    if (ready.hardState !== undefined) this.#hardState = ready.hardState
    raft.readStates = []
    raft.outbox = []
    raft.afterAppend = []
    raft.log.unstable.accept()
    raft.log.acceptApplying(ready.committedEntries, !this.#isAsync)
    this.#isTaken = !this.#isAsync
  }

  advance(): void {
    assert(this.#isTaken, 'advance follows a Ready, and only with synchronous writes')
    this.#isTaken = false
    const messages = this.#onAdvance
    this.#onAdvance = []
    for (const message of messages) {
      if (message.from === this.#raft.id) step(this.#raft, message)
      else stepFromStorage(this.#raft, message)
    }
  }
}
