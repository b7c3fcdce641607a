// A task on trial may be what ends those who run it: it runs alone, or what is beside it might be
// taken for that. So others end before it begins, and none begins beside it; neither for ever.

import { SECOND_MS } from '../../base/units.ts'
import { JOB_TRIAL_MS } from '../../core/machine/job-loss.ts'

/** Whoever waits asks again sooner than this. */
const ASKED_MS: number = SECOND_MS

type Trial = {
  readonly id: string
  readonly isRunning: boolean
  /** Since when it waits, or runs. */
  readonly sinceMs: number
  /** When it was last asked for. */
  readonly askedMs: number
}

export class Trials {
  readonly #nowMs: () => number
  /** One at a time. */
  #trial: Trial | undefined

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** Whether nothing else may begin. */
  get isHeld(): boolean {
    const trial = this.#current
    return trial !== undefined && this.#nowMs() - trial.sinceMs < JOB_TRIAL_MS
  }

  /** Whether a task waits for others to end. */
  waits(id: string): boolean {
    return this.isHeld && this.#current?.id === id
  }

  /** Whether a task on trial may begin; if not, it is asked for again while it waits. */
  mayBegin(id: string, isAlone: boolean): boolean {
    const nowMs = this.#nowMs()
    const { id: first, sinceMs } = this.#current ?? { id, sinceMs: nowMs }
    if (first !== id) return false
    this.#trial = { id, isRunning: false, sinceMs, askedMs: nowMs }
    return isAlone || nowMs - sinceMs >= JOB_TRIAL_MS
  }

  begun(id: string): void {
    const nowMs = this.#nowMs()
    this.#trial = { id, isRunning: true, sinceMs: nowMs, askedMs: nowMs }
  }

  ended(): void {
    this.#trial = undefined
  }

  get #current(): Trial | undefined {
    const trial = this.#trial
    const isGone = trial?.isRunning === false && this.#nowMs() - trial.askedMs > ASKED_MS
    return isGone ? undefined : trial
  }
}
