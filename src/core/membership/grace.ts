// When a dead member is declared gone, which is what lets its data move: rarely, late, and never by
// a node that may be the one cut off.

import type { PeerId } from '../../base/ids.ts'
import type { MemberTable } from './table.ts'

/** Ticks between two looks at the dead: the grace is thousands, so a second's delay is nothing. */
const LOOK_TICKS = 10

/**
 * SWIM is advice, and `dead` may as well mean that *this* node is cut off. So a member is declared
 * gone only when
 * - this node itself has seen it dead, without interruption, for the grace, and
 * - for as long it has had a majority of the members within reach (alive or suspect), and
 * - it sees a strict majority of the members, itself included, alive right now.
 *
 * Members are all that aren't terminal. It follows that a minority side of a partition, either half
 * of an even split, and one of two nodes never declare anyone gone, however long they wait: there
 * the operator decides, by `evict`. The time counts anew when a majority comes back in reach, so
 * that the former minority gives the others their time to refute.
 */
export class Grace {
  readonly #graceTicks: number
  #majoritySince: number | undefined = 0

  constructor(graceTicks: number) {
    this.#graceTicks = graceTicks
  }

  tick(table: MemberTable, tick: number): void {
    const reached = table.count('alive') + table.count('suspect')
    if (2 * reached <= table.memberCount) this.#majoritySince = undefined
    else this.#majoritySince ??= tick
  }

  /** @returns the next member to declare gone, by id. */
  next(table: MemberTable, tick: number): PeerId | undefined {
    if (tick % LOOK_TICKS !== 0 || table.count('dead') === 0) return undefined
    if (this.#majoritySince === undefined) return undefined
    if (tick - this.#majoritySince < this.#graceTicks) return undefined
    if (2 * table.count('alive') <= table.memberCount) return undefined
    const due = table
      .sorted()
      .find(({ state, sinceTick }) => state === 'dead' && tick - sinceTick >= this.#graceTicks)
    return due?.record.peerId
  }
}
