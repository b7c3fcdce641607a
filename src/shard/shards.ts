// What services ask of the shards, from any node. `Router` is the real one; `LocalShards` runs the
// machines in this process alone, for tests of services.

import { MeshError } from '../base/errors.ts'
import type { Operation } from '../core/machine/operation.ts'
import type { Query } from '../core/machine/query.ts'
import type { WatchPage, WatchQuery } from '../core/machine/reads.ts'

/** Names the group that keeps layouts; the others are numbered from 0. */
export const SYSTEM = 'system'

/** A shard by its number, 0 to `count - 1`, or the system group. */
export type ShardName = number | typeof SYSTEM

/** @returns what a text names; whether there is such a shard is seen later. @throws invalid-argument */
export function shardNameOf(text: string): ShardName {
  if (text === SYSTEM) return SYSTEM
  if (/^\d{1,5}$/.test(text)) return Number(text)
  const accepted = `a number from 0, or "${SYSTEM}"`
  throw new MeshError('invalid-argument', `"${text}" is no shard; accepted is ${accepted}`)
}

/**
 * Where a request goes: to the shard of a space (the bytes before the first slash), or to a shard,
 * there perhaps about a space.
 */
export type Target =
  | { readonly space: Uint8Array; readonly shard?: undefined }
  | { readonly shard: ShardName; readonly space?: Uint8Array | undefined }

export type CallOptions = {
  /** Until the answer must be here, milliseconds; 10 s unless given. */
  readonly timeoutMs?: number | undefined
  readonly signal?: AbortSignal | undefined
}

export type QueryOptions = CallOptions & {
  /**
   * Answer from a replica as it is, without asking whether it is up to date: works without a
   * quorum, and may show the past.
   */
  readonly isStale?: boolean | undefined
}

/** Who waits no longer than this for a change is told of it by the leader, who knows it first. */
export const PROMPT_WAIT_MS = 2_000

export type ChangesOptions = CallOptions & {
  /**
   * How long to wait for something to change, milliseconds; then the page comes without any. For more
   * than {@link PROMPT_WAIT_MS} the replica here is asked, which hears of it a little later.
   */
  readonly waitMs: number
}

/** An answer, and the shard's revision that it belongs to. */
export type Answered<Result> = { readonly revision: number; readonly result: Result }

/**
 * All shards of the mesh. Every method rejects with what the operation or query refuses with, or:
 * no-quorum when the deadline passed and no leader answered or no majority of the replicas is there;
 * timeout when it passed otherwise (a command may have been done); overloaded; aborted
 * (`signal.reason`); stopped; client-expired when a command was retried for so long that nobody
 * knows whether it was done.
 */
export type Shards = {
  /** Shards of the mesh, without the system group. */
  readonly count: number
  shardOf(space: Uint8Array): number
  /** Does an operation once, however often it is tried. Durable on a majority when it resolves. */
  execute<Args, Result>(
    target: Target,
    operation: Pick<Operation<Args, Result>, 'name' | 'version' | 'args' | 'result'>,
    args: Args,
    options?: CallOptions
  ): Promise<Answered<Result>>
  /** Reads at least all that was acknowledged before the call; unless `isStale`. */
  query<Args, Result>(
    target: Target,
    query: Query<Args, Result>,
    args: Args,
    options?: QueryOptions
  ): Promise<Answered<Result>>
  /**
   * A page of what a span went through, once there is some. To watch, ask again from `next` on.
   * Pages come in order and miss nothing, whichever replicas answer.
   */
  changes(target: Target, query: WatchQuery, options: ChangesOptions): Promise<WatchPage>
}
