// Shards in this process alone, for tests of what stands on them: one machine for each, which is
// always its leader, and faults on demand.

import type { Clock, Timer } from '../../src/base/clock.ts'
import { MeshError } from '../../src/base/errors.ts'
import { shardOf } from '../../src/core/groups/shard-of.ts'
import { decode, encode } from '../../src/core/machine/codec.ts'
import { encodeCommand } from '../../src/core/machine/command.ts'
import type { Answer, Request } from '../../src/core/machine/command.ts'
import { Machine } from '../../src/core/machine/machine.ts'
import type { Outcome } from '../../src/core/machine/outcome.ts'
import { LeaderClock } from '../../src/core/machine/machine-time.ts'
import { MemoryState } from '../../src/core/machine/memory-state.ts'
import type { Operation } from '../../src/core/machine/operation.ts'
import { CONFIGURE, REGISTER, TICK } from '../../src/core/machine/own-operations.ts'
import { CHANGES, queriesOf } from '../../src/core/machine/own-queries.ts'
import { Queries } from '../../src/core/machine/query.ts'
import type { Query } from '../../src/core/machine/query.ts'
import { MachineReads } from '../../src/core/machine/reads.ts'
import type { WatchPage, WatchQuery } from '../../src/core/machine/reads.ts'
import { SETTINGS_DEFAULTS } from '../../src/core/machine/records.ts'
import type { Settings } from '../../src/core/machine/records.ts'
import { SERVICES } from '../../src/core/machine/services.ts'
import { SYSTEM } from '../../src/shard/shards.ts'
import type {
  Answered,
  CallOptions,
  ChangesOptions,
  QueryOptions,
  Shards,
  Target
} from '../../src/shard/shards.ts'

/** A leader looks at its clock this often. */
const TICK_MS = 100
const TIMEOUT_MS = 10_000
const NO_SPACE = new Uint8Array(0)

/**
 * What goes wrong with a call. `lost-request`: nobody hears of it; `lost-answer`: it is done, and
 * nobody tells; both are a `timeout` for the caller. `twice`: it arrives again later, as a retry.
 */
export type Fault = 'lost-request' | 'lost-answer' | 'twice' | MeshError
/** Asked for every call; `name` is the operation's or the query's. */
export type FaultPlan = (name: string) => Fault | undefined

type AnyOperation<Args, Result> = Pick<
  Operation<Args, Result>,
  'name' | 'version' | 'args' | 'result'
>

export class LocalShards implements Shards {
  readonly count: number
  faults: FaultPlan = () => undefined
  /** From a request to its being applied, and from there to its answer, milliseconds. */
  latencyMs: () => number = () => 0
  /** Names of all calls so far. */
  readonly calls: string[] = []
  readonly #clock: Clock
  readonly #shards: Shard[]
  /** Resolves when there is a quorum; undefined while there is. */
  #down: { back: Promise<void>; resolve: () => void } | undefined
  #ticker: Timer
  #stopped = false

  constructor(clock: Clock, count = 4) {
    this.#clock = clock
    this.count = count
    this.#shards = Array.from({ length: count + 1 }, () => new Shard(clock))
    this.#ticker = clock.after(TICK_MS, () => this.#tick())
  }

