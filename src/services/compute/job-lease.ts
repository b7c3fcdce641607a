// The lease under which a node has tasks of one job: without it they are others'.

import { MeshError } from '../../base/errors.ts'
import { SECOND_MS } from '../../base/units.ts'
import type { Lease, Leases } from '../leases/leases.ts'

/** A worker that is silent for so long has lost its tasks. */
export const JOB_LEASE_MS: number = 6 * SECOND_MS

export class JobLease {
  readonly #leases: Leases
  readonly #space: Uint8Array
  readonly #onLost: () => void
  #lease: Lease | undefined

  /** @param options.onLost the tasks are this node's no more */
  constructor(leases: Leases, options: { space: Uint8Array; onLost: () => void }) {
    this.#leases = leases
    this.#space = options.space
    this.#onLost = options.onLost
  }

  /** 0: there is none. */
  get id(): number {
    return this.#lease?.id ?? 0
  }

  /**
   * Takes over what a grant said. @param granted.sentMs when it was asked for
   *
   * @throws timeout when it may have ended; the signal's reason
   */
  async adopt(granted: { id: number; sentMs: number }, signal: AbortSignal): Promise<void> {
    if (granted.id === 0 || granted.id === this.id) return
    const lease = this.#leases.adopt(this.#space, { ...granted, ttlMs: JOB_LEASE_MS })
    this.#lease = lease
    lease.lost.addEventListener('abort', () => this.#lost(lease), { once: true })
    try {
      // The answer may be old.
      await lease.confirm({ signal })
      lease.guard()
    } catch (error) {
      signal.throwIfAborted()
      const ended = new MeshError('timeout', 'The grant was heard of too late', { cause: error })
      lease.lose(ended)
      throw ended
    }
  }

  lose(reason: MeshError): void {
    this.#lease?.lose(reason)
  }

  /** Gives it back. */
  abandon(): void {
    if (this.#lease !== undefined) this.#leases.abandon(this.#lease)
    this.#lease = undefined
  }

  #lost(lease: Lease): void {
    if (this.#lease !== lease) return
    this.#lease = undefined
    this.#onLost()
  }
}
