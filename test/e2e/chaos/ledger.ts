// Writers that never stop, some for each shard, through all nodes: each writes keys of its own once.
// What was acknowledged must be there at the end, once, at the revision that was told; who watches
// must have seen all of it in order. The time between two accepted writes is how long a shard was away.

import { isMeshError } from '../../../src/base/errors.ts'
import { utf8 } from '../../../src/base/bytes.ts'
import type { Kv } from '../../../src/services/kv/kv.ts'
import { until } from '../process-mesh.ts'
import type { Cluster } from './cluster.ts'

const LANES = 2
const PAUSE_MS = 100
const TIMEOUT_MS = 1_000
const WATCH_LIMIT_MS = 30_000
const READ_MS = 30_000
const PROBLEMS_MAX = 50

export type LedgerCounts = { accepted: number; unknown: number; refused: number }

/** A shard, as its writers and its watcher know it. */
type Account = {
  readonly shard: number
  readonly space: string
  /** The revisions of what was acknowledged, by key. */
  readonly accepted: Map<string, number>
  readonly attempted: Set<string>
  readonly watched: Map<string, number>
  lastWatched: number
  acceptedMs: number
  /** When the newest accepted write was begun. */
  begunMs: number
  next: number
  lastError: string
}

export type Gap = { readonly durationMs: number; readonly shard: number; readonly during: string }

export class Ledger {
  readonly problems: string[] = []
  readonly counts: LedgerCounts = { accepted: 0, unknown: 0, refused: 0 }
  /** What happens now, for the gaps. */
  phase = 'start'
  worst: Gap = { durationMs: 0, shard: 0, during: 'nothing' }
  readonly #cluster: Cluster
  readonly #accounts: Account[] = []
  readonly #stopping = new AbortController()
  readonly #ended = new AbortController()
  /** When each shard accepted the first write that was begun after the mark. */
  readonly #servedMs = new Map<number, number>()
  #markMs = 0
  #lanes: Promise<void>[] = []
  #watchers: Promise<void>[] = []

  constructor(cluster: Cluster) {
    this.#cluster = cluster
  }

  start(): void {
    const { shards } = this.#cluster.connection(0)
    for (let shard = 0; shard < shards.count; shard++) {
      const now = performance.now()
      const account: Account = {
        shard,
        space: spaceOf(shard, (space) => shards.shardOf(utf8(space))),
        accepted: new Map(),
        attempted: new Set(),
        watched: new Map(),
        lastWatched: 0,
        acceptedMs: now,
        begunMs: 0,
        next: 1,
        lastError: ''
      }
      this.#accounts.push(account)
      for (let lane = 0; lane < LANES; lane++) {
        this.#lanes.push(this.#write(account, { home: shard + lane * 2, isScout: lane === 0 }))
      }
      this.#watchers.push(this.#watch(account))
    }
  }

