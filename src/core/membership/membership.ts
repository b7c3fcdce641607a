// Who is in the mesh and who answers now: SWIM (Das, Gupta, Motivala, "SWIM: Scalable
// Weakly-consistent Infection-style Process Group Membership Protocol", DSN 2002) with Lifeguard
// (Dadgar, Phillips, Currey, "Lifeguard: Local Health Awareness for More Accurate Failure
// Detection", 2017). It is advice: it orders attempts; it moves no data and decides no quorum.

import type { PeerId } from '../../base/ids.ts'
import type { Random } from '../../base/random.ts'
import { validateMembershipConfig } from './config.ts'
import type { MembershipConfig } from './config.ts'
import type { Effects, MembershipInput } from './effects.ts'
import { Grace } from './grace.ts'
import { LocalHealth } from './local-health.ts'
import { isAnswering } from './member.ts'
import type { Member, MemberRecord, MemberState } from './member.ts'
import { messageProblem } from './message-check.ts'
import { SEQUENCE_LIMIT } from './messages.ts'
import type { MembershipMessage } from './messages.ts'
import { Opinions } from './opinions.ts'
import { Outbox } from './outbox.ts'
import { Prober } from './probe.ts'
import type { ProbeComponents } from './probe.ts'
import { Refusals } from './refusals.ts'
import type { Refusal } from './refusals.ts'
import { Relays } from './relay.ts'
import { Schedule } from './schedule.ts'

/** What the invariants look at. */
export type MembershipParts = {
  readonly opinions: Opinions
  readonly prober: Prober
  readonly relays: Relays
  readonly health: LocalHealth
}

const NOTHING: Effects = { send: [], events: [] }

/**
 * The membership of one node, as a pure machine: call `tick` ten times a second, `step` for
 * whatever happens, and `take` after each for what is to be done.
 */
export class Membership {
  readonly #health: LocalHealth
  readonly #refusals = new Refusals()
  readonly #opinions: Opinions
  readonly #outbox: Outbox
  readonly #prober: Prober
  readonly #relays: Relays
  readonly #grace: Grace
  readonly #schedule: Schedule
  #tick = 0

  /**
   * @param self this node's record: at its first start incarnation 1 and revision 1, later the last
   *   ones it had, as far as it remembers, and a new session.
   * @throws invalid-argument for a knob or a record outside its range.
   */
  constructor(config: MembershipConfig, self: MemberRecord, random: Random) {
    validateMembershipConfig(config)
    this.#health = new LocalHealth(config.localHealthMax)
    const health = this.#health
    const refusals = this.#refusals
    const onAnswering = (peer: PeerId, isAnswering: boolean): void => {
      if (isAnswering) this.#prober.add(peer)
      else this.#prober.remove(peer)
    }
    this.#opinions = new Opinions({ config, health, refusals, onAnswering }, self)
    this.#outbox = new Outbox(config, random, this.#opinions)
    let seq = random.u32()
    const parts: ProbeComponents = {
      config,
      random,
      table: this.#opinions.table,
      post: (to, draft) => this.#outbox.post(to, draft),
      nextSeq: () => (seq = (seq + 1) % SEQUENCE_LIMIT)
    }
    this.#prober = new Prober(parts, health)
    this.#relays = new Relays(parts)
    this.#grace = new Grace(config.graceTicks)
    this.#schedule = new Schedule(config, random)
  }

