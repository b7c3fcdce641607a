// Which session each connected peer runs in, and whether two run at once under one identity.
//
// A restarted peer comes with a new session, and its old one never speaks again. An old one that
// does is the other of two running nodes with one identity: a copied data folder. Messages to that
// identity reach either of the two, but a hello and its answer travel on one connection.
// protocols/hello, rule H-7.

import type { PeerId, SessionId } from '../base/ids.ts'

/** Sessions remembered of one peer, and peers seen to run twice; the oldest are forgotten. */
const SUPERSEDED_MAX = 8
const CLONED_MAX = 1_000

export class Sessions {
  readonly #current = new Map<PeerId, SessionId>()
  readonly #superseded = new Map<PeerId, Set<SessionId>>()
  /** Until the peer comes with a session that isn't one of them. */
  readonly #cloned = new Map<PeerId, ReadonlySet<SessionId>>()

  /** @returns the session of a connected peer that spoke last. */
  current(peer: PeerId): SessionId | undefined {
    return this.#current.get(peer)
  }

  /** Takes in that a session of a peer speaks. `cloned` is said once. */
  note(peer: PeerId, session: SessionId): 'same' | 'changed' | 'cloned' {
    if (this.#cloned.get(peer)?.has(session) === false) this.#cloned.delete(peer)
    const before = this.#current.get(peer)
    this.#current.set(peer, session)
    if (before === undefined || before === session) return 'same'
    const superseded = this.#superseded.get(peer) ?? new Set()
    this.#superseded.set(peer, bounded(superseded.add(before), SUPERSEDED_MAX))
    if (!superseded.has(session)) return 'changed'
    this.#cloned.set(peer, new Set([session, before]))
    bounded(this.#cloned, CLONED_MAX)
    this.disconnected(peer)
    return 'cloned'
  }

  /** The last connection to the peer has ended. */
  disconnected(peer: PeerId): void {
    this.#current.delete(peer)
    this.#superseded.delete(peer)
  }

  /** @returns the other session of a peer that runs twice. */
  rivalOf(peer: PeerId, session: SessionId): SessionId | undefined {
    const cloned = this.#cloned.get(peer)
    if (cloned?.has(session) !== true) return undefined
    return [...cloned].find((other) => other !== session)
  }
}

function bounded<T extends Set<SessionId> | Map<PeerId, unknown>>(items: T, max: number): T {
  for (const key of items.keys()) {
    if (items.size <= max) break
    ;(items as Set<unknown>).delete(key)
  }
  return items
}
