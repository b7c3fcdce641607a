// Clients of the shards, by seed: some read and write a few keys, some take locks. What they ask and
// are told is written down, so that a checker can say whether it was right. For simulations on a
// virtual clock and for real processes alike; nothing here knows which.

import { sleep, type Clock } from '../../../src/base/clock.ts'
import { createRandom } from '../../../src/base/random.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { Recorder, operationsOf } from '../checkers/history.ts'
import { checkLinearizable } from '../checkers/linearizability.ts'
import { lockModel, lockProblems } from '../checkers/lock-model.ts'
import type { LockInput, LockOutput } from '../checkers/lock-model.ts'
import { registerModel } from '../checkers/register-model.ts'
import type { RegisterInput, RegisterOutput } from '../checkers/register-model.ts'
import type { ClientParts } from './client.ts'
import { KeyPool } from './key-pool.ts'
import type { KeyPoolOptions } from './key-pool.ts'
import { KvClient } from './kv-client.ts'
import { LockClient } from './lock-client.ts'

export type WorkloadOptions = KeyPoolOptions & {
  /** Begins the names of its spaces: another one for each workload of a mesh. */
  readonly prefix: string
  /** Who reads and writes; all of them all keys. Above 10 a violation is long in finding. */
  readonly kvClients: number
  readonly lockClients: number
  readonly locks: number
  /** Of a lock's lease. */
  readonly ttlMs: number
  /** Of each operation, from its call until the client gives up. */
  readonly timeoutMs: number
  /** A client waits so long at most before its next operation. */
  readonly pauseMsMax: number
}

const WORKLOAD_DEFAULTS: WorkloadOptions = {
  prefix: '',
  kvClients: 6,
  keys: 8,
  operationsPerKeyMax: 300,
  unknownsPerKeyMax: 6,
  lockClients: 4,
  locks: 2,
  ttlMs: 3_000,
  timeoutMs: 2_000,
  pauseMsMax: 40
}

export type WorkloadParts = {
  readonly seed: number
  readonly clock: Clock
  /** What a client talks to now, by its number: asked for each operation, for nodes come and go. */
  readonly shardsOf: (client: number) => Shards
  readonly options?: Partial<WorkloadOptions>
}

/** How many operations ended how. */
export type WorkloadCounts = { ok: number; fail: number; unknown: number }

export class ShardWorkload {
  readonly kv: Recorder
  readonly locks: Recorder
  readonly #parts: WorkloadParts
  readonly #options: WorkloadOptions
  readonly #stopping = new AbortController()
  #clients: Promise<void>[] = []

  constructor(parts: WorkloadParts) {
    this.#parts = parts
    this.#options = { ...WORKLOAD_DEFAULTS, ...parts.options }
    const now = (): number => parts.clock.monotonicMs()
    this.kv = new Recorder(now)
    this.locks = new Recorder(now)
  }

  start(): void {
    const { kvClients, lockClients } = this.#options
    const keys = new KeyPool(`${this.#options.prefix}space`, this.#options)
    const locks = new KeyPool(`${this.#options.prefix}locks`, {
      ...this.#options,
      keys: this.#options.locks
    })
    for (let number = 0; number < kvClients + lockClients; number++) {
      const parts = this.#partsOf(number)
      const client =
        number < kvClients
          ? new KvClient(parts, this.kv, keys)
          : new LockClient(parts, this.locks, locks)
      this.#clients.push(this.#drive(client, parts))
    }
  }

  /** Starts nothing new, and resolves when all that was under way has ended. @throws what no client expected */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error('The workload stops'))
    await Promise.all(this.#clients)
    this.#clients = []
  }

  /** @returns what is wrong with all that was told, in words; nothing when it is right */
  problems(): string[] {
    const register = operationsOf<RegisterInput, RegisterOutput>(this.kv.events)
    const locks = operationsOf<LockInput, LockOutput>(this.locks.events)
    const asked = locks.filter(({ input }) => input.kind !== 'held')
    const verdicts = [
      checkLinearizable(registerModel, register),
      checkLinearizable(lockModel, asked)
    ]
    const told = verdicts.flatMap((verdict) =>
      verdict.kind === 'linearizable' ? [] : [`${verdict.key}: ${verdict.text}`]
    )
    return [...told, ...lockProblems(locks)]
  }

  get counts(): WorkloadCounts {
    const counts = { ok: 0, fail: 0, unknown: 0 }
    for (const { event } of [...this.kv.events, ...this.locks.events]) {
      if (event !== 'begin') counts[event] += 1
    }
    return counts
  }

  #partsOf(number: number): ClientParts {
    const { seed, clock, shardsOf } = this.#parts
    const random = createRandom(Math.imul(seed, 0x9e3779b1) + number)
    const options = this.#options
    return { number, random, clock, options, shards: () => shardsOf(number) }
  }

  async #drive(client: { next(): Promise<void> }, { clock, random }: ClientParts): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await sleep(clock, random.below(this.#options.pauseMsMax + 1), { signal })
      } catch (error) {
        if (signal.aborted) return
        throw error
      }
      await client.next()
    }
  }
}
