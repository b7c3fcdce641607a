// Carries the messages of all groups of this node to its peers and back, one frame for each peer and
// turn of the event loop: protocols/shard, rules S-2 to S-6.

import { errorMessage } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import type { PeerId, StoreId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { MINUTE_MS } from '../base/units.ts'
import type { Network, Unsubscribe } from '../net/network.ts'
import { RAFT_FRAME_BYTES_MAX, RAFT_PROTOCOL, decodeRaftFrame } from '../wire/shard-frame.ts'
import type { GoneReplica, RaftFrame } from '../wire/shard-frame.ts'
import { PeerLink } from './peer-link.ts'
import type { OutgoingMessage } from './send-queue.ts'

/**
 * Frames that came in one piece are all handed over before the first counts as served, so this
 * bounds a burst; each is dealt with at once.
 */
export const RAFT_SERVED_MAX = 4_096

/** Bad frames are logged once in so long, with their number. */
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
  /** Bytes of entries that may wait for one peer, by estimate; 16 MiB unless given. */
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

export class PeerLinks {
  readonly #components: PeerLinksComponents
  readonly #options: PeerLinksOptions
  readonly #links = new Map<PeerId, PeerLink>()
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
    this.#unsubscribe = network.onConnected((peer) => this.#links.get(peer)?.onConnected())
  }

  /**
   * Sends it with all else of this turn; the answer to a heartbeat may wait for {@link flush}. What
   * can't be sent is told to `onDropped`.
   */
  send(peer: PeerId, message: OutgoingMessage): void {
    if (!this.#isStopped) this.#link(peer).send(message)
  }

  /** Sends with all else of this turn what has waited until now. */
  flush(): void {
    for (const link of this.#links.values()) link.flush()
  }

  /** Says that a replica is no more; as unreliably as all else. */
  sendGone(peer: PeerId, toStore: StoreId, replica: GoneReplica): void {
    if (!this.#isStopped) this.#link(peer).sendGone(toStore, replica)
  }

  counts(): PeerLinkCounts {
    return { ...this.#counts }
  }

  /** For a peer that is gone for good: what waits for it goes, and nothing is told of that. */
  forget(peer: PeerId): void {
    this.#links.get(peer)?.stop()
    this.#links.delete(peer)
  }

  /** Sends nothing more and reports nothing more. Idempotent. */
  stop(): void {
    this.#isStopped = true
    this.#unsubscribe()
    for (const peer of this.#links.keys()) this.forget(peer)
  }

  #link(peer: PeerId): PeerLink {
    const known = this.#links.get(peer)
    if (known !== undefined) return known
    const { store, bulkBytesMax, onDropped } = this.#options
    const link = new PeerLink(this.#components, {
      peer,
      store,
      bulkBytesMax,
      onSent: () => {
        this.#counts.framesSent += 1
      },
      onDropped: (messages) => {
        this.#counts.dropped += messages.length
        onDropped(peer, messages)
      }
    })
    this.#links.set(peer, link)
    return link
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
