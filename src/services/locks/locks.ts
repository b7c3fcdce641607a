// Locks over the whole mesh: one holder at a time, those who wait in the order in which they came.
//
// A lock is held under a lease of its own, and lost when that ends, whatever its holder thinks. So
// whoever acts on what the lock guards listens to `lost`, and passes `token` along: what is guarded
// refuses a token below one that it has seen. Only that is safe when a process is stopped and goes
// on later.

import type { Clock } from '../../base/clock.ts'
import { MeshError, isMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { SECOND_MS } from '../../base/units.ts'
import { decode } from '../../core/machine/codec.ts'
import { ACQUIRE, lockHolderCodec } from '../../core/machine/locks.ts'
import type { AcquireResult, LockHolder } from '../../core/machine/locks.ts'
import { GET } from '../../core/machine/own-queries.ts'
import { spanOfKey } from '../../core/machine/space.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { Answered, CallOptions, Shards } from '../../shard/shards.ts'
import { followChanges } from '../follow-changes.ts'
import { spaceOfKey, toBytes } from '../kv/key.ts'
import { Leases } from '../leases/leases.ts'
import type { Lease } from '../leases/leases.ts'

/** Longer than it takes to elect a leader. */
const TTL_MS: number = 10 * SECOND_MS
/** Where names without a slash live. */
const SPACE = 'locks'

export type AcquireOptions = {
  /** How long the lock outlives this process, 1 s to 1 day; 10 s unless given. */
  readonly ttlMs?: number | undefined
  /** How long to wait for it, milliseconds; without an end unless given. */
  readonly timeoutMs?: number | undefined
  /** Leaves the queue. */
  readonly signal?: AbortSignal | undefined
  /** Who holds it, for people to read; at most 256 bytes. */
  readonly owner?: string | undefined
}

export type HolderInfo = { readonly owner: string; readonly token: number }

/** A lock that is held, until it is released or lost. */
export class Lock {
  readonly name: string
  /** Grows with every holder of the lock. */
  readonly token: number
  readonly #lease: Lease

  /** Made by {@link Locks}. */
  constructor(name: string, token: number, lease: Lease) {
    this.name = name
    this.token = token
    this.#lease = lease
  }

  /**
   * Fires when the lock is lost, or may be: before anybody else can get it, as long as this machine's
   * clock runs. Its reason is a MeshError: timeout, not-found or stopped. Not by `release`.
   */
  get lost(): AbortSignal {
    return this.#lease.lost
  }

  /** Whether it is certainly held; told by the clock, also when timers are late. */
  get isHeld(): boolean {
    return this.#lease.isHeld
  }

  /**
   * Gives the lock back; who waited longest has it at once. Idempotent. Once `lost` has fired there
   * is nothing to give back, and it resolves.
   *
   * @throws not-found when it turns out that it was lost before; no-quorum, timeout, unreachable: it
   *   gets free by itself, after its time to live
   */
  async release(options: CallOptions = {}): Promise<void> {
    await this.#lease.revoke(options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release()
  }
}

type Wanted = {
  readonly name: Uint8Array
  readonly space: Uint8Array
  readonly text: string
  readonly owner: Uint8Array
  readonly ttlMs: number
}

export class Locks {
  readonly #components: { shards: Shards; clock: Clock }
  readonly #leases: Leases
  readonly #stopping = new AbortController()

  constructor(components: { shards: Shards; clock: Clock; log: Logger }) {
    this.#components = components
    this.#leases = new Leases(components)
  }

  /**
   * Waits for a lock, in order.
   *
   * @param name `space/path`; a name without a slash is taken for `locks/NAME`
   * @example
   * ```ts
   * await using lock = await node.locks.acquire('jobs/backup')
   * await backUp({ token: lock.token, signal: lock.lost })
   * ```
   * @throws timeout when it wasn't free within `timeoutMs`; invalid-argument, overloaded (too many
   *   wait), quota-exceeded, no-quorum, stopped, or the signal's reason
   */
  async acquire(name: string, options: AcquireOptions = {}): Promise<Lock> {
    const wanted = wantedOf(name, options)
    const limit = this.#limit(wanted, options)
    try {
      for (;;) {
        const lock = await this.#attempt(wanted, limit.signal)
        if (lock !== undefined) return lock
      }
    } catch (error) {
      limit.signal.throwIfAborted()
      throw error
    } finally {
      limit.end()
    }
  }

  /** @returns the lock; undefined when somebody else has it @throws as acquire */
  async tryAcquire(name: string, options: AcquireOptions = {}): Promise<Lock | undefined> {
    const wanted = wantedOf(name, options)
    const limit = this.#limit(wanted, options)
    const { signal } = limit
    try {
      // Asking first costs no entry in the log while it is held.
      if ((await this.#look(wanted, { signal })).holder !== undefined) return undefined
      const lease = await this.#leases.grant(wanted.space, { ttlMs: wanted.ttlMs, signal })
      try {
        const { result } = await this.#ask(wanted, lease, { isWaiting: false, signal })
        const { token } = result
        if (result.state === 'granted') return await this.#taken(wanted, { lease, token }, signal)
      } catch (error) {
        this.#leases.abandon(lease)
        throw error
      }
      this.#leases.abandon(lease)
      return undefined
    } catch (error) {
      signal.throwIfAborted()
      throw error
    } finally {
      limit.end()
    }
  }

  /** @returns who holds a lock now; undefined when it is free */
  async holder(name: string, options: CallOptions = {}): Promise<HolderInfo | undefined> {
    const { holder } = await this.#look(wantedOf(name, {}), options)
    if (holder === undefined) return undefined
    return { owner: new TextDecoder().decode(holder.owner), token: holder.token }
  }

  /** Tells all holders that their locks are lost, and gives them back. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort(new MeshError('stopped', 'The lock service is stopping'))
    await this.#leases.stop()
  }

  /** @returns undefined when the lease ended while it waited: to be tried again, at the end of the queue. */
  async #attempt(wanted: Wanted, signal: AbortSignal): Promise<Lock | undefined> {
    signal.throwIfAborted()
    const lease = await this.#leases.grant(wanted.space, { ttlMs: wanted.ttlMs, signal })
    try {
      const { revision, result } = await this.#ask(wanted, lease, { isWaiting: true, signal })
      const asked = { ticket: result.ticket, revision }
      const token =
        result.state === 'granted'
          ? result.token
          : await this.#turn(wanted, asked, AbortSignal.any([signal, lease.lost]))
      return await this.#taken(wanted, { lease, token }, signal)
    } catch (error) {
      this.#leases.abandon(lease)
      if (isMeshError(error, 'not-found') && !signal.aborted) return undefined
      throw error
    }
  }

  /** What it waited for may be long ago: it counts while the lease that it goes with is there. */
  async #taken(
    { text, ttlMs }: Wanted,
    { lease, token }: { lease: Lease; token: number },
    signal: AbortSignal
  ): Promise<Lock> {
    await lease.confirm({ timeoutMs: ttlMs, signal })
    signal.throwIfAborted()
    lease.guard()
    return new Lock(text, token, lease)
  }

  async #ask(
    { name, space, owner }: Wanted,
    lease: Lease,
    { isWaiting, signal }: { isWaiting: boolean; signal: AbortSignal }
  ): Promise<Answered<AcquireResult>> {
    const args = { name, lease: lease.id, owner, isWaiting }
    return await this.#components.shards.execute({ space }, ACQUIRE, args, { signal })
  }

  /** Waits until the ticket holds the lock. @returns its token */
  async #turn(
    wanted: Wanted,
    { ticket, revision }: { ticket: number; revision: number },
    signal: AbortSignal
  ): Promise<number> {
    const { name, space } = wanted
    let next = revision + 1
    for (;;) {
      try {
        const query = { area: AREAS.lock, ...spanOfKey(name), revision: next }
        const pages = followChanges(this.#components, { target: { space }, query, signal })
        for await (const { revisions } of pages) {
          for (const { current } of revisions.flatMap(({ events }) => events)) {
            const holder =
              current === undefined ? undefined : decode(lockHolderCodec, current.value)
            if (holder?.ticket === ticket) return holder.token
          }
        }
      } catch (error) {
        if (!isMeshError(error, 'compacted')) throw error
        // Its turn may have come in what isn't kept; it is in the queue otherwise.
        const now = await this.#look(wanted, { signal })
        if (now.holder?.ticket === ticket) return now.holder.token
        next = now.revision + 1
      }
    }
  }

  async #look(
    { name, space }: Wanted,
    options: CallOptions
  ): Promise<{ revision: number; holder: LockHolder | undefined }> {
    const asked = { area: AREAS.lock, key: name, revision: undefined }
    const { result } = await this.#components.shards.query({ space }, GET, asked, options)
    const { revision, entry } = result
    return {
      revision,
      holder: entry === undefined ? undefined : decode(lockHolderCodec, entry.value)
    }
  }

  /** @returns a signal for all reasons to wait no longer; `end` takes its timer away. */
  #limit(
    { text }: Wanted,
    { timeoutMs, signal }: AcquireOptions
  ): { signal: AbortSignal; end: () => void } {
    const late = new AbortController()
    const timer =
      timeoutMs === undefined
        ? undefined
        : this.#components.clock.after(timeoutMs, () => {
            const problem = `it was not free within ${timeoutMs} ms`
            late.abort(new MeshError('timeout', `Cannot take lock "${text}": ${problem}`))
          })
    const own = [late.signal, this.#stopping.signal]
    return {
      signal: AbortSignal.any(signal === undefined ? own : [...own, signal]),
      end: () => timer?.cancel()
    }
  }
}

function wantedOf(text: string, { ttlMs = TTL_MS, owner = '' }: AcquireOptions): Wanted {
  const name = toBytes(text.includes('/') ? text : `${SPACE}/${text}`)
  return { text, name, space: spaceOfKey(name), owner: toBytes(owner), ttlMs }
}
