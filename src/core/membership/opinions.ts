// What this node thinks of everyone, itself included: every update ends here, whether it was heard
// or is this node's own finding, and everything that follows from it starts here.

import { assert } from '../../base/assert.ts'
import type { PeerId } from '../../base/ids.ts'
import type { MembershipConfig } from './config.ts'
import { Dissemination } from './dissemination.ts'
import type { MembershipEvent } from './effects.ts'
import type { Grace } from './grace.ts'
import type { LocalHealth } from './local-health.ts'
import { memberEvents } from './member-events.ts'
import { isAnswering, isTerminal } from './member.ts'
import type { Member, MemberRecord, MemberUpdate } from './member.ts'
import type { MembershipMessage } from './messages.ts'
import { OwnRecord } from './own-record.ts'
import { updateProblem } from './record-check.ts'
import type { Refusals } from './refusals.ts'
import { Suspicions } from './suspicion.ts'
import { MemberTable } from './table.ts'

export type OpinionComponents = {
  readonly config: MembershipConfig
  readonly health: LocalHealth
  readonly refusals: Refusals
  /** Told when a member begins or ceases to be one that answers. */
  readonly onAnswering: (peer: PeerId, isAnswering: boolean) => void
}

export class Opinions {
  readonly own: OwnRecord
  readonly table: MemberTable
  readonly suspicions: Suspicions
  readonly news: Dissemination = new Dissemination()
  readonly #parts: OpinionComponents
  #tick = 0
  #isOut = false
  #events: MembershipEvent[] = []

  constructor(parts: OpinionComponents, self: MemberRecord) {
    this.#parts = parts
    this.own = new OwnRecord(self)
    this.table = new MemberTable(self, (peer) => this.news.remove(peer))
    this.suspicions = new Suspicions(parts.config)
  }

  /** Whether this node is evicted. */
  get isOut(): boolean {
    return this.#isOut
  }

  get hasEvents(): boolean {
    return this.#events.length > 0
  }

  takeEvents(): readonly MembershipEvent[] {
    const events = this.#events
    this.#events = []
    return events
  }

  tick(tick: number): void {
    this.#tick = tick
  }

  /** Declares dead whose suspicion has run out. */
  declareExpired(): void {
    for (const peer of this.suspicions.expired(this.#tick)) this.declare(peer, 'dead')
  }

  /** Declares gone whose grace is over. Looks anew after each: the majority may have changed. */
  declareGone(grace: Grace): void {
    grace.tick(this.table, this.#tick)
    for (;;) {
      const due = grace.next(this.table, this.#tick)
      if (due === undefined) return
      this.declare(due, 'gone')
    }
  }

  /** This node's own finding, told to everyone. */
  declare(peer: PeerId, state: 'suspect' | 'dead' | 'gone' | 'evicted'): void {
    const member = this.table.get(peer)
    assert(member !== undefined, 'only known members are judged')
    const from = state === 'suspect' ? this.table.selfId : peer
    this.learn({ record: member.record, state, from })
  }

  /** @param message one that has passed `messageProblem`. */
  learnMessage(from: PeerId, message: MembershipMessage): void {
    switch (message.kind) {
      case 'sync':
      case 'sync-reply':
        this.learnTable(from, message.updates)
        break
      case 'nack':
        break
      case 'ping':
      case 'ack':
      case 'ping-request':
      case 'gossip':
        for (const update of message.updates) this.learn(update)
    }
  }

  /**
   * A whole table is old news by nature. Its dead are taken as suspects, accused by the sender:
   * when a partition heals, nobody dies by what the other side thinks (memberlist does the same).
   */
  learnTable(from: PeerId, updates: readonly MemberUpdate[]): void {
    for (const update of updates) {
      this.learn(update.state === 'dead' ? { ...update, state: 'suspect', from } : update)
    }
  }

  learn(update: MemberUpdate): void {
    const peer = update.record.peerId
    if (this.#isOut) return
    if (peer === this.table.selfId) return this.#learnAboutSelf(update)
    const before = this.table.get(peer)
    const outcome = this.table.apply(update, this.#tick)
    if (typeof outcome === 'string') return this.#parts.refusals.note(outcome)
    if (outcome !== undefined) this.#onApplied(before, outcome)
    else if (update.state === 'suspect') this.#confirm(update)
  }

  /** Tells of this node's new record. */
  announce(): void {
    const { record, state } = this.own
    const entry = this.table.putSelf(record, state, this.#tick)
    assert(entry.record === record, 'the own entry is the own record')
    this.news.add(entry)
    this.#events.push({ kind: 'self-changed', record })
  }

  #onApplied(before: Member | undefined, after: Member): void {
    const peer = after.record.peerId
    // A full table may have dropped it at once; what it doesn't hold it doesn't tell either.
    if (this.table.get(peer) !== undefined) this.news.add(after)
    this.#trackSuspicion(after)
    const wasAnswering = before !== undefined && isAnswering(before.state)
    if (isAnswering(after.state) !== wasAnswering) this.#parts.onAnswering(peer, !wasAnswering)
    for (const kind of memberEvents(before, after)) this.#events.push({ kind, member: after })
  }

  #trackSuspicion(after: Member): void {
    const { peerId, incarnation } = after.record
    if (after.state !== 'suspect') return this.suspicions.end(peerId)
    if (this.suspicions.get(peerId)?.incarnation === incarnation) return
    const at = { tick: this.#tick, memberCount: this.table.memberCount, accuser: after.from }
    this.suspicions.start(peerId, incarnation, at)
  }

  /** A further accuser counts once, when it is a member: a made-up name shortens nothing. */
  #confirm(update: MemberUpdate): void {
    const { peerId, incarnation } = update.record
    if (this.suspicions.get(peerId)?.incarnation !== incarnation) return
    const accuser = this.table.get(update.from)
    const isMember = accuser !== undefined && !isTerminal(accuser.state)
    if (!isMember || update.from === peerId) return
    if (!this.suspicions.confirm(peerId, update.from)) return
    const suspect = this.table.get(peerId)
    assert(suspect?.state === 'suspect', 'a suspicion runs for suspects only')
    this.news.add({ record: suspect.record, state: 'suspect', from: update.from })
  }

  #learnAboutSelf(update: MemberUpdate): void {
    const problem = updateProblem(update)
    if (problem !== undefined) return this.#parts.refusals.note(problem)
    const answer = this.own.answer(update)
    switch (answer.kind) {
      case 'none':
        break
      case 'exhausted':
        this.#parts.refusals.note('incarnation-exhausted')
        break
      case 'evicted':
        this.#isOut = true
        this.table.putSelf(this.own.record, 'evicted', this.#tick)
        this.#events.push({ kind: 'self-evicted' })
        break
      case 'raised':
        // An accused member that is well wasn't heard: it may be slow itself (Lifeguard).
        if (answer.isAccused) this.#parts.health.note(1)
        this.announce()
        if (answer.clone !== undefined) this.#events.push({ kind: 'cloned', session: answer.clone })
    }
  }
}
