// Ways to wait, in an instance that runs for months: none of them leaves anything behind.

import { setTimeout as delay } from 'node:timers/promises'

/** Resolves after a time, or when the signal is aborted. */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  await delay(durationMs, undefined, { signal }).catch(() => {})
}

/** Wakes all who wait. */
export class Bell {
  #next: PromiseWithResolvers<void> | undefined

  ring(): void {
    this.#next?.resolve()
    this.#next = undefined
  }

  /** Resolves when it rings the next time. */
  async wait(): Promise<void> {
    this.#next ??= Promise.withResolvers<void>()
    await this.#next.promise
  }
}

/** Something that may end while other things are waited for, one at a time. */
export class Interruption {
  #isOver = false
  #interrupt: (() => void) | undefined

  get isOver(): boolean {
    return this.#isOver
  }

  end(): void {
    this.#isOver = true
    this.#interrupt?.()
  }

  /** @returns what the work comes to; undefined as soon as it is over */
  async or<Value>(work: Promise<Value>): Promise<Value | undefined> {
    return await new Promise<Value | undefined>((resolve, reject) => {
      this.#interrupt = () => resolve(undefined)
      work.then(resolve, reject)
      if (this.#isOver) resolve(undefined)
    })
  }

  /** Resolves when it is over. */
  async wait(): Promise<void> {
    await this.or(new Promise(() => {}))
  }
}
