// Network over libp2p: TCP, noise, yamux. Together with host.ts and frame-stream.ts the only code
// that knows libp2p.

import { peerIdFromString } from '@libp2p/peer-id'
import type { Connection, PeerId as Libp2pPeerId, PeerInfo, Stream } from '@libp2p/interface'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'
import { createHash } from 'node:crypto'
import type { Clock } from '../../base/clock.ts'
import { errorMessage, isMeshError, MeshError } from '../../base/errors.ts'
import { peerId, type PeerId } from '../../base/ids.ts'
import { ADDRESS_COUNT_MAX } from '../../base/limits.ts'
import type { Logger } from '../../base/log.ts'
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
import { Libp2pFrameStream, streamError } from './frame-stream.ts'
import { found, parseAddress } from './address.ts'
import { createHost, type Host, type HostOptions } from './host.ts'
import { SilenceWatch } from './silence-watch.ts'

const SHA2_256 = 0x12
const RAW = 0x55
/** Streams of one protocol on one connection; each side opens one and may be replacing it. */
const STREAMS_PER_PROTOCOL_MAX = 8
const DIAL_TIMEOUT_MS = 5_000

/** Builds a host that is not started yet. */
export async function createLibp2pNetwork(
  components: { clock: Clock; log: Logger },
  options: HostOptions
): Promise<Network> {
  return new Libp2pNetwork(components, await createHost(options), options)
}

class Libp2pNetwork implements Network {
  readonly peerId: PeerId
  readonly #host: Host
  readonly #rpc: Rpc
  readonly #silence: SilenceWatch
  readonly #clock: Clock
  readonly #log: Logger
  readonly #rendezvous: CID | undefined
  readonly #known = new Map<PeerId, readonly Address[]>()
  readonly #unsubscribe: Unsubscribe[] = []

  constructor(components: { clock: Clock; log: Logger }, host: Host, options: HostOptions) {
    this.#host = host
    this.#clock = components.clock
    this.#log = components.log
    this.peerId = peerId(host.peerId.toString())
    if (options.mesh !== undefined) {
      const digest = createHash('sha256').update(`atoll mesh ${options.mesh}`).digest()
      this.#rendezvous = CID.createV1(RAW, createDigest(SHA2_256, digest))
    }
    this.#silence = new SilenceWatch(components.clock, () => host.getConnections())
    this.#rpc = new Rpc({
      clock: components.clock,
      log: components.log,
      open: async (peer, protocol, { signal, frameBytesMax }) => {
        const connection = await this.#connection(peer, signal)
        const stream = await connection.newStream(protocol, { signal }).catch((error: unknown) => {
          throw streamError(error, peer, protocol)
        })
        this.#silence.follow(stream, connection)
        return new Libp2pFrameStream({ stream, clock: this.#clock }, { frameBytesMax })
      }
    })
  }

  async start(): Promise<void> {
    for (const [protocol, options] of this.#rpc.protocols()) {
      const accept = (stream: Stream, connection: Connection): void => {
        this.#silence.follow(stream, connection)
        const frames = new Libp2pFrameStream({ stream, clock: this.#clock }, options)
        this.#rpc.accept(peerId(connection.remotePeer.toString()), protocol, frames)
      }
      await this.#host.handle(protocol, accept, {
        maxInboundStreams: STREAMS_PER_PROTOCOL_MAX,
        maxOutboundStreams: STREAMS_PER_PROTOCOL_MAX
      })
    }
    try {
      await this.#host.start()
    } catch (error) {
      throw new MeshError('unreachable', `Cannot listen: ${errorMessage(error)}`, { cause: error })
    }
    this.#silence.start()
  }

  async stop(): Promise<void> {
    this.#silence.stop()
    this.#rpc.stop()
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    await this.#host.stop()
  }

  addresses(): readonly Address[] {
    const suffix = `/p2p/${this.peerId}`
    return this.#host
      .getMultiaddrs()
      .map((address) => address.toString().replace(suffix, ''))
      .slice(0, ADDRESS_COUNT_MAX)
  }

  async dial(
    address: Address,
    options: { timeoutMs: number; signal?: AbortSignal }
  ): Promise<PeerId> {
    const target = multiaddr(parseAddress(address))
    if (address.endsWith(`/p2p/${this.peerId}`)) {
      throw new MeshError('invalid-argument', `${address} is this node itself`)
    }
    const connection = await this.#dial([target], address, options)
    return peerId(connection.remotePeer.toString())
  }

  learn(peer: PeerId, addresses: readonly Address[]): void {
    if (addresses.length > 0 && peer !== this.peerId) this.#known.set(peer, addresses)
  }

  async forget(peer: PeerId): Promise<void> {
    this.#known.delete(peer)
    const id = peerIdFromString(peer)
    await this.#host.peerStore.delete(id)
    await this.#host.hangUp(id)
  }

  connected(): readonly PeerId[] {
    return this.#host.getPeers().map((id) => peerId(id.toString()))
  }

  onConnected(listener: (peer: PeerId) => void): Unsubscribe {
    return this.#on('peer:connect', listener)
  }

  onDisconnected(listener: (peer: PeerId) => void): Unsubscribe {
    return this.#on('peer:disconnect', listener)
  }

  setAdmission(admission: Admission): void {
    this.#rpc.setAdmission(admission)
  }

  handle(protocol: string, options: ProtocolOptions, handler: RequestHandler): void {
    this.#rpc.handle(protocol, options, handler)
  }

