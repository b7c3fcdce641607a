// What every layer above asks of the network. Two implementations, libp2p and memory, are held to
// one suite: test/conformance/network.ts.

import type { PeerId } from '../base/ids.ts'

/** A multiaddr in text form, such as `/ip4/192.168.1.5/tcp/4001`. */
export type Address = string

/** Bytes of a message; a list is sent as one body, joined in order. The callee may keep them. */
export type Body = Uint8Array | readonly Uint8Array[]

type RequestContext = {
  /** Who asked; proven by the connection's handshake. */
  readonly peer: PeerId
  /** Aborted when the caller cancels, its deadline passes or the stream breaks. */
  readonly signal: AbortSignal
  /** What the caller gives for it, milliseconds; a one-way message has none. */
  readonly timeoutMs?: number | undefined
}

/**
 * Answers one request. What it throws reaches the caller as a MeshError of the same code.
 * The request's body belongs to the handler. An answer to a one-way message is dropped.
 */
export type RequestHandler = (body: Uint8Array, context: RequestContext) => Body | Promise<Body>

export type ProtocolOptions = {
  /** A longer frame, either way, breaks the stream with `too-large`. */
  frameBytesMax: number
  /** Requests of one peer served at once; the next one is answered `overloaded`. */
  servedPerPeerMax: number
  /** Only the hello protocol: served to peers that aren't admitted yet. */
  beforeHello?: boolean
}

/**
 * The hello exchange as the network sees it. Set once, before start. The network calls `admit`
 * when it needs a peer for any other protocol, and serves other protocols to admitted peers only.
 */
export type Admission = {
  isAdmitted(peer: PeerId): boolean
  /** Makes the exchange, or joins one that runs. @throws wrong-mesh, evicted, version-mismatch, … */
  admit(peer: PeerId, options: { signal: AbortSignal }): Promise<void>
}

export type RequestOptions = {
  /** Until the answer must be here; sent along, so that the far end gives up too. */
  timeoutMs: number
  signal?: AbortSignal | undefined
}

export type NotifyOptions = {
  /** Wait until the queue of the stream is short, so that what is sent meanwhile goes first. */
  waitsForRoom?: boolean
}

export type FoundPeer = { peer: PeerId; addresses: readonly Address[] }

export type Unsubscribe = () => void

export type Network = {
  readonly peerId: PeerId
  start(): Promise<void>
  /** Ends every stream and timer; pending requests reject with `stopped`. Idempotent. */
  stop(): Promise<void>

  /** Where others can dial this node, without the `/p2p/…` part. Empty before start. */
  addresses(): readonly Address[]
  /** @returns the peer that answered. @throws unreachable, invalid-argument, timeout */
  dial(address: Address, options: { timeoutMs: number; signal?: AbortSignal }): Promise<PeerId>
  /** Remembers (replaces) where `peer` can be dialled. */
  learn(peer: PeerId, addresses: readonly Address[]): void
  /** Forgets the addresses of a peer that is gone, and closes its connections. */
  forget(peer: PeerId): Promise<void>
  connected(): readonly PeerId[]
  onConnected(listener: (peer: PeerId) => void): Unsubscribe
  /** Also after a kill -9, a few milliseconds later. */
  onDisconnected(listener: (peer: PeerId) => void): Unsubscribe

  setAdmission(admission: Admission): void
  /** Serves `protocol`; once per protocol, before start. */
  handle(protocol: string, options: ProtocolOptions, handler: RequestHandler): void
  /**
   * Asks `peer` over its one long-lived stream for `protocol`; dials first when needed. At most once
   * on libp2p; may be served twice where the network duplicates frames, so handlers are idempotent.
   * @throws timeout, unreachable, overloaded, too-large, unsupported-protocol, stopped, aborted, or
   *   what the handler threw
   */
  request(peer: PeerId, protocol: string, body: Body, options: RequestOptions): Promise<Uint8Array>
  /**
   * Sends without an answer, at most once. Never rejects.
   *
   * @returns whether it was handed to a stream: false when the peer is away or its queue is full.
   */
  notify(peer: PeerId, protocol: string, body: Body, options?: NotifyOptions): Promise<boolean>

  /** Best effort, unordered, no replay: hints only. Also from peers that this node isn't connected to. */
  subscribe(topic: string, listener: (data: Uint8Array, from: PeerId) => void): Unsubscribe
  publish(topic: string, data: Uint8Array): Promise<void>

  /** Says in the DHT that this node belongs to the mesh. */
  provide(options: { signal: AbortSignal }): Promise<void>
  /** Members of the mesh that the DHT knows, with the addresses it has (maybe none). */
  findProviders(options: { signal: AbortSignal }): AsyncIterable<FoundPeer>
  /** Asks the DHT, not the cache, where `peer` is now. Empty when nobody knows. */
  findAddresses(peer: PeerId, options: { signal: AbortSignal }): Promise<readonly Address[]>
  /** Peers met by local discovery (mDNS). Never called where that is off. */
  onDiscovered(listener: (found: FoundPeer) => void): Unsubscribe
}
