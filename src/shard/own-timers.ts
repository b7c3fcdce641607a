// Timers that end with their owner.

import type { Clock, Timer } from '../base/clock.ts'

export class OwnTimers {
  readonly #clock: Clock
  readonly #timers = new Set<Timer>()
  #isStopped = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Runs it later, unless they were stopped by then. */
  after(delayMs: number, run: () => void): void {
    if (this.#isStopped) return
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(timer)
      run()
    })
    this.#timers.add(timer)
  }

  stop(): void {
    this.#isStopped = true
    for (const timer of this.#timers) timer.cancel()
  }
}
