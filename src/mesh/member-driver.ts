// Runs the membership core: its ticks, its messages over the network, and news over gossip.

import type { Clock, Timer } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { CONTROL_FRAME_BYTES_MAX } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { MembershipConfig } from '../core/membership/config.ts'
import type { MembershipEvent, MembershipInput } from '../core/membership/effects.ts'
import type { Member, MemberRecord, MemberUpdate } from '../core/membership/member.ts'
import { Membership } from '../core/membership/membership.ts'
import type { MembershipMessage } from '../core/membership/messages.ts'
import type { Network, Unsubscribe } from '../net/network.ts'
import { decodeMembershipMessage, encodeMembershipMessage } from '../wire/membership.ts'

const MEMBERSHIP_PROTOCOL = '/atoll/membership/1.0.0'
/** One tick of the membership core, milliseconds. */
export const TICK_MS = 100

const SERVED_PER_PEER_MAX = 64
/** The table of a peer that didn't answer is asked for again. */
const JOIN_RETRY_MS = 1_000

export type MemberDriverComponents = {
  network: Network
  clock: Clock
  random: Random
  log: Logger
  onEvents: (events: readonly MembershipEvent[]) => void
}

export class MemberDriver {
  readonly core: Membership
  readonly #components: MemberDriverComponents
  readonly #topic: string
  readonly #unsubscribe: Unsubscribe[] = []
  #tickTimer: Timer | undefined
  /** When the last tick of the core was due, and how many to come are known to do nothing. */
  #tickedMs = 0
  #quietTicks = 0
  #joinTimer: Timer | undefined
  #running = false

  constructor(
    components: MemberDriverComponents,
    options: { config: MembershipConfig; self: MemberRecord; topic: string }
  ) {
    this.#components = components
    this.#topic = options.topic
    this.core = new Membership(options.config, options.self, components.random)
    components.network.handle(
      MEMBERSHIP_PROTOCOL,
      { frameBytesMax: CONTROL_FRAME_BYTES_MAX, servedPerPeerMax: SERVED_PER_PEER_MAX },
      (body, { peer }) => {
        this.step(this.#decode(body, peer))
        return new Uint8Array(0)
      }
    )
  }

  start(): void {
    const { network } = this.#components
    this.#running = true
    this.#unsubscribe.push(
      network.onDisconnected((peer) => this.step({ kind: 'disconnected', peer })),
      network.subscribe(this.#topic, (data, from) => this.#onGossip(data, from))
    )
    this.#tickedMs = this.#components.clock.monotonicMs()
    this.#tickLater()
  }

  stop(): void {
    this.#running = false
    this.#tickTimer?.cancel()
    this.#joinTimer?.cancel()
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
  }

  step(input: MembershipInput): void {
    this.#tickQuietly()
    this.core.step(input)
    this.#act()
    if (this.#running && this.core.quietTicks !== this.#quietTicks) this.#tickLater()
  }

  /** Asks a peer for its table, again until somebody has answered. */
  swapTables(peer: PeerId): void {
    if (!this.#running) return
    this.step({ kind: 'join', peer })
    this.#joinTimer?.cancel()
    this.#joinTimer = this.#components.clock.after(JOIN_RETRY_MS, () => {
      if (this.core.members().length < 2) this.swapTables(peer)
    })
  }

  /**
   * Takes a refusal for what it says: `peer` serves nothing to a node that was evicted, so this is
   * the only way in which one that missed the news, being away, hears it for sure.
   */
  hearEviction(peer: PeerId): void {
    const record = this.core.self()
    const update: MemberUpdate = { record, state: 'evicted', from: record.peerId }
    this.step({ kind: 'message', from: peer, message: { kind: 'gossip', updates: [update] } })
  }

  /** Tells what is thought of a member to all at once; who misses it learns it from the probes. */
  async publish(peer: PeerId): Promise<void> {
    const update: Member | undefined = this.core.member(peer)
    if (update === undefined) return
    const message: MembershipMessage = { kind: 'gossip', updates: [update] }
    try {
      await this.#components.network.publish(this.#topic, encodeMembershipMessage(message))
    } catch (error) {
      this.#components.log.debug('gossip.publish_failed', { reason: errorMessage(error) })
    }
  }

  /** Wakes up for the next tick that does something. */
  #tickLater(): void {
    const { clock } = this.#components
    this.#tickTimer?.cancel()
    this.#quietTicks = this.core.quietTicks
    const dueMs = this.#tickedMs + (this.#quietTicks + 1) * TICK_MS
    this.#tickTimer = clock.after(Math.max(0, dueMs - clock.monotonicMs()), () => {
      for (; this.#quietTicks > 0; this.#quietTicks--) this.core.tick()
      // Time in which nothing ran isn't made up for: others may have answered all the while.
      this.#tickedMs = clock.monotonicMs()
      this.core.tick()
      this.#act()
      if (this.#running) this.#tickLater()
    })
  }

  /** Ticks that did nothing, as far as they have passed. */
  #tickQuietly(): void {
    const passedMs = this.#components.clock.monotonicMs() - this.#tickedMs
    const ticks = Math.min(this.#quietTicks, Math.floor(passedMs / TICK_MS))
    for (let count = ticks; count > 0; count--) this.core.tick()
    this.#quietTicks -= ticks
    this.#tickedMs += ticks * TICK_MS
  }

  #onGossip(data: Uint8Array, from: PeerId): void {
    // Who was put out is no longer heard, and a broadcast carries news, not questions.
    const author = this.core.member(from)
    if (author === undefined || author.state === 'evicted') return
    try {
      const input = this.#decode(data, from)
      if (input.message.kind === 'gossip') this.step(input)
    } catch (error) {
      this.#components.log.warn('gossip.malformed', { peer: from, reason: errorMessage(error) })
    }
  }

  /** @throws invalid-data, invalid-argument for a message that can't be read at all */
  #decode(data: Uint8Array, from: PeerId): Extract<MembershipInput, { kind: 'message' }> {
    let malformed = 0
    const message = decodeMembershipMessage(data, (error) => {
      malformed += 1
      this.#components.log.debug('membership.malformed_update', {
        peer: from,
        reason: errorMessage(error)
      })
    })
    return { kind: 'message', from, message, malformed }
  }

  /** Does what the core wants done. */
  #act(): void {
    const { send, events } = this.core.take()
    for (const { to, message } of send) void this.#send(to, message)
    if (events.length > 0) this.#components.onEvents(events)
  }

  async #send(to: PeerId, message: MembershipMessage): Promise<void> {
    if (!this.#running) return
    const { network } = this.#components
    const sent = await network.notify(to, MEMBERSHIP_PROTOCOL, encodeMembershipMessage(message))
    if (!sent && this.#running) this.step({ kind: 'send-failed', peer: to })
  }
}
