// Key-value: three nodes and three members of etcd, side by side on the same disk, in turn, in one run.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startEtcd, etcdVersion, type EtcdMember } from './etcd.ts'
import type { Load, LoadFigures } from './kv-load.ts'
import type { KvAnswer, KvRequest } from './kv-worker.ts'
import { cpuSeconds, pause, residentMib } from './usage.ts'
import { median, Worker } from './workers.ts'

type Print = (line: string) => void
type KvWorker = Worker<KvRequest, KvAnswer>
type Ending = { end(): Promise<void> }

const NODES = 3
const ROUNDS = 3
const ROUND_MS = 2_000
/** A node that has run for a while is what is measured: its code is compiled by then. */
const WARM_UP: readonly Load[] = [
  { what: 'put', clients: 256, ms: 6_000 },
  { what: 'get', clients: 64, ms: 1_500 }
]
const IDLE_SETTLE_MS = 3_000
const IDLE_MS = 6_000
const SPREAD_MS_MAX = 60_000
/** Groups that a node may lead beyond its share, or below it, when the rounds begin. */
const SPREAD_SLACK = 2
const PROFILE_MS = 3_000
/** A leader is killed so long after the writers began, and they go on for so long in all. */
const KILL_MS = 1_000
const GAP_MS = 5_000
const SHARDS = 32
const SHARDS_MANY = 256

const CASES: readonly (Pick<Load, 'what' | 'clients'> & { name: string })[] = [
  { name: 'puts,   1 client ', what: 'put', clients: 1 },
  { name: 'puts,  64 clients', what: 'put', clients: 64 },
  { name: 'puts, 256 clients', what: 'put', clients: 256 },
  { name: 'gets,  64 clients', what: 'get', clients: 64 }
]

/** Somebody to put to, and all the processes that work when one does. */
type Side = { readonly name: string; readonly client: KvWorker; readonly pids: readonly number[] }
type Taken = LoadFigures & { readonly cpuMicros: number }
type Results = Map<string, Taken[]>

/** Everything that was started, to be ended however it goes. */
class Started {
  readonly #all: Ending[] = []

  add<Of extends Ending>(started: Of): Of {
    this.#all.push(started)
    return started
  }

