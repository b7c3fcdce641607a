// Five real nodes, clients that read, write, compare and lock through all of them, and faults one
// after another: what was acknowledged is there, and all that clients were told fits into one order.
//
//   npm run chaos -- kv --minutes 10 --seed 7
//
// The seed decides which faults come when and what clients ask; the processes' own timing is theirs.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { errorMessage } from '../../../src/base/errors.ts'
import { createRandom, type Random } from '../../../src/base/random.ts'
import { MIB } from '../../../src/base/units.ts'
import { systemClock } from '../../../src/node/system-clock.ts'
import { ShardWorkload } from '../../sim/shards/workload.ts'
import { Lan, whyNoNamespaces } from '../lan.ts'
import { pause } from '../process-mesh.ts'
import { Cluster } from './cluster.ts'
import { Ledger } from './ledger.ts'
import { FAULTS, type Context, type Fault } from './nemesis.ts'

const NODES = 5
/** The node with a disk of its own, and how large that is. */
const SMALL_DISK_NODE = 4
const SMALL_DISK_BYTES: number = 512 * MIB
/** The service is wanted back by then. */
const SERVED_MS_MAX = 5_000
const CALM_MS = 700

export type KvChaosOptions = {
  readonly minutes: number
  readonly seed: number
  /** Only faults whose names have this in them. */
  readonly only?: string | undefined
}

type Served = { readonly after: string; readonly durationMs: number }

/** @returns whether all is right */
export async function runKvChaos(options: KvChaosOptions): Promise<boolean> {
  const noNetworks = await whyNoNamespaces()
  const root = await mkdtemp(join(tmpdir(), 'atoll-chaos-kv-'))
  const lan = noNetworks === undefined ? await Lan.create(NODES) : undefined
  if (noNetworks !== undefined) say(`NETWORK CUTS ARE LEFT OUT: ${noNetworks}`)
  try {
    await using cluster = new Cluster({ root, count: NODES, lan })
    await cluster.prepare()
    const noDisk = await cluster.mountSmallDisk(SMALL_DISK_NODE, SMALL_DISK_BYTES)
    if (noDisk !== undefined) say(`THE FULL DISK IS LEFT OUT: ${noDisk}`)
    const interrupted = new Promise<never>((_, reject) => {
      for (const name of ['SIGINT', 'SIGTERM'] as const)
        process.once(name, () => reject(new Error(name)))
    })
    return await Promise.race([new KvChaos(cluster, options).run(), interrupted])
  } finally {
    await lan?.[Symbol.asyncDispose]()
    await rm(root, { recursive: true, force: true })
  }
}

class KvChaos {
  readonly #cluster: Cluster
  readonly #options: KvChaosOptions
  readonly #random: Random
  readonly #ledger: Ledger
  readonly #served: Served[] = []
  readonly #faults = new Map<string, number>()
  readonly #problems: string[] = []
  readonly #operations = { ok: 0, fail: 0, unknown: 0 }

  constructor(cluster: Cluster, options: KvChaosOptions) {
    this.#cluster = cluster
    this.#options = options
    this.#random = createRandom(options.seed)
    this.#ledger = new Ledger(cluster)
  }

