// Counts that commands raise, each under a name of its own, and watchers that see every one of them:
// what was acknowledged was done once, what nobody knows of at most once, and all watchers see the
// same in the same order, whichever nodes they ask.

import { sleep } from '../../../src/base/clock.ts'
import { isMeshError } from '../../../src/base/errors.ts'
import { fromUtf8, utf8 } from '../../../src/base/bytes.ts'
import type { Random } from '../../../src/base/random.ts'
import { TXN } from '../../../src/core/machine/kv.ts'
import { GET } from '../../../src/core/machine/own-queries.ts'
import { spanOfKey } from '../../../src/core/machine/space.ts'
import { AREAS } from '../../../src/core/machine/state-keys.ts'
import type { Shards } from '../../../src/shard/shards.ts'
import { demand } from '../raft/violation.ts'
import type { MeshWorld } from './world.ts'

const PAUSE_MS_MAX = 600
const TIMEOUT_MS = 3_000
const WATCH_MS = 2_000
/** Nothing was done, and nothing will be. */
const REFUSALS = ['invalid-argument', 'too-large', 'quota-exceeded']

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
  readonly #work: Promise<void>[] = []
  #isStopped = false

  constructor(number: number, parts: TallyParts) {
    this.#parts = parts
    this.#space = utf8(`tally-${number}`)
    this.key = utf8(`tally-${number}/count`)
  }

  start(clients: number, watchers: number): void {
    for (let client = 0; client < clients; client++) this.#begin(this.#count(client))
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
    for (let number = 1; !this.#isStopped; number++) {
      await sleep(world.clock, random.below(PAUSE_MS_MAX))
      const id = `${client}.${number}`
      const success = [{ kind: 'put', key: this.key, value: utf8(id), lease: 0 }] as const
      const txn = { compares: [], success, failure: [] }
      try {
        await shards().execute({ space: this.#space }, TXN, txn, { timeoutMs: TIMEOUT_MS })
        this.#acknowledged.add(id)
      } catch (error) {
        if (!isMeshError(error)) throw error
        if (!REFUSALS.includes(error.code)) this.#unknown.add(id)
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
        if (!isMeshError(error)) throw error
        await sleep(world.clock, 100)
      }
    }
  }
}
