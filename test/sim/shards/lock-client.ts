// Tries to take a lock under a lease of its own, holds it for a while, sometimes for longer than the
// lease lives, and gives it back.

import { sleep } from '../../../src/base/clock.ts'
import type { Timer } from '../../../src/base/clock.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import { utf8 } from '../../../src/base/bytes.ts'
import { ACQUIRE, RELEASE } from '../../../src/core/machine/locks.ts'
import { GRANT, KEEP_ALIVE } from '../../../src/core/machine/own-operations.ts'
import type { Recorder } from '../checkers/history.ts'
import type { LockOutput } from '../checkers/lock-model.ts'
import { Asker } from './client.ts'
import type { ClientParts } from './client.ts'
import type { KeyPool } from './key-pool.ts'

/** A lease as its client sees it: it certainly lives until `untilMs`. */
type Lease = {
  readonly id: number
  readonly owner: string
  readonly lock: string
  readonly space: Uint8Array
  untilMs: number
  /** Writes down that it may have ended. */
  timer: Timer
}

export class LockClient {
  readonly #parts: ClientParts
  readonly #recorder: Recorder
  readonly #asker: Asker
  readonly #locks: KeyPool

  constructor(parts: ClientParts, recorder: Recorder, locks: KeyPool) {
    this.#locks = locks
    this.#parts = parts
    this.#recorder = recorder
    this.#asker = new Asker(`lock${parts.number}`, recorder)
  }

  /** One lock, from asking for it to giving it back. */
  async next(): Promise<void> {
    const lease = await this.#grant(this.#locks.take(this.#parts.random))
    if (lease === undefined) return
    const input = { kind: 'try-acquire', owner: lease.owner }
    const granted = await this.#asker.record({ key: lease.lock, input }, () => this.#acquire(lease))
    if (granted === undefined) this.#locks.noteUnknown(lease.lock)
    if (granted?.token === null) lease.timer.cancel()
    if (typeof granted?.token === 'number') await this.#hold(lease, granted.token)
  }

  /** No operation of the lock: nothing is written down. */
  async #grant(lock: string): Promise<Lease | undefined> {
    const { shards, clock, options } = this.#parts
    const { ttlMs, timeoutMs } = options
    const askedMs = clock.monotonicMs()
    try {
      const target = { space: utf8(lock.slice(0, lock.indexOf('/'))) }
      const { result } = await shards().execute(target, GRANT, { ttlMs }, { timeoutMs })
      const lease: Lease = {
        id: result.lease,
        owner: `${this.#asker.name}/${result.lease}`,
        lock,
        space: target.space,
        untilMs: askedMs + ttlMs,
        timer: { cancel: () => undefined }
      }
      this.#watch(lease)
      return lease
    } catch (error) {
      if (isMeshError(error)) return undefined
      throw error
    }
  }

  /** When it may have ended for the first time, that is written down. */
  #watch(lease: Lease): void {
    const { clock } = this.#parts
    lease.timer.cancel()
    const leftMs = Math.max(0, lease.untilMs - clock.monotonicMs())
    const { owner, lock } = lease
    lease.timer = clock.after(leftMs, () => {
      const id = this.#recorder.begin(this.#asker.name, lock, { kind: 'expire', owner })
      this.#recorder.unknown(id, 'the lease may have ended')
    })
  }

  async #acquire({ id, owner, lock, space }: Lease): Promise<LockOutput> {
    const { shards, options } = this.#parts
    const { timeoutMs } = options
    const asked = { name: utf8(lock), lease: id, owner: utf8(owner), isWaiting: false }
    const { result } = await shards().execute({ space }, ACQUIRE, asked, { timeoutMs })
    return { token: result.state === 'granted' ? result.token : null }
  }

  async #hold(lease: Lease, token: number): Promise<void> {
    const { clock, random, options } = this.#parts
    const fromMs = clock.monotonicMs()
    await sleep(clock, random.below(options.ttlMs))
    if (random.below(2) === 0) await this.#keepAlive(lease)
    if (random.below(2) === 0) await sleep(clock, random.below(options.ttlMs))
    const { owner, lock: key } = lease
    const untilMs = Math.max(fromMs, Math.min(lease.untilMs, clock.monotonicMs()))
    const held = { kind: 'held', owner, token, fromMs, untilMs }
    this.#recorder.ok(this.#recorder.begin(this.#asker.name, key, held), {})
    const input = { kind: 'release', owner }
    const output = await this.#asker.record({ key, input }, () => this.#release(lease, token))
    if (output?.isReleased !== undefined) lease.timer.cancel()
  }

  async #keepAlive(lease: Lease): Promise<void> {
    const { shards, clock, options } = this.#parts
    const { timeoutMs, ttlMs } = options
    const askedMs = clock.monotonicMs()
    try {
      const { space, id } = lease
      await shards().execute({ space }, KEEP_ALIVE, { lease: id }, { timeoutMs })
    } catch (error) {
      if (isMeshError(error)) return
      throw error
    }
    // Later it might have been lost in between, and what was held before doesn't count.
    if (clock.monotonicMs() >= lease.untilMs) return
    lease.untilMs = askedMs + ttlMs
    this.#watch(lease)
  }

  async #release({ lock, space }: Lease, token: number): Promise<LockOutput> {
    const { shards, options } = this.#parts
    const { timeoutMs } = options
    try {
      await shards().execute({ space }, RELEASE, { name: utf8(lock), token }, { timeoutMs })
      return { isReleased: true }
    } catch (error) {
      if (isMeshError(error, 'not-found')) return { isReleased: false }
      throw error
    }
  }
}
