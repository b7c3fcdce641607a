// From any node: space → shard → whoever leads it. A command keeps its name however often it is
// sent, so it is done once.

import type { Clock } from '../base/clock.ts'
import { isMeshError, MeshError, toMeshError, type ErrorCode } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { shardOf } from '../core/groups/shard-of.ts'
import { decode, encode } from '../core/machine/codec.ts'
import type { Operation } from '../core/machine/operation.ts'
import { CHANGES } from '../core/machine/own-queries.ts'
import { REGISTER } from '../core/machine/own-operations.ts'
import type { Query } from '../core/machine/query.ts'
import type { WatchPage, WatchQuery } from '../core/machine/reads.ts'
import { failureOf } from '../wire/shard-failure.ts'
import type { ShardResult } from '../wire/shard-reply.ts'
import { SYSTEM_GROUP } from '../wire/shard.ts'
import type { ShardCall } from '../wire/shard.ts'
import { Asked } from './asked.ts'
import type { CallBatcher } from './call-batcher.ts'
import { Deadlines, type Deadline } from './deadline.ts'
import type { LeaderHints } from './leader-hints.ts'
import { SessionTable, type Ticket } from './sessions.ts'
import type { ShardServer } from './shard-server.ts'
import { PROMPT_WAIT_MS, SYSTEM } from './shards.ts'
import type {
  Answered,
  CallOptions,
  ChangesOptions,
  QueryOptions,
  Shards,
  Target
} from './shards.ts'

const TIMEOUT_MS = 10_000
/** One attempt: another replica is asked when nothing has come by then. */
const ATTEMPT_MS = 2_500
/** Between attempts that were refused at once; doubles. */
const PAUSE_MS_MIN = 10
const PAUSE_MS_MAX = 200
const NO_SPACE = new Uint8Array(0)
const NOBODYS = { client: 0, sequence: 0, answeredBelow: 0, space: NO_SPACE }

/** Another replica may do better, or the same one a little later. */
const RETRIED: ReadonlySet<ErrorCode> = new Set([
  'not-leader',
  'unreachable',
  'timeout',
  'overloaded',
  'no-quorum',
  'stopped',
  'not-admitted',
  'unsupported-protocol',
  'storage-failed',
  'disk-full',
  'corrupt'
])

export type RouterParts = {
  readonly self: PeerId
  readonly clock: Clock
  /** Shards of the mesh. */
  readonly count: number
  readonly server: ShardServer
  readonly batcher: CallBatcher
  readonly hints: LeaderHints
  /** Aborted when the node stops. */
  readonly stopping: AbortSignal
}

export class Router implements Shards {
  readonly count: number
  readonly #parts: RouterParts
  readonly #deadlines: Deadlines
  readonly #sessions = new SessionTable(async (group) => await this.#register(group))

  constructor(parts: RouterParts) {
    this.#parts = parts
    this.#deadlines = new Deadlines(parts.clock, parts.stopping)
    this.count = parts.count
  }

  shardOf(space: Uint8Array): number {
    return shardOf(space, this.count)
  }

  async execute<Args, Result>(
    target: Target,
    operation: Pick<Operation<Args, Result>, 'name' | 'version' | 'args' | 'result'>,
    args: Args,
    options: CallOptions = {}
  ): Promise<Answered<Result>> {
    using deadline = this.#deadline(options)
    const encoded = encode(operation.args, args).slice()
    const group = this.#groupOf(target)
    const { space = NO_SPACE } = target
    const command = { space, operation: operation.name, version: operation.version, args: encoded }
    const done = await this.#executeOnce(group, command, deadline)
    return { revision: done.revision, result: decode(operation.result, done.result) }
  }