  /** Nobody leads and nothing is answered but stale reads; leases don't run meanwhile. */
  set isDown(isDown: boolean) {
    if (isDown) {
      const { promise: back, resolve } = Promise.withResolvers<void>()
      this.#down ??= { back, resolve }
      return
    }
    for (const shard of this.#shards) shard.lead()
    this.#down?.resolve()
    this.#down = undefined
  }

  get isDown(): boolean {
    return this.#down !== undefined
  }

  shardOf(space: Uint8Array): number {
    return shardOf(space, this.count)
  }

  /** @returns the machine of a shard, to look at. */
  machine(target: Target): Machine {
    return this.#shardOf(target).machine
  }

  configure(settings: Partial<Settings>): void {
    for (const shard of this.#shards) {
      shard.apply(CONFIGURE, { ...SETTINGS_DEFAULTS, ...settings })
    }
  }

  /** From now on stale reads show what is there now. */
  freezeStale(): void {
    for (const shard of this.#shards) shard.freeze()
  }

  stop(): void {
    this.#stopped = true
    this.#ticker.cancel()
    for (const shard of this.#shards) shard.wake()
  }

  async execute<Args, Result>(
    target: Target,
    operation: AnyOperation<Args, Result>,
    args: Args,
    options: CallOptions = {}
  ): Promise<Answered<Result>> {
    const shard = this.#shardOf(target)
    const { name, version } = operation
    const space = target.space?.slice() ?? NO_SPACE
    const asked = { space, operation: name, version, args: encode(operation.args, args).slice() }
    const answer = await this.#call(name, options, shard.request(asked))
    if (answer.kind === 'refused') throw answer.error
    return { revision: answer.revision, result: decode(operation.result, answer.result) }
  }

  async query<Args, Result>(
    target: Target,
    query: Query<Args, Result>,
    args: Args,
    options: QueryOptions = {}
  ): Promise<Answered<Result>> {
    const shard = this.#shardOf(target)
    const asked = encode(query.args, args).slice()
    const read = (): Answered<Result> => {
      const { reads, queries } = options.isStale === true ? shard.stale() : shard
      const result = decode(query.result, queries.answer(query.name, query.version, asked))
      return { revision: reads.meta.revision, result }
    }
    if (options.isStale === true) return read()
    return await this.#call(query.name, options, read)
  }

  async changes(target: Target, query: WatchQuery, options: ChangesOptions): Promise<WatchPage> {
    const shard = this.#shardOf(target)
    const endMs = this.#clock.monotonicMs() + options.waitMs
    let next = query.revision
    for (;;) {
      const asked = encode(CHANGES.args, { ...query, revision: next }).slice()
      const page = await this.#call(CHANGES.name, options, () =>
        decode(CHANGES.result, shard.queries.answer(CHANGES.name, CHANGES.version, asked))
      )
      const leftMs = endMs - this.#clock.monotonicMs()
      if (page.revisions.length > 0 || leftMs <= 0) return page
      next = page.next
      if (!page.isUpToDate) continue
      await this.#within(leftMs, options.signal, [shard.changed])
    }
  }

  /** Does `work` once the request is there, and answers later; faults happen around it. */
  async #call<T>(
    name: string,
    { timeoutMs = TIMEOUT_MS, signal }: CallOptions,
    work: () => T
  ): Promise<T> {
    signal?.throwIfAborted()
    this.#throwIfStopped()
    this.calls.push(name)
    const endMs = this.#clock.monotonicMs() + timeoutMs
    const leftMs = (): number => endMs - this.#clock.monotonicMs()
    const fault = this.faults(name)
    if (fault instanceof MeshError) throw fault
    await this.#pause(this.latencyMs(), signal)
    while (this.#down !== undefined) {
      await this.#within(leftMs(), signal, [this.#down.back])
      if (this.#down !== undefined && leftMs() <= 0) {
        throw new MeshError('no-quorum', `No leader answered within ${timeoutMs} ms`)
      }
    }
    if (fault !== 'lost-request') {
      const result = work()
      if (fault === 'twice') this.#clock.after(10, () => void work())
      await this.#pause(this.latencyMs(), signal)
      if (fault !== 'lost-answer') return result
    }
    await this.#within(leftMs(), signal, [])
    throw new MeshError('timeout', `No answer within ${timeoutMs} ms; it may have been done`)
  }

  async #pause(delayMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (delayMs > 0) await this.#within(delayMs, signal, [])
  }

