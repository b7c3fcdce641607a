// When the periodic things are due. Nodes that start together must not all act in one tick, so each
// begins at a random point of its periods.

import type { Random } from '../../base/random.ts'
import type { MembershipConfig } from './config.ts'
import type { LocalHealth } from './local-health.ts'

export class Schedule {
  readonly #config: MembershipConfig
  readonly #random: Random
  #nextProbe: number
  #nextGossip = 0
  #nextSync: number
  #nextRetry: number
  #nextStranger = 0

  constructor(config: MembershipConfig, random: Random) {
    this.#config = config
    this.#random = random
    this.#nextProbe = 1 + random.below(config.probeIntervalTicks)
    this.#nextSync = 1 + random.below(config.syncIntervalTicks)
    this.#nextRetry = 1 + random.below(config.retryDeadTicks)
  }

  /** The next tick at which something is due that isn't for news alone. */
  get nextTick(): number {
    return Math.min(this.#nextProbe, this.#nextSync, this.#nextRetry)
  }

  /** A sick node probes less often (Lifeguard's local health aware probe). */
  isProbeDue(tick: number, health: LocalHealth): boolean {
    if (tick < this.#nextProbe) return false
    this.#nextProbe = tick + health.stretch(this.#config.probeIntervalTicks)
    return true
  }

  isGossipDue(tick: number): boolean {
    if (tick < this.#nextGossip) return false
    this.#nextGossip = tick + this.#config.gossipIntervalTicks
    return true
  }

  /** Between half and one and a half of the interval: periods of many nodes don't lock step. */
  isSyncDue(tick: number): boolean {
    if (tick < this.#nextSync) return false
    const { syncIntervalTicks } = this.#config
    const half = Math.floor(syncIntervalTicks / 2)
    this.#nextSync = tick + Math.max(1, half + this.#random.below(syncIntervalTicks + 1))
    return true
  }

  isRetryDue(tick: number): boolean {
    if (tick < this.#nextRetry) return false
    this.#nextRetry = tick + this.#config.retryDeadTicks
    return true
  }

  /** Once per probe interval: pings of strangers can't make this node send tables faster. */
  mayAskStranger(tick: number): boolean {
    if (tick < this.#nextStranger) return false
    this.#nextStranger = tick + this.#config.probeIntervalTicks
    return true
  }
}
