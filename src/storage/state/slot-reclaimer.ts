// Removes the pairs of slots that are nobody's any more, a few at a time, so that other writes come in
// between. What a crash leaves of them is removed after the next start.

import { toMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { OrderedReads } from '../../core/machine/ordered-state.ts'
import type { MediumChange } from './state-medium.ts'
import { slotRange } from './state-record.ts'

const STEP_COUNT = 1_000

/** Calls back in its turn, and writes what it is given, unless the store has ended. */
type WriteInTurn = (changesOf: () => MediumChange[]) => Promise<void>

export class SlotReclaimer {
  readonly #medium: OrderedReads
  readonly #logger: Logger
  readonly #write: WriteInTurn

  constructor(medium: OrderedReads, logger: Logger, write: WriteInTurn) {
    this.#medium = medium
    this.#logger = logger
    this.#write = write
  }

  add(slot: number): void {
    this.#removeAll(slot).catch((error: unknown) => {
      this.#logger.warn('state_store.reclaim_failed', { reason: toMeshError(error).message })
    })
  }

  async #removeAll(slot: number): Promise<void> {
    let count: number
    do {
      count = 0
      await this.#write(() => {
        const pairs = [...this.#medium.range(slotRange(slot, { limit: STEP_COUNT }))]
        count = pairs.length
        return pairs.map(({ key }) => ({ key, value: undefined }))
      })
    } while (count === STEP_COUNT)
  }
}
