// A node's end of the simulated network: same promises as libp2p, virtual time, faults by seed.

import { assert } from '../../base/assert.ts'
import { MeshError } from '../../base/errors.ts'
import type { PeerId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import { compareText } from '../../base/ids.ts'
import type {
  Address,
  Admission,
  Body,
  FoundPeer,
  Network,
  NotifyOptions,
  ProtocolOptions,
  RequestHandler,
  RequestOptions,
  Unsubscribe
} from '../network.ts'
import { firstConnection } from '../first-connection.ts'
import { Rpc } from '../rpc.ts'
import type { MemoryWorld } from './memory-world.ts'

type MemoryNetworkComponents = { world: MemoryWorld; log: Logger }

export class MemoryNetwork implements Network {
  readonly peerId: PeerId
  readonly rpc: Rpc
  readonly #world: MemoryWorld
  readonly #address: Address
  readonly #meshTopic: string
  readonly #known = new Map<PeerId, readonly Address[]>()
  readonly #onConnected = new Set<(peer: PeerId) => void>()
  readonly #onDisconnected = new Set<(peer: PeerId) => void>()
  readonly #topics = new Map<string, Set<(data: Uint8Array, from: PeerId) => void>>()
  #running = false

  /** @param options.mesh what providers of the DHT are filed under. */
  constructor(
    components: MemoryNetworkComponents,
    options: { peerId: PeerId; address: Address; mesh: string }
  ) {
    this.peerId = options.peerId
    this.#address = options.address
    this.#meshTopic = options.mesh
    this.#world = components.world
    this.rpc = new Rpc({
      clock: components.world.clock,
      log: components.log,
      open: async (peer, protocol, { signal }) => {
        await this.#connect(peer, signal)
        return await this.#world.openStream(this, { to: peer, protocol, signal })
      }
    })
  }

  get running(): boolean {
    return this.#running
  }

  start(): Promise<void> {
    this.#running = true
    this.#world.attach(this, this.#address)
    return Promise.resolve()
  }

  stop(): Promise<void> {
    if (!this.#running) return Promise.resolve()
    this.#running = false
    this.rpc.stop()
    this.#world.detach(this, this.#address)
    return Promise.resolve()
  }

  addresses(): readonly Address[] {
    return this.#running ? [this.#address] : []
  }

  async dial(
    address: Address,
    options: { timeoutMs: number; signal?: AbortSignal }
  ): Promise<PeerId> {
    options.signal?.throwIfAborted()
    const peer = this.#world.peerAt(address.split('/p2p/')[0] as string)
    if (peer === undefined) throw new MeshError('unreachable', `Nobody answers at ${address}`)
    if (peer === this.peerId) {
      throw new MeshError('invalid-argument', `${address} is this node itself`)
    }
    await this.#world.connect(this, peer, options)
    return peer
  }

  learn(peer: PeerId, addresses: readonly Address[]): void {
    if (addresses.length > 0) this.#known.set(peer, addresses)
  }

  forget(peer: PeerId): Promise<void> {
    this.#known.delete(peer)
    this.#world.disconnect(this.peerId, peer)
    return Promise.resolve()
  }

  connected(): readonly PeerId[] {
    return this.#running ? this.#world.connectedTo(this.peerId) : []
  }

  onConnected(listener: (peer: PeerId) => void): Unsubscribe {
    this.#onConnected.add(listener)
    return () => this.#onConnected.delete(listener)
  }

  onDisconnected(listener: (peer: PeerId) => void): Unsubscribe {
    this.#onDisconnected.add(listener)
    return () => this.#onDisconnected.delete(listener)
  }

  setAdmission(admission: Admission): void {
    this.rpc.setAdmission(admission)
  }

  handle(protocol: string, options: ProtocolOptions, handler: RequestHandler): void {
    assert(!this.#running, 'protocols are registered before start')
    this.rpc.handle(protocol, options, handler)
  }

  async request(
    peer: PeerId,
    protocol: string,
    body: Body,
    options: RequestOptions
  ): Promise<Uint8Array> {
    return await this.rpc.request(peer, protocol, body, options)
  }

  async notify(
    peer: PeerId,
    protocol: string,
    body: Body,
    options?: NotifyOptions
  ): Promise<boolean> {
    return await this.rpc.notify(peer, protocol, body, options)
  }

  subscribe(topic: string, listener: (data: Uint8Array, from: PeerId) => void): Unsubscribe {
    const listeners = this.#topics.get(topic) ?? new Set()
    this.#topics.set(topic, listeners.add(listener))
    return () => listeners.delete(listener)
  }

  publish(topic: string, data: Uint8Array): Promise<void> {
    this.#world.publish(this, topic, data)
    return Promise.resolve()
  }

  provide(options: { signal: AbortSignal }): Promise<void> {
    options.signal.throwIfAborted()
    this.#world.provide(this.#meshTopic, { peer: this.peerId, addresses: [this.#address] })
    return Promise.resolve()
  }

  async *findProviders(options: { signal: AbortSignal }): AsyncIterable<FoundPeer> {
    for (const found of this.#world.providersFor(this, this.#meshTopic)) {
      options.signal.throwIfAborted()
      yield found
    }
  }

  findAddresses(peer: PeerId, options: { signal: AbortSignal }): Promise<readonly Address[]> {
    options.signal.throwIfAborted()
    const found = this.#world.providersFor(this, this.#meshTopic)
    return Promise.resolve(found.find((provider) => provider.peer === peer)?.addresses ?? [])
  }

  onDiscovered(): Unsubscribe {
    return () => {}
  }

  /** Called by the world. */
  noteConnection(peer: PeerId, isConnected: boolean): void {
    for (const listener of isConnected ? this.#onConnected : this.#onDisconnected) listener(peer)
  }

  /** Called by the world. */
  deliver(topic: string, data: Uint8Array, from: PeerId): void {
    for (const listener of this.#topics.get(topic) ?? []) listener(data, from)
  }

  /** Dials by the addresses that were learned, in sorted order. */
  async #connect(peer: PeerId, signal: AbortSignal): Promise<void> {
    const ways = {
      open: () => this.#world.isConnected(this.peerId, peer) || undefined,
      onConnected: (listener: (peer: PeerId) => void) => this.onConnected(listener),
      dial: async () => await this.#dialKnown(peer, signal)
    }
    await firstConnection(peer, ways)
  }

  async #dialKnown(peer: PeerId, signal: AbortSignal): Promise<true> {
    const addresses = [...(this.#known.get(peer) ?? [])].toSorted(compareText)
    const address = addresses.find((candidate) => this.#world.peerAt(candidate) === peer)
    if (address === undefined) {
      throw new MeshError('unreachable', `No working address of ${peer} is known`)
    }
    await this.#world.connect(this, peer, { timeoutMs: 2_000, signal })
    return true
  }
}
