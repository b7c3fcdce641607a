// Whom to ask about a group: who is believed to lead it, then who has or should have a replica, then
// anybody. Advice: whoever is asked says better.

import type { PeerId } from '../base/ids.ts'

/** A peer that didn't answer is asked last for so long. */
const AVOID_MS = 1_000

export type HintSources = {
  /** Members of the group as its replica here knows them; none without one. */
  readonly members: (group: number) => readonly PeerId[]
  /** The leader, likewise. */
  readonly leader: (group: number) => PeerId | undefined
  /** Who owns the group by the layout. */
  readonly owners: (group: number) => readonly PeerId[]
  /** Everybody else that answers. */
  readonly others: () => readonly PeerId[]
  readonly isReachable: (peer: PeerId) => boolean
  readonly nowMs: () => number
}

export class LeaderHints {
  readonly #sources: HintSources
  readonly #told = new Map<number, PeerId>()
  readonly #avoided = new Map<PeerId, number>()

  constructor(sources: HintSources) {
    this.#sources = sources
  }

  /** Somebody said who leads. */
  learn(group: number, leader: PeerId): void {
    this.#told.set(group, leader)
  }

  /** It doesn't lead any more, or doesn't answer. */
  forget(group: number, peer: PeerId): void {
    if (this.#told.get(group) === peer) this.#told.delete(group)
  }

  avoid(peer: PeerId): void {
    this.#avoided.set(peer, this.#sources.nowMs() + AVOID_MS)
  }

  answered(peer: PeerId): void {
    if (this.#avoided.size > 0) this.#avoided.delete(peer)
  }

  /**
   * @param attempt 0 for the first; each goes to the next best
   * @returns undefined when nobody can be asked
   */
  pick(group: number, attempt: number): PeerId | undefined {
    const told = this.#told.get(group)
    if (told !== undefined && attempt === 0 && !this.#isAvoided(told)) return told
    const candidates = this.candidates(group)
    return candidates[attempt % Math.max(1, candidates.length)]
  }

  /** Best first, each once. */
  candidates(group: number): PeerId[] {
    const { members, leader, owners, others, isReachable } = this.#sources
    const first = [this.#told.get(group), leader(group)].filter((peer) => peer !== undefined)
    const known = new Set([...first, ...members(group), ...owners(group)])
    // What is known here may be of long ago: then the others are asked too.
    const isOld = [...known].every((peer) => this.#isAvoided(peer) || !isReachable(peer))
    const all = isOld ? [...new Set([...known, ...others()])] : [...known]
    const rank = (peer: PeerId): number =>
      (this.#isAvoided(peer) ? 2 : 0) + (isReachable(peer) ? 0 : 1)
    return all.toSorted((a, b) => rank(a) - rank(b))
  }

  #isAvoided(peer: PeerId): boolean {
    const untilMs = this.#avoided.get(peer)
    return untilMs !== undefined && untilMs > this.#sources.nowMs()
  }
}
