// What all clients of the workload have in common.

import type { Clock } from '../../../src/base/clock.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import type { ErrorCode } from '../../../src/base/errors.ts'
import type { Random } from '../../../src/base/random.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import type { Recorder } from '../checkers/history.ts'
import type { WorkloadOptions } from './workload.ts'

export type ClientParts = {
  readonly number: number
  readonly random: Random
  readonly clock: Clock
  readonly options: WorkloadOptions
  readonly shards: () => Shards
}

/** These refuse: nothing was done, and nothing will be. After every other error nobody knows. */
const REFUSALS: readonly ErrorCode[] = [
  'invalid-argument',
  'too-large',
  'quota-exceeded',
  'not-found',
  'compacted',
  'version-mismatch'
]

/** Who asks: another one after each operation that nobody knows of, for that may still be under way. */
export class Asker {
  readonly #name: string
  readonly #recorder: Recorder
  #life = 1

  constructor(name: string, recorder: Recorder) {
    this.#name = name
    this.#recorder = recorder
  }

  get name(): string {
    return `${this.#name}.${this.#life}`
  }

  /**
   * Writes down an operation and what comes of it.
   *
   * @param isRead it has no effect, so it is no matter whether it was done
   * @returns its output; undefined when there is none
   * @throws what is no operating error
   */
  async record<Output extends object>(
    asked: { readonly key: string; readonly input: object; readonly isRead?: boolean },
    work: () => Promise<Output>
  ): Promise<Output | undefined> {
    const id = this.#recorder.begin(this.name, asked.key, asked.input)
    try {
      const output = await work()
      this.#recorder.ok(id, output)
      return output
    } catch (error) {
      if (!isMeshError(error)) throw error
      const reason = `${error.code}: ${error.message}`
      if (asked.isRead === true || REFUSALS.includes(error.code)) {
        this.#recorder.fail(id, reason)
        return undefined
      }
      this.#recorder.unknown(id, reason)
      this.#life += 1
      return undefined
    }
  }
}
