// Jobs of which a node takes no tasks for a while, because what runs tasks here failed over the last
// ones: else it would take them again and again, and nobody else got to them.

import type { Random } from '../../base/random.ts'
import { SECOND_MS } from '../../base/units.ts'
import { Backoff } from '../../core/jobs/backoff.ts'

const PAUSES = { minMs: SECOND_MS / 2, maxMs: 10 * SECOND_MS }

type Trouble = { untilMs: number; readonly pauses: Backoff }

export class Troubles {
  readonly #random: Random
  readonly #jobs = new Map<string, Trouble>()

  constructor(random: Random) {
    this.#random = random
  }

  /** It happened again; what happens during a pause is of the same kind. */
  note(name: string, nowMs: number): void {
    const known = this.#jobs.get(name) ?? { untilMs: 0, pauses: new Backoff(PAUSES, this.#random) }
    this.#jobs.set(name, known)
    if (known.untilMs <= nowMs) known.untilMs = nowMs + known.pauses.next()
  }

  /** All is well with a job, or it is over. */
  end(name: string): void {
    this.#jobs.delete(name)
  }

  /** @returns when tasks of a job may be taken again; 0: at once */
  untilMs(name: string): number {
    return this.#jobs.get(name)?.untilMs ?? 0
  }
}
