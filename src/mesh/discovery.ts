// Finding the mesh and staying in it: bootstrap addresses, remembered peers, the DHT, mDNS. A node
// that reaches nobody keeps trying and says so; it never starts a mesh of its own.

import type { Clock, Timer } from '../base/clock.ts'
import { errorMessage, isMeshError, type MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { shuffle, type Random } from '../base/random.ts'
import { MINUTE_MS, SECOND_MS } from '../base/units.ts'
import type { Address, FoundPeer, Network, Unsubscribe } from '../net/network.ts'

export type DiscoveryComponents = {
  network: Network
  clock: Clock
  random: Random
  log: Logger
  /** Connects and makes the hello exchange. @throws as Admission.admit */
  admit: (peer: PeerId, options: { signal: AbortSignal }) => Promise<void>
  /** Members that ought to answer, this node not included. */
  wanted: () => readonly PeerId[]
  isMember: (peer: PeerId) => boolean
  /** A peer of this mesh answered that isn't a member yet, or may know more: swap tables with it. */
  onPeer: (peer: PeerId) => void
  /** An error that trying again doesn't cure, at an address that the user gave. */
  onFatal: (error: MeshError) => void
}

/** How long discovery sleeps between rounds: short until somebody answers. */
const ROUND_MS = 500
const ROUND_CONNECTED_MS: number = 2 * SECOND_MS
/** A peer that can't be reached is left alone this long at first, twice as long each time. */
const BACKOFF_MS_MIN = 500
const BACKOFF_MS_MAX: number = 15 * SECOND_MS
/** A small mesh is fully connected. In a larger one each node keeps about this many connections. */
const CONNECTIONS_WANTED = 48
const DIALS_AT_ONCE = 8
const DIAL_TIMEOUT_MS: number = 5 * SECOND_MS
/** When the DHT is asked after the first connection, and then every `DHT_INTERVAL_MS`. */
const DHT_FIRST_MS: readonly number[] = [100, 2 * SECOND_MS, 10 * SECOND_MS, MINUTE_MS]
const DHT_INTERVAL_MS: number = 5 * MINUTE_MS
const DHT_TIMEOUT_MS: number = 10 * SECOND_MS

type Backoff = { failures: number; notBeforeMs: number }

/** Errors of a node that answers and refuses; an eviction is taken in by the hello exchange. */
function isRefusal(error: unknown): error is MeshError {
  return isMeshError(error, 'wrong-mesh') || isMeshError(error, 'version-mismatch')
}

export class Discovery {
  readonly #components: DiscoveryComponents
  readonly #join: readonly Address[]
  /** Given addresses that have answered. The others may be the only way to a part of the mesh. */
  readonly #answered = new Set<Address>()
  readonly #backoff = new Map<string, Backoff>()
  readonly #stopping = new AbortController()
  readonly #unsubscribe: Unsubscribe[] = []
  #timer: Timer | undefined
  #dhtTimer: Timer | undefined
  #dhtRound = 0
  #lastFailure: string | undefined

  /** @param join addresses that the user gave. */
  constructor(components: DiscoveryComponents, options: { join: readonly Address[] }) {
    this.#components = components
    this.#join = options.join
  }

  start(): void {
    const { network } = this.#components
    this.#unsubscribe.push(
      network.onDiscovered((found) => void this.#meet(found)),
      network.onConnected(() => this.#askDhtSoon())
    )
    void this.#round()
  }

  stop(): void {
    this.#stopping.abort()
    this.#timer?.cancel()
    this.#dhtTimer?.cancel()
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
  }

  /** Why the last attempt to reach somebody failed; for status and for waiting joiners. */
  lastFailure(): string | undefined {
    return this.#lastFailure
  }

  /** Drops the memory of failures: something has changed, try everything now. */
  hurry(): void {
    this.#backoff.clear()
  }

  async #round(): Promise<void> {
    const { network, clock, log } = this.#components
    try {
      await this.#connectMembers()
      await this.#bootstrap()
    } catch (error) {
      log.warn('discovery.round_failed', { reason: errorMessage(error) })
    }
    if (this.#stopping.signal.aborted) return
    const delayMs = network.connected().length === 0 ? ROUND_MS : ROUND_CONNECTED_MS
    this.#timer = clock.after(delayMs, () => void this.#round())
  }

  /** Nobody is connected, or nobody is known: the given addresses are all there is. */
  #isAlone(): boolean {
    const { network, wanted } = this.#components
    return network.connected().length === 0 || wanted().length === 0
  }

  /** Dials the given addresses: each until it has answered once, and all while alone. */
  async #bootstrap(): Promise<void> {
    const { network, onPeer, onFatal } = this.#components
    const { signal } = this.#stopping
    const isAlone = this.#isAlone()
    const due = this.#join.filter((address) => isAlone || !this.#answered.has(address))
    await Promise.all(
      due.map((address) =>
        this.#attempt(address, async () => {
          try {
            const peer = await network.dial(address, { timeoutMs: DIAL_TIMEOUT_MS, signal })
            await this.#components.admit(peer, { signal })
            this.#answered.add(address)
            onPeer(peer)
          } catch (error) {
            if (isRefusal(error)) onFatal(error)
            throw error
          }
        })
      )
    )
  }

  async #connectMembers(): Promise<void> {
    const { network, random, wanted, admit } = this.#components
    const connected = new Set(network.connected())
    const room = CONNECTIONS_WANTED - connected.size
    const missing = shuffle(
      random,
      wanted().filter((peer) => !connected.has(peer))
    )
    const due = missing
      .filter((peer) => this.#isDue(peer))
      .slice(0, Math.max(0, Math.min(room, DIALS_AT_ONCE)))
    const { signal } = this.#stopping
    await Promise.all(due.map((peer) => this.#attempt(peer, () => admit(peer, { signal }))))
  }

  async #meet(found: FoundPeer): Promise<void> {
    const { network, isMember, admit, onPeer } = this.#components
    if (found.addresses.length === 0) return
    if (!network.connected().includes(found.peer)) network.learn(found.peer, found.addresses)
    if (isMember(found.peer) && network.connected().includes(found.peer)) return
    await this.#attempt(found.peer, async () => {
      await admit(found.peer, { signal: this.#stopping.signal })
      onPeer(found.peer)
    })
  }

  #isDue(key: string): boolean {
    const known = this.#backoff.get(key)
    return known === undefined || known.notBeforeMs <= this.#components.clock.monotonicMs()
  }

  /** Tries once unless it failed too recently. Never rejects. */
  async #attempt(key: string, work: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#components
    if (!this.#isDue(key) || this.#stopping.signal.aborted) return
    try {
      await work()
      this.#backoff.delete(key)
    } catch (error) {
      const failures = (this.#backoff.get(key)?.failures ?? 0) + 1
      const delayMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** (failures - 1))
      this.#backoff.set(key, { failures, notBeforeMs: clock.monotonicMs() + delayMs })
      this.#lastFailure = errorMessage(error)
      log.debug('discovery.attempt_failed', { target: key, reason: errorMessage(error), failures })
    }
  }

  #askDhtSoon(): void {
    if (this.#dhtTimer !== undefined) return
    const delayMs = DHT_FIRST_MS[this.#dhtRound] ?? DHT_INTERVAL_MS
    this.#dhtTimer = this.#components.clock.after(delayMs, () => {
      this.#dhtRound += 1
      void this.#askDht().finally(() => {
        this.#dhtTimer = undefined
        if (!this.#stopping.signal.aborted) this.#askDhtSoon()
      })
    })
  }

  /** Says in the DHT that this node is here, and asks who else is. Never rejects. */
  async #askDht(): Promise<void> {
    const { network, clock, log } = this.#components
    const limit = new AbortController()
    const timer = clock.after(DHT_TIMEOUT_MS, () => limit.abort(new Error('The DHT took too long')))
    const signal = AbortSignal.any([limit.signal, this.#stopping.signal])
    try {
      await network.provide({ signal })
      for await (const found of network.findProviders({ signal })) await this.#meet(found)
    } catch (error) {
      log.debug('discovery.dht_failed', { reason: errorMessage(error) })
    } finally {
      timer.cancel()
    }
  }
}
