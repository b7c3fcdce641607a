// A node's part in the cycles of the collection: protocols/collect. It notes their beginnings, and
// sweeps its own disk when it is told that the live set is complete. Who collects is another file's
// business: services/files/collector.ts.

import { Emitter } from '../base/emitter.ts'
import { MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { MINUTE_MS } from '../base/units.ts'
import type { MeshView } from '../mesh/view.ts'
import type { Network, Unsubscribe } from '../net/network.ts'
import {
  COLLECT_FRAME_BYTES_MAX,
  decodeCollectReply,
  decodeCollectRequest,
  encodeCollectReply,
  encodeCollectRequest,
  type CollectReply,
  type CollectRequest,
  type LivePage
} from '../wire/collect.ts'
import type { SweepResult, Sweeper } from './sweeper.ts'
import type { Touches } from './touches.ts'

const COLLECT_PROTOCOL = '/atoll/collect/1.0.0'
const COLLECT_SERVED_MAX = 8
const QUESTION_TIMEOUT_MS = 5_000
/** A sweep of a large disk; when it takes longer the next one goes on. */
const SWEEP_TIMEOUT_MS: number = 10 * MINUTE_MS
const NOTHING: SweepResult = { checked: 0, deleted: 0, deletedBytes: 0 }

/** That a cycle came to its end: its live set was complete. */
export type SweptCycle = { readonly cycle: number; readonly releases: number }

/** Answers for the live set, while there is one. */
export type LiveSource = { readonly cycle: number; pageOf(fromArc: number): LivePage }

export class Collection {
  readonly #network: Network
  readonly #mesh: MeshView
  readonly #touches: Touches
  readonly #sweeper: Sweeper
  readonly #log: Logger
  readonly #stopping: AbortSignal
  readonly #events = new Emitter<{ swept: SweptCycle }>()
  #live: LiveSource | undefined
  #isSweeping = false

  constructor(
    components: {
      network: Network
      mesh: MeshView
      touches: Touches
      sweeper: Sweeper
      log: Logger
    },
    options: { stopping: AbortSignal }
  ) {
    this.#network = components.network
    this.#mesh = components.mesh
    this.#touches = components.touches
    this.#sweeper = components.sweeper
    this.#log = components.log
    this.#stopping = options.stopping
    this.#network.handle(
      COLLECT_PROTOCOL,
      { frameBytesMax: COLLECT_FRAME_BYTES_MAX, servedPerPeerMax: COLLECT_SERVED_MAX },
      async (body, { peer, signal }) =>
        encodeCollectReply(await this.#answer(decodeCollectRequest(body), peer, signal))
    )
  }

  /** Whether blocks were written here lately, so that what became of them has to be seen. */
  get hasRecentTouches(): boolean {
    return this.#touches.recentCount > 0
  }

  /** Every cycle whose live set was complete, as this node hears of it; before anything is deleted. */
  onSwept(listener: (swept: SweptCycle) => void): Unsubscribe {
    return this.#events.on('swept', listener)
  }

  /** Tells a member, or this node, that a cycle begins. @throws conflict, timeout, unreachable, … */
  async begin(peer: PeerId, cycle: number): Promise<void> {
    await this.#ask(peer, { kind: 'begin', cycle }, { timeoutMs: QUESTION_TIMEOUT_MS })
  }

  /** Has a member, or this node, delete what isn't live. @throws conflict, timeout, unreachable, … */
  async sweep(
    peer: PeerId,
    about: { cycle: number; isCounted: boolean; releases: number },
    options: { signal: AbortSignal }
  ): Promise<SweepResult> {
    const request = { kind: 'sweep', ...about } as const
    const reply = await this.#ask(peer, request, { timeoutMs: SWEEP_TIMEOUT_MS, ...options })
    if (reply.kind !== 'sweep') throw wrongAnswer(peer, reply)
    return reply
  }

  /** Hands out a live set to whoever sweeps, until it is undefined again. */
  serve(live: LiveSource | undefined): void {
    this.#live = live
  }

  async #ask(
    peer: PeerId,
    request: CollectRequest,
    options: { timeoutMs: number; signal?: AbortSignal }
  ): Promise<CollectReply> {
    if (peer === this.#mesh.self) {
      return await this.#answer(request, peer, options.signal ?? this.#stopping)
    }
    const body = encodeCollectRequest(request)
    return decodeCollectReply(await this.#network.request(peer, COLLECT_PROTOCOL, body, options))
  }

  async #answer(request: CollectRequest, peer: PeerId, signal: AbortSignal): Promise<CollectReply> {
    switch (request.kind) {
      case 'begin':
        this.#touches.begin(request.cycle)
        return { kind: 'begin' }
      case 'sweep':
        return { kind: 'sweep', ...(await this.#sweep(request, peer, signal)) }
      case 'live':
        return { kind: 'live', ...this.#pageOf(request) }
    }
  }

  async #sweep(
    { cycle, isCounted, releases }: CollectRequest & { kind: 'sweep' },
    collector: PeerId,
    asked: AbortSignal
  ): Promise<SweepResult> {
    if (this.#isSweeping) {
      throw new MeshError('overloaded', 'The sweep of an earlier cycle is not done yet')
    }
    // A node that wasn't there when the cycle began hears of its end too.
    if (!isCounted && this.#touches.cycle < cycle) this.#touches.begin(cycle)
    const mayDelete = this.#touches.count(cycle, isCounted)
    this.#events.emit('swept', { cycle, releases })
    if (!mayDelete) return NOTHING
    const signal = AbortSignal.any([asked, this.#stopping])
    const pageOf = async (fromArc: number): Promise<LivePage> => {
      const reply = await this.#ask(
        collector,
        { kind: 'live', cycle, fromArc },
        { timeoutMs: QUESTION_TIMEOUT_MS, signal }
      )
      if (reply.kind !== 'live') throw wrongAnswer(collector, reply)
      return reply
    }
    this.#isSweeping = true
    try {
      const result = await this.#sweeper.sweep({ cycle, pageOf, signal })
      this.#log.info('collection.swept', { cycle, ...result })
      return result
    } finally {
      this.#isSweeping = false
    }
  }

  #pageOf({ cycle, fromArc }: { cycle: number; fromArc: number }): LivePage {
    if (this.#live?.cycle === cycle) return this.#live.pageOf(fromArc)
    throw new MeshError('not-found', `This node has no live set of cycle ${cycle}`)
  }
}

function wrongAnswer(peer: PeerId, { kind }: CollectReply): MeshError {
  return new MeshError('invalid-data', `${peer} answered something else: ${kind}`)
}
