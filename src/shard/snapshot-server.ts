// Serves the states of groups to replicas that lack too much of the log, chunk by chunk, as they ask
// for them: protocols/shard, rules S-9 to S-11.

import type { Clock, Timer } from '../base/clock.ts'
import { concatBytes } from '../base/bytes.ts'
import { errorMessage, MeshError, toMeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Random } from '../base/random.ts'
import type { Pair } from '../core/machine/ordered-state.ts'
import type { Network } from '../net/network.ts'
import type { StateSnapshot } from '../storage/state-store.ts'
import {
  CHUNK_PAIR_BYTES,
  SNAPSHOT_FRAME_BYTES_MAX,
  SNAPSHOT_PROTOCOL,
  decodeChunkRequest,
  encodeChunk,
  pairBytes
} from '../wire/shard-snapshot.ts'
import type { Chunk, ChunkRequest, SnapshotHandle } from '../wire/shard-snapshot.ts'

/** Requests of one peer served at once. */
export const SNAPSHOT_SERVED_MAX = 8

const OPEN_MAX = 8
const IDLE_MS = 30_000
/** Nobody has asked for anything yet: who offers it may say so again. */
const UNASKED_MS = 1_000
/** After its last chunk a snapshot stays this long: the answer may be lost, and asked for again. */
const LINGER_MS = 5_000

export type SnapshotOffer = {
  /** Who may fetch it. */
  readonly peer: PeerId
  readonly group: number
  readonly generation: number
  /** About how much it is, when that is known; for people. */
  readonly pairBytes?: number
  readonly open: () => Promise<StateSnapshot>
  /** Called every second until it is asked for: what told of it may be lost. */
  readonly onUnasked?: () => void
}

/** How an offer ended that was neither replaced nor cancelled. */
export type SnapshotEnd = {
  readonly peer: PeerId
  readonly group: number
  readonly generation: number
  readonly snapshotId: string
  /** Why it failed; undefined when all of it was fetched. */
  readonly error: MeshError | undefined
}

export type SnapshotServerComponents = {
  readonly network: Pick<Network, 'handle'>
  readonly clock: Clock
  readonly log: Logger
  readonly random: Random
}

export type SnapshotServerOptions = {
  /**
   * Once for each offer that ends by itself. That it was fetched is told some seconds later, when a
   * right follower has installed it and said so in the group already.
   */
  readonly onEnd: (end: SnapshotEnd) => void
  /** Snapshots that are open at once, at most; 8 unless given. */
  readonly openMax?: number
  /** One that nobody asks for so long is given up; 30 s unless given. */
  readonly idleMs?: number
}

type Served = {
  readonly offer: SnapshotOffer
  readonly snapshotId: string
  readonly snapshot: StateSnapshot
  isFetched: boolean
  timer: Timer
  /** Until somebody asks. */
  reminder: Timer | undefined
}

export class SnapshotServer {
  readonly #components: SnapshotServerComponents
  readonly #options: SnapshotServerOptions
  readonly #served = new Map<string, Served>()
  /** Being opened: they count already. */
  #opening = 0
  #isStopped = false

  /** Registers the protocol, so it is made before the network is started. */
  constructor(components: SnapshotServerComponents, options: SnapshotServerOptions) {
    this.#components = components
    this.#options = options
    const limits = {
      frameBytesMax: SNAPSHOT_FRAME_BYTES_MAX,
      servedPerPeerMax: SNAPSHOT_SERVED_MAX
    }
    components.network.handle(SNAPSHOT_PROTOCOL, limits, (body, { peer }) =>
      this.#answer(peer, decodeChunkRequest(body))
    )
  }