  async request(
    peer: PeerId,
    protocol: string,
    body: Body,
    options: RequestOptions
  ): Promise<Uint8Array> {
    return await this.#rpc.request(peer, protocol, body, options)
  }

  async notify(
    peer: PeerId,
    protocol: string,
    body: Body,
    options?: NotifyOptions
  ): Promise<boolean> {
    return await this.#rpc.notify(peer, protocol, body, options)
  }

  subscribe(topic: string, listener: (data: Uint8Array, from: PeerId) => void): Unsubscribe {
    const { gossip } = this.#host.services
    if (gossip === undefined) return () => {}
    const onMessage = (
      event: CustomEvent<{ topic: string; data: Uint8Array; from?: Libp2pPeerId }>
    ): void => {
      const { topic: on, data, from } = event.detail
      if (on === topic && from !== undefined) listener(data, peerId(from.toString()))
    }
    gossip.addEventListener('message', onMessage)
    gossip.subscribe(topic)
    return () => gossip.removeEventListener('message', onMessage)
  }

  async publish(topic: string, data: Uint8Array): Promise<void> {
    await this.#host.services.gossip?.publish(topic, data)
  }

  async provide(options: { signal: AbortSignal }): Promise<void> {
    const { dht } = this.#host.services
    if (dht === undefined || this.#rendezvous === undefined) return
    for await (const event of dht.provide(this.#rendezvous, options)) void event
  }

  async *findProviders(options: { signal: AbortSignal }): AsyncIterable<FoundPeer> {
    const { dht } = this.#host.services
    if (dht === undefined || this.#rendezvous === undefined) return
    for await (const event of dht.findProviders(this.#rendezvous, options)) {
      if (event.name !== 'PROVIDER') continue
      for (const { id, multiaddrs } of event.providers) {
        if (!id.equals(this.#host.peerId)) yield found(id, multiaddrs)
      }
    }
  }

  async findAddresses(peer: PeerId, options: { signal: AbortSignal }): Promise<readonly Address[]> {
    const { dht } = this.#host.services
    const addresses = new Set<Address>()
    if (dht === undefined) return []
    // The cached answer may be where the peer was: collect every final one, old and new.
    for await (const event of dht.findPeer(peerIdFromString(peer), {
      ...options,
      useCache: false
    })) {
      if (event.name !== 'FINAL_PEER') continue
      for (const address of found(event.peer.id, event.peer.multiaddrs).addresses)
        addresses.add(address)
    }
    return [...addresses].slice(0, ADDRESS_COUNT_MAX)
  }

  onDiscovered(listener: (found: FoundPeer) => void): Unsubscribe {
    const onPeer = ({ detail }: CustomEvent<PeerInfo>): void =>
      listener(found(detail.id, detail.multiaddrs))
    this.#host.addEventListener('peer:discovery', onPeer)
    return () => this.#host.removeEventListener('peer:discovery', onPeer)
  }

  #on(name: 'peer:connect' | 'peer:disconnect', listener: (peer: PeerId) => void): Unsubscribe {
    const onEvent = (event: CustomEvent<Libp2pPeerId>): void =>
      listener(peerId(event.detail.toString()))
    this.#host.addEventListener(name, onEvent)
    const unsubscribe = (): void => this.#host.removeEventListener(name, onEvent)
    this.#unsubscribe.push(unsubscribe)
    return unsubscribe
  }

  /** An open connection, or one made by the addresses we know, or by those the DHT has. */
  async #connection(peer: PeerId, signal: AbortSignal): Promise<Connection> {
    const id = peerIdFromString(peer)
    const ways = {
      open: () => this.#host.getConnections(id).find(({ status }) => status === 'open'),
      onConnected: (listener: (peer: PeerId) => void) => this.onConnected(listener),
      dial: async () => await this.#dialKnown(peer, signal)
    }
    return await firstConnection(peer, ways)
  }

  /** Dials where the peer is known to be, or else where the DHT says. */
  async #dialKnown(peer: PeerId, signal: AbortSignal): Promise<Connection> {
    const dial = async (addresses: readonly Address[]): Promise<Connection> => {
      const targets = addresses.map((address) => multiaddr(`${address}/p2p/${peer}`))
      return await this.#dial(targets, peer, { timeoutMs: DIAL_TIMEOUT_MS, signal })
    }
    const known = this.#known.get(peer) ?? []
    if (known.length > 0) {
      try {
        return await dial(known)
      } catch (error) {
        if (!isMeshError(error, 'unreachable') || this.connected().length === 0) throw error
      }
    }
    const addresses = await this.findAddresses(peer, {
      signal: AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)])
    }).catch((error: unknown) => {
      this.#log.debug('net.find_failed', { peer, reason: errorMessage(error) })
      return []
    })
    const fresh = addresses.filter((address) => !known.includes(address))
    if (fresh.length === 0)
      throw new MeshError('unreachable', `No working address of ${peer} is known`)
    return await dial(fresh)
  }

  async #dial(
    targets: Multiaddr[],
    what: string,
    options: { timeoutMs: number; signal?: AbortSignal | undefined }
  ): Promise<Connection> {
    const timeout = AbortSignal.timeout(options.timeoutMs)
    const signal =
      options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
    try {
      return await this.#host.dial(targets, { signal })
    } catch (error) {
      options.signal?.throwIfAborted()
      throw new MeshError('unreachable', `${what} does not answer: ${errorMessage(error)}`, {
        cause: error
      })
    }
  }
}
