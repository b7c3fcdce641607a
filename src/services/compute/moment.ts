// A short wait that may be over sooner.

import type { Clock, Timer } from '../../base/clock.ts'

export class Moment {
  readonly #clock: Clock
  readonly #durationMs: number
  #waiting: { readonly timer: Timer; readonly resolve: () => void } | undefined

  constructor(clock: Clock, durationMs: number) {
    this.#clock = clock
    this.#durationMs = durationMs
  }

  /** One at a time. */
  async wait(): Promise<void> {
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(this.#durationMs, () => this.end())
      this.#waiting = { timer, resolve }
    })
  }

  /** Ends the wait, if there is one. */
  end(): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.timer.cancel()
    waiting?.resolve()
  }
}