  async query<Args, Result>(
    target: Target,
    query: Query<Args, Result>,
    args: Args,
    options: QueryOptions = {}
  ): Promise<Answered<Result>> {
    using deadline = this.#deadline(options)
    const group = this.#groupOf(target)
    const call: ShardCall = {
      kind: 'query',
      target: { group },
      space: target.space ?? NO_SPACE,
      name: query.name,
      version: query.version,
      args: encode(query.args, args).slice(),
      isStale: options.isStale === true
    }
    const done = await this.#call(group, call, { deadline, isRead: true })
    return { revision: done.revision, result: decode(query.result, done.result) }
  }

  async changes(target: Target, query: WatchQuery, options: ChangesOptions): Promise<WatchPage> {
    const { waitMs } = options
    using deadline = this.#deadline({ timeoutMs: TIMEOUT_MS + waitMs, ...options })
    const group = this.#groupOf(target)
    const call: ShardCall = { kind: 'changes', target: { group }, query, waitMs }
    const done = await this.#call(group, call, { deadline, isRead: waitMs > PROMPT_WAIT_MS })
    return decode(CHANGES.result, done.result)
  }

  async #executeOnce(
    group: number,
    command: { space: Uint8Array; operation: string; version: number; args: Uint8Array },
    deadline: Deadline
  ): Promise<Done> {
    for (let round = 0; ; round++) {
      const ticket = await this.#ticket(group, deadline)
      const { client, sequence } = ticket
      const callOf = (): ShardCall => {
        const request = { ...command, client, sequence, answeredBelow: ticket.answeredBelow() }
        return { kind: 'execute', target: { group }, request }
      }
      const sent = { count: 0 }
      try {
        return await this.#call(group, callOf(), { deadline, isRead: false, sent })
      } catch (error) {
        if (!isMeshError(error, 'client-expired')) throw error
        ticket.expired()
        // It was sent once and refused, so it was never done.
        if (sent.count > 1 || round > 2) throw error
      } finally {
        ticket.done()
      }
    }
  }

  /** @throws no-quorum or overloaded when the time is over: nothing was sent yet */
  async #ticket(group: number, deadline: Deadline): Promise<Ticket> {
    try {
      const sessions = this.#sessions.of(group)
      return sessions.tryTicket() ?? (await sessions.ticket(deadline.signal))
    } catch (error) {
      deadline.throwIfEnded(this.#sessions.of(group).overload ?? nobody(group))
      throw error
    }
  }

  async #register(group: number): Promise<number> {
    using deadline = this.#deadline({})
    const args = encode(REGISTER.args, undefined).slice()
    const request = { ...NOBODYS, operation: REGISTER.name, version: REGISTER.version, args }
    const call: ShardCall = { kind: 'execute', target: { group }, request }
    const done = await this.#call(group, call, { deadline, isRead: false })
    return decode(REGISTER.result, done.result).client
  }

  async #call(group: number, call: ShardCall, attempts: Attempts): Promise<Done> {
    const result = await this.#retried(group, call, attempts)
    if (result.kind === 'done') return result
    if (result.kind === 'failed') throw failureOf(result)
    throw new MeshError('invalid-data', `A call of a shard was answered "${result.kind}"`)
  }

  /** Asks until somebody answers, or the deadline passes. */
  async #retried(group: number, call: ShardCall, attempts: Attempts): Promise<ShardResult> {
    const { deadline, isRead } = attempts
    const { clock, hints, server } = this.#parts
    // Who waits for changes waits for as long as it said.
    const asked = new Asked<ShardResult>(clock, call.kind !== 'changes')
    let last: MeshError | undefined
    for (let attempt = 0, misses = 0; ;) {
      deadline.throwIfEnded(last, server.isLeaderless(group))
      const picked = this.#pick(group, call, isRead, attempt)
      const { peer, result } = await asked.wait(picked, async () =>
        picked === undefined ? nobody(group) : await this.#attempt(picked, call, attempts)
      )
      deadline.throwIfEnded(last, server.isLeaderless(group))
      if (result === 'slow') {
        attempt += 1
        continue
      }
      if (!(result instanceof MeshError)) {
        if (peer !== undefined && !isRead) hints.learn(group, peer)
        return result
      }
      last = result
      if (!RETRIED.has(result.code)) throw result
      const leader = this.#follow(group, peer, result)
      attempt = leader === undefined ? attempt + 1 : 0
      misses += 1
      // Whoever was named is asked at once, unless two name each other.
      if (leader !== undefined && leader !== peer && misses % 4 !== 0) continue
      await deadline.pause(Math.min(PAUSE_MS_MIN * 2 ** Math.min(misses, 8), PAUSE_MS_MAX))
    }
  }

  /** Learns from a refusal. @returns whom it named as the leader */
  #follow(group: number, peer: PeerId | undefined, refused: MeshError): PeerId | undefined {
    const { hints } = this.#parts
    if (peer !== undefined) hints.forget(group, peer)
    const leader = refused.details['leader'] as PeerId | undefined
    if (leader !== undefined) {
      hints.learn(group, leader)
      return leader
    }
    const isAway = ['unreachable', 'timeout', 'stopped'].includes(refused.code)
    if (peer !== undefined && isAway) hints.avoid(peer)
    return undefined
  }

  #pick(group: number, call: ShardCall, isRead: boolean, attempt: number): PeerId | undefined {
    const { self, hints, server } = this.#parts
    const isStale = call.kind === 'query' && call.isStale
    if (isStale && attempt === 0 && server.has(group)) return self
    // Any replica can read; the one here is nearest.
    if (attempt === 0 && (isRead ? server.isLed(group) : server.leads(group))) return self
    return hints.pick(group, attempt)
  }

  async #attempt(
    peer: PeerId,
    call: ShardCall,
    attempts: Attempts
  ): Promise<ShardResult | MeshError> {
    const { self, server, hints } = this.#parts
    const { deadline, sent } = attempts
    if (sent !== undefined) sent.count += 1
    try {
      const result = await deadline.race(
        peer === self
          ? server.call(call, call.kind === 'changes' ? deadline.signal : undefined)
          : this.#send(peer, call, deadline)
      )
      hints.answered(peer)
      // S-12. One without a client is done anew each time, and may do better.
      const isRemembered = call.kind === 'execute' && call.request.client !== 0
      const isAnswer = result.kind !== 'failed' || (result.isDecided && isRemembered)
      if (!isAnswer) return failureOf(result)
      if (result.kind !== 'again') return result
      return new MeshError('overloaded', 'The answer had no room')
    } catch (error) {
      return toMeshError(error)
    }
  }

  async #send(peer: PeerId, call: ShardCall, deadline: Deadline): Promise<ShardResult> {
    const { batcher } = this.#parts
    const waitMs = call.kind === 'changes' ? call.waitMs : 0
    const timeoutMs = Math.min(deadline.leftMs(), ATTEMPT_MS + waitMs)
    if (call.kind !== 'changes') return await batcher.send(peer, call, timeoutMs)
    return await batcher.sendAlone(peer, call, { timeoutMs, signal: deadline.signal })
  }

  #groupOf(target: Target): number {
    const { shard } = target
    if (shard === undefined) return this.shardOf(target.space) + 1
    if (shard === SYSTEM) return SYSTEM_GROUP
    if (Number.isInteger(shard) && shard >= 0 && shard < this.count) return shard + 1
    const accepted = `0 to ${this.count - 1}, or "${SYSTEM}"`
    throw new MeshError('invalid-argument', `There is no shard ${shard}; accepted is ${accepted}`)
  }

  #deadline({ timeoutMs = TIMEOUT_MS, signal }: CallOptions): Deadline {
    return this.#deadlines.start(timeoutMs, signal)
  }
}

type Done = Extract<ShardResult, { kind: 'done' }>

type Attempts = {
  readonly deadline: Deadline
  readonly isRead: boolean
  /** Counts how often it was sent. */
  readonly sent?: { count: number }
}

function nobody(group: number): MeshError {
  return new MeshError('unreachable', `Nobody that could know group ${group} answers`)
}