  async run(): Promise<boolean> {
    const { minutes, seed } = this.#options
    say(`seed ${seed}, ${minutes} minutes, ${NODES} nodes`)
    for (let index = 0; index < NODES; index++) await this.#cluster.start(index)
    await this.#cluster.whole()
    this.#ledger.start()
    const endMs = performance.now() + minutes * 60_000
    try {
      for (let round = 1; performance.now() < endMs && this.#problems.length === 0; round++) {
        await this.#round(round)
      }
      this.#ledger.phase = 'the end'
      await this.#cluster.whole()
    } catch (error) {
      this.#problems.push(errorMessage(error))
      say(await this.#cluster.describe())
    }
    await this.#ledger.stop()
    // Where nodes are missing there is nothing to compare.
    if (this.#problems.length === 0) await this.#ledger.check()
    return this.#report()
  }

  async #round(round: number): Promise<void> {
    const fault = this.#pick()
    if (fault.isLoss === true) await this.#cluster.whole()
    const workload = new ShardWorkload({
      seed: this.#random.u32(),
      clock: systemClock,
      shardsOf: (client) => this.#cluster.connection(this.#cluster.near(client)).shards,
      options: { prefix: `round-${round}-` }
    })
    this.#ledger.phase = 'calm'
    workload.start()
    const served: Served[] = []
    try {
      await pause(CALM_MS)
      await fault.run(this.#context(served))
      this.#ledger.phase = 'calm'
      await pause(CALM_MS)
    } finally {
      await workload.stop()
    }
    const { ok, fail, unknown } = workload.counts
    this.#operations.ok += ok
    this.#operations.fail += fail
    this.#operations.unknown += unknown
    this.#faults.set(fault.name, (this.#faults.get(fault.name) ?? 0) + 1)
    this.#served.push(...served)
    const times = served.map(({ after, durationMs }) => `${ms(durationMs)} after ${after}`)
    say(`round ${round}: ${fault.name}; served ${times.join(', ')}; ${ok} done, ${unknown} unknown`)
    await this.#judge(round, workload)
    if (fault.isLoss === true) await this.#cluster.whole()
  }

  async #judge(round: number, workload: ShardWorkload): Promise<void> {
    const beganMs = performance.now()
    const problems = [...workload.problems(), ...this.#ledger.problems]
    const tookMs = performance.now() - beganMs
    if (tookMs > 500) say(`round ${round}: the history took ${ms(tookMs)} to check`)
    if (problems.length === 0) return
    this.#problems.push(...problems)
    const path = join(tmpdir(), `atoll-chaos-${this.#options.seed}-${round}`)
    await writeFile(`${path}-kv.jsonl`, workload.kv.toJsonLines())
    await writeFile(`${path}-locks.jsonl`, workload.locks.toJsonLines())
    say(`round ${round}: the histories are in ${path}-kv.jsonl and ${path}-locks.jsonl`)
  }

  #context(served: Served[]): Context {
    const { random } = { random: this.#random }
    const onServed = (after: string, durationMs: number): void => {
      served.push({ after, durationMs })
    }
    return { cluster: this.#cluster, ledger: this.#ledger, random, onServed }
  }

  /** Each kind comes as often as the others. */
  #pick(): Fault {
    const { only = '' } = this.#options
    const possible = FAULTS.filter(({ name, needs }) => {
      if (needs === 'networks' && !this.#cluster.hasNetworks) return false
      if (needs === 'small disk' && this.#cluster.smallDisk === undefined) return false
      return name.includes(only)
    })
    const countOf = ({ name }: Fault): number => this.#faults.get(name) ?? 0
    const least = Math.min(...possible.map(countOf))
    const next = possible.filter((fault) => countOf(fault) === least)
    const fault = next[this.#random.below(next.length)]
    if (fault === undefined) throw new Error(`No fault is called "${only}"`)
    return fault
  }

  #report(): boolean {
    const { seed } = this.#options
    const problems = [...this.#problems, ...this.#ledger.problems]
    for (const problem of new Set(problems.slice(0, 20))) say(`PROBLEM ${problem}`)
    const { ok, fail, unknown } = this.#operations
    const { counts, worst } = this.#ledger
    const faults = [...this.#faults.values()].reduce((sum, count) => sum + count, 0)
    const slow = this.#served.filter(({ durationMs }) => durationMs > SERVED_MS_MAX)
    const longest = this.#served.toSorted((a, b) => b.durationMs - a.durationMs)[0]
    say(
      `seed ${seed}: ${faults} faults: ${[...this.#faults].map(([n, c]) => `${c} ${n}`).join(', ')}`
    )
    say(`histories: ${ok} operations done, ${fail} refused, ${unknown} unknown`)
    say(`ledger: ${counts.accepted} writes acknowledged, ${counts.unknown} unknown`)
    say(`worst gap: ${ms(worst.durationMs)} in shard ${worst.shard} during ${worst.during}`)
    if (longest !== undefined) {
      say(`service back at the latest ${ms(longest.durationMs)} after ${longest.after}`)
    }
    for (const { after, durationMs } of slow) say(`TOO LATE: ${ms(durationMs)} after ${after}`)
    say(`${problems.length} violations`)
    return problems.length === 0 && counts.accepted > 0 && ok > 0
  }
}

function ms(durationMs: number): string {
  return `${(durationMs / 1_000).toFixed(1)} s`
}

function say(text: string): void {
  process.stdout.write(`${(performance.now() / 1_000).toFixed(1).padStart(6)} ${text}\n`)
}
