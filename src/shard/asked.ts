// Whom one call has asked and who hasn't answered yet. A silent peer isn't waited for alone: after a
// while the next one is asked too, and whoever answers first is heard. A command has a number, so it
// is done once however many replicas got it.

import type { Clock } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'

/** So long only one is waited for. A leader with a slow disk takes longer; then others name it again. */
const PATIENCE_MS = 500
/** One that is slow is waited for again so long, before the next one is asked. */
const AGAIN_MS = 150

export type Outcome<T> = {
  readonly peer: PeerId | undefined
  /** "slow" when it may still answer. */
  readonly result: T | MeshError | 'slow'
}

export class Asked<T> {
  readonly #clock: Clock
  readonly #isImpatient: boolean
  readonly #open = new Set<PeerId | undefined>()
  #waiting: { readonly peer: PeerId | undefined; end(outcome: Outcome<T>): void } | undefined
  /** Came while nobody waited. */
  #answer: Outcome<T> | undefined

  constructor(clock: Clock, isImpatient: boolean) {
    this.#clock = clock
    this.#isImpatient = isImpatient
  }

  /**
   * @param peer undefined when there is nobody; `ask` says so then
   * @param ask asks the peer, unless that is under way already; never rejects
   * @returns what the peer said, or another one that was asked before, if that was an answer
   */
  async wait(peer: PeerId | undefined, ask: () => Promise<T | MeshError>): Promise<Outcome<T>> {
    const isNew = !this.#open.has(peer)
    if (isNew) {
      this.#open.add(peer)
      void ask().then((result) => this.#settled(peer, result))
    }
    if (this.#answer !== undefined) return this.#answer
    return await new Promise((resolve) => {
      const end = (outcome: Outcome<T>): void => {
        this.#waiting = undefined
        timer?.cancel()
        resolve(outcome)
      }
      const timer = this.#isImpatient
        ? this.#clock.after(isNew ? PATIENCE_MS : AGAIN_MS, () => end({ peer, result: 'slow' }))
        : undefined
      this.#waiting = { peer, end }
    })
  }

  #settled(peer: PeerId | undefined, result: T | MeshError): void {
    this.#open.delete(peer)
    const isAnswer = !(result instanceof MeshError)
    if (this.#waiting === undefined) {
      if (isAnswer) this.#answer ??= { peer, result }
    } else if (isAnswer || peer === this.#waiting.peer) this.#waiting.end({ peer, result })
  }
}