  /**
   * Opens a snapshot and keeps it for `peer`. An earlier one of the same group for the same peer is
   * closed, and nothing is told of it.
   *
   * @returns what goes to the peer in place of the state
   * @throws overloaded when too many are open; stopped; what `open` throws
   */
  async offer(offer: SnapshotOffer): Promise<SnapshotHandle> {
    const { group, peer } = offer
    this.#checkRunning()
    this.cancel(group, peer)
    const openMax = this.#options.openMax ?? OPEN_MAX
    const busy = [...this.#served.values()].filter(({ isFetched }) => !isFetched).length
    if (busy + this.#opening >= openMax) {
      const problem = `${openMax} snapshots are being served; it is tried again later`
      throw new MeshError('overloaded', `Cannot offer a snapshot of group ${group}: ${problem}`)
    }
    this.#opening += 1
    let snapshot: StateSnapshot
    try {
      snapshot = await offer.open()
    } finally {
      this.#opening -= 1
    }
    return this.#keep(offer, snapshot)
  }

  /** Closes what is offered of a group, to one peer or to all. Nothing is told of it. */
  cancel(group: number, peer?: PeerId): void {
    for (const served of this.#served.values()) {
      const { offer } = served
      if (offer.group === group && (peer === undefined || offer.peer === peer)) this.#close(served)
    }
  }

  /** How many are open, those included that were fetched a moment ago. */
  get openCount(): number {
    return this.#served.size
  }

  /** Closes all. Idempotent. */
  stop(): void {
    this.#isStopped = true
    for (const served of this.#served.values()) this.#close(served)
  }

  #checkRunning(): void {
    if (this.#isStopped) throw new MeshError('stopped', 'Cannot offer a snapshot: the node stops')
  }

  #keep(offer: SnapshotOffer, snapshot: StateSnapshot): SnapshotHandle {
    try {
      this.#checkRunning()
      // Another one may have been offered while this one was opened.
      this.cancel(offer.group, offer.peer)
      const note = snapshot.note() ?? new Uint8Array(0)
      const snapshotId = this.#drawId()
      const timer = this.#expireAfter(snapshotId)
      const isFetched = false
      const served = { offer, snapshotId, snapshot, isFetched, timer, reminder: undefined }
      this.#served.set(snapshotId, served)
      this.#remind(served)
      return { snapshotId, pairBytes: offer.pairBytes ?? 0, note }
    } catch (error) {
      snapshot.close()
      throw error
    }
  }

  #drawId(): string {
    const { random } = this.#components
    const draw = (): string => random.u32().toString(16).padStart(8, '0')
    return `${draw()}${draw()}`
  }

  #expireAfter(snapshotId: string): Timer {
    const idleMs = this.#options.idleMs ?? IDLE_MS
    return this.#components.clock.after(idleMs, () => {
      const served = this.#served.get(snapshotId)
      if (served === undefined) return
      const problem = `nobody asked for more of it for ${idleMs} ms`
      this.#end(served, new MeshError('timeout', `A snapshot was not fetched: ${problem}`))
    })
  }

  #remind(served: Served): void {
    const { onUnasked } = served.offer
    if (onUnasked === undefined) return
    served.reminder = this.#components.clock.after(UNASKED_MS, () => {
      onUnasked()
      this.#remind(served)
    })
  }

  #answer(peer: PeerId, request: ChunkRequest): Uint8Array {
    const served = this.#served.get(request.snapshotId)
    const { group, generation } = request
    const isOffered =
      served?.offer.peer === peer &&
      served.offer.group === group &&
      served.offer.generation === generation
    if (!isOffered) {
      const problem = 'it is not offered here any more; the leader of the group sends another one'
      throw new MeshError('not-found', `Cannot read the snapshot of group ${group}: ${problem}`)
    }
    served.timer.cancel()
    served.reminder?.cancel()
    try {
      const chunk = readChunk(served.snapshot, request.afterKey)
      const body = encodeChunk(chunk)
      if (chunk.isLast) served.isFetched = true
      served.timer = served.isFetched
        ? this.#components.clock.after(LINGER_MS, () => this.#end(served, undefined))
        : this.#expireAfter(served.snapshotId)
      return body
    } catch (error) {
      this.#end(served, toMeshError(error))
      throw error
    }
  }

  #end(served: Served, error: MeshError | undefined): void {
    const { offer, snapshotId } = served
    const { peer, group, generation } = offer
    this.#close(served)
    const fields = { peer, group, snapshotId }
    if (error === undefined) this.#components.log.info('snapshot.fetched', fields)
    else {
      const reason = errorMessage(error)
      const level = error.code === 'timeout' ? 'info' : 'error'
      this.#components.log[level]('snapshot.failed', { ...fields, reason })
    }
    this.#options.onEnd({ peer, group, generation, snapshotId, error })
  }

  #close(served: Served): void {
    served.timer.cancel()
    served.reminder?.cancel()
    if (this.#served.delete(served.snapshotId)) served.snapshot.close()
  }
}

const NEXT = new Uint8Array(1)

/** @throws corrupt when the state is damaged; too-large for a pair that no chunk can carry */
function readChunk(snapshot: StateSnapshot, afterKey: Uint8Array): Chunk {
  const pairs: Pair[] = []
  let bytes = 0
  // The first key after another one is that key with a byte of 0.
  const range = afterKey.length === 0 ? {} : { from: concatBytes([afterKey, NEXT]) }
  for (const pair of snapshot.range(range)) {
    if (bytes >= CHUNK_PAIR_BYTES) return { pairs, isLast: false }
    pairs.push(pair)
    bytes += pairBytes(pair)
  }
  return { pairs, isLast: true }
}
