// One membership machine whose every peer is played by the test. Checks the invariants after every
// step.

import { peerId } from '../../../src/base/ids.ts'
import { createRandom } from '../../../src/base/random.ts'
import { membershipConfig } from '../../../src/core/membership/config.ts'
import type { MembershipConfig } from '../../../src/core/membership/config.ts'
import type {
  MembershipEvent,
  MembershipInput,
  Outgoing
} from '../../../src/core/membership/effects.ts'
import { checkInvariants } from '../../../src/core/membership/invariants.ts'
import type { ShownVersions } from '../../../src/core/membership/invariants.ts'
import type {
  MemberRecord,
  MemberState,
  MemberUpdate
} from '../../../src/core/membership/member.ts'
import { Membership } from '../../../src/core/membership/membership.ts'
import type {
  MembershipMessage,
  MembershipMessageKind
} from '../../../src/core/membership/messages.ts'
import { record, update } from './records.ts'

export type LoneOptions = {
  readonly config?: Partial<MembershipConfig>
  readonly self?: Partial<MemberRecord>
  /** Members known from the start, alive. */
  readonly peers?: readonly string[]
  readonly seed?: number
}

type MessageOf<Kind extends MembershipMessageKind> = Extract<MembershipMessage, { kind: Kind }>

export class LoneNode {
  readonly machine: Membership
  sent: Outgoing[] = []
  events: MembershipEvent[] = []
  #shown: ShownVersions | undefined

  constructor(options: LoneOptions = {}) {
    // Periodic things other than probes are out of the way unless a test asks for them.
    const quiet = { syncIntervalTicks: 300_000, retryDeadTicks: 300_000 }
    const config = membershipConfig('lan', { ...quiet, ...options.config })
    this.machine = new Membership(
      config,
      record('self', options.self),
      createRandom(options.seed ?? 1)
    )
    const updates = (options.peers ?? []).map((name) => update(record(name), 'alive'))
    if (updates.length > 0) this.step({ kind: 'merge', updates })
    // What the start gave rise to has been told, so that tests see their own news only.
    const { news } = this.machine.parts().opinions
    while (news.size > 0) news.take(63, 1)
    this.clear()
  }

  tick(count = 1): void {
    for (; count > 0; count--) {
      const isQuiet = this.machine.quietTicks > 0
      const told = [this.sent.length, this.events.length]
      this.machine.tick()
      this.#take()
      if (isQuiet && String(told) !== String([this.sent.length, this.events.length]))
        throw new Error('a tick that was said to do nothing did something')
    }
  }

  /** Ticks until something of this kind is sent; fails after `ticksMax`. */
  tickUntilSent<Kind extends MembershipMessageKind>(
    kind: Kind,
    ticksMax = 200
  ): { to: string; message: MessageOf<Kind> } {
    for (let ticks = 0; ticks < ticksMax; ticks++) {
      const found = this.sentOf(kind)[0]
      if (found !== undefined) return found
      this.tick()
    }
    throw new Error(`no ${kind} was sent in ${ticksMax} ticks`)
  }

  step(input: MembershipInput): void {
    this.machine.step(input)
    this.#take()
  }

  hear(from: string, message: MembershipMessage): void {
    this.step({ kind: 'message', from: peerId(from), message })
  }

  /** Hears news from a member. */
  hearNews(from: string, ...updates: MemberUpdate[]): void {
    this.hear(from, { kind: 'gossip', updates })
  }

  sentOf<Kind extends MembershipMessageKind>(
    kind: Kind
  ): { to: string; message: MessageOf<Kind> }[] {
    return this.sent.flatMap(({ to, message }) =>
      message.kind === kind ? [{ to, message: message as MessageOf<Kind> }] : []
    )
  }

  /** @returns the kinds of the events since the last `clear`, each with its member's name. */
  told(): string[] {
    return this.events.map((event) =>
      'member' in event ? `${event.kind} ${event.member.record.name}` : event.kind
    )
  }

  state(name: string): MemberState | undefined {
    return this.machine.member(peerId(name))?.state
  }

  clear(): void {
    this.sent = []
    this.events = []
  }

  #take(): void {
    const { send, events } = this.machine.take()
    this.sent.push(...send)
    this.events.push(...events)
    this.#shown = checkInvariants(this.machine, this.#shown)
  }
}
