// The key-value service. Keys are `space/path`: what shares a space lives in one shard, and is
// atomic, ordered, listed and watched together.

import type { Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { equalBytes } from '../../base/bytes.ts'
import { TXN } from '../../core/machine/kv.ts'
import type { Compare, Part, Txn, TxnResult } from '../../core/machine/kv.ts'
import { GET } from '../../core/machine/own-queries.ts'
import { shown } from '../../core/machine/space.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { Answered, CallOptions, QueryOptions, Shards } from '../../shard/shards.ts'
import { Leases } from '../leases/leases.ts'
import type { Lease } from '../leases/leases.ts'
import { KvEntry, entryOf } from './entry.ts'
import { spaceOfKey, toBytes } from './key.ts'
import type { Key, Selector, Value } from './key.ts'
import { Listing, positionOf } from './list.ts'
import type { ListPage } from './list.ts'
import { compare, keyOf, op, resultOfPart } from './txn.ts'
import type { DeleteResult, LeaseReference, TxnOutcome } from './txn.ts'
import { Watch } from './watch.ts'
import type { WatchOptions } from './watch.ts'

/** Entries of a page, unless told otherwise. */
const PAGE_COUNT = 1_000

export type ReadOptions = CallOptions & {
  /** Reads the nearest replica as it is: needs no majority, and may show the past. */
  readonly stale?: boolean | undefined
}

/** What must hold for a write to be done; else it rejects with `conflict`. */
export type WriteCondition = {
  /** The key isn't there. */
  readonly ifAbsent?: boolean | undefined
  /** It has this version; 0: it isn't there. */
  readonly ifVersion?: number | undefined
}

export type PutOptions = CallOptions &
  WriteCondition & {
    /** The key is deleted when this lease ends. Of the same space. */
    readonly lease?: LeaseReference | undefined
  }

export class Kv {
  readonly #shards: Shards
  readonly #clock: Clock
  readonly #leases: Leases
  readonly #stopping = new AbortController()

  constructor(components: { shards: Shards; clock: Clock; log: Logger }) {
    this.#shards = components.shards
    this.#clock = components.clock
    this.#leases = new Leases(components)
  }

  /**
   * @returns the entry, or undefined when the key isn't there
   * @throws invalid-argument, too-large, no-quorum, timeout, aborted
   */
  async get(key: Key, options: ReadOptions = {}): Promise<KvEntry | undefined> {
    return (await this.read(key, options)).entry
  }

  /**
   * As {@link get}, with the shard's revision that was read. To miss nothing after it, watch from
   * the next one: `watch({ key }, { fromRevision: revision + 1 })`.
   *
   * @param options.revision shows the key as that revision left it
   * @throws as get, and compacted
   */
  async read(
    key: Key,
    options: ReadOptions & { readonly revision?: number | undefined } = {}
  ): Promise<{ readonly revision: number; readonly entry: KvEntry | undefined }> {
    const bytes = toBytes(key)
    const asked = { area: AREAS.kv, key: bytes, revision: options.revision }
    const target = { space: spaceOfKey(bytes) }
    const { result } = await this.#shards.query(target, GET, asked, queryOptions(options))
    return { revision: result.revision, entry: entryOf(result.entry) }
  }

  /**
   * Durable on a majority when it resolves.
   *
   * @returns the revision that wrote it
   * @throws conflict, invalid-argument, too-large, quota-exceeded, not-found (the lease has ended);
   *   no-quorum, timeout, unreachable: it may have been done
   */
  async put(
    key: Key,
    value: Value,
    options: PutOptions = {}
  ): Promise<{ readonly revision: number }> {
    const part = op.put(key, value, { lease: options.lease })
    const { revision } = await this.#write(part, options)
    return { revision }
  }

  /** @returns whether it was there @throws as put */
  async delete(
    key: Key,
    options: CallOptions & WriteCondition = {}
  ): Promise<{ readonly revision: number; readonly deleted: boolean }> {
    const { revision, result } = await this.#write(op.delete(key), options)
    const { count } = resultOfPart(result.results[0] ?? noResult()) as DeleteResult
    return { revision, deleted: count > 0 }
  }

  /**
   * Does `then` when all conditions hold, `otherwise` when one doesn't; all of it at once, within
   * one space. Conditions and parts are made with `compare` and `op`, at most 128 of each.
   *
   * @throws as put, without conflict
   */
  async txn<const Then extends readonly Part[], const Else extends readonly Part[] = readonly []>(
    conditions: readonly Compare[],
    then: Then,
    otherwise?: Else,
    options: CallOptions = {}
  ): Promise<TxnOutcome<Then, Else>> {
    const txn = { compares: conditions, success: then, failure: otherwise ?? [] }
    const { revision, result } = await this.#execute(txn, options)
    const results = result.results.map(resultOfPart)
    return { succeeded: result.succeeded, revision, results } as unknown as TxnOutcome<Then, Else>
  }

  /**
   * Entries in the order of their keys (as bytes). Those of one space (`list('config/')`) are shown
   * as they were at one moment; over several spaces each page is as new as when it was read.
   *
   * @param options.limit entries at most
   * @throws as get; compacted when it took so long that its moment isn't kept any more
   */
  async *list(
    keys: Selector = '',
    options: ReadOptions & { readonly limit?: number | undefined } = {}
  ): AsyncGenerator<KvEntry, undefined> {
    const { limit = Number.POSITIVE_INFINITY } = options
    const query = queryOptions(options)
    const listing = new Listing(this.#shards, keys, { query, position: undefined, limit })
    for (let count = 0; count < limit; count++) {
      const entry = await listing.next()
      if (entry === undefined) return undefined
      yield new KvEntry(entry)
    }
    return undefined
  }

  /**
   * A page of {@link list}.
   *
   * @param options.limit entries at most, from 1; 1000 unless given
   * @param options.cursor of the page before, with the same keys
   */
  async listPage(
    keys: Selector = '',
    options: ReadOptions & {
      readonly limit?: number | undefined
      readonly cursor?: string | undefined
    } = {}
  ): Promise<ListPage> {
    const { limit = PAGE_COUNT, cursor } = options
    if (!Number.isSafeInteger(limit) || limit < 1) {
      throw new MeshError('invalid-argument', `Cannot list ${limit} entries; ask for 1 or more`)
    }
    const position = cursor === undefined ? undefined : positionOf(cursor)
    const query = queryOptions(options)
    const listing = new Listing(this.#shards, keys, { query, position, limit })
    const entries: KvEntry[] = []
    while (entries.length < limit) {
      const entry = await listing.next()
      if (entry === undefined) return { entries, cursor: undefined }
      entries.push(new KvEntry(entry))
    }
    return { entries, cursor: listing.rest() }
  }

  /**
   * Every change of some keys of one space, in order, over changes of leaders and broken
   * connections. Ends without an error when the signal is aborted or the loop is left.
   *
   * @throws invalid-argument; while iterating: compacted when `fromRevision` isn't kept any more
   *   (read the keys anew, and watch from there), stopped
   */
  watch(keys: Selector, options: WatchOptions = {}): Watch {
    const components = { shards: this.#shards, clock: this.#clock }
    return new Watch({ ...components, stopping: this.#stopping.signal }, keys, options)
  }

  /**
   * A lease for keys of a space, renewed until it is revoked. Keys that were put with it go with it.
   *
   * @param options.ttlMs 1 s to 1 day: how long its keys outlive this process
   * @throws invalid-argument, quota-exceeded, stopped, no-quorum, timeout, aborted
   */
  async lease(space: Key, options: CallOptions & { readonly ttlMs: number }): Promise<Lease> {
    const name = spaceOfKey(toBytes(space))
    const lease = await this.#leases.grant(name, options)
    try {
      await lease.confirm(options)
    } catch (error) {
      this.#leases.abandon(lease)
      throw error
    }
    lease.guard()
    return lease
  }

  /** Ends watches and revokes leases. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort(new MeshError('stopped', 'The key-value service is stopping'))
    await this.#leases.stop()
  }

  async #write(
    part: Extract<Part, { key: Uint8Array }>,
    options: CallOptions & WriteCondition
  ): Promise<Answered<TxnResult>> {
    const { key } = part
    const conditions: Compare[] = []
    if (options.ifAbsent === true) conditions.push(compare.absent(key))
    const { ifVersion } = options
    if (ifVersion !== undefined) conditions.push(compare.version(key, '=', ifVersion))
    const failure = conditions.length === 0 ? [] : [op.get(key)]
    const done = await this.#execute({ compares: conditions, success: [part], failure }, options)
    if (!done.result.succeeded) throw conflict(part, done)
    return done
  }

  async #execute(txn: Txn, options: CallOptions): Promise<Answered<TxnResult>> {
    const keys = [...txn.compares, ...txn.success, ...txn.failure].map(keyOf)
    const [first] = keys
    if (first === undefined) {
      throw new MeshError('invalid-argument', 'A transaction has a condition or a part at least')
    }
    const space = spaceOfKey(first)
    const foreign = keys.find((key) => !equalBytes(spaceOfKey(key), space))
    if (foreign !== undefined) {
      const names = `"${shown(first)}" and "${shown(foreign)}"`
      const problem = `${names} are in two spaces, and a transaction stays in one`
      throw new MeshError('invalid-argument', `Cannot do that: ${problem}`)
    }
    return await this.#shards.execute({ space }, TXN, txn, options)
  }
}

function queryOptions({ stale, ...options }: ReadOptions): QueryOptions {
  const { timeoutMs, signal } = options
  return { timeoutMs, signal, isStale: stale === true }
}

function conflict(
  part: Extract<Part, { key: Uint8Array }>,
  { result }: Answered<TxnResult>
): MeshError {
  const entry = resultOfPart(result.results[0] ?? noResult()) as KvEntry | undefined
  const version = entry?.version ?? 0
  const found = entry === undefined ? "it isn't there" : `it is there, with version ${version}`
  return new MeshError('conflict', `Cannot ${part.kind} "${shown(part.key)}": ${found}`, {
    details: { version, revision: entry?.revision ?? 0 }
  })
}

function noResult(): never {
  throw new MeshError('invalid-data', 'A transaction was answered without a result for a part')
}
