// How long a suspected member has to refute. Lifeguard (2017), section IV.B "Local Health Aware
// Suspicion": long while one member alone accuses, shorter with each independent accuser.

import { compareText } from '../../base/ids.ts'
import type { PeerId } from '../../base/ids.ts'
import { digits } from './config.ts'
import type { MembershipConfig } from './config.ts'

export type Suspicion = {
  readonly incarnation: number
  readonly sinceTick: number
  readonly minTicks: number
  readonly maxTicks: number
  /** Further accusers that shorten the suspicion to the shortest. */
  readonly confirmationsMax: number
  /** The first one, and those that confirmed it: at most 1 + confirmationsMax. */
  readonly accusers: PeerId[]
}

/**
 * Lifeguard's formula: max - (max - min) · log(c + 1) / log(k + 1) for c confirmations of k.
 * A duration of this node alone, so floating point does no harm; the same engine gives the same.
 *
 * @returns ticks, in [minTicks, maxTicks].
 */
export function suspicionTicks(
  suspicion: Pick<Suspicion, 'minTicks' | 'maxTicks' | 'confirmationsMax'>,
  confirmations: number
): number {
  const { minTicks, maxTicks, confirmationsMax } = suspicion
  if (confirmations >= confirmationsMax) return minTicks
  const share = Math.log(confirmations + 1) / Math.log(confirmationsMax + 1)
  return Math.max(minTicks, Math.floor(maxTicks - (maxTicks - minTicks) * share))
}

/** The suspicions that run. At most one per member; bounded by the member table. */
export class Suspicions {
  readonly #config: MembershipConfig
  readonly #running = new Map<PeerId, Suspicion>()

  constructor(config: MembershipConfig) {
    this.#config = config
  }

  get size(): number {
    return this.#running.size
  }

  get(peer: PeerId): Suspicion | undefined {
    return this.#running.get(peer)
  }

  /** Starts the suspicion of `peer` at `incarnation`, in place of one of an older incarnation. */
  start(
    peer: PeerId,
    incarnation: number,
    at: { tick: number; memberCount: number; accuser: PeerId }
  ): void {
    const { probeIntervalTicks, suspicionMultiplier, suspicionMaxMultiplier } = this.#config
    const minTicks = suspicionMultiplier * digits(at.memberCount) * probeIntervalTicks
    const wanted = Math.max(0, suspicionMultiplier - 2)
    this.#running.set(peer, {
      incarnation,
      sinceTick: at.tick,
      minTicks,
      maxTicks: minTicks * suspicionMaxMultiplier,
      // Neither this node's accuser nor the accused confirms; where fewer others are left than
      // wanted, waiting for them would only be slow.
      confirmationsMax: at.memberCount - 2 < wanted ? 0 : wanted,
      accusers: [at.accuser]
    })
  }

  /** @returns whether the accuser is a new one that counts, and so should be told of. */
  confirm(peer: PeerId, accuser: PeerId): boolean {
    const suspicion = this.#running.get(peer)
    if (suspicion === undefined || suspicion.accusers.includes(accuser)) return false
    if (suspicion.accusers.length > suspicion.confirmationsMax) return false
    suspicion.accusers.push(accuser)
    return true
  }

  end(peer: PeerId): void {
    this.#running.delete(peer)
  }

  /** @returns who had its time, in the order of ids. The caller declares them, which ends them. */
  expired(tick: number): PeerId[] {
    if (this.#running.size === 0) return []
    const peers: PeerId[] = []
    for (const [peer, suspicion] of this.#running) {
      const ticks = suspicionTicks(suspicion, suspicion.accusers.length - 1)
      if (tick - suspicion.sinceTick >= ticks) peers.push(peer)
    }
    return peers.toSorted(compareText)
  }
}
