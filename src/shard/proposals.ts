// Commands on their way through the log, and who waits for their answers.

import { MeshError } from '../base/errors.ts'
import type { Answer } from '../core/machine/command.ts'

/** Commands of one group that wait, at most. */
const WAITING_MAX = 16_384

type Waiting = {
  readonly resolve: (answer: Answer) => void
  readonly reject: (error: MeshError) => void
}

type Proposed = Waiting & { readonly term: number }

export class Proposals {
  #queued: (Waiting & { readonly bytes: Uint8Array })[] = []
  /** By the index that they have in the log if nothing goes wrong. */
  readonly #proposed = new Map<number, Proposed>()

  /** Waits to be proposed with others. @throws overloaded */
  async queue(bytes: Uint8Array): Promise<Answer> {
    if (this.#queued.length + this.#proposed.size >= WAITING_MAX) {
      throw new MeshError('overloaded', `${WAITING_MAX} commands wait already; try again later`)
    }
    return await new Promise<Answer>((resolve, reject) => {
      this.#queued.push({ bytes, resolve, reject })
    })
  }

  hasQueued(): boolean {
    return this.#queued.length > 0
  }

  /**
   * Hands all that is queued to `propose`.
   *
   * @param propose takes all or none; @returns the index of the first and their term, or why not
   */
  flush(
    propose: (data: readonly Uint8Array[]) => { first: number; term: number } | MeshError
  ): void {
    const queued = this.#queued
    if (queued.length === 0) return
    this.#queued = []
    const placed = propose(queued.map(({ bytes }) => bytes))
    if (placed instanceof MeshError) {
      for (const { reject } of queued) reject(placed)
      return
    }
    for (const [offset, { resolve, reject }] of queued.entries()) {
      this.#proposed.set(placed.first + offset, { term: placed.term, resolve, reject })
    }
  }

  /** An entry was applied: it is the one that was proposed, or another leader's in its place. */
  applied(index: number, term: number, answer: Answer | undefined): void {
    const proposed = this.#proposed.get(index)
    if (proposed === undefined) return
    this.#proposed.delete(index)
    if (proposed.term === term && answer !== undefined) proposed.resolve(answer)
    else proposed.reject(outcomeUnknown())
  }

  /** This replica leads no more: what is proposed may be committed or not. */
  lost(error: MeshError = outcomeUnknown()): void {
    const waiting = [...this.#queued, ...this.#proposed.values()]
    this.#queued = []
    this.#proposed.clear()
    for (const { reject } of waiting) reject(error)
  }
}

function outcomeUnknown(): MeshError {
  return new MeshError('not-leader', 'The leader changed: the command may be done or not')
}
