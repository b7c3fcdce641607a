// What goes to one peer: a frame for each turn of the event loop, entries only as fast as the peer
// takes them, and nothing for a while when it can't be reached.

import type { Clock, Timer } from '../base/clock.ts'
import type { PeerId, StoreId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { MIB } from '../base/units.ts'
import type { Network } from '../net/network.ts'
import { RAFT_PROTOCOL, encodeRaftFrame, groupMessages, messageBytes } from '../wire/shard-frame.ts'
import type { GoneReplica, GroupMessage } from '../wire/shard-frame.ts'
import { MESSAGE_BYTES_MAX, SendQueue } from './send-queue.ts'
import type { OutgoingMessage, Parcel } from './send-queue.ts'

/** Entries that wait for a peer, unless told otherwise. */
const BULK_BYTES_MAX: number = 16 * MIB
const URGENT_BYTES_MAX: number = 4 * MIB
/** How long a peer that can't be reached isn't dialled again; doubles up to the last. */
const PAUSE_MS_MIN = 100
/** How long to wait for a connected peer that takes nothing; the same. */
const RETRY_MS_MIN = 25
const PAUSE_MS_MAX = 2_000
/** A connected peer that takes nothing so often is treated as one that is away. */
const RETRIES_MAX = 8
/** Entries that wait longer for room than this are held up by the peer or the line. */
const CONGESTED_MS = 5

export type PeerLinkComponents = {
  readonly network: Pick<Network, 'notify' | 'connected'>
  readonly clock: Clock
  readonly log: Logger
  /** See `PeerLinksComponents`. */
  readonly defer: (task: () => void) => void
}

export type PeerLinkOptions = {
  readonly peer: PeerId
  /** This node's. */
  readonly store: StoreId
  readonly onSent: () => void
  /** Never called from within `send`. */
  readonly onDropped: (messages: readonly OutgoingMessage[]) => void
  readonly bulkBytesMax?: number | undefined
}

export class PeerLink {
  readonly #components: PeerLinkComponents
  readonly #options: PeerLinkOptions
  readonly #queue: SendQueue
  /** To be reported at the next flush. */
  #dropped: OutgoingMessage[] = []
  #isFlushDue = false
  /** By group: answers to heartbeats that wait for a frame that goes anyway. */
  readonly #answers = new Map<number, OutgoingMessage>()
  #isSending = false
  #isSendingUrgent = false
  /** The last frame was taken: what is held up now waits for room, not for a connection. */
  #isFlowing = false
  /** Entries had to wait for room the last time: they go in frames of their own. */
  #isCongested = false
  /** Since it last took a frame. */
  #failures = 0
  /** Nothing is sent or kept before then. */
  #pausedUntilMs = 0
  #retry: Timer | undefined
  #isStopped = false

  constructor(components: PeerLinkComponents, options: PeerLinkOptions) {
    this.#components = components
    this.#options = options
    const bulkBytesMax = options.bulkBytesMax ?? BULK_BYTES_MAX
    this.#queue = new SendQueue({ urgentBytesMax: URGENT_BYTES_MAX, bulkBytesMax })
  }

  /** What may wait goes with the next frame, at the latest when `flush` is called. */
  send(outgoing: OutgoingMessage): void {
    if (mayWait(outgoing)) {
      this.#answers.set(outgoing.group, outgoing)
      return
    }
    // Who takes entries is there. The leader took the other answer for a sign that it lacks these.
    if (outgoing.message.type === 'append-response') this.#answers.delete(outgoing.group)
    const dropped = this.#isPaused() ? [outgoing] : this.#queue.push(outgoing)
    if (dropped.length > 0) {
      this.#dropped.push(...dropped)
      this.#noteTooLarge(outgoing)
    }
    this.#flushSoon()
  }

  /** What has waited goes now. */
  flush(): void {
    if (this.#answers.size > 0) this.#flushSoon()
  }

  sendGone(toStore: StoreId, replica: GoneReplica): void {
    if (this.#isPaused()) return
    this.#queue.pushGone(toStore, replica)
    this.#flushSoon()
  }

  onConnected(): void {
    this.#failures = 0
    this.#pausedUntilMs = 0
  }

  stop(): void {
    this.#isStopped = true
    this.#retry?.cancel()
  }

  #takeAnswers(): void {
    const dropped = [...this.#answers.values()].flatMap((answer) =>
      this.#isPaused() ? [answer] : this.#queue.push(answer)
    )
    this.#answers.clear()
    this.#dropped.push(...dropped)
  }

  #isPaused(): boolean {
    return this.#pausedUntilMs > this.#components.clock.monotonicMs()
  }

  #noteTooLarge({ group, message }: OutgoingMessage): void {
    if (messageBytes(message) <= MESSAGE_BYTES_MAX) return
    const { peer } = this.#options
    this.#components.log.error('links.message_too_large', { peer, group, type: message.type })
  }

  #flushSoon(): void {
    if (this.#isFlushDue) return
    this.#isFlushDue = true
    this.#components.defer(() => {
      this.#isFlushDue = false
      if (this.#isStopped) return
      this.#takeAnswers()
      this.#report()
      if (this.#retry !== undefined) return
      if (!this.#isSending) void this.#drain()
      // Entries wait for room, and what is urgent needn't wait with them.
      const isHeldUp = this.#isCongested || (this.#isSending && this.#isFlowing)
      if (isHeldUp && !this.#isSendingUrgent) void this.#drainUrgent()
    })
  }

  /** Sends frame after frame until nothing waits or the peer takes no more. Never rejects. */
  async #drain(): Promise<void> {
    const { clock } = this.#components
    this.#isSending = true
    for (;;) {
      const parcel = this.#queue.take(this.#isCongested ? 'bulk' : 'all')
      if (parcel === undefined) break
      const startMs = clock.monotonicMs()
      const wasFlowing = this.#isFlowing
      if (!(await this.#sendParcel(parcel))) break
      const tookMs = clock.monotonicMs() - startMs
      this.#isCongested = wasFlowing && parcel.hasBulk && tookMs > CONGESTED_MS
    }
    this.#isSending = false
    this.#report()
  }

  async #drainUrgent(): Promise<void> {
    this.#isSendingUrgent = true
    for (;;) {
      const parcel = this.#queue.take('urgent')
      if (parcel === undefined || !(await this.#sendParcel(parcel))) break
    }
    this.#isSendingUrgent = false
    this.#report()
  }

  /** @returns whether to go on. */
  async #sendParcel(parcel: Parcel): Promise<boolean> {
    const { toStore, messages, gone, hasBulk } = parcel
    const { peer, store } = this.#options
    const groups = groupMessages(messages)
    const body = encodeRaftFrame({ toStore, fromStore: store, groups, gone })
    const { network } = this.#components
    const isSent = await network.notify(peer, RAFT_PROTOCOL, body, { waitsForRoom: hasBulk })
    if (this.#isStopped) return false
    if (!isSent) {
      this.#onFailure(parcel)
      return false
    }
    this.#options.onSent()
    this.#failures = 0
    this.#isFlowing = true
    return true
  }

  /** A connected peer has its queue full, most likely: what waits is kept. Else all of it is late. */
  #onFailure(parcel: Parcel): void {
    const { network, clock, log } = this.#components
    const { peer } = this.#options
    this.#failures += 1
    this.#isFlowing = false
    this.#isCongested = false
    if (network.connected().includes(peer) && this.#failures < RETRIES_MAX) {
      this.#dropped.push(...this.#queue.putBack(parcel))
      this.#retry ??= clock.after(doubled(RETRY_MS_MIN, this.#failures), () => {
        this.#retry = undefined
        this.#flushSoon()
      })
      return
    }
    this.#dropped.push(...parcel.messages, ...this.#queue.clear())
    const pauseMs = doubled(PAUSE_MS_MIN, this.#failures)
    this.#pausedUntilMs = clock.monotonicMs() + pauseMs
    log.debug('links.paused', { peer, pauseMs, failures: this.#failures })
  }

  #report(): void {
    if (this.#isStopped || this.#dropped.length === 0) return
    const dropped = this.#dropped
    this.#dropped = []
    this.#options.onDropped(dropped)
  }
}

/** The answer to a heartbeat with which nobody reads: it says no more than that a member is there. */
function mayWait({ message }: GroupMessage): boolean {
  return message.type === 'heartbeat-response' && message.readSequence === 0
}

function doubled(firstMs: number, failures: number): number {
  return Math.min(firstMs * 2 ** Math.min(failures - 1, 16), PAUSE_MS_MAX)
}
