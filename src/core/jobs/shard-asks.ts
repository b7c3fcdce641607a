// When to ask which shard for its open jobs. Gossip tells of most of them; this finds the rest: soon
// while something is found, and less and less often while nothing is.

import type { Random } from '../../base/random.ts'
import { SECOND_MS } from '../../base/units.ts'
import { Backoff } from './backoff.ts'

const PAUSES = { minMs: SECOND_MS, maxMs: 30 * SECOND_MS }

type Ask = { nextMs: number; isAsked: boolean; readonly pauses: Backoff }

export class ShardAsks {
  readonly #asks: readonly Ask[]
  readonly #random: Random

  /** The first questions are spread over a second. */
  constructor(shardCount: number, random: Random) {
    this.#random = random
    this.#asks = Array.from({ length: shardCount }, () => {
      const pauses = new Backoff(PAUSES, random)
      return { nextMs: random.below(SECOND_MS), isAsked: false, pauses }
    })
  }

  /** @returns when the next shard is to be asked; Infinity: all that may be are. */
  get nextMs(): number {
    let next = Infinity
    for (const { nextMs, isAsked } of this.#asks) if (!isAsked) next = Math.min(next, nextMs)
    return next
  }

  /** @returns shards to be asked now; none of them again before it was answered. */
  due(nowMs: number): number[] {
    const shards: number[] = []
    for (const [shard, ask] of this.#asks.entries()) {
      if (ask.isAsked || ask.nextMs > nowMs) continue
      ask.isAsked = true
      shards.push(shard)
    }
    return shards
  }

  /** A shard has answered, or didn't. @param about.hasWork whether it had something to be granted */
  answered(shard: number, { hasWork, nowMs }: { hasWork: boolean; nowMs: number }): void {
    const ask = this.#asks[shard]
    if (ask === undefined) return
    if (hasWork) ask.pauses.reset()
    ask.isAsked = false
    ask.nextMs = nowMs + ask.pauses.next()
  }

  /** There may be news: all are asked within a second. */
  hurry(nowMs: number): void {
    for (const ask of this.#asks) {
      ask.pauses.reset()
      ask.nextMs = Math.min(ask.nextMs, nowMs + this.#random.below(SECOND_MS))
    }
  }
}
