// Asking other peers about blocks: batched, pipelined, bounded, and with a memory of who is near.

import type { Clock } from '../base/clock.ts'
import { MeshError, toMeshError } from '../base/errors.ts'
import type { BlockId, PeerId } from '../base/ids.ts'
import { BLOCK_FRAME_BYTES_MAX } from '../base/limits.ts'
import { Semaphore } from '../base/semaphore.ts'
import type { Network, ProtocolOptions } from '../net/network.ts'
import { matchesId } from '../storage/block-hash.ts'
import {
  BLOCK_ID_COUNT_MAX,
  decodeBlockReply,
  encodeBlockRequest,
  type BlockReply,
  type BlockRequest
} from '../wire/block.ts'

export const BLOCK_PROTOCOL = '/atoll/block/1.0.0'

/** Blocks on their way to or from one peer at once. */
const TRANSFERS_PER_PEER_MAX = 16
/** Small questions to one peer at once; beyond it they are collected into larger ones. */
const HAVE_IN_FLIGHT_MAX = 2
/** A transfer that takes longer is given up; the next peer is asked. */
const TRANSFER_TIMEOUT_MS = 20_000
const QUESTION_TIMEOUT_MS = 5_000
/** A peer serves these of one other: transfers, questions, and some slack for a restart. */
const BLOCK_SERVED_PER_PEER_MAX = 64

export const BLOCK_PROTOCOL_OPTIONS: ProtocolOptions = {
  frameBytesMax: BLOCK_FRAME_BYTES_MAX,
  servedPerPeerMax: BLOCK_SERVED_PER_PEER_MAX
}

export type HaveAnswer = { held: ReadonlySet<BlockId>; layoutHash: string }

type HaveOptions = {
  /** Only looks; otherwise what the peer holds is noted there as touched, and stays for a while. */
  isPeek?: boolean
}

type Question = {
  ids: readonly BlockId[]
  isPeek: boolean
  resolve: (answer: HaveAnswer) => void
  reject: (error: Error) => void
}

type PeerState = {
  transfers: Semaphore
  /** Questions that wait to be joined into the next request. */
  questions: Question[]
  asking: number
  /** Moving average of how long a get takes, milliseconds. */
  latencyMs: number
}

export class BlockClient {
  readonly #network: Network
  readonly #clock: Clock
  readonly #peers = new Map<PeerId, PeerState>()

  constructor(components: { network: Network; clock: Clock }) {
    this.#network = components.network
    this.#clock = components.clock
  }

  /** Expected time of a get from `peer`, milliseconds; small for one never asked. */
  latencyMs(peer: PeerId): number {
    return this.#state(peer).latencyMs
  }

  /** Which of `ids` the peer holds. Questions asked at the same time travel together. */
  async have(
    peer: PeerId,
    ids: readonly BlockId[],
    options: HaveOptions = {}
  ): Promise<HaveAnswer> {
    if (ids.length > BLOCK_ID_COUNT_MAX) {
      const held = new Set<BlockId>()
      let layoutHash = ''
      for (let from = 0; from < ids.length; from += BLOCK_ID_COUNT_MAX) {
        const part = await this.have(peer, ids.slice(from, from + BLOCK_ID_COUNT_MAX), options)
        for (const id of part.held) held.add(id)
        // Two layouts in one answer are no layout to agree with.
        layoutHash = from === 0 || layoutHash === part.layoutHash ? part.layoutHash : ''
      }
      return { held, layoutHash }
    }
    return await new Promise<HaveAnswer>((resolve, reject) => {
      const state = this.#state(peer)
      state.questions.push({ ids, isPeek: options.isPeek === true, resolve, reject })
      this.#askNext(peer, state)
    })
  }

