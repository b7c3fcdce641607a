// The shards of a mesh, from a process that is no node of it: every call goes to one node of this
// machine, over one connection, which is made again when it breaks.

import type { Clock } from '../../base/clock.ts'
import { sleep } from '../../base/clock.ts'
import { MeshError, isMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { SECOND_MS } from '../../base/units.ts'
import { shardOf } from '../../core/groups/shard-of.ts'
import { decode, encode } from '../../core/machine/codec.ts'
import type { Operation } from '../../core/machine/operation.ts'
import { CHANGES } from '../../core/machine/own-queries.ts'
import type { Query } from '../../core/machine/query.ts'
import type { WatchPage, WatchQuery } from '../../core/machine/reads.ts'
import { Rpc } from '../../net/rpc.ts'
import { SYSTEM } from '../../shard/shards.ts'
import type {
  Answered,
  CallOptions,
  ChangesOptions,
  QueryOptions,
  Shards,
  Target
} from '../../shard/shards.ts'
import { failureOf } from '../../wire/shard-failure.ts'
import { decodeShardReply } from '../../wire/shard-reply.ts'
import { SYSTEM_GROUP, WAIT_MS_MAX, encodeShardRequest } from '../../wire/shard.ts'
import type { ExecuteCall, GroupTarget, ShardCall } from '../../wire/shard.ts'
import { ANSWER_MS, API_OPTIONS, API_PROTOCOL, THE_NODE } from './api-protocol.ts'
import type { OpenConnection } from './connection-client.ts'

const TIMEOUT_MS: number = 10 * SECOND_MS
/** Between two attempts to connect; doubles. */
const PAUSE_MS_MIN = 20
const PAUSE_MS_MAX = 500
const NO_SPACE = new Uint8Array(0)

/** Makes a connection; its errors say that nothing was sent. */
export type Opener = (options: { signal: AbortSignal }) => Promise<OpenConnection>

type Done = { readonly revision: number; readonly result: Uint8Array }

export class RemoteShards implements Shards {
  readonly count: number
  readonly #clock: Clock
  readonly #rpc: Rpc
  readonly #stopping = new AbortController()
  /** Those that came up before anything was sent. */
  readonly #notConnected = new WeakSet<Error>()

  /** @param first a connection that was made already */
  constructor(components: { open: Opener; clock: Clock; log: Logger }, first: OpenConnection) {
    const { open, clock, log } = components
    this.count = first.shardCount
    this.#clock = clock
    let unused: OpenConnection | undefined = first
    this.#rpc = new Rpc({
      clock,
      log,
      open: async (_peer, _protocol, { signal }) => {
        const known = unused
        unused = undefined
        if (known !== undefined && !known.stream.isClosed) return known.stream
        try {
          return (await open({ signal })).stream
        } catch (error) {
          if (error instanceof Error) this.#notConnected.add(error)
          throw error
        }
      }
    })
    this.#rpc.handle(API_PROTOCOL, API_OPTIONS, () => {
      throw new MeshError('unsupported-protocol', 'A program serves nothing')
    })
  }

  shardOf(space: Uint8Array): number {
    return shardOf(space, this.count)
  }

  /** As {@link Shards.execute}; unreachable when the connection broke: it may have been done. */
  async execute<Args, Result>(
    target: Target,
    operation: Pick<Operation<Args, Result>, 'name' | 'version' | 'args' | 'result'>,
    args: Args,
    options: CallOptions = {}
  ): Promise<Answered<Result>> {
    const { name, version } = operation
    const space = target.space ?? NO_SPACE
    const names = { client: 0, sequence: 0, answeredBelow: 0, space, operation: name, version }
    const request = { ...names, args: encode(operation.args, args) }
    const call: ShardCall = { kind: 'execute', target: groupOf(target), request }
    const { revision, result } = await this.#call(call, options)
    return { revision, result: decode(operation.result, result) }
  }

  async query<Args, Result>(
    target: Target,
    query: Query<Args, Result>,
    args: Args,
    options: QueryOptions = {}
  ): Promise<Answered<Result>> {
    const { name, version } = query
    const call: ShardCall = {
      kind: 'query',
      target: groupOf(target),
      space: target.space ?? NO_SPACE,
      name,
      version,
      args: encode(query.args, args),
      isStale: options.isStale === true
    }
    const { revision, result } = await this.#call(call, options)
    return { revision, result: decode(query.result, result) }
  }

  async changes(target: Target, query: WatchQuery, options: ChangesOptions): Promise<WatchPage> {
    const waitMs = Math.min(options.waitMs, WAIT_MS_MAX)
    const { timeoutMs = TIMEOUT_MS + waitMs, signal } = options
    const call: ShardCall = { kind: 'changes', target: groupOf(target), query, waitMs }
    const { result } = await this.#call(call, { timeoutMs, signal })
    return decode(CHANGES.result, result)
  }

  /** Ends the connection; what is under way rejects with `stopped`. Idempotent. */
  stop(): void {
    this.#stopping.abort(new MeshError('stopped', 'The connection to the node is closed'))
    this.#rpc.stop()
  }

  async #call(call: ShardCall, { timeoutMs = TIMEOUT_MS, signal }: CallOptions): Promise<Done> {
    const body = encodeShardRequest([call])
    const endMs = this.#clock.monotonicMs() + timeoutMs
    for (let pauseMs = PAUSE_MS_MIN; ; pauseMs = Math.min(2 * pauseMs, PAUSE_MS_MAX)) {
      const leftMs = Math.max(1, endMs - this.#clock.monotonicMs())
      try {
        const options = { timeoutMs: leftMs + ANSWER_MS, signal }
        return doneOf(await this.#rpc.request(THE_NODE, API_PROTOCOL, body, options))
      } catch (error) {
        if (!isMeshError(error, 'unreachable')) throw error
        // it isn't repeated.
        if (call.kind === 'execute' && !this.#notConnected.has(error)) throw brokenOff(call, error)
        if (endMs - this.#clock.monotonicMs() <= pauseMs) throw error
        const signals = signal === undefined ? [] : [signal]
        const ended = AbortSignal.any([this.#stopping.signal, ...signals])
        await sleep(this.#clock, pauseMs, { signal: ended })
      }
    }
  }
}

function groupOf(target: Target): GroupTarget {
  const { shard } = target
  if (shard === undefined) return { space: target.space }
  return { group: shard === SYSTEM ? SYSTEM_GROUP : shard + 1 }
}

/** @throws what the node answered */
function doneOf(reply: Uint8Array): Done {
  const [result] = decodeShardReply(reply, 1)
  if (result?.kind === 'failed') {
    const failure = failureOf(result)
    // `stopped` would mean this end: a node that stops may be back soon.
    if (failure.code !== 'stopped') throw failure
    throw new MeshError('unreachable', failure.message, { cause: failure })
  }
  if (result?.kind !== 'done') {
    throw new MeshError('invalid-data', `The node answered "${result?.kind}" to a call`)
  }
  // A copy: what is decoded from it would keep a whole part of the stream in memory.
  return { revision: result.revision, result: result.result.slice() }
}

function brokenOff({ request }: ExecuteCall, cause: MeshError): MeshError {
  const problem = `The connection to the node broke while ${request.operation} was under way`
  return new MeshError('unreachable', `${problem}: it may have been done, or not`, { cause })
}
