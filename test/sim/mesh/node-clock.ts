// The clock of one machine: it can be stopped, as a machine that sleeps, and what is due meanwhile
// happens when it goes on; and it ends with its process.

import type { Clock, Timer } from '../../../src/base/clock.ts'

export class NodeClock implements Clock {
  readonly #clock: Clock
  #held: (() => void)[] = []
  #isPaused = false
  #hasEnded = false
  readonly #pending = new Set<object>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  monotonicMs(): number {
    return this.#clock.monotonicMs()
  }

  nowMs(): number {
    return this.#clock.nowMs()
  }

  after(delayMs: number, run: () => void): Timer {
    let isCancelled = false
    const name = {}
    this.#pending.add(name)
    const timer = this.#clock.after(delayMs, () => {
      this.#pending.delete(name)
      const fire = (): void => {
        if (!isCancelled && !this.#hasEnded) run()
      }
      if (this.#isPaused) this.#held.push(fire)
      else fire()
    })
    return {
      cancel: () => {
        isCancelled = true
        this.#pending.delete(name)
        timer.cancel()
      }
    }
  }

  /** Timers that have yet to fire. */
  get pendingCount(): number {
    return this.#pending.size
  }

  pause(): void {
    this.#isPaused = true
  }

  resume(): void {
    if (!this.#isPaused) return
    this.#isPaused = false
    const held = this.#held
    this.#held = []
    for (const fire of held) fire()
  }

  /** The process is dead: nothing of it happens any more. */
  end(): void {
    this.#hasEnded = true
  }
}
