// Pings made for others (SWIM's ping-req), with Lifeguard's nack when the target is late.

import type { PeerId } from '../../base/ids.ts'
import { isTerminal } from './member.ts'
import type { ProbeComponents } from './probe.ts'

/** Pings for others that may wait at once. One more is answered with a nack. */
export const RELAY_COUNT_MAX = 256

type RelayedPing = {
  readonly seq: number
  readonly target: PeerId
  readonly asker: PeerId
  readonly askerSeq: number
  readonly nackTick: number
  readonly endTick: number
  isNacked: boolean
}

export class Relays {
  readonly #parts: ProbeComponents
  /** By start. */
  #waiting: RelayedPing[] = []

  constructor(parts: ProbeComponents) {
    this.#parts = parts
  }

  get size(): number {
    return this.#waiting.length
  }

  /** @returns why the request got a nack at once, if it did. */
  request(
    tick: number,
    asked: { asker: PeerId; askerSeq: number; target: PeerId }
  ): 'unknown-member' | 'relays-full' | undefined {
    const { config, table, post, nextSeq } = this.#parts
    const { asker, askerSeq, target } = asked
    if (target === table.selfId) {
      post(asker, { kind: 'ack', seq: askerSeq })
      return undefined
    }
    const member = table.get(target)
    const isKnown = member !== undefined && !isTerminal(member.state)
    if (!isKnown || this.#waiting.length >= RELAY_COUNT_MAX) {
      post(asker, { kind: 'nack', seq: askerSeq, target })
      return isKnown ? 'relays-full' : 'unknown-member'
    }
    // The nack leaves at 80 % of the timeout, as in Lifeguard, to arrive before the asker gives up.
    const nackTicks = Math.max(1, Math.floor((config.probeTimeoutTicks * 4) / 5))
    const seq = nextSeq()
    this.#waiting.push({
      seq,
      target,
      asker,
      askerSeq,
      isNacked: false,
      nackTick: tick + nackTicks,
      endTick: tick + config.probeIntervalTicks
    })
    post(target, { kind: 'ping', seq })
    return undefined
  }

  tick(tick: number): void {
    if (this.#waiting.length === 0) return
    for (const ping of this.#waiting) if (tick >= ping.nackTick) this.#nack(ping)
    this.#waiting = this.#waiting.filter((ping) => tick < ping.endTick)
  }

  /** @returns whether the ack belongs to a ping made for another, who has then been told. */
  ack(from: PeerId, seq: number): boolean {
    const ping = this.#waiting.find((other) => other.seq === seq && other.target === from)
    if (ping === undefined) return false
    this.#waiting = this.#waiting.filter((other) => other !== ping)
    this.#parts.post(ping.asker, { kind: 'ack', seq: ping.askerSeq })
    return true
  }

  /** A message to `peer` couldn't be delivered: its askers needn't wait. */
  unreachable(peer: PeerId): void {
    for (const ping of this.#waiting) if (ping.target === peer) this.#nack(ping)
    this.#waiting = this.#waiting.filter((ping) => ping.target !== peer)
  }

  #nack(ping: RelayedPing): void {
    if (ping.isNacked) return
    ping.isNacked = true
    this.#parts.post(ping.asker, { kind: 'nack', seq: ping.askerSeq, target: ping.target })
  }
}
