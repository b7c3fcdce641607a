// The writes of a state store: one at a time, and again while the disk is full, of which a write leaves
// nothing. Whatever else fails them is final. (D-12)

import type { Clock, Timer } from '../../base/clock.ts'
import { MeshError, toMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { SECOND_MS } from '../../base/units.ts'
import { Turns } from '../turns.ts'
import type { MediumChange, StateMedium } from './state-medium.ts'

/** How long a full disk is left alone. */
const RETRY_MS: number = SECOND_MS
const WRITES = 'writes'

export class MediumWriter {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #medium: Pick<StateMedium, 'write'>
  readonly #turns = new Turns<string>()
  #failure: MeshError | undefined
  #timer: Timer | undefined
  #wake: (() => void) | undefined
  #state: 'open' | 'closing' | 'closed' = 'open'

  constructor(parts: { clock: Clock; logger: Logger; medium: Pick<StateMedium, 'write'> }) {
    this.#clock = parts.clock
    this.#logger = parts.logger
    this.#medium = parts.medium
  }

  /** Why nothing is written: for good, or while the disk is full. */
  get failure(): MeshError | undefined {
    return this.#failure
  }

  /** What decides about a write, and does it, at one time. */
  inTurn<T>(task: () => Promise<T>): Promise<T> {
    return this.#turns.run(WRITES, task)
  }

  /** In a turn. Waits while the disk is full. @throws storage-failed; disk-full when it is closing */
  async write(changes: readonly MediumChange[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    for (;;) {
      const isLast = this.#state === 'closing'
      const failure = await this.#failureOf(changes)
      if (failure === undefined) {
        if (this.#failure !== undefined) this.#logger.info('state_store.room', {})
        this.#failure = undefined
        return
      }
      this.#fail(failure)
      if (isLast || failure.code !== 'disk-full') throw failure
      await this.#pause()
    }
  }

  /** As `write`, of what may be left out: a full disk is no failure of the store. @throws disk-full, storage-failed */
  async tryWrite(changes: readonly MediumChange[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    const failure = await this.#failureOf(changes)
    if (failure === undefined) return
    if (failure.code !== 'disk-full') this.#fail(failure)
    throw failure
  }

  /** What is written still is tried once more, also on a full disk. */
  closing(): void {
    if (this.#state === 'open') this.#state = 'closing'
    this.#timer?.cancel()
    this.#wake?.()
  }

  close(): void {
    this.#state = 'closed'
  }

  /** @throws stopped */
  async #failureOf(changes: readonly MediumChange[]): Promise<MeshError | undefined> {
    if (this.#state === 'closed') throw new MeshError('stopped', 'The state store is closed')
    try {
      await this.#medium.write(changes)
      return undefined
    } catch (error) {
      const { code, message } = toMeshError(error, 'storage-failed')
      // Which group's pages are damaged isn't known, and none can be written.
      const known = code === 'corrupt' ? 'storage-failed' : code
      return new MeshError(known, message, { cause: error })
    }
  }

  #fail(failure: MeshError): void {
    if (this.#failure === undefined) {
      this.#logger.error('state_store.failed', { reason: failure.message })
    }
    this.#failure = failure
  }

  async #pause(): Promise<void> {
    if (this.#state !== 'open') return
    await new Promise<void>((resolve) => {
      this.#wake = resolve
      this.#timer = this.#clock.after(RETRY_MS, resolve)
    })
    this.#wake = undefined
  }
}
