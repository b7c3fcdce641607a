// Who answers: direct and indirect probes, in a random order that visits everyone. SWIM (Das, Gupta,
// Motivala, 2002), sections 3.1 and 4.3; nacks and slowed probes from Lifeguard (2017), section IV.A.

import type { PeerId } from '../../base/ids.ts'
import { shuffle } from '../../base/random.ts'
import type { Random } from '../../base/random.ts'
import type { MembershipConfig } from './config.ts'
import type { LocalHealth } from './local-health.ts'
import { isAnswering } from './member.ts'
import type { Draft } from './outbox.ts'
import type { MemberTable } from './table.ts'

/** What probing needs of the machine it is part of. */
export type ProbeComponents = {
  readonly config: MembershipConfig
  readonly random: Random
  readonly table: MemberTable
  readonly post: (to: PeerId, draft: Draft) => void
  readonly nextSeq: () => number
}

type Relay = { readonly peer: PeerId; outcome: 'pending' | 'nack' | 'unreachable' }

export type Probe = {
  readonly seq: number
  readonly target: PeerId
  /** When the direct way counts as failed, and when the whole probe does. */
  readonly directDeadline: number
  readonly deadline: number
  hasDirectFailed: boolean
  /** Empty until others are asked. */
  relays: Relay[]
  isIndirect: boolean
}

/** The probes of this node. At most one per member at a time. */
export class Prober {
  readonly #parts: ProbeComponents
  readonly #health: LocalHealth
  /** Everyone that answers, shuffled; `#cursor` is the next one. */
  readonly #order: PeerId[] = []
  #cursor = 0
  /** By start. Replaced, never changed in place, so that a loop over it may end probes. */
  #running: readonly Probe[] = []
  #failed: PeerId[] = []

  constructor(parts: ProbeComponents, health: LocalHealth) {
    this.#parts = parts
    this.#health = health
  }

  get running(): readonly Probe[] {
    return this.#running
  }

  /** In probing order; for the invariants. */
  get order(): readonly PeerId[] {
    return this.#order
  }

  /** Adds a member at a random place, so that the wait for its first probe is bounded too. */
  add(peer: PeerId): void {
    const place = this.#parts.random.below(this.#order.length + 1)
    this.#order.splice(place, 0, peer)
    if (place < this.#cursor) this.#cursor++
  }

  remove(peer: PeerId): void {
    const place = this.#order.indexOf(peer)
    if (place >= 0) {
      this.#order.splice(place, 1)
      if (place < this.#cursor) this.#cursor--
    }
    this.#end(peer)
  }

  isRunning(peer: PeerId): boolean {
    return this.#running.some((probe) => probe.target === peer)
  }

  /** Starts the periodic probe of the next member. */
  startNext(tick: number): void {
    for (let tries = this.#order.length; tries > 0; tries--) {
      if (this.#cursor >= this.#order.length) {
        shuffle(this.#parts.random, this.#order)
        this.#cursor = 0
      }
      const target = this.#order[this.#cursor++] as PeerId
      if (this.isRunning(target)) continue
      this.start(target, tick, 'direct')
      return
    }
  }

  /**
   * @param way `direct` asks others only when the target doesn't answer; `both` at once, after a
   *   hint that it won't; `indirect` when the direct way is known to be broken.
   */
  start(target: PeerId, tick: number, way: 'direct' | 'both' | 'indirect'): void {
    if (this.isRunning(target)) return
    const { probeIntervalTicks, probeTimeoutTicks } = this.#parts.config
    const probe: Probe = {
      seq: this.#parts.nextSeq(),
      target,
      directDeadline: tick + this.#health.stretch(probeTimeoutTicks),
      deadline: tick + this.#health.stretch(probeIntervalTicks),
      hasDirectFailed: way === 'indirect',
      relays: [],
      isIndirect: false
    }
    this.#running = [...this.#running, probe]
    if (way !== 'indirect') this.#parts.post(target, { kind: 'ping', seq: probe.seq })
    if (way !== 'direct') this.#askOthers(probe)
  }

  tick(tick: number): void {
    if (this.#running.length === 0) return
    for (const probe of this.#running) {
      if (tick >= probe.deadline) {
        this.#fail(probe)
      } else if (tick >= probe.directDeadline && !probe.hasDirectFailed) {
        probe.hasDirectFailed = true
        this.#askOthers(probe)
        this.#failEarly(probe)
      }
    }
  }

  /** @returns whether the ack belongs to a probe, which then has succeeded. */
  ack(from: PeerId, seq: number): boolean {
    const probe = this.#find(from, seq)
    if (probe === undefined) return false
    this.#end(probe.target)
    this.#health.note(-1)
    return true
  }

  /** @returns whether the nack belongs to a probe. */
  nack(from: PeerId, seq: number): boolean {
    const probe = this.#find(from, seq)
    const relay = probe?.relays.find(({ peer }) => peer === from)
    if (probe === undefined || relay === undefined) return false
    relay.outcome = 'nack'
    this.#failEarly(probe)
    return true
  }

  /** A message to `peer` couldn't be delivered: nothing more will come of waiting for it. */
  unreachable(peer: PeerId): void {
    for (const probe of this.#running) {
      if (probe.target === peer) {
        probe.hasDirectFailed = true
        this.#askOthers(probe)
        if (probe.relays.length === 0) this.#fail(probe)
      }
      for (const relay of probe.relays) {
        if (relay.peer === peer && relay.outcome === 'pending') relay.outcome = 'unreachable'
      }
      this.#failEarly(probe)
    }
  }

  /** @returns the members whose probes have failed since the last call. */
  takeFailed(): PeerId[] {
    if (this.#failed.length === 0) return this.#failed
    const failed = this.#failed
    this.#failed = []
    return failed
  }

  #find(from: PeerId, seq: number): Probe | undefined {
    return this.#running.find(
      (probe) =>
        probe.seq === seq &&
        (probe.target === from || probe.relays.some(({ peer }) => peer === from))
    )
  }

  #askOthers(probe: Probe): void {
    if (probe.isIndirect) return
    probe.isIndirect = true
    const { config, random, table, post } = this.#parts
    const self = table.selfId
    const relays = table.pick(
      random,
      config.indirectProbes,
      ({ state, record: { peerId } }) =>
        state === 'alive' && peerId !== probe.target && peerId !== self
    )
    probe.relays = relays.map(({ record }) => ({ peer: record.peerId, outcome: 'pending' }))
    for (const { peer } of probe.relays) {
      post(peer, { kind: 'ping-request', seq: probe.seq, target: probe.target })
    }
  }

  /** Ends a probe whose every way has failed, without waiting for its deadline. */
  #failEarly(probe: Probe): void {
    const isOver = probe.relays.length > 0 && probe.relays.every((r) => r.outcome !== 'pending')
    if (isOver && probe.hasDirectFailed && this.#running.includes(probe)) this.#fail(probe)
  }

  /** A nack that didn't come speaks against this node; so does a failure nobody could judge. */
  #fail(probe: Probe): void {
    const reached = probe.relays.filter(({ outcome }) => outcome !== 'unreachable')
    const missing = reached.filter(({ outcome }) => outcome === 'pending').length
    this.#health.note(reached.length === 0 ? 1 : missing)
    this.#end(probe.target)
    const member = this.#parts.table.get(probe.target)
    if (member !== undefined && isAnswering(member.state)) this.#failed.push(probe.target)
  }

  #end(target: PeerId): void {
    this.#running = this.#running.filter((probe) => probe.target !== target)
  }
}