  /**
   * @returns a block whose bytes match its id.
   * @throws not-found, corrupt (the peer sent other bytes), timeout, unreachable, …
   */
  async get(
    peer: PeerId,
    id: BlockId,
    options: { signal?: AbortSignal | undefined } = {}
  ): Promise<Uint8Array> {
    const state = this.#state(peer)
    return await state.transfers.run(async () => {
      const startedMs = this.#clock.monotonicMs()
      const reply = await this.#request(peer, { kind: 'get', id }, TRANSFER_TIMEOUT_MS, options)
      state.latencyMs = 0.8 * state.latencyMs + 0.2 * (this.#clock.monotonicMs() - startedMs)
      if (!matchesId(id, reply.payload)) {
        throw new MeshError('corrupt', `${peer} sent bytes that are not block ${id}`, {
          details: { peer }
        })
      }
      return reply.payload
    }, options)
  }

  /** Resolves when the block is durable at the peer. @throws disk-full, timeout, unreachable, … */
  async put(
    peer: PeerId,
    id: BlockId,
    bytes: Uint8Array,
    options: { hintFor?: PeerId; touchedCycle?: number; signal?: AbortSignal | undefined } = {}
  ): Promise<void> {
    const { transfers } = this.#state(peer)
    await transfers.run(async () => {
      const { hintFor, touchedCycle } = options
      const request = { kind: 'put', id, bytes, hintFor, touchedCycle } as const
      await this.#request(peer, request, TRANSFER_TIMEOUT_MS, options)
    }, options)
  }

  async delete(peer: PeerId, ids: readonly BlockId[]): Promise<void> {
    for (let from = 0; from < ids.length; from += BLOCK_ID_COUNT_MAX) {
      const part = ids.slice(from, from + BLOCK_ID_COUNT_MAX)
      await this.#request(peer, { kind: 'delete', ids: part }, TRANSFER_TIMEOUT_MS)
    }
  }

  /** Tells the peer that its copy gave wrong bytes; it looks for itself. */
  async inspect(peer: PeerId, id: BlockId): Promise<void> {
    await this.#request(peer, { kind: 'inspect', id }, QUESTION_TIMEOUT_MS)
  }

  #state(peer: PeerId): PeerState {
    const known = this.#peers.get(peer)
    if (known !== undefined) return known
    const state: PeerState = {
      transfers: new Semaphore(TRANSFERS_PER_PEER_MAX),
      questions: [],
      asking: 0,
      latencyMs: 0
    }
    this.#peers.set(peer, state)
    return state
  }

  #askNext(peer: PeerId, state: PeerState): void {
    while (state.asking < HAVE_IN_FLIGHT_MAX && state.questions.length > 0) {
      let count = 0
      let idCount = 0
      const isFirstPeek = state.questions[0]?.isPeek
      for (const { ids, isPeek } of state.questions) {
        if (isPeek !== isFirstPeek) break
        if (count > 0 && idCount + ids.length > BLOCK_ID_COUNT_MAX) break
        count += 1
        idCount += ids.length
      }
      state.asking += 1
      void this.#ask(peer, state.questions.splice(0, count)).finally(() => {
        state.asking -= 1
        this.#askNext(peer, state)
      })
    }
  }

  /** Settles every question; never rejects. */
  async #ask(peer: PeerId, questions: readonly Question[]): Promise<void> {
    const ids = [...new Set(questions.flatMap((question) => question.ids))]
    try {
      const isPeek = questions[0]?.isPeek === true ? true : undefined
      const reply = await this.#request(peer, { kind: 'have', ids, isPeek }, QUESTION_TIMEOUT_MS)
      const held = new Set(ids.filter((_, index) => reply.held[index] === true))
      for (const question of questions) question.resolve({ held, layoutHash: reply.layoutHash })
    } catch (error) {
      for (const question of questions) question.reject(toMeshError(error))
    }
  }

  async #request(
    peer: PeerId,
    request: BlockRequest,
    timeoutMs: number,
    options: { signal?: AbortSignal | undefined } = {}
  ): Promise<BlockReply> {
    const body = await this.#network.request(peer, BLOCK_PROTOCOL, encodeBlockRequest(request), {
      timeoutMs,
      signal: options.signal
    })
    return decodeBlockReply(body, request.kind === 'have' ? request.ids.length : 0)
  }
}