  async end(): Promise<void> {
    await Promise.all(this.#all.splice(0).map((started) => started.end()))
  }
}

/** Prints medians of {@link ROUNDS} interleaved rounds. */
export async function run(print: Print): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'atoll-bench-kv-'))
  const started = new Started()
  const onSignal = (): void => {
    void started
      .end()
      .then(() => rm(root, { recursive: true, force: true }))
      .finally(() => process.exit(130))
  }
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    const version = etcdVersion()
    print(version === undefined ? 'etcd is not installed: no peer' : `the peer: etcd ${version}`)
    const mesh = await Mesh.start(root, started, SHARDS)
    await mesh.settled(print)
    const members =
      version === undefined ? [] : await startEtcd(root, (member) => started.add(member))
    await idle(`${SHARDS} shards`, mesh.pids, print, true)
    if (members.length > 0)
      await idle(
        'etcd',
        members.map(({ pid }) => pid),
        print,
        false
      )
    const sides = await sidesOf(mesh, members, started)
    const results = await rounds(sides, print)
    report(results, print)
    await profiles(mesh, print)
    await failover({ mesh, members, started }, print)
    await started.end()
    const many = await Mesh.start(root, started, SHARDS_MANY)
    await many.settled(print)
    await idle(`${SHARDS_MANY} shards`, many.pids, print, false)
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    await started.end()
    await rm(root, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Three nodes, each a process. */
class Mesh {
  readonly nodes: KvWorker[] = []
  readonly #root: string
  readonly #started: Started
  readonly #shards: number
  #first: KvAnswer = {}

  private constructor(root: string, started: Started, shards: number) {
    this.#root = root
    this.#started = started
    this.#shards = shards
  }

  static async start(root: string, started: Started, shards: number): Promise<Mesh> {
    const mesh = new Mesh(root, started, shards)
    for (let index = 0; index < NODES; index++) await mesh.startNode(index)
    return mesh
  }

  get first(): KvWorker {
    return this.nodes[0] as KvWorker
  }

  get pids(): number[] {
    return this.nodes.map(({ pid }) => pid)
  }

  /** Where the first node's API is. */
  get api(): { api: string; token: string } {
    return { api: this.#first.api ?? '', token: this.#first.token ?? '' }
  }

  async startNode(index: number): Promise<void> {
    const node = this.#started.add(new Worker<KvRequest, KvAnswer>('kv-worker.ts'))
    const answer = await node.ask({
      do: 'node',
      dataDir: join(this.#root, `node-${this.#shards}-${index}`),
      shards: this.#shards,
      join: index === 0 ? [] : [this.#first.address ?? '']
    })
    if (index === 0) this.#first = answer
    this.nodes[index] = node
  }

  async groups(): Promise<{ isSettled: boolean; replicas: number; leads: number[] }[]> {
    const answers = await Promise.all(this.nodes.map((node) => node.ask({ do: 'groups' })))
    return answers.map(({ isSettled = false, replicas = 0, leads = [] }) => {
      return { isSettled, replicas, leads }
    })
  }

  /** Waits until all groups have three voters, and their leaders are spread. */
  async settled(print: Print): Promise<void> {
    const startMs = performance.now()
    const share = (this.#shards + 1) / NODES
    for (;;) {
      const groups = await this.groups()
      const isSpread = groups.every(
        ({ leads: { length } }) => Math.abs(length - share) <= SPREAD_SLACK
      )
      const leads = groups.map(({ leads: { length } }) => length).join(' + ')
      const isWhole = groups.every(
        ({ isSettled, replicas }) => isSettled && replicas === this.#shards + 1
      )
      const tookMs = performance.now() - startMs
      const isLate = tookMs > SPREAD_MS_MAX
      if ((isWhole && isSpread) || isLate) {
        const how = isLate ? 'NOT settled' : 'settled'
        print(
          `${this.#shards} shards ${how} after ${(tookMs / 1_000).toFixed(1)} s; leaders: ${leads}`
        )
        return
      }
      await pause(200)
    }
  }
}

async function sidesOf(
  mesh: Mesh,
  members: readonly EtcdMember[],
  started: Started
): Promise<Side[]> {
  const remote = started.add(new Worker<KvRequest, KvAnswer>('kv-worker.ts'))
  await remote.ask({ do: 'connect', ...mesh.api })
  const sides: Side[] = [
    { name: 'embedded', client: mesh.first, pids: mesh.pids },
    { name: 'remote', client: remote, pids: [...mesh.pids, remote.pid] }
  ]
  await mesh.first.ask({ do: 'fill' })
  if (members.length > 0) {
    const client = started.add(new Worker<KvRequest, KvAnswer>('kv-worker.ts'))
    // Its best case: no request is passed on.
    const leads = await Promise.all(members.map((member) => member.leads()))
    await client.ask({ do: 'etcd', url: members[leads.indexOf(true)]?.url ?? '' })
    await client.ask({ do: 'fill' })
    sides.push({ name: 'etcd', client, pids: [...members.map(({ pid }) => pid), client.pid] })
  }
  return sides
}

async function rounds(sides: readonly Side[], print: Print): Promise<Results> {
  const results: Results = new Map()
  for (const { client } of sides) {
    for (const load of WARM_UP) await client.ask({ do: 'load', load })
  }
  for (let round = 1; round <= ROUNDS; round++) {
    for (const { name, what, clients } of CASES) {
      const shown: string[] = []
      for (const side of sides) {
        const taken = await measure(side, { what, clients, ms: ROUND_MS })
        const key = `${side.name} ${name}`
        results.set(key, [...(results.get(key) ?? []), taken])
        shown.push(`${side.name} ${taken.rate.toFixed(0)}`)
      }
      print(`round ${round}, ${name}: ${shown.join(', ')} a second`)
    }
  }
  return results
}

async function measure({ client, pids }: Side, load: Load): Promise<Taken> {
  const before = await Promise.all(pids.map(cpuSeconds))
  const { figures } = await client.ask({ do: 'load', load })
  const after = await Promise.all(pids.map(cpuSeconds))
  if (figures === undefined) throw new Error('A load was answered without figures')
  const seconds = after.reduce((sum, value, index) => sum + value - (before[index] ?? 0), 0)
  const answered = (figures.rate * load.ms) / 1_000
  return { ...figures, cpuMicros: (seconds * 1e6) / answered }
}

function report(results: Results, print: Print): void {
  print(`\n128-byte values, medians of ${ROUNDS} rounds of ${ROUND_MS / 1_000} s:`)
  for (const { name, what, clients } of CASES) {
    const of = (side: string, figure: keyof Taken): number =>
      median((results.get(`${side} ${name}`) ?? []).map((taken) => taken[figure]))
    for (const side of ['embedded', 'remote', 'etcd']) {
      if (!results.has(`${side} ${name}`)) continue
      const times = of(side, 'rate') / of('etcd', 'rate')
      const aims: string[] = []
      if (side !== 'etcd' && !Number.isNaN(times)) {
        const wanted = clients === 1 ? undefined : what === 'get' ? 6 : side === 'embedded' ? 6 : 3
        const isAimed = wanted !== undefined && !(what === 'get' && side === 'remote')
        aims.push(`${times.toFixed(2)} × etcd${isAimed ? aim(times >= wanted, `≥ ${wanted}`) : ''}`)
        if (clients === 1 && what === 'put' && side === 'embedded') {
          const isMet = of(side, 'p50Ms') <= of('etcd', 'p50Ms')
          aims.push(`p50${aim(isMet, `≤ etcd's ${of('etcd', 'p50Ms').toFixed(2)}`)}`)
        }
      }
      print(
        `${name}  ${side.padEnd(8)} ${of(side, 'rate').toFixed(0).padStart(6)}/s  ` +
          `p50 ${of(side, 'p50Ms').toFixed(2).padStart(6)} ms  p99 ${of(side, 'p99Ms').toFixed(2).padStart(6)} ms  ` +
          `${of(side, 'cpuMicros').toFixed(0).padStart(4)} µs of all processors each  ${aims.join(', ')}`
      )
    }
  }
}

function aim(isMet: boolean, wanted: string): string {
  return ` (wanted ${wanted}: ${isMet ? 'met' : 'NOT met'})`
}

/** Left alone for a while: what each process of a side uses. */
async function idle(
  what: string,
  pids: readonly number[],
  print: Print,
  isAimed: boolean
): Promise<void> {
  await pause(IDLE_SETTLE_MS)
  const before = await Promise.all(pids.map(cpuSeconds))
  await pause(IDLE_MS)
  const after = await Promise.all(pids.map(cpuSeconds))
  const shares = after.map((value, index) => ((value - (before[index] ?? 0)) * 1e5) / IDLE_MS)
  const cpu = Math.max(...shares)
  const rss = Math.max(...(await Promise.all(pids.map(residentMib))))
  const [cpuAim, rssAim] = isAimed ? [aim(cpu <= 2, '≤ 2'), aim(rss <= 150, '≤ 150')] : ['', '']
  print(
    `idle, ${what}: at most ${cpu.toFixed(1)} % of a core${cpuAim}, ${rss.toFixed(0)} MiB resident${rssAim}`
  )
}

/** Where the time goes while 256 clients put: in the node that they are in, and in who leads most. */
async function profiles(mesh: Mesh, print: Print): Promise<void> {
  const groups = await mesh.groups()
  const most = groups.reduce(
    (best, { leads }, index) => (leads.length > (groups[best]?.leads.length ?? 0) ? index : best),
    0
  )
  for (const index of new Set([most, 0])) {
    const node = mesh.nodes[index] as KvWorker
    await node.ask({ do: 'profile' })
    // A node can be asked one thing at a time: the first one puts, and that is the answer to come.
    const load: Load = { what: 'put', clients: 256, ms: PROFILE_MS }
    await mesh.first.ask({ do: 'load', load })
    const { lines = [] } = await node.ask({ do: 'profiled' })
    const leads = groups[index]?.leads.length ?? 0
    const where = index === 0 ? 'with the clients' : 'without clients'
    print(`\n256 clients put; the node that leads ${leads} groups, ${where}:`)
    for (const line of lines) print(line)
  }
  print('')
}

/** From a kill -9 of leaders to the next accepted write of each group. */
async function failover(
  sides: { mesh: Mesh; members: readonly EtcdMember[]; started: Started },
  print: Print
): Promise<void> {
  const { mesh, members, started } = sides
  const killed = NODES - 1
  const leads = (await mesh.groups())[killed]?.leads.filter((shard) => shard >= 0) ?? []
  const asked = mesh.first.ask({ do: 'gaps', shards: leads, ms: GAP_MS })
  await pause(KILL_MS)
  await mesh.nodes[killed]?.end()
  const { gapsMs = [] } = await asked
  const worst = Math.max(...gapsMs)
  print(
    `failover of ${gapsMs.length} groups whose leader was killed: ` +
      `median ${median(gapsMs).toFixed(0)} ms${aim(median(gapsMs) <= 500, '≤ 500')}, ` +
      `worst ${worst.toFixed(0)} ms${aim(worst <= 1_500, '≤ 1500')}`
  )
  if (members.length === 0) return
  const client = started.add(new Worker<KvRequest, KvAnswer>('kv-worker.ts'))
  const areLeading = await Promise.all(members.map((member) => member.leads()))
  await client.ask({ do: 'etcd', url: members[areLeading.indexOf(false)]?.url ?? '' })
  const written = client.ask({ do: 'gaps', shards: [], ms: GAP_MS })
  await pause(KILL_MS)
  await members[areLeading.indexOf(true)]?.kill()
  const [gapMs = Number.NaN] = (await written).gapsMs ?? []
  print(`failover of etcd: ${gapMs.toFixed(0)} ms`)
}
