// The simulated network itself: who is connected, what a frame meets on its way, by one seed.

import type { Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import { compareText, type PeerId } from '../../base/ids.ts'
import { chance, type Random } from '../../base/random.ts'
import type { Address, FoundPeer } from '../network.ts'
import type { FrameStream } from '../frame-stream.ts'
import type { MemoryNetwork } from './memory-network.ts'
import { MemoryStream } from './memory-stream.ts'

/** The fault model. Chances are per thousand frames. */
export type MemoryFaults = {
  /** One-way delay of a frame, uniform in [min, max] milliseconds. */
  delayMsMin: number
  delayMsMax: number
  lossPerMille: number
  duplicatePerMille: number
  /** A frame that may overtake those sent before it. */
  reorderPerMille: number
}

const MEMORY_FAULTS_NONE: MemoryFaults = {
  delayMsMin: 1,
  delayMsMax: 3,
  lossPerMille: 0,
  duplicatePerMille: 0,
  reorderPerMille: 0
}

/** How long a silent connection lives: what libp2p's connection monitor takes. */
const SILENT_CONNECTION_MS = 3_000
/** A killed process closes its sockets this soon. */
const CLOSE_NOTICE_MS = 5

type Pair = { a: PeerId; b: PeerId; streams: Set<Ends> }
type Ends = { close: (reason: Error | undefined) => void }

export class MemoryWorld {
  readonly clock: Clock
  readonly #random: Random
  readonly #nodes = new Map<PeerId, MemoryNetwork>()
  readonly #addresses = new Map<Address, PeerId>()
  /** Connections of each peer, by the other one. */
  readonly #pairs = new Map<PeerId, Map<PeerId, Pair>>()
  readonly #providers = new Map<string, Map<PeerId, FoundPeer>>()
  /** `from to` of every direction that drops all frames. */
  readonly #blocked = new Set<string>()
  faults: MemoryFaults
  /** Called with each delivered frame; a simulation folds it into its trace hash. */
  trace: ((from: PeerId, to: PeerId, bytes: number) => void) | undefined

  constructor(components: { clock: Clock; random: Random }, faults: Partial<MemoryFaults> = {}) {
    this.clock = components.clock
    this.#random = components.random
    this.faults = { ...MEMORY_FAULTS_NONE, ...faults }
  }

  attach(node: MemoryNetwork, address: Address): void {
    // What is left of an earlier process: another one never goes on with its connections.
    for (const pair of this.#pairsOf(node.peerId)) this.#drop(pair)
    this.#nodes.set(node.peerId, node)
    this.#addresses.set(address, node.peerId)
  }

  /** A stop and a kill look the same to the others: their connections close. */
  detach(node: MemoryNetwork, address: Address): void {
    if (this.#nodes.get(node.peerId) !== node) return
    this.#nodes.delete(node.peerId)
    this.#addresses.delete(address)
    for (const pair of this.#pairsOf(node.peerId)) {
      const other = pair.a === node.peerId ? pair.b : pair.a
      const heard = !this.#isBlocked(node.peerId, other)
      this.clock.after(heard ? CLOSE_NOTICE_MS : SILENT_CONNECTION_MS, () => this.#drop(pair))
    }
  }

  peerAt(address: Address): PeerId | undefined {
    return this.#addresses.get(address)
  }

  /** Blocks every frame from `from` to `to`; the other direction is its own matter. */
  block(from: PeerId, to: PeerId): void {
    this.#blocked.add(`${from} ${to}`)
    const pair = this.#pair(from, to)
    if (pair !== undefined) {
      this.clock.after(SILENT_CONNECTION_MS, () => {
        if (this.#isBlocked(from, to)) this.#drop(pair)
      })
    }
  }

  unblock(from: PeerId, to: PeerId): void {
    this.#blocked.delete(`${from} ${to}`)
  }

  unblockAll(): void {
    this.#blocked.clear()
  }

  isConnected(a: PeerId, b: PeerId): boolean {
    return this.#pair(a, b) !== undefined
  }

  connectedTo(peer: PeerId): PeerId[] {
    return [...this.#peersOf(peer).keys()].toSorted(compareText)
  }

  async connect(
    from: MemoryNetwork,
    to: PeerId,
    options: { timeoutMs: number; signal?: AbortSignal | undefined }
  ): Promise<void> {
    if (this.isConnected(from.peerId, to)) return
    const away =
      !this.#nodes.has(to) || this.#isBlocked(from.peerId, to) || this.#isBlocked(to, from.peerId)
    const refused = away && !this.#nodes.has(to)
    await this.#wait(away && !refused ? options.timeoutMs : 2 * this.#delayMs(), options.signal)
    if (away || !this.#nodes.has(to) || this.#nodes.get(from.peerId) !== from) {
      throw new MeshError('unreachable', `${to} does not answer`)
    }
    if (this.isConnected(from.peerId, to)) return
    const [a, b] = [from.peerId, to].toSorted(compareText) as [PeerId, PeerId]
    const pair: Pair = { a, b, streams: new Set() }
    this.#peersOf(a).set(b, pair)
    this.#peersOf(b).set(a, pair)
    for (const peer of [a, b]) this.#nodes.get(peer)?.noteConnection(peer === a ? b : a, true)
  }

  disconnect(a: PeerId, b: PeerId): void {
    const pair = this.#pair(a, b)
    if (pair !== undefined) this.#drop(pair)
  }

  /** Opens both ends of a stream; the far end is told of it. */
  async openStream(
    from: MemoryNetwork,
    options: { to: PeerId; protocol: string; signal: AbortSignal }
  ): Promise<FrameStream> {
    const pair = this.#pair(from.peerId, options.to)
    const far = this.#nodes.get(options.to)
    if (pair === undefined || far === undefined) {
      throw new MeshError('unreachable', `${options.to} is not connected`)
    }
    const served = far.rpc.protocols().find(([protocol]) => protocol === options.protocol)
    if (served === undefined) {
      throw new MeshError(
        'unsupported-protocol',
        `${options.to} does not serve ${options.protocol}`
      )
    }
    options.signal.throwIfAborted()
    const frameBytesMax = served[1].frameBytesMax
    const near = this.#end(from.peerId, options.to, frameBytesMax)
    const remote = this.#end(options.to, from.peerId, frameBytesMax)
    near.peer = remote
    remote.peer = near
    const ends: Ends = {
      close: (reason) => {
        pair.streams.delete(ends)
        near.fail(reason)
        remote.fail(reason)
      }
    }
    // The far end learns that the stream broke, not why.
    near.onLocalClose = (reason) => {
      pair.streams.delete(ends)
      near.fail(reason)
      remote.fail(undefined)
    }
    remote.onLocalClose = (reason) => {
      pair.streams.delete(ends)
      remote.fail(reason)
      near.fail(undefined)
    }
    pair.streams.add(ends)
    far.rpc.accept(from.peerId, options.protocol, remote)
    return near
  }

  /** Gossip goes from peer to peer: it reaches whom connections lead to, and nobody else. */
  publish(from: MemoryNetwork, topic: string, data: Uint8Array): void {
    const reached = new Set([from.peerId])
    for (const peer of reached) for (const next of this.#peersOf(peer).keys()) reached.add(next)
    for (const peer of [...reached].toSorted(compareText)) {
      if (peer === from.peerId || this.#isBlocked(from.peerId, peer)) continue
      if (chance(this.#random, this.faults.lossPerMille, 1_000)) continue
      const copy = data.slice()
      this.clock.after(this.#delayMs(), () =>
        this.#nodes.get(peer)?.deliver(topic, copy, from.peerId)
      )
    }
  }

  provide(mesh: string, provider: FoundPeer): void {
    const providers = this.#providers.get(mesh) ?? new Map<PeerId, FoundPeer>()
    this.#providers.set(mesh, providers.set(provider.peer, provider))
  }

  /** The DHT answers those who are connected to somebody. */
  providersFor(from: MemoryNetwork, mesh: string): FoundPeer[] {
    if (this.#pairsOf(from.peerId).length === 0) return []
    return [...(this.#providers.get(mesh)?.values() ?? [])]
      .filter(({ peer }) => peer !== from.peerId)
      .toSorted((x, y) => compareText(x.peer, y.peer))
  }

  #end(from: PeerId, to: PeerId, frameBytesMax: number): MemoryStream {
    return new MemoryStream(
      (bytes, deliver, lastMs) => this.#carry({ from, to, bytes, deliver, lastMs }),
      frameBytesMax
    )
  }

  /** Sends one frame through the fault model. @returns when it arrives at the latest so far. */
  #carry(frame: {
    from: PeerId
    to: PeerId
    bytes: Uint8Array
    deliver: (bytes: Uint8Array) => void
    lastMs: number
  }): number {
    const { from, to, bytes, deliver, lastMs } = frame
    if (this.#isBlocked(from, to) || chance(this.#random, this.faults.lossPerMille, 1_000))
      return lastMs
    const nowMs = this.clock.monotonicMs()
    const overtakes = chance(this.#random, this.faults.reorderPerMille, 1_000)
    const ownMs = nowMs + this.#delayMs()
    const atMs = overtakes ? ownMs : Math.max(ownMs, lastMs)
    const arrive = (): void => {
      if (this.#isBlocked(from, to)) return
      this.trace?.(from, to, bytes.length)
      deliver(bytes)
    }
    this.clock.after(atMs - nowMs, arrive)
    if (chance(this.#random, this.faults.duplicatePerMille, 1_000)) {
      this.clock.after(atMs - nowMs + this.#delayMs(), arrive)
    }
    return Math.max(atMs, lastMs)
  }

  #delayMs(): number {
    const { delayMsMin, delayMsMax } = this.faults
    return delayMsMin + this.#random.below(delayMsMax - delayMsMin + 1)
  }

  async #wait(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        timer.cancel()
        reject(signal?.reason as Error)
      }
      const timer = this.clock.after(delayMs, () => {
        signal?.removeEventListener('abort', onAbort)
        resolve()
      })
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  }

  #isBlocked(from: PeerId, to: PeerId): boolean {
    return this.#blocked.has(`${from} ${to}`)
  }

  #pair(a: PeerId, b: PeerId): Pair | undefined {
    return this.#pairs.get(a)?.get(b)
  }

  #peersOf(peer: PeerId): Map<PeerId, Pair> {
    const known = this.#pairs.get(peer) ?? new Map<PeerId, Pair>()
    this.#pairs.set(peer, known)
    return known
  }

  #pairsOf(peer: PeerId): Pair[] {
    return [...this.#peersOf(peer).values()]
  }

  #drop(pair: Pair): void {
    if (this.#pair(pair.a, pair.b) !== pair) return
    this.#peersOf(pair.a).delete(pair.b)
    this.#peersOf(pair.b).delete(pair.a)
    const reason = new MeshError('unreachable', 'The connection broke')
    for (const ends of pair.streams) ends.close(reason)
    this.#nodes.get(pair.a)?.noteConnection(pair.b, false)
    this.#nodes.get(pair.b)?.noteConnection(pair.a, false)
  }
}