  /** Milliseconds until every shard has accepted a write that was begun after `sinceMs`. */
  async servedSince(sinceMs: number, limitMs: number): Promise<number> {
    await until('all shards accept writes', limitMs, () => {
      const away = this.#accounts.filter(({ begunMs }) => begunMs < sinceMs)
      const lines = away.map(({ shard, lastError }) => `shard ${shard}: ${lastError}`)
      return Promise.resolve(lines.length === 0 || lines.join('\n'))
    })
    return Math.max(...this.#servedMs.values()) - sinceMs
  }

  /** Starts to measure anew: for each shard, when a write that was begun from now on was accepted. */
  mark(): number {
    this.#markMs = performance.now()
    this.#servedMs.clear()
    return this.#markMs
  }

  /** Ends the writers. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await Promise.all(this.#lanes)
  }

  /** Compares what was told with what is there. All nodes must be well. */
  async check(): Promise<void> {
    for (const account of this.#accounts) {
      for (let index = 0; index < this.#cluster.count; index++) {
        await this.#checkEntries(account, index, index === account.shard % this.#cluster.count)
      }
    }
    await this.#checkWatches()
  }

  // Writing.

  /** @param lane.isScout it asks everywhere while it finds nobody that serves */
  async #write(account: Account, lane: { home: number; isScout: boolean }): Promise<void> {
    const { home, isScout } = lane
    let at: number | undefined = home
    while (!this.#stopping.signal.aborted) {
      const near: number = this.#cluster.near(at ?? home)
      const isDone: boolean = at !== undefined && (await this.#put(account, near))
      if (isDone) at = near
      else at = isScout ? await this.#anywhere(account) : near + 1
      await pause(PAUSE_MS)
    }
  }

  /** Through all nodes side by side: some of them may be cut off. @returns one that did it */
  async #anywhere(account: Account): Promise<number | undefined> {
    const nodes = Array.from({ length: this.#cluster.count }, (_, index) => index)
    const running = nodes.filter((index) => this.#cluster.isRunning(index))
    const isDone = await Promise.all(running.map(async (index) => await this.#put(account, index)))
    return running[isDone.indexOf(true)]
  }

  async #put(account: Account, index: number): Promise<boolean> {
    const key = `${account.space}/${String(account.next++).padStart(8, '0')}`
    const begunMs = performance.now()
    account.attempted.add(key)
    try {
      const { kv } = this.#cluster.connection(index).node
      const { revision } = await kv.put(key, key, { timeoutMs: TIMEOUT_MS })
      this.#accept(account, { key, revision, begunMs })
      return true
    } catch (error) {
      if (!isMeshError(error)) throw error
      account.lastError = `${error.code} from node ${index}: ${error.message}`
      if (error.code === 'quota-exceeded' || error.code === 'invalid-argument') {
        this.counts.refused += 1
        this.#complain(`A put of ${key} was refused: ${error.message}`)
      } else this.counts.unknown += 1
      return false
    }
  }

  #accept(
    account: Account,
    { key, revision, begunMs }: { key: string; revision: number; begunMs: number }
  ): void {
    const now = performance.now()
    const { shard } = account
    account.accepted.set(key, revision)
    this.counts.accepted += 1
    const durationMs = now - account.acceptedMs
    if (durationMs > this.worst.durationMs) this.worst = { durationMs, shard, during: this.phase }
    account.acceptedMs = now
    account.begunMs = Math.max(account.begunMs, begunMs)
    if (begunMs >= this.#markMs && !this.#servedMs.has(shard)) this.#servedMs.set(shard, now)
  }

  // Watching.

  async #watch(account: Account): Promise<void> {
    const { kv } = this.#cluster.connection(account.shard % this.#cluster.count).node
    const { signal } = this.#ended
    try {
      const events = kv.watch({ prefix: `${account.space}/` }, { fromRevision: 1, signal })
      for await (const { type, key, revision } of events) {
        if (type !== 'put') this.#complain(`A watch saw a ${type} of ${key}, which nobody did`)
        if (revision <= account.lastWatched) {
          this.#complain(`A watch saw ${key} at ${revision}, after ${account.lastWatched}`)
        }
        account.lastWatched = revision
        account.watched.set(key, revision)
      }
    } catch (error) {
      this.#complain(`The watch of ${account.space} ended: ${String(error)}`)
    }
  }

  async #checkWatches(): Promise<void> {
    for (const account of this.#accounts) {
      const last = Math.max(0, ...account.accepted.values())
      await until(`the watch of ${account.space} comes to ${last}`, WATCH_LIMIT_MS, () =>
        Promise.resolve(account.lastWatched >= last || `it is at ${account.lastWatched}`)
      ).catch((error: unknown) => this.#complain(String(error)))
      for (const [key, revision] of account.accepted) {
        const seen = account.watched.get(key)
        if (seen !== revision) this.#complain(`A watch saw ${key} at ${seen}, not at ${revision}`)
      }
    }
    this.#ended.abort()
    await Promise.all(this.#watchers)
  }

  // Reading.

  /** @param isStale as the node itself has it: what the others have, a little later */
  async #checkEntries(account: Account, index: number, isFresh: boolean): Promise<void> {
    const { kv } = this.#cluster.connection(index).node
    const how = `through node ${index}${isFresh ? '' : ', stale'}`
    let there = new Map<string, number>()
    const read = async (): Promise<boolean | string> => {
      there = await this.#entries(kv, account, { stale: !isFresh, how })
      const missing = [...account.accepted.keys()].filter((key) => !there.has(key))
      return missing.length === 0 || `${missing.length} lack, first ${missing[0]}`
    }
    await until(`all of ${account.space} is there ${how}`, isFresh ? 0 : READ_MS, read).catch(
      (error: unknown) => this.#complain(`LOST: ${String(error)}`)
    )
    for (const [key, revision] of account.accepted) {
      const found = there.get(key)
      if (found === undefined || found === revision) continue
      this.#complain(`${key} was written at ${revision}, and is there ${how} at ${found}`)
    }
  }

  async #entries(
    kv: Kv,
    { space, attempted }: Account,
    { stale, how }: { stale: boolean; how: string }
  ): Promise<Map<string, number>> {
    const there = new Map<string, number>()
    for await (const entry of kv.list(`${space}/`, { stale, timeoutMs: READ_MS })) {
      const { key, version, revision } = entry
      if (!attempted.has(key)) this.#complain(`${key} is there ${how}, and nobody wrote it`)
      if (entry.text() !== key) this.#complain(`${key} has another value ${how}`)
      if (version !== 1) this.#complain(`${key} was written ${version} times`)
      there.set(key, revision)
    }
    return there
  }

  #complain(problem: string): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push(problem)
  }
}

function spaceOf(shard: number, shardOf: (space: string) => number): string {
  for (let number = 0; ; number++) {
    const space = `ledger-${number}`
    if (shardOf(space) === shard) return space
  }
}

async function pause(durationMs: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, durationMs)
  })
}
