// Leases that renew themselves, for keys and locks. All that goes with a lease ends with it: when it
// is revoked, or wasn't renewed for its time to live.

import type { Clock, Timer } from '../../base/clock.ts'
import { MeshError, errorMessage, isMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { SECOND_MS } from '../../base/units.ts'
import { GRANT, KEEP_ALIVE, REVOKE } from '../../core/machine/own-operations.ts'
import type { CallOptions, Shards } from '../../shard/shards.ts'

/**
 * How much earlier than the shard a holder takes its lease for ended: the shard's clock may run
 * faster by so much, and its stamps are whole milliseconds.
 */
const DRIFT = 1 / 100
const STAMP_MS = 5
/** A renewal is given up after this time, or a third of the time to live, and made anew. */
const ATTEMPT_MS_MAX: number = 10 * SECOND_MS
const RETRY_MS_MAX: number = SECOND_MS
/** What is given back when the node stops may take so long. */
const STOP_MS: number = SECOND_MS

type Components = { shards: Shards; clock: Clock; log: Logger }

/** A lease, renewed until it is revoked or lost. */
export class Lease {
  readonly id: number
  readonly ttlMs: number
  readonly #components: ConstructorParameters<typeof Lease>[0]
  readonly #space: Uint8Array
  readonly #lost = new AbortController()
  /** Aborted when nothing is to be renewed any more. */
  readonly #closed = new AbortController()
  /** Until then the shard can't have ended it, by this machine's monotonic clock. */
  #deadlineMs: number
  #isGuarded = false
  #renewal: Timer | undefined
  #guard: Timer | undefined
  #revoked: Promise<void> | undefined

  /** Made by {@link Leases.grant}. @param granted.sentMs when the request for it was sent */
  constructor(
    components: Components & {
      /** Nothing is renewed any more. */
      onClosed: () => void
      /** Those who listen to `lost` have been told. */
      onLost: (reason: MeshError) => void
    },
    granted: { id: number; ttlMs: number; space: Uint8Array; sentMs: number }
  ) {
    this.#components = components
    this.id = granted.id
    this.ttlMs = granted.ttlMs
    this.#space = granted.space
    this.#deadlineMs = this.#deadlineFrom(granted.sentMs)
    this.#renewAt(granted.sentMs + this.ttlMs / 3)
  }

  /**
   * Fires when the lease has ended, or may have: before anybody else can notice, as long as this
   * machine's clock runs. `reason` is a MeshError: timeout, not-found or stopped. Not by `revoke`.
   */
  get lost(): AbortSignal {
    return this.#lost.signal
  }

  /** Whether it is certainly there; told by the clock, also when timers are late. */
  get isHeld(): boolean {
    return !this.#closed.signal.aborted && this.#components.clock.monotonicMs() < this.#deadlineMs
  }

  /**
   * Ends it, with all that goes with it. Idempotent. Once it is lost there is nothing to end.
   *
   * @throws not-found when it turns out to have ended before; no-quorum, unreachable, timeout: then
   *   it ends by itself, for it isn't renewed any more
   */
  async revoke(options: CallOptions = {}): Promise<void> {
    this.#revoked ??= this.#revoke(options)
    await this.#revoked
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.revoke()
  }

  /** From now on it is lost when its time is over; before, only when the shard says so. */
  guard(): void {
    this.#isGuarded = true
    this.#setGuard()
  }

  /** Makes sure that it is there now. @throws not-found when it isn't; what a renewal fails with */
  async confirm(options: CallOptions = {}): Promise<void> {
    if (this.isHeld) return
    this.#lost.signal.throwIfAborted()
    await this.#keepAlive(options)
  }

  /** Ends it on this side: nothing is renewed, and whoever uses it is told. */
  lose(reason: MeshError): void {
    if (this.#closed.signal.aborted) return
    this.#close()
    this.#lost.abort(reason)
    this.#components.onLost(reason)
  }

  async #revoke(options: CallOptions): Promise<void> {
    const { shards, log } = this.#components
    this.#close()
    try {
      await shards.execute({ space: this.#space }, REVOKE, { lease: this.id }, options)
    } catch (error) {
      if (this.#lost.signal.aborted) {
        log.debug('lease.not_revoked', { lease: this.id, reason: errorMessage(error) })
        return
      }
      if (isMeshError(error, 'not-found')) this.#lost.abort(error)
      throw error
    }
  }

  #close(): void {
    this.#renewal?.cancel()
    this.#guard?.cancel()
    this.#closed.abort(new MeshError('aborted', `Lease ${this.id} is given back`))
    this.#components.onClosed()
  }

  #deadlineFrom(sentMs: number): number {
    return sentMs + this.ttlMs * (1 - DRIFT) - STAMP_MS
  }

  #renewAt(atMs: number): void {
    const { clock } = this.#components
    const delayMs = Math.max(0, atMs - clock.monotonicMs())
    this.#renewal = clock.after(delayMs, () => void this.#renew())
  }

  async #renew(): Promise<void> {
    const { clock, log } = this.#components
    const sentMs = clock.monotonicMs()
    try {
      const timeoutMs = Math.min(this.ttlMs / 3, ATTEMPT_MS_MAX)
      await this.#keepAlive({ timeoutMs, signal: this.#closed.signal })
      if (!this.#closed.signal.aborted) this.#renewAt(sentMs + this.ttlMs / 3)
    } catch (error) {
      if (this.#closed.signal.aborted) return
      log.debug('lease.not_renewed', { lease: this.id, reason: errorMessage(error) })
      this.#renewAt(clock.monotonicMs() + Math.min(this.ttlMs / 20, RETRY_MS_MAX))
    }
  }

  async #keepAlive(options: CallOptions): Promise<void> {
    const { shards, clock } = this.#components
    const sentMs = clock.monotonicMs()
    try {
      await shards.execute({ space: this.#space }, KEEP_ALIVE, { lease: this.id }, options)
    } catch (error) {
      if (isMeshError(error, 'not-found') || isMeshError(error, 'stopped')) this.lose(error)
      throw error
    }
    this.#deadlineMs = Math.max(this.#deadlineMs, this.#deadlineFrom(sentMs))
    if (this.#isGuarded) this.#setGuard()
  }

  #setGuard(): void {
    if (this.#closed.signal.aborted) return
    this.#guard?.cancel()
    const { clock } = this.#components
    const delayMs = Math.max(0, this.#deadlineMs - clock.monotonicMs())
    this.#guard = clock.after(delayMs, () => {
      const problem = `no renewal was answered for ${this.ttlMs} ms`
      this.lose(new MeshError('timeout', `Lease ${this.id} may have ended: ${problem}`))
    })
  }
}

/** The leases that one service holds. */
export class Leases {
  readonly #components: Components
  readonly #kept = new Set<Lease>()
  readonly #ending = new Set<Promise<void>>()
  #isStopped = false

  constructor(components: Components) {
    this.#components = components
  }

  /**
   * @param ttlMs 1 s to 1 day
   * @throws invalid-argument, quota-exceeded, stopped, or what a call of `Shards` fails with
   */
  async grant(
    space: Uint8Array,
    { ttlMs, ...options }: CallOptions & { readonly ttlMs: number }
  ): Promise<Lease> {
    const { shards, clock } = this.#components
    if (this.#isStopped) throw stopped()
    const sentMs = clock.monotonicMs()
    const { result } = await shards.execute({ space }, GRANT, { ttlMs }, options)
    const lease = this.adopt(space, { id: result.lease, ttlMs, sentMs })
    lease.lost.throwIfAborted()
    return lease
  }

  /**
   * Takes over a lease that an operation granted, and renews it.
   *
   * @param granted.sentMs when the request for it was sent, by the monotonic clock
   */
  adopt(
    space: Uint8Array,
    granted: { readonly id: number; readonly ttlMs: number; readonly sentMs: number }
  ): Lease {
    const lease: Lease = new Lease(
      {
        ...this.#components,
        onClosed: () => this.#kept.delete(lease),
        onLost: (reason) => {
          if (reason.code !== 'not-found') this.abandon(lease)
        }
      },
      { ...granted, space }
    )
    this.#kept.add(lease)
    if (this.#isStopped) lease.lose(stopped())
    return lease
  }

  /** Revokes it in the background, as far as that is possible: what goes with it needn't wait. */
  abandon(lease: Lease): void {
    const timeoutMs = this.#isStopped ? STOP_MS : lease.ttlMs
    const ending = lease.revoke({ timeoutMs }).catch((error: unknown) => {
      const reason = errorMessage(error)
      this.#components.log.debug('lease.not_revoked', { lease: lease.id, reason })
    })
    this.#ending.add(ending)
    void ending.finally(() => this.#ending.delete(ending))
  }

  /** Tells all holders and revokes their leases. Takes a second at most where nobody answers. */
  async stop(): Promise<void> {
    this.#isStopped = true
    for (const lease of this.#kept) lease.lose(stopped())
    await Promise.all(this.#ending)
  }
}

function stopped(): MeshError {
  return new MeshError('stopped', 'Leases are given back: the node or the connection is closing')
}
