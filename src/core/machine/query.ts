// Queries: what may be asked of a shard's state without an entry. Named and versioned as operations
// are, so that any node can ask any replica.

import { assert } from '../../base/assert.ts'
import { MeshError } from '../../base/errors.ts'
import { decode, encode } from './codec.ts'
import type { Codec } from './codec.ts'
import { capability } from './operation.ts'
import type { MachineReads } from './reads.ts'

/** A read of the state as it is applied, or as a past revision left it. */
export type Query<Args, Result> = {
  /** As `state.get`. */
  readonly name: string
  /** From 1; a change of what is accepted or answered is another version. */
  readonly version: number
  readonly args: Codec<Args>
  readonly result: Codec<Result>
  /**
   * Reads. Nothing here writes, and it returns soon: a page of a long answer, not all of it.
   *
   * @throws MeshError: its code is the answer.
   */
  read(reads: MachineReads, args: Args): Result
}

/** A query of which arguments and results are nobody's business. */
export type AnyQuery = Query<unknown, unknown>

/** All queries that a shard answers, by name and version. */
export class Queries {
  readonly #reads: MachineReads
  readonly #queries = new Map<string, AnyQuery>()

  constructor(reads: MachineReads, queries: readonly AnyQuery[]) {
    this.#reads = reads
    for (const query of queries) {
      const name = capability(query)
      assert(!this.#queries.has(name), `one query is called ${name}`)
      this.#queries.set(name, query)
    }
  }

  /**
   * @returns the result in the form of the query; a copy.
   * @throws what the query refuses with; invalid-data; version-mismatch for one unknown here
   */
  answer(name: string, version: number, args: Uint8Array): Uint8Array {
    const called = capability({ name, version })
    const query = this.#queries.get(called)
    if (query === undefined) {
      const problem = `this program doesn't know ${called}; bring it up to date`
      throw new MeshError('version-mismatch', `Cannot read: ${problem}`)
    }
    return encode(query.result, query.read(this.#reads, decode(query.args, args))).slice()
  }
}
