// The blocks of a put, until a name or a pin keeps them: the collection must not take them, however
// long the put takes, and a name that would come too late must be refused. Rules C-8 and C-9 of
// protocols/collect; collector.ts has the proof.

import { MeshError, isMeshError } from '../../base/errors.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import type { CallOptions, DagWriter } from './dag-store.ts'

/** Each attempt looks at all blocks again; between two of them lie two cycles at least. */
const NAMING_ATTEMPTS_MAX = 5

/** Reads the cycle of a shard. */
export type CycleOf = (options: CallOptions) => Promise<number>

export class FreshBlocks {
  readonly #blocks: Blocks
  readonly #writer: DagWriter
  readonly #cycleOf: CycleOf
  readonly #signal: AbortSignal
  /** Since it was read here, each block was touched. */
  #cycle = 0
  /** The renewals so far, one after the other; never rejects. */
  #renewing: Promise<void> = Promise.resolve()
  /** Why the last renewal failed: the blocks may be lacking when they are named. */
  #failure: unknown
  #end = (): void => undefined

  constructor(
    components: { blocks: Blocks; writer: DagWriter; cycleOf: CycleOf },
    options: { signal: AbortSignal }
  ) {
    this.#blocks = components.blocks
    this.#writer = components.writer
    this.#cycleOf = components.cycleOf
    this.#signal = options.signal
  }

  /** Before the first block is written. */
  async begin(): Promise<void> {
    this.#cycle = await this.#cycleOf({ signal: this.#signal })
    this.#end = this.#blocks.collection.onSwept(() => {
      this.#renewing = this.#renewing.then(async () => {
        try {
          await this.#renew(this.#cycleOf)
          this.#failure = undefined
        } catch (error) {
          this.#failure = error
        }
      })
    })
  }

  /** Whether it was named or not. */
  end(): void {
    this.#end()
  }

  /**
   * Names the file once all of its blocks are written.
   *
   * @param name carries the cycle to a shard, which refuses it with conflict when it is too old.
   * @param cycleOf of that shard.
   * @throws conflict, with details `isCollected`, when blocks are gone; what `name` throws
   */
  async name<T>(name: (cycle: number) => Promise<T>, cycleOf: CycleOf): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      await this.#renewing
      const cycle = this.#cycle
      try {
        return await name(cycle)
      } catch (error) {
        if (!isMeshError(error, 'conflict') || attempt === NAMING_ATTEMPTS_MAX) throw error
        // There are other conflicts than about the cycle.
        if ((await cycleOf({ signal: this.#signal })) <= cycle + 1) throw error
        await this.#renewNow(cycleOf)
      }
    }
  }

  async #renewNow(cycleOf: CycleOf): Promise<void> {
    try {
      await this.#renew(cycleOf)
    } catch (error) {
      if (!isMeshError(error, 'not-found')) throw error
      const problem = 'its blocks were collected before it had a name; put it again'
      throw new MeshError('conflict', `Cannot keep the file: ${problem}`, {
        cause: this.#failure ?? error,
        details: { isCollected: true }
      })
    }
  }

  async #renew(cycleOf: CycleOf): Promise<void> {
    const cycle = await cycleOf({ signal: this.#signal })
    // What began before the cycle was read may have been touched before, and is written by now.
    await this.#writer.settle()
    await this.#blocks.renew(this.#writer.written(), { signal: this.#signal })
    this.#cycle = Math.max(this.#cycle, cycle)
  }
}
