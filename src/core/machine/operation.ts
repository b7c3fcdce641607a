// Operations: what an entry may ask of a shard. Each has a name and a version; what a version does
// never changes, because replicas with different programs apply the same entries.

import type { Codec } from './codec.ts'
import type { AnyQuery } from './query.ts'
import type { Transaction } from './transaction.ts'
import type { Area } from './state-keys.ts'

/**
 * An operation. Deterministic: what it does follows from the transaction and the arguments alone.
 */
export type Operation<Args, Result> = {
  /** As `kv.txn`. */
  readonly name: string
  /** From 1; a change of what is done, accepted or answered is another version. */
  readonly version: number
  readonly args: Codec<Args>
  readonly result: Codec<Result>
  /** It gives something back, so it is applied when the quota is used up, even if it puts. */
  readonly isFreeing?: boolean
  /**
   * Reads and writes through `transaction`.
   *
   * @throws MeshError to refuse: then nothing of it was done, and the code is the answer.
   */
  apply(transaction: Transaction, args: Args): Result
}

/** An operation of which arguments and results are nobody's business. */
export type AnyOperation = Operation<unknown, unknown>

/** A key layout with its operations. */
export type Service = {
  /** Whose keys it writes. No two services share one. */
  readonly areas: readonly Area[]
  readonly operations: readonly AnyOperation[]
  /** What may be asked besides the machine's own queries. */
  readonly queries?: readonly AnyQuery[]
  /**
   * A lease ended that a key went with. Must delete the key or put it with another lease, and
   * mustn't refuse. Without this the key is deleted.
   */
  readonly onLeaseEnd?: (transaction: Transaction, area: Area, key: Uint8Array) => void
}

/** @returns how an operation is called where programs say what they can do: `kv.txn@1`. */
export function capability({ name, version }: { name: string; version: number }): string {
  return `${name}@${version}`
}