  /** One unit of time has passed. */
  tick(): void {
    this.#tick++
    const tick = this.#tick
    const opinions = this.#opinions
    opinions.tick(tick)
    if (opinions.isOut) return
    if (opinions.own.state === 'alive') this.#tickMember(tick)
    if (opinions.news.size > 0 && this.#schedule.isGossipDue(tick)) this.#outbox.gossip()
  }

  /**
   * How many of the ticks to come do nothing, unless something happens before: a driver may call
   * those late, all at once.
   */
  get quietTicks(): number {
    const { news, suspicions, table, own, isOut } = this.#opinions
    const isBusy = this.#prober.running.length + this.#relays.size + suspicions.size + news.size > 0
    if (isBusy || isOut || table.count('dead') > 0 || own.state !== 'alive') return 0
    return Math.max(0, this.#schedule.nextTick - this.#tick - 1)
  }

  /**
   * Something has happened. Nothing that comes from another node makes this throw.
   *
   * @throws invalid-argument for an `update-self` that others would refuse.
   */
  step(input: MembershipInput): void {
    const { own, isOut } = this.#opinions
    if (isOut) return
    switch (input.kind) {
      case 'message':
        this.#refusals.note('malformed', input.malformed ?? 0)
        this.#receive(input.from, input.message)
        break
      case 'merge':
        this.#opinions.learnTable(this.#opinions.table.selfId, input.updates)
        break
      case 'join':
        if (input.peer === own.record.peerId) this.#refusals.note('from-self')
        else this.#outbox.sync(input.peer)
        break
      case 'connected':
        this.#onConnected(input.peer)
        break
      case 'disconnected':
        if (this.#isProbed(input.peer)) this.#prober.start(input.peer, this.#tick, 'both')
        break
      case 'send-failed':
        this.#onSendFailed(input.peer)
        break
      case 'update-self':
        if (own.change(input.change)) this.#opinions.announce()
        break
      case 'leave-begin':
        if (own.changeStatus('leaving')) this.#opinions.announce()
        break
      case 'leave-end':
        this.#leave()
        break
      case 'evict':
        this.#evict(input.peer)
        break
    }
    this.#suspectFailed()
  }

  /** @returns what to do, and forgets it. Call it after every `tick` and `step`. */
  take(): Effects {
    if (this.#outbox.isEmpty && !this.#opinions.hasEvents) return NOTHING
    return { send: this.#outbox.take(), events: this.#opinions.takeEvents() }
  }

  /** @returns this node's record as it stands. */
  self(): MemberRecord {
    return this.#opinions.own.record
  }

  /** @returns every member and tombstone, this node included, by id. Stays the machine's own. */
  members(): readonly Member[] {
    return this.#opinions.table.sorted()
  }

  member(peer: PeerId): Member | undefined {
    return this.#opinions.table.get(peer)
  }

  /** How many are in this state; O(1). */
  count(state: MemberState): number {
    return this.#opinions.table.count(state)
  }

  /** Lifeguard's local health multiplier: 0 is well, `localHealthMax` as sick as it gets. */
  get localHealth(): number {
    return this.#health.score
  }

  /** How often what was refused, since the start. */
  get refused(): ReadonlyMap<Refusal, number> {
    return this.#refusals.counts
  }

  /** For `checkInvariants`. */
  parts(): MembershipParts {
    return {
      opinions: this.#opinions,
      prober: this.#prober,
      relays: this.#relays,
      health: this.#health
    }
  }

  #tickMember(tick: number): void {
    const { table } = this.#opinions
    this.#prober.tick(tick)
    this.#relays.tick(tick)
    this.#suspectFailed()
    this.#opinions.declareExpired()
    this.#opinions.declareGone(this.#grace)
    if (this.#schedule.isProbeDue(tick, this.#health)) this.#prober.startNext(tick)
    if (this.#schedule.isSyncDue(tick)) this.#outbox.syncWithOne()
    if (this.#schedule.isRetryDue(tick) && table.count('dead') > 0) this.#outbox.retryOneDead()
  }

  #receive(from: PeerId, message: MembershipMessage): void {
    const { own, table } = this.#opinions
    if (from === table.selfId) return this.#refusals.note('from-self')
    const problem = messageProblem(message)
    if (problem !== undefined) return this.#refusals.note(problem)
    const { incarnation } = own.record
    this.#opinions.learnMessage(from, message)
    if (this.#opinions.isOut) return
    this.#answer(from, message)
    // Who accused this node, or holds an older record of it, hears the refutation first.
    const isAnswered = message.kind === 'ping' || message.kind === 'sync'
    if (own.record.incarnation > incarnation && !isAnswered) {
      this.#outbox.post(from, { kind: 'gossip' })
    }
  }

  #answer(from: PeerId, message: MembershipMessage): void {
    switch (message.kind) {
      case 'ping':
        this.#outbox.post(from, { kind: 'ack', seq: message.seq })
        // A stranger counts this node as a member: one of the two has missed something.
        if (this.member(from) === undefined && this.#schedule.mayAskStranger(this.#tick)) {
          this.#outbox.sync(from)
        }
        break
      case 'ack': {
        const isOurs = this.#prober.ack(from, message.seq) || this.#relays.ack(from, message.seq)
        if (!isOurs) this.#refusals.note('unknown-seq')
        break
      }
      case 'ping-request': {
        const asked = { asker: from, askerSeq: message.seq, target: message.target }
        const refusal = this.#relays.request(this.#tick, asked)
        if (refusal !== undefined) this.#refusals.note(refusal)
        break
      }
      case 'nack':
        if (!this.#prober.nack(from, message.seq)) this.#refusals.note('unknown-seq')
        break
      case 'sync':
        if (!message.more) this.#outbox.replySync(from)
        break
      case 'gossip':
      case 'sync-reply':
        break
    }
  }

  #isProbed(peer: PeerId): boolean {
    const { own, table } = this.#opinions
    const member = table.get(peer)
    if (member === undefined || peer === table.selfId || own.state !== 'alive') return false
    return isAnswering(member.state)
  }

  /** Whoever is thought ill of is told so as soon as it can be reached, to refute. */
  #onConnected(peer: PeerId): void {
    const member = this.member(peer)
    if (member === undefined || member.state === 'alive') return
    if (peer !== this.#opinions.table.selfId) this.#outbox.post(peer, { kind: 'gossip' })
  }

  #onSendFailed(peer: PeerId): void {
    this.#relays.unreachable(peer)
    // Once this node has accused the member, a failure says nothing new until its next turn.
    const { selfId } = this.#opinions.table
    const hasAccused = this.#opinions.suspicions.get(peer)?.accusers.includes(selfId) ?? false
    if (this.#isProbed(peer) && !hasAccused) this.#prober.start(peer, this.#tick, 'indirect')
    this.#prober.unreachable(peer)
  }

  #suspectFailed(): void {
    for (const peer of this.#prober.takeFailed()) {
      if (this.#isProbed(peer)) this.#opinions.declare(peer, 'suspect')
    }
  }

  #evict(peer: PeerId): void {
    const isOther = peer !== this.#opinions.table.selfId
    if (!isOther || this.member(peer) === undefined) return this.#refusals.note('unknown-member')
    this.#opinions.declare(peer, 'evicted')
    this.#outbox.post(peer, { kind: 'gossip' })
    this.#outbox.gossip()
  }

  #leave(): void {
    if (!this.#opinions.own.changeStatus('left')) return
    this.#opinions.announce()
    this.#outbox.gossip()
  }
}
