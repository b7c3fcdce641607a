// News on its way: each piece is told a bounded number of times, the least told first. SWIM
// (Das, Gupta, Motivala, 2002), section 4.1 "Infection-Style Dissemination Component".

import type { PeerId } from '../../base/ids.ts'
import type { MemberUpdate } from './member.ts'

type News = { readonly update: MemberUpdate; told: number }

/** At most one piece per member, so bounded by the member table. */
export class Dissemination {
  readonly #news = new Map<PeerId, News>()
  /**
   * By times told; the newest last. Holds replaced pieces too, which are skipped when met; each
   * is met at most once.
   */
  readonly #byTold: News[][] = []
  #queued = 0

  get size(): number {
    return this.#news.size
  }

  /** Takes a piece of news, in place of an older one about the same member. */
  add(update: MemberUpdate): void {
    const news: News = { update, told: 0 }
    this.#news.set(update.record.peerId, news)
    this.#queue(news)
    // Replaced pieces must not pile up while nobody is there to be told.
    if (this.#queued > 2 * this.#news.size + 64) this.#sweep()
  }

  remove(peer: PeerId): void {
    this.#news.delete(peer)
  }

  /**
   * @param tellMax after how many times a piece is dropped.
   * @returns up to `countMax` updates, and counts them as told.
   */
  take(countMax: number, tellMax: number): MemberUpdate[] {
    if (this.#news.size === 0) return []
    const taken: News[] = []
    for (let told = 0; told < this.#byTold.length && taken.length < countMax; told++) {
      const bucket = this.#byTold[told] as News[]
      while (bucket.length > 0 && taken.length < countMax) {
        const news = bucket.pop() as News
        this.#queued--
        if (this.#isCurrent(news)) taken.push(news)
      }
    }
    for (const news of taken) {
      news.told++
      if (news.told < tellMax) this.#queue(news)
      else this.#news.delete(news.update.record.peerId)
    }
    return taken.map((news) => news.update)
  }

  #isCurrent(news: News): boolean {
    return this.#news.get(news.update.record.peerId) === news
  }

  #queue(news: News): void {
    while (this.#byTold.length <= news.told) this.#byTold.push([])
    ;(this.#byTold[news.told] as News[]).push(news)
    this.#queued++
  }

  #sweep(): void {
    this.#queued = 0
    for (const [told, bucket] of this.#byTold.entries()) {
      const current = bucket.filter((news) => this.#isCurrent(news))
      this.#byTold[told] = current
      this.#queued += current.length
    }
  }
}
