// Who should lead which group, so that every peer leads about as many. A pure function of the
// layout: liveness has no part in it, so nothing that comes and goes moves leaders around.
// (Harvey and others, "Semi-matchings for bipartite graphs and load balancing", 2006.)

import { compareText } from '../../base/ids.ts'
import type { PeerId } from '../../base/ids.ts'
import type { ReplicaId } from '../raft/messages.ts'
import { nextStep, successorAt } from './next-step.ts'
import type { GroupView } from './next-step.ts'

/**
 * @param owners of each group, by its number; of different peers, in any order
 * @returns the peer that should lead each group; undefined for a group without owners. The numbers
 *   of groups that peers lead differ by as little as the owners allow.
 */
export function preferredLeaders(
  owners: readonly (readonly PeerId[])[]
): readonly (PeerId | undefined)[] {
  const assignment = new Assignment(owners)
  for (let group = 0; group < owners.length; group++) assignment.place(group)
  // Each move makes the loads more even, so this ends; when no move is left they are as even as
  // they can be.
  while (assignment.improve());
  return assignment.leaders
}

class Assignment {
  readonly leaders: (PeerId | undefined)[]
  readonly #owners: readonly (readonly PeerId[])[]
  readonly #loads = new Map<PeerId, number>()
  /** The groups that each peer leads now. */
  readonly #led = new Map<PeerId, Set<number>>()

  constructor(owners: readonly (readonly PeerId[])[]) {
    this.#owners = owners.map((peers) => peers.toSorted(compareText))
    this.leaders = owners.map(() => undefined)
    for (const peer of [...new Set(owners.flat())].toSorted(compareText)) {
      this.#loads.set(peer, 0)
      this.#led.set(peer, new Set())
    }
  }

  /** The first leader of a group: its owner that leads least. */
  place(group: number): void {
    let best: PeerId | undefined
    for (const peer of this.#owners[group] ?? []) {
      if (best === undefined || this.#load(peer) < this.#load(best)) best = peer
    }
    if (best !== undefined) this.#lead(group, best)
  }

  /** Passes a group on from a peer that leads two more than another that it can reach. */
  improve(): boolean {
    const byLoad = [...this.#loads.keys()].toSorted(
      (a, b) => this.#load(b) - this.#load(a) || compareText(a, b)
    )
    return byLoad.some((peer) => this.#relieve(peer))
  }

  /** Breadth first over "leads a group that the other owns too"; the shortest way is taken. */
  #relieve(from: PeerId): boolean {
    const cameBy = new Map<PeerId, number>()
    const queue = [from]
    for (const peer of queue) {
      if (this.#load(peer) <= this.#load(from) - 2) {
        this.#shift(from, peer, cameBy)
        return true
      }
      for (const group of [...(this.#led.get(peer) ?? [])].toSorted((a, b) => a - b)) {
        for (const next of this.#owners[group] ?? []) {
          if (next === from || cameBy.has(next)) continue
          cameBy.set(next, group)
          queue.push(next)
        }
      }
    }
    return false
  }

  /** Everyone on the way passes one group to the next. */
  #shift(from: PeerId, to: PeerId, cameBy: ReadonlyMap<PeerId, number>): void {
    let peer = to
    while (peer !== from) {
      const group = cameBy.get(peer) as number
      const before = this.leaders[group] as PeerId
      this.#lead(group, peer)
      peer = before
    }
  }

  #load(peer: PeerId): number {
    return this.#loads.get(peer) as number
  }

  #lead(group: number, peer: PeerId): void {
    const before = this.leaders[group]
    if (before !== undefined) {
      this.#led.get(before)?.delete(group)
      this.#loads.set(before, this.#load(before) - 1)
    }
    this.leaders[group] = peer
    this.#led.get(peer)?.add(group)
    this.#loads.set(peer, this.#load(peer) + 1)
  }
}

/** A leader hands over only when nothing has changed for so many ticks. */
export const TRANSFER_QUIET_TICKS = 100

/**
 * Whether a leader should make room for the preferred one: a voter that is there and has caught up.
 * Never while members change or should.
 *
 * @param quietTicks since this leader was elected, its members changed, or the preferred peer was
 *   out of reach, whichever was last
 * @returns whom to hand leadership to; undefined to go on leading
 */
export function shouldTransfer(view: GroupView, quietTicks: number): ReplicaId | undefined {
  if (quietTicks < TRANSFER_QUIET_TICKS || view.preferred === undefined) return undefined
  return nextStep(view).kind === 'nothing' ? successorAt(view, view.preferred) : undefined
}
