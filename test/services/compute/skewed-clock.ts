// The clock of a machine whose quartz and calendar are wrong, and that may be suspended: what is due
// meanwhile happens when it wakes.

import type { Clock, Timer } from '../../../src/base/clock.ts'

export class SkewedClock implements Clock {
  readonly #clock: Clock
  readonly #rate: number
  readonly #offsetMs: number
  #held: (() => void)[] | undefined

  /** @param options.rate of its seconds in a true one @param options.offsetMs of its calendar */
  constructor(clock: Clock, { rate = 1, offsetMs = 0 }: { rate?: number; offsetMs?: number } = {}) {
    this.#clock = clock
    this.#rate = rate
    this.#offsetMs = offsetMs
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs() * this.#rate
  }

  nowMs(): number {
    return Math.floor(this.#clock.nowMs() + this.#offsetMs)
  }

  after(delayMs: number, run: () => void): Timer {
    let isCancelled = false
    const fire = (): void => {
      if (!isCancelled) run()
    }
    const timer = this.#clock.after(delayMs / this.#rate, () => {
      if (this.#held === undefined) fire()
      else this.#held.push(fire)
    })
    return {
      cancel: () => {
        isCancelled = true
        timer.cancel()
      }
    }
  }

  suspend(): void {
    this.#held ??= []
  }

  wake(): void {
    const held = this.#held ?? []
    this.#held = undefined
    for (const fire of held) fire()
  }
}
