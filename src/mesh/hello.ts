// The hello exchange: who may be served anything else. protocols/hello, rules H-1 to H-7.

import { errorMessage, isMeshError, MeshError } from '../base/errors.ts'
import type { MeshId, PeerId, SessionId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { Admission, Network } from '../net/network.ts'
import { decodeHello, encodeHello, type Hello } from '../wire/hello.ts'
import { clonedIdentity } from './refusals.ts'
import { Sessions } from './sessions.ts'

export const HELLO_PROTOCOL = '/atoll/hello/1.0.0'
/** The one generation of protocols there is so far. */
const PROTOCOL_VERSION = 1

const HELLO_FRAME_BYTES_MAX = 4_096
const HELLO_SERVED_MAX = 8
const HELLO_TIMEOUT_MS = 5_000

export type HelloComponents = {
  network: Network
  log: Logger
  /** What this node says of itself now. */
  self: () => Pick<Hello, 'meshId' | 'storeId' | 'session' | 'incarnation' | 'agent'>
  /** The encoded genesis record, for those who have no mesh yet. */
  signedGenesis: Uint8Array
  /** Why `peer` may not come in, although it belongs to this mesh. */
  refusal: (peer: PeerId) => MeshError | undefined
  /** A peer has met another running node with this node's identity. */
  onCloned: (error: MeshError) => void
  /** A peer of this mesh answers that this node was evicted from it. */
  onEvicted: (peer: PeerId) => void
}

/** Keeps who is admitted: from the exchange until the last connection to the peer ends. */
export class HelloExchange implements Admission {
  readonly #components: HelloComponents
  readonly #admitted = new Set<PeerId>()
  readonly #sessions = new Sessions()
  readonly #running = new Map<PeerId, Promise<void>>()

  constructor(components: HelloComponents) {
    this.#components = components
    const { network } = components
    network.setAdmission(this)
    network.onDisconnected((peer) => {
      this.#admitted.delete(peer)
      this.#sessions.disconnected(peer)
    })
    network.handle(
      HELLO_PROTOCOL,
      {
        frameBytesMax: HELLO_FRAME_BYTES_MAX,
        servedPerPeerMax: HELLO_SERVED_MAX,
        beforeHello: true
      },
      (body, { peer }) => this.#answer(peer, decodeHello(body))
    )
  }

  isAdmitted(peer: PeerId): boolean {
    return this.#admitted.has(peer) && this.#components.refusal(peer) === undefined
  }

  /**
   * @throws wrong-mesh, version-mismatch, evicted; or why the peer couldn't be asked.
   */
  async admit(peer: PeerId, options: { signal?: AbortSignal } = {}): Promise<void> {
    const running = this.#running.get(peer) ?? this.#ask(peer, options.signal)
    this.#running.set(peer, running)
    try {
      await running
    } finally {
      if (this.#running.get(peer) === running) this.#running.delete(peer)
    }
  }

  async #ask(peer: PeerId, signal: AbortSignal | undefined): Promise<void> {
    const { network, onCloned, onEvicted } = this.#components
    const options = { timeoutMs: HELLO_TIMEOUT_MS, signal }
    const known = this.#sessions.current(peer)
    const asked = network.request(peer, HELLO_PROTOCOL, encodeHello(this.#ownHello()), options)
    const body = await asked.catch((error: unknown) => {
      if (isMeshError(error, 'cloned-identity')) onCloned(error)
      if (isMeshError(error, 'evicted')) onEvicted(peer)
      throw error
    })
    const answer = decodeHello(body)
    const current = this.#sessions.current(peer)
    // The peer came with another session meanwhile. Then this answer may have been given before, and
    // have lain here unread: it proves nothing, and another one is asked for.
    if (current !== known && answer.session !== current) return await this.#ask(peer, signal)
    this.#accept(peer, answer)
  }

  #answer(peer: PeerId, hello: Hello): Uint8Array {
    const own = this.#ownHello()
    if (hello.meshId === undefined) {
      // A joiner: it learns what the mesh was founded on and comes back as a peer of it.
      return encodeHello({ ...own, signedGenesis: this.#components.signedGenesis })
    }
    this.#accept(peer, hello)
    return encodeHello(own)
  }

  #accept(peer: PeerId, hello: Hello): void {
    this.#noteSession(peer, hello.session)
    const error = this.#reasonAgainst(peer, hello)
    if (error !== undefined) {
      this.#components.log.warn('hello.refused', { peer, code: error.code, reason: error.message })
      throw error
    }
    this.#admitted.add(peer)
  }

  #noteSession(peer: PeerId, session: SessionId): void {
    const { network, log } = this.#components
    const found = this.#sessions.note(peer, session)
    if (found === 'changed') {
      // Whoever answers on the older connection shows whether its session still runs.
      this.admit(peer).catch((error: unknown) => {
        log.debug('hello.not_asked', { peer, reason: errorMessage(error) })
      })
    }
    if (found !== 'cloned') return
    log.warn('hello.cloned', { peer, session })
    this.#admitted.delete(peer)
    // Both reconnect, and each is told on its own connection.
    network.forget(peer).catch((error: unknown) => {
      log.debug('hello.not_forgotten', { peer, reason: errorMessage(error) })
    })
  }

  #reasonAgainst(peer: PeerId, hello: Hello): MeshError | undefined {
    const own = this.#components.self()
    if (hello.meshId !== own.meshId) return wrongMesh(own.meshId, hello.meshId)
    if (hello.versionMin > PROTOCOL_VERSION || hello.versionMax < PROTOCOL_VERSION) {
      return new MeshError(
        'version-mismatch',
        `No protocol version in common: this node speaks ${PROTOCOL_VERSION}, ` +
          `the other ${hello.versionMin} to ${hello.versionMax}; update the older one`
      )
    }
    const rival = this.#sessions.rivalOf(peer, hello.session)
    if (rival !== undefined) return clonedIdentity(peer, rival)
    return this.#components.refusal(peer)
  }

  #ownHello(): Hello {
    return {
      versionMin: PROTOCOL_VERSION,
      versionMax: PROTOCOL_VERSION,
      signedGenesis: undefined,
      ...this.#components.self()
    }
  }
}

