// Carries the messages of all groups of this node to its peers and back, one frame for each peer and
// turn of the event loop: protocols/shard, rules S-2 to S-6.

import { errorMessage } from '../base/errors.ts'
import type { Clock, Timer } from '../base/clock.ts'
import type { PeerId, StoreId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { MIB, MINUTE_MS } from '../base/units.ts'
import type { Network, Unsubscribe } from '../net/network.ts'
import {
  RAFT_FRAME_BYTES_MAX,
  RAFT_PROTOCOL,
  decodeRaftFrame,
  encodeRaftFrame,
  groupMessages,
  messageBytes
} from '../wire/shard-frame.ts'
import type { GoneReplica, RaftFrame } from '../wire/shard-frame.ts'
import { MESSAGE_BYTES_MAX, SendQueue } from './send-queue.ts'
import type { OutgoingMessage, Parcel } from './send-queue.ts'

/**
 * Frames that came in one piece are all handed over before the first counts as served, so this
 * bounds a burst; each is dealt with at once.
 */
export const RAFT_SERVED_MAX = 4_096

/** Bulk that waits for a peer, unless told otherwise. */
const BULK_BYTES_MAX: number = 16 * MIB
const URGENT_BYTES_MAX: number = 4 * MIB
/** How long a peer that can't be reached isn't dialled again; doubles from the first to the second. */
const PAUSE_MS_MIN = 100
const PAUSE_MS_MAX = 2_000
/** How long to wait for a connected peer that takes nothing; the same. */
const RETRY_MS_MIN = 25
/** A connected peer that takes nothing so often is treated as one that is away. */
const RETRIES_MAX = 8
/** Malformed frames are logged once in so long, with their number. */
const LOG_PAUSE_MS: number = MINUTE_MS

export type PeerLinksComponents = {
  readonly network: Pick<Network, 'handle' | 'notify' | 'connected' | 'onConnected'>
  readonly clock: Clock
  readonly log: Logger
  /**
   * Runs a task once this turn of the event loop has done its work: `setImmediate` in a real node,
   * `clock.after(0, …)` in a simulation.
   */
  readonly defer: (task: () => void) => void
}

export type PeerLinksOptions = {
  /** This node's store: frames for another one are dropped. */
  readonly store: StoreId
  /** A frame for this store came. It may not be what replicas can send; must not throw. */
  readonly onFrame: (peer: PeerId, frame: RaftFrame) => void
  /**
   * These were not sent and won't be: the peer is away, or takes less than it is sent. Never called
   * from within `send`.
   */
  readonly onDropped: (peer: PeerId, messages: readonly OutgoingMessage[]) => void
  /** Bytes of entries that may wait for one peer, by estimate. */
  readonly bulkBytesMax?: number
}

export type PeerLinkCounts = {
  readonly framesSent: number
  readonly framesReceived: number
  /** Messages that were given up. */
  readonly dropped: number
  readonly malformed: number
  /** Frames for a store that isn't this one. */
  readonly misdirected: number
}

type Link = {
  readonly queue: SendQueue
  /** To be reported at the next flush. */
  dropped: OutgoingMessage[]
  isFlushDue: boolean
  isSending: boolean
  /** Since it last took a frame. */
  failures: number
  /** Nothing is sent or kept before then. */
  pausedUntilMs: number
  retry: Timer | undefined
}

export class PeerLinks {
  readonly #components: PeerLinksComponents
  readonly #options: PeerLinksOptions
  readonly #links = new Map<PeerId, Link>()
  readonly #unsubscribe: Unsubscribe
  readonly #counts = { framesSent: 0, framesReceived: 0, dropped: 0, malformed: 0, misdirected: 0 }
  #loggedMs = Number.NEGATIVE_INFINITY
  #isStopped = false

  /** Registers the protocol, so it is made before the network is started. */
  constructor(components: PeerLinksComponents, options: PeerLinksOptions) {
    this.#components = components
    this.#options = options
    const { network } = components
    const limits = { frameBytesMax: RAFT_FRAME_BYTES_MAX, servedPerPeerMax: RAFT_SERVED_MAX }
    network.handle(RAFT_PROTOCOL, limits, (body, { peer }) => {
      this.#receive(peer, body)
      return new Uint8Array(0)
    })
    this.#unsubscribe = network.onConnected((peer) => this.#onConnected(peer))
  }

  /** Sends it with all else of this turn. What can't be sent is told to `onDropped`. */
  send(peer: PeerId, message: OutgoingMessage): void {
    if (this.#isStopped) return
    const link = this.#link(peer)
    if (this.#isPaused(link)) link.dropped.push(message)
    else link.dropped.push(...this.#enqueue(peer, link, message))
    this.#flushSoon(peer, link)
  }

  /** Says that this store has no such replica any more; as unreliably as all else. */
  sendGone(peer: PeerId, toStore: StoreId, replica: GoneReplica): void {
    if (this.#isStopped) return
    const link = this.#link(peer)
    if (this.#isPaused(link)) return
    link.queue.pushGone(toStore, replica)
    this.#flushSoon(peer, link)
  }

  counts(): PeerLinkCounts {
    return { ...this.#counts }
  }

  /** For a peer that is gone for good. */
  forget(peer: PeerId): void {
    this.#links.get(peer)?.retry?.cancel()
    this.#links.delete(peer)
  }

  /** Sends nothing more and reports nothing more. Idempotent. */
  stop(): void {
    this.#isStopped = true
    this.#unsubscribe()
    for (const peer of this.#links.keys()) this.forget(peer)
  }

  #link(peer: PeerId): Link {
    const known = this.#links.get(peer)
    if (known !== undefined) return known
    const bulkBytesMax = this.#options.bulkBytesMax ?? BULK_BYTES_MAX
    const link: Link = {
      queue: new SendQueue({ urgentBytesMax: URGENT_BYTES_MAX, bulkBytesMax }),
      dropped: [],
      isFlushDue: false,
      isSending: false,
      failures: 0,
      pausedUntilMs: 0,
      retry: undefined
    }
    this.#links.set(peer, link)
    return link
  }

  #enqueue(peer: PeerId, link: Link, outgoing: OutgoingMessage): OutgoingMessage[] {
    const dropped = link.queue.push(outgoing)
    if (dropped.length > 0 && messageBytes(outgoing.message) > MESSAGE_BYTES_MAX) {
      const { group, message } = outgoing
      this.#components.log.error('links.message_too_large', { peer, group, type: message.type })
    }
    return dropped
  }

  #isPaused(link: Link): boolean {
    return link.pausedUntilMs > this.#components.clock.monotonicMs()
  }

  #flushSoon(peer: PeerId, link: Link): void {
    if (link.isFlushDue) return
    link.isFlushDue = true
    this.#components.defer(() => {
      link.isFlushDue = false
      if (this.#links.get(peer) !== link) return
      this.#report(peer, link)
      if (!link.isSending && link.retry === undefined) void this.#drain(peer, link)
    })
  }

  /** Sends frame after frame until nothing waits or the peer takes no more. Never rejects. */
  async #drain(peer: PeerId, link: Link): Promise<void> {
    link.isSending = true
    for (let parcel = link.queue.take(); parcel !== undefined; parcel = link.queue.take()) {
      const isSent = await this.#components.network.notify(
        peer,
        RAFT_PROTOCOL,
        this.#encode(parcel)
      )
      if (this.#links.get(peer) !== link) return
      if (!isSent) {
        this.#onFailure(peer, link, parcel)
        break
      }
      this.#counts.framesSent += 1
      link.failures = 0
    }
    link.isSending = false
    this.#report(peer, link)
  }

  #encode({ toStore, messages, gone }: Parcel): Uint8Array {
    const fromStore = this.#options.store
    return encodeRaftFrame({ toStore, fromStore, groups: groupMessages(messages), gone })
  }

  /** A connected peer has its queue full, most likely: what waits is kept. Else all of it is late. */
  #onFailure(peer: PeerId, link: Link, parcel: Parcel): void {
    const { network, clock, log } = this.#components
    link.failures += 1
    const isConnected = network.connected().includes(peer)
    if (isConnected && link.failures < RETRIES_MAX) {
      link.dropped.push(...link.queue.putBack(parcel))
      link.retry = clock.after(doubled(RETRY_MS_MIN, link.failures), () => {
        link.retry = undefined
        this.#flushSoon(peer, link)
      })
      return
    }
    link.dropped.push(...parcel.messages, ...link.queue.clear())
    const pauseMs = doubled(PAUSE_MS_MIN, link.failures)
    link.pausedUntilMs = clock.monotonicMs() + pauseMs
    log.debug('links.paused', { peer, pauseMs, failures: link.failures })
  }

  #onConnected(peer: PeerId): void {
    const link = this.#links.get(peer)
    if (link === undefined) return
    link.failures = 0
    link.pausedUntilMs = 0
  }

  #report(peer: PeerId, link: Link): void {
    const { dropped } = link
    if (dropped.length === 0) return
    link.dropped = []
    this.#counts.dropped += dropped.length
    this.#options.onDropped(peer, dropped)
  }

  #receive(peer: PeerId, body: Uint8Array): void {
    if (this.#isStopped) return
    let frame: RaftFrame
    try {
      frame = decodeRaftFrame(body)
    } catch (error) {
      this.#counts.malformed += 1
      this.#logSometimes('links.malformed', { peer, reason: errorMessage(error) })
      return
    }
    if (frame.toStore !== this.#options.store) {
      this.#counts.misdirected += 1
      this.#logSometimes('links.misdirected', { peer, toStore: frame.toStore })
      return
    }
    this.#counts.framesReceived += 1
    this.#options.onFrame(peer, frame)
  }

  #logSometimes(event: string, fields: Readonly<Record<string, string>>): void {
    const nowMs = this.#components.clock.monotonicMs()
    if (nowMs - this.#loggedMs < LOG_PAUSE_MS) return
    this.#loggedMs = nowMs
    const { malformed, misdirected } = this.#counts
    this.#components.log.warn(event, { ...fields, malformed, misdirected })
  }
}

function doubled(firstMs: number, failures: number): number {
  return Math.min(firstMs * 2 ** Math.min(failures - 1, 16), PAUSE_MS_MAX)
}
