// When to tell other nodes of jobs that have work: at once, then again and again with longer pauses,
// for who joins late or has missed it; and of one job no more than twice a second, whatever happens.

import type { Random } from '../../base/random.ts'
import { SECOND_MS } from '../../base/units.ts'
import { Backoff } from './backoff.ts'

/** Between two offers of one job, at least. */
const APART_MS: number = SECOND_MS / 2
const AGAIN = { minMs: SECOND_MS, maxMs: 30 * SECOND_MS }
/** Jobs that are offered; of more nothing is told, and whoever asks their shards finds them. */
const JOBS_MAX = 1_024
/** What would be told again within this time goes along with what is told now. */
const EARLY_MS: number = SECOND_MS
/** Jobs of one message, at most. */
const TOGETHER_MAX = 16

export type OfferOptions = {
  /** Whether it is told again and again afterwards. */
  readonly isLasting: boolean
  /** How long others needn't hear of it that haven't yet; 0 unless given. */
  readonly delayMs?: number | undefined
}

type OwnOffer = {
  /** When it is told, or forgotten if there is nothing to tell. */
  nextMs: number
  /** When it was last told; undefined: never. */
  lastMs: number | undefined
  /** Whether there is something to tell. */
  isDue: boolean
  isLasting: boolean
  readonly pauses: Backoff
}

export class OwnOffers {
  readonly #random: Random
  readonly #jobs = new Map<string, OwnOffer>()

  constructor(random: Random) {
    this.#random = random
  }

  /** @returns when {@link due} has something to do; Infinity: never. */
  get nextMs(): number {
    let next = Infinity
    for (const { nextMs } of this.#jobs.values()) next = Math.min(next, nextMs)
    return next
  }

  /** There is news of a job. */
  add(name: string, about: OfferOptions & { readonly nowMs: number }): void {
    const { isLasting, nowMs, delayMs = 0 } = about
    const known = this.#jobs.get(name)
    if (known === undefined) {
      if (this.#jobs.size >= JOBS_MAX) return
      const pauses = new Backoff(AGAIN, this.#random)
      const nextMs = nowMs + delayMs
      this.#jobs.set(name, { nextMs, lastMs: undefined, isDue: true, isLasting, pauses })
      return
    }
    const soonMs = Math.max(nowMs, (known.lastMs ?? -Infinity) + APART_MS)
    known.nextMs = known.isDue ? Math.min(known.nextMs, soonMs) : soonMs
    known.isDue = true
    known.isLasting = isLasting
    known.pauses.reset()
  }

  /** There is nothing of it to be had now: what would be told only once isn't. */
  endPassing(name: string): void {
    if (this.#jobs.get(name)?.isLasting === false) this.end(name)
  }

  /** It isn't told any more. When it was told last is kept for a moment, for who adds it again. */
  end(name: string): void {
    const known = this.#jobs.get(name)
    if (known === undefined) return
    known.isDue = false
    known.nextMs = (known.lastMs ?? -Infinity) + APART_MS
  }

  /** @returns what is to be told now, in messages of a bounded number of jobs. */
  due(nowMs: number): string[][] {
    const names: string[] = []
    const isTelling = [...this.#jobs.values()].some((job) => job.isDue && job.nextMs <= nowMs)
    for (const [name, job] of this.#jobs) {
      if (job.nextMs > nowMs && !(isTelling && mayGoEarly(job, nowMs))) continue
      if (!job.isDue) {
        this.#jobs.delete(name)
        continue
      }
      names.push(name)
      job.lastMs = nowMs
      job.isDue = job.isLasting
      job.nextMs = nowMs + (job.isLasting ? job.pauses.next() : APART_MS)
    }
    const messages: string[][] = []
    while (names.length > 0) messages.push(names.splice(0, TOGETHER_MAX))
    return messages
  }
}

function mayGoEarly({ isDue, lastMs, nextMs }: OwnOffer, nowMs: number): boolean {
  if (!isDue || lastMs === undefined) return false
  return nextMs <= nowMs + EARLY_MS && lastMs + APART_MS <= nowMs
}
