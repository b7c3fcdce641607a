// What is to be sent, with the news that rides along.

import type { PeerId } from '../../base/ids.ts'
import type { Random } from '../../base/random.ts'
import { digits } from './config.ts'
import type { MembershipConfig } from './config.ts'
import type { Outgoing } from './effects.ts'
import { isAnswering } from './member.ts'
import type { Member } from './member.ts'
import type {
  AckMessage,
  GossipMessage,
  NackMessage,
  PingMessage,
  PingRequestMessage
} from './messages.ts'
import type { Opinions } from './opinions.ts'

/** A message without the news that rides along. */
export type Draft =
  | Omit<PingMessage, 'updates'>
  | Omit<AckMessage, 'updates'>
  | Omit<PingRequestMessage, 'updates'>
  | Omit<GossipMessage, 'updates'>
  | NackMessage

export class Outbox {
  readonly #config: MembershipConfig
  readonly #random: Random
  readonly #opinions: Opinions
  #send: Outgoing[] = []

  constructor(config: MembershipConfig, random: Random, opinions: Opinions) {
    this.#config = config
    this.#random = random
    this.#opinions = opinions
  }

  get isEmpty(): boolean {
    return this.#send.length === 0
  }

  take(): readonly Outgoing[] {
    const send = this.#send
    this.#send = []
    return send
  }

  /**
   * Sends a message with news: first what the recipient has to deny, for it alone can and it may
   * not have heard (Lifeguard, section IV.C "Buddy System"), then what was told least.
   */
  post(to: PeerId, draft: Draft): void {
    if (draft.kind === 'nack') {
      this.#send.push({ to, message: draft })
      return
    }
    const { table, news } = this.#opinions
    const { piggybackMax, retransmitMultiplier } = this.#config
    const tellMax = retransmitMultiplier * digits(table.memberCount)
    const updates = news.take(piggybackMax, tellMax)
    const recipient = table.get(to)
    if (recipient !== undefined && recipient.state !== 'alive' && !updates.includes(recipient)) {
      updates.unshift(recipient)
    }
    this.#send.push({ to, message: { ...draft, updates } })
  }

  /** Tells news to a few members. */
  gossip(): void {
    for (const { record } of this.#pickAnswering(this.#config.gossipFanout)) {
      this.post(record.peerId, { kind: 'gossip' })
    }
  }

  /** Exchanges the table with one random member. */
  syncWithOne(): void {
    for (const { record } of this.#pickAnswering(1)) this.sync(record.peerId)
  }

  /** Tells one random dead member what is thought of it. */
  retryOneDead(): void {
    const dead = this.#opinions.table.pick(this.#random, 1, ({ state }) => state === 'dead')
    for (const { record } of dead) this.post(record.peerId, { kind: 'gossip' })
  }

  /** Sends the table and asks for the other one's. */
  sync(to: PeerId): void {
    const { table } = this.#opinions
    const parts = table.parts()
    for (const [index, updates] of parts.entries()) {
      const more = index < parts.length - 1
      this.#send.push({ to, message: { kind: 'sync', updates, more } })
    }
  }

  replySync(to: PeerId): void {
    const { table } = this.#opinions
    for (const updates of table.parts()) {
      this.#send.push({ to, message: { kind: 'sync-reply', updates } })
    }
  }

  #pickAnswering(count: number): Member[] {
    const { table } = this.#opinions
    return table.pick(
      this.#random,
      count,
      ({ state, record }) => isAnswering(state) && record.peerId !== table.selfId
    )
  }
}
