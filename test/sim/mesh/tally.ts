// Counts that commands raise, each under a name of its own, and watchers that see every one of them:
// what was acknowledged was done once, what nobody knows of at most once, and all watchers see the
// same in the same order, whichever nodes they ask.

import { sleep } from '../../../src/base/clock.ts'
import { isMeshError, type ErrorCode } from '../../../src/base/errors.ts'
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import { chance, type Random } from '../../../src/base/random.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import { GET } from '../../../src/core/machine/own-queries.ts'
import { spanOfKey } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { Violation, demand } from '../raft/violation.ts'
import type { MeshWorld } from './world.ts'

const PAUSE_MS_MAX = 400
/** More than a node may have under way with one session. */
const BURST_COUNT = 220
const TIMEOUT_MS = 3_000
const WATCH_MS = 2_000
/** What may happen to a client; nobody knows then whether a command was done. */
const EXPECTED: readonly ErrorCode[] = [
  'no-quorum',
  'timeout',
  'overloaded',
  'stopped',
  'unreachable',
  'not-leader'
]

export type TallyParts = {
  readonly world: MeshWorld
  readonly random: Random
  /** What is asked now: any node. */
  readonly shards: () => Shards
}

export class Tally {
  readonly key: Uint8Array
  readonly #parts: TallyParts
  readonly #space: Uint8Array
  readonly #acknowledged = new Set<string>()
  readonly #unknown = new Set<string>()
  readonly #watches: string[][] = []
  readonly #stale: { readonly at: number; readonly id: string }[] = []
  readonly #work: Promise<void>[] = []
  #isStopped = false

  constructor(number: number, parts: TallyParts) {
    this.#parts = parts
    this.#space = utf8(`tally-${number}`)
    this.key = utf8(`tally-${number}/count`)
  }

  start({ clients, watchers, readers }: Record<'clients' | 'watchers' | 'readers', number>): void {
    for (let client = 0; client < clients; client++) this.#begin(this.#count(client))
    for (let reader = 0; reader < readers; reader++) this.#begin(this.#readStale())
    for (let watcher = 0; watcher < watchers; watcher++) {
      const seen: string[] = []
      this.#watches.push(seen)
      this.#begin(this.#watch(seen, () => this.#isStopped))
    }
  }

  #begin(work: Promise<void>): void {
    this.#work.push(work)
    // Told by `stop`.
    work.catch(() => {})
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    await Promise.all(this.#work)
  }

  /** What all of it comes to, when the faults are over. @throws Violation */
  async check(): Promise<void> {
    const { shards } = this.#parts
    const asked = { area: AREAS.kv, key: this.key, revision: undefined }
    const { result } = await shards().query({ space: this.#space }, GET, asked)
    const count = result.entry?.version ?? 0
    const all: string[] = []
    await this.#watch(all, () => all.length >= count)
    const name = fromUtf8(this.key)
    demand('ExactlyOnce', all.length === count, `${name} has ${count} changes, ${all.length} seen`)
    const once = new Set(all)
    demand(
      'ExactlyOnce',
      once.size === all.length,
      `a change of ${name} was made twice: ${all.join(' ')}`
    )
    for (const id of this.#acknowledged) {
      demand('NothingLost', once.has(id), `${id} of ${name} was acknowledged and is gone`)
    }
    for (const id of all) {
      const isAsked = this.#acknowledged.has(id) || this.#unknown.has(id)
      demand('ExactlyOnce', isAsked, `${id} of ${name} was refused and done`)
    }
    for (const { at, id } of this.#stale) {
      demand('StaleReads', all[at - 1] === id, `change ${at} of ${name} was read as ${id}`)
    }
    for (const seen of this.#watches) {
      const isStart = seen.every((id, place) => id === all[place])
      demand(
        'WatchInOrder',
        isStart,
        `a watch of ${name} saw ${seen.join(' ')}, not ${all.join(' ')}`
      )
    }
  }

  async #count(client: number): Promise<void> {
    const { world, random, shards } = this.#parts
    const hasBursts = world.plan.faults.has('bursts')
    for (let number = 1; !this.#isStopped; number++) {
      await sleep(world.clock, random.below(PAUSE_MS_MAX))
      const count = hasBursts && chance(random, 1, 40) ? BURST_COUNT : 1
      // All of a burst through one node.
      const asked = count === 1 ? shards : once(shards)
      const puts = Array.from({ length: count }, async (_, place) => {
        await this.#put(count === 1 ? `${client}.${number}` : `${client}.${number}.${place}`, asked)
      })
      await Promise.all(puts)
    }
  }

  async #put(id: string, shards: () => Shards): Promise<void> {
    const success = [{ kind: 'put', key: this.key, value: utf8(id), lease: 0 }] as const
    const txn = { compares: [], success, failure: [] }
    try {
      await shards().execute({ space: this.#space }, TXN, txn, { timeoutMs: TIMEOUT_MS })
      this.#acknowledged.add(id)
    } catch (error) {
      checkError(error)
      this.#unknown.add(id)
    }
  }

  /** What a replica shows without asking anybody was so at some time. */
  async #readStale(): Promise<void> {
    const { world, random, shards } = this.#parts
    const asked = { area: AREAS.kv, key: this.key, revision: undefined }
    const options = { isStale: true, timeoutMs: TIMEOUT_MS }
    while (!this.#isStopped) {
      await sleep(world.clock, random.below(PAUSE_MS_MAX))
      try {
        const { result } = await shards().query({ space: this.#space }, GET, asked, options)
        const { entry } = result
        if (entry !== undefined) this.#stale.push({ at: entry.version, id: fromUtf8(entry.value) })
      } catch (error) {
        checkError(error)
      }
    }
  }

  /** Each page may come from another node. */
  async #watch(seen: string[], isDone: () => boolean): Promise<void> {
    const { world, shards } = this.#parts
    let revision = 1
    while (!isDone()) {
      try {
        const query = { area: AREAS.kv, ...spanOfKey(this.key), revision }
        const page = await shards().changes({ space: this.#space }, query, { waitMs: WATCH_MS })
        for (const { revision: at, events } of page.revisions) {
          demand('WatchInOrder', at >= revision, `revision ${at} came after ${revision}`)
          revision = at + 1
          for (const { current } of events)
            if (current !== undefined) seen.push(fromUtf8(current.value))
        }
        revision = Math.max(revision, page.next)
      } catch (error) {
        checkError(error)
        await sleep(world.clock, 100)
      }
    }
  }
}

/** Drawn once, it stays the same. */
function once(shards: () => Shards): () => Shards {
  try {
    const found = shards()
    return () => found
  } catch (error) {
    return () => {
      throw error
    }
  }
}

/** @throws what no client should be told */
function checkError(error: unknown): void {
  if (!isMeshError(error)) throw error
  if (EXPECTED.includes(error.code)) return
  throw new Violation('RightErrors', `a client was told ${error.code}: ${error.message}`)
}