/** The same words at both sides. */
export function wrongMesh(own: MeshId | undefined, other: MeshId | undefined): MeshError {
  const short = (id: MeshId | undefined): string =>
    id === undefined ? 'no mesh' : `mesh ${id.slice(0, 12)}…`
  return new MeshError(
    'wrong-mesh',
    `This node belongs to ${short(own)} and the other one to ${short(other)}; two meshes never ` +
      'merge. Join with an empty data folder (--data) instead'
  )
}

/**
 * Asks a node at `address` what its mesh was founded on, over a network that has no mesh yet.
 *
 * @returns an encoded SignedGenesis; the caller checks it.
 * @throws unreachable, timeout, invalid-data
 */
export async function askForGenesis(
  network: Network,
  address: string,
  own: Pick<Hello, 'storeId' | 'session' | 'agent'> & { signal: AbortSignal }
): Promise<Uint8Array> {
  const { signal, ...said } = own
  const peer = await network.dial(address, { timeoutMs: HELLO_TIMEOUT_MS, signal })
  const hello: Hello = {
    ...said,
    versionMin: PROTOCOL_VERSION,
    versionMax: PROTOCOL_VERSION,
    meshId: undefined,
    incarnation: 0,
    signedGenesis: undefined
  }
  const body = await network.request(peer, HELLO_PROTOCOL, encodeHello(hello), {
    timeoutMs: HELLO_TIMEOUT_MS,
    signal
  })
  const { signedGenesis } = decodeHello(body)
  if (signedGenesis === undefined) {
    throw new MeshError('invalid-data', `The node at ${address} did not tell its genesis record`)
  }
  return signedGenesis
}

/** Makes a network able to ask {@link askForGenesis}; it serves nothing. */
export function prepareToAsk(network: Network): void {
  network.handle(
    HELLO_PROTOCOL,
    { frameBytesMax: HELLO_FRAME_BYTES_MAX, servedPerPeerMax: 1, beforeHello: true },
    () => {
      throw new MeshError('not-admitted', 'This node has not joined yet')
    }
  )
}
