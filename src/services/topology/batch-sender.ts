// Batches on their way to one instance, wherever it runs: as many at one time as it gives credit for,
// and again from where it is next when it went away.

import { CreditWindow } from '../../core/streams/credit-window.ts'
import type { StreamsClient } from '../streams/streams.ts'
import type { Routes } from './routes.ts'
import { peerId } from '../../base/ids.ts'

/** Batches that wait, besides those under way, when there is no more room. */
const WAITING_MAX = 4
/** From a failed attempt until the next one, unless the instance is said to be elsewhere. */
const RETRY_MS_MIN = 50
const RETRY_MS_MAX = 1_000

export type SenderComponents = {
  readonly streams: StreamsClient
  readonly routes: Routes
  readonly signal: AbortSignal
}

/** @returns the name of an instance's inbox */
export function inboxName(topology: string, index: number, attempt: number): string {
  return `topology/${topology}/${index}/${attempt}`
}

export class BatchSender {
  readonly #components: SenderComponents
  readonly #about: { readonly topology: string; readonly target: number; readonly from: string }
  readonly #onRoom: () => void
  readonly #window = new CreditWindow()
  #waiting: Uint8Array[] = []
  #retryMs = RETRY_MS_MIN
  #timer: NodeJS.Timeout | undefined

  /** @param onRoom there may be room, or nothing under way */
  constructor(
    components: SenderComponents,
    about: { topology: string; target: number; from: string },
    onRoom: () => void
  ) {
    this.#components = components
    this.#about = about
    this.#onRoom = onRoom
  }

  get isFull(): boolean {
    return this.#waiting.length >= WAITING_MAX
  }

  /** Nothing was sent that isn't answered: what is sent now arrives at once. */
  get isIdle(): boolean {
    return this.#window.unanswered === 0 && this.#waiting.length === 0
  }

  get queued(): number {
    return this.#waiting.length + this.#window.unanswered
  }

  push(batch: Uint8Array): void {
    this.#waiting.push(batch)
    this.#pump()
  }

  /** It may be somewhere else now. */
  routeChanged(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#retryMs = RETRY_MS_MIN
    this.#pump()
  }

  #pump(): void {
    const { routes, signal } = this.#components
    while (this.#timer === undefined && this.#window.mayBegin && !signal.aborted) {
      const record = routes.recordOf(this.#about.target)
      if (record === undefined) return
      const batch = this.#waiting.shift()
      if (batch === undefined) return
      void this.#send(batch, record)
    }
  }

  async #send(batch: Uint8Array, to: { peer: string; attempt: number }): Promise<void> {
    const { topology, target, from } = this.#about
    this.#window.begin()
    try {
      const inbox = inboxName(topology, target, to.attempt)
      const credit = await this.#components.streams.send(peerId(to.peer), { inbox, from, batch })
      this.#window.answered(credit)
      this.#retryMs = RETRY_MS_MIN
    } catch {
      // It is gone, or too busy: the same again, there or where it is by then. It may come twice (T-7).
      this.#window.failed()
      this.#waiting.unshift(batch)
      const isNewer = this.#components.routes.recordOf(target)?.attempt !== to.attempt
      if (!isNewer) this.#pumpLater()
    }
    this.#pump()
    this.#onRoom()
  }

  #pumpLater(): void {
    if (this.#timer !== undefined) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#pump()
    }, this.#retryMs)
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS_MAX)
  }
}