  /** Resolves after `delayMs`, or with the first of `others`; rejects when aborted or stopped. */
  async #within(
    delayMs: number,
    signal: AbortSignal | undefined,
    others: readonly Promise<void>[]
  ): Promise<void> {
    const passed = Promise.withResolvers<void>()
    const timer = this.#clock.after(Math.max(0, delayMs), passed.resolve)
    const onAbort = (): void => passed.reject(signal?.reason as Error)
    signal?.addEventListener('abort', onAbort)
    if (signal?.aborted === true) onAbort()
    try {
      await Promise.race([passed.promise, ...others])
    } finally {
      timer.cancel()
      signal?.removeEventListener('abort', onAbort)
    }
    this.#throwIfStopped()
  }

  #throwIfStopped(): void {
    if (this.#stopped) throw new MeshError('stopped', 'The shards have stopped')
  }

  #shardOf(target: Target): Shard {
    const { shard: name = this.shardOf(target.space ?? NO_SPACE) } = target
    const index = name === SYSTEM ? this.count : name
    const shard = this.#shards[index]
    if (shard === undefined) throw new MeshError('not-found', `There is no shard ${index}`)
    return shard
  }

  #tick(): void {
    this.#ticker = this.#clock.after(TICK_MS, () => this.#tick())
    if (this.isDown) return
    for (const shard of this.#shards) shard.tick()
  }
}

/** One machine, led by the clock. */
class Shard {
  readonly machine: Machine
  readonly reads: MachineReads
  readonly queries: Queries
  readonly #state = new MemoryState()
  readonly #clock: Clock
  #leader: LeaderClock
  #changed = Promise.withResolvers<void>()
  #stale: { reads: MachineReads; queries: Queries } | undefined
  #client = 0
  #sequence = 0

  constructor(clock: Clock) {
    this.#clock = clock
    this.machine = new Machine(this.#state)
    this.reads = this.machine.reads
    this.queries = new Queries(this.reads, queriesOf(SERVICES))
    this.#leader = new LeaderClock({ machineTimeMs: 0, nowMs: clock.monotonicMs() })
  }

  /** Resolves when the next entry was applied. */
  get changed(): Promise<void> {
    return this.#changed.promise
  }

  /** Time goes on from here. */
  lead(): void {
    const machineTimeMs = this.machine.timeMs
    this.#leader = new LeaderClock({ machineTimeMs, nowMs: this.#clock.monotonicMs() })
  }

  tick(): void {
    const stampMs = this.#leader.stampMs(this.#clock.monotonicMs())
    const { dueMs } = this.machine
    if (dueMs !== undefined && dueMs <= stampMs) this.apply(TICK, undefined)
  }

  freeze(): void {
    const reads = new MachineReads(this.#state.snapshot())
    this.#stale = { reads, queries: new Queries(reads, queriesOf(SERVICES)) }
  }

  stale(): { reads: MachineReads; queries: Queries } {
    return this.#stale ?? this
  }

  wake(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  /** @returns what applies a request, numbered as its client does: called again, it is a retry. */
  request(asked: Pick<Request, 'space' | 'operation' | 'version' | 'args'>): () => Answer {
    let numbered: Request | undefined
    return () => {
      if (numbered !== undefined) return this.#propose(numbered)
      for (;;) {
        if (this.#client === 0) this.#client = this.apply(REGISTER, undefined).client
        const sequence = (this.#sequence += 1)
        const answeredBelow = Math.max(0, sequence - 100)
        numbered = { ...asked, client: this.#client, sequence, answeredBelow }
        const answer = this.#propose(numbered)
        const isForgotten = answer.kind === 'refused' && answer.error.code === 'client-expired'
        if (!isForgotten) return answer
        this.#client = 0
      }
    }
  }

  apply<Args, Result>(operation: AnyOperation<Args, Result>, args: Args): Result {
    const { name, version } = operation
    const about = { client: 0, sequence: 0, answeredBelow: 0, space: NO_SPACE }
    const encoded = encode(operation.args, args).slice()
    const answer = this.#propose({ ...about, operation: name, version, args: encoded })
    if (answer.kind === 'refused') throw answer.error
    return decode(operation.result, answer.result)
  }

  #propose(request: Request): Answer {
    const stampMs = this.#leader.stampMs(this.#clock.monotonicMs())
    const bytes = encodeCommand({ ...request, stampMs })
    const problem = this.machine.problemOf(bytes)
    if (problem !== undefined) return { kind: 'refused', error: problem }
    const entry = { index: this.machine.index + 1, term: 1, bytes }
    const outcome = this.machine.apply([entry])[0] as Outcome
    if (outcome.kind !== 'applied') throw new Error(`the entry was ${outcome.kind}`)
    this.wake()
    return outcome.answer as Answer
  }
}
