// At most so many at a time, first come first served.

import { MeshError } from '../../base/errors.ts'

export type GateOptions = {
  /** Tasks running at a time. */
  width: number
  /** Tasks waiting behind them. */
  waitingMax: number
}

export class Gate {
  readonly #options: GateOptions
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(options: GateOptions) {
    this.#options = options
  }

  /**
   * Runs `task` when there is room, in the order of the calls.
   * @throws overloaded when too many wait already.
   */
  async run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running < this.#options.width) this.#running += 1
    else await this.#turn()
    try {
      return await task()
    } finally {
      // The place goes straight to the next in line, so that a newcomer can't slip in before it.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running -= 1
      else next()
    }
  }

  #turn(): Promise<void> {
    if (this.#waiting.length >= this.#options.waitingMax) {
      throw new MeshError(
        'overloaded',
        `Cannot use the disk now: ${this.#waiting.length} operations wait for it; try again later`
      )
    }
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }
}

/** Calls `visit` for every item, `width` at a time, and stops at the first that rejects. */
export async function forEachBounded<T>(
  items: readonly T[],
  width: number,
  visit: (item: T) => Promise<void>
): Promise<void> {
  let next = 0
  const work = async (): Promise<void> => {
    while (next < items.length) {
      const item = items[next] as T
      next += 1
      try {
        await visit(item)
      } catch (error) {
        next = items.length
        throw error
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, items.length) }, work))
}
