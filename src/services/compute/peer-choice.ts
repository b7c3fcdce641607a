// Which other node might run a task now: the less busy of two that are asked.

import type { Clock } from '../../base/clock.ts'
import { errorMessage } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import { pick, type Random } from '../../base/random.ts'
import type { MeshView } from '../../mesh/view.ts'
import type { EphemeralTask } from './waiting-task.ts'
import type { JobPeers } from './job-peers.ts'
import { encodeSpec, type JobSpec } from './spec.ts'

/** Nodes that are asked at once. */
const PROBES = 2
/** How long a node isn't asked again that had no room, can't run such tasks, or didn't answer. */
const AVOIDED_MS = { busy: 50, unfit: 10_000, away: 2_000 } as const

type PeerChoiceComponents = {
  readonly peers: Pick<JobPeers, 'probe'>
  readonly mesh: Pick<MeshView, 'others' | 'isReachable'>
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
}

export class PeerChoice {
  readonly #components: PeerChoiceComponents
  /** Until when a peer isn't asked, … */
  readonly #avoided = new Map<PeerId, number>()
  /** … or not for tasks of a kind. */
  readonly #unfit = new WeakMap<JobSpec, Map<PeerId, number>>()
  /** Batches sent to a peer and not answered. */
  readonly #sent = new Map<PeerId, number>()

  constructor(components: PeerChoiceComponents) {
    this.#components = components
  }

  /** @returns the one with more room of two nodes at random */
  async probe(
    task: Pick<EphemeralTask, 'spec' | 'submitter'>
  ): Promise<{ peer: PeerId; freeSlots: number } | undefined> {
    const { mesh, peers, clock, random, log } = this.#components
    const nowMs = clock.monotonicMs()
    const candidates = mesh
      .others()
      .filter((peer) => mesh.isReachable(peer) && this.#avoidedUntilMs(peer, task.spec) <= nowMs)
    const asked: PeerId[] = []
    while (asked.length < PROBES && candidates.length > 0) {
      const peer = pick(random, candidates)
      candidates.splice(candidates.indexOf(peer), 1)
      asked.push(peer)
    }
    const call = { kind: 'probe', spec: encodedSpec(task.spec), submitter: task.submitter } as const
    const answers = await Promise.all(
      asked.map(async (peer) => {
        try {
          const { freeSlots, reasons } = await peers.probe(peer, call)
          const free = freeSlots - (this.#sent.get(peer) ?? 0)
          if (reasons.length > 0) this.#noteUnfit(peer, task.spec)
          else if (free <= 0) this.avoid(peer, 'busy')
          else return { peer, freeSlots: free }
        } catch (error) {
          this.avoid(peer, 'away')
          log.debug('ephemeral.unprobed', { peer, reason: errorMessage(error) })
        }
        return undefined
      })
    )
    const free = answers.filter((answer) => answer !== undefined)
    return free.toSorted((a, b) => b.freeSlots - a.freeSlots)[0]
  }

  /** @param batches how many more, or fewer, it has of this node */
  sent(peer: PeerId, batches: number): void {
    const count = (this.#sent.get(peer) ?? 0) + batches
    if (count > 0) this.#sent.set(peer, count)
    else this.#sent.delete(peer)
  }

  #avoidedUntilMs(peer: PeerId, spec: JobSpec): number {
    return Math.max(this.#avoided.get(peer) ?? 0, this.#unfit.get(spec)?.get(peer) ?? 0)
  }

  #noteUnfit(peer: PeerId, spec: JobSpec): void {
    const peers = this.#unfit.get(spec) ?? new Map<PeerId, number>()
    const untilMs = this.#components.clock.monotonicMs() + AVOIDED_MS.unfit
    this.#unfit.set(spec, peers.set(peer, untilMs))
  }

  avoid(peer: PeerId, why: Exclude<keyof typeof AVOIDED_MS, 'unfit'>): void {
    this.#avoided.set(peer, this.#components.clock.monotonicMs() + AVOIDED_MS[why])
  }
}

const known = new WeakMap<JobSpec, Uint8Array>()

/** As `encodeSpec`, once for each spec: thousands of tasks have the same. */
export function encodedSpec(spec: JobSpec): Uint8Array {
  const before = known.get(spec)
  if (before !== undefined) return before
  const encoded = encodeSpec(spec)
  known.set(spec, encoded)
  return encoded
}
