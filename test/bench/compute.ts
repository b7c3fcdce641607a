// Work: three nodes, BullMQ on Redis and Piscina alone, side by side, in turn, in one run; then what
// nobody else has to be measured by: how close a job on unlike nodes comes to what is possible, who
// gets how much, a hundred thousand tasks that wait, and tasks whose process is killed.

import { mkdtemp, rm } from 'node:fs/promises'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Span } from './compute-load.ts'
import type { ComputeAnswer, ComputeRequest, WorkWay } from './compute-worker.ts'
import { redisVersion, startRedis, type AppendFsync } from './redis.ts'
import { cpuSeconds, pause, processTrees } from './usage.ts'
import { median, Worker } from './workers.ts'

type Print = (line: string) => void
type Process = Worker<ComputeRequest, ComputeAnswer>
type Ending = { end(): Promise<void> }

const NODES = 3
const SLOTS = 2
const SHARDS = 32
const ROUNDS = 3
const ROUND_TASKS = 4_096
const WARM_UPS = 3
const SETTLE_MS_MAX = 60_000
/** As many as a node takes of tasks that are over at once, in as many processes as there are nodes. */
const QUEUE_CONCURRENCY = 64
/** One at a time, while nothing else goes on. */
const IDLE_TIMES = 60
const IDLE_PAUSE_MS = 15
/** Of the nodes for one job: four times the usual one, and so on. */
const SPEEDS = [4, 2, 1, 1, 0.5]
const JOB_TASKS = 600
const JOB_ROUNDS = 3
const WORK_MS = { min: 20, max: 50 }
const HEAVY_EVERY = 50
const HEAVY_TIMES = { min: 10, max: 20 }
const FAIR_TASKS = 300
const QUEUED_TASKS = 100_000
const QUEUED_MS = 10_000
const KILLS = 5
/** A process that ends five times in ten seconds isn't started at once any more. */
const KILL_PAUSE_MS = 2_500
/** By then a slow node has given up what a faster one was done with before it. */
const SPENT_MS = 2_500

type Side = {
  readonly name: string
  readonly way: WorkWay
  readonly client: Process
  /** All processes that work for it, and theirs. */
  readonly pids: () => Promise<readonly number[]>
}
type Figures = { rates: number[]; cpuMicros: number[]; tookMs: number[] }

/** Everything that was started, to be ended however it goes. */
class Started {
  readonly #all: Ending[] = []

  add<Of extends Ending>(started: Of): Of {
    this.#all.push(started)
    return started
  }

  worker(env: Readonly<Record<string, string>> = {}): Process {
    return this.add(new Worker<ComputeRequest, ComputeAnswer>('compute-worker.ts', { env }))
  }

  async end(): Promise<void> {
    await Promise.all(this.#all.splice(0).map((started) => started.end()))
  }
}

/** Prints medians of {@link ROUNDS} interleaved rounds, and the rest of the figures. */
export async function run(print: Print): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'atoll-bench-compute-'))
  const started = new Started()
  const onSignal = (): void => {
    void started
      .end()
      .then(() => rm(root, { recursive: true, force: true }))
      .finally(() => process.exit(130))
  }
  process.once('SIGINT', onSignal).once('SIGTERM', onSignal)
  try {
    const nodes = await startNodes({ root, started, name: 'node' }, Array(NODES).fill(1), print)
    const sides = [...nodeSides(nodes), ...(await peerSides(root, started, print))]
    await rounds(sides, print)
    await fairness(nodes, print)
    await kills(nodes, print)
    await queued(nodes, print)
    await started.end()
    await makespan({ root, started, name: 'unlike' }, print)
  } finally {
    process.off('SIGINT', onSignal).off('SIGTERM', onSignal)
    await started.end()
    await rm(root, { recursive: true, force: true, maxRetries: 3 })
  }
}

/** Nodes of one mesh, each a process, and settled. */
async function startNodes(
  about: { root: string; started: Started; name: string },
  speeds: readonly number[],
  print: Print
): Promise<Process[]> {
  const { root, started, name } = about
  const nodes: Process[] = []
  const addresses: string[] = []
  const isUnlike = speeds.some((speed) => speed !== 1)
  for (const [index, speed] of speeds.entries()) {
    const node = started.worker({ HOME: join(root, `speed-${speed}`) })
    const { address = '' } = await node.ask({
      do: 'node',
      dataDir: join(root, `${name}-${index}`),
      join: addresses.slice(0, 1),
      slots: isUnlike ? 1 : SLOTS,
      speed,
      shards: SHARDS
    })
    nodes.push(node)
    addresses.push(address)
  }
  const startMs = performance.now()
  for (;;) {
    const groups = await Promise.all(nodes.map((node) => node.ask({ do: 'groups' })))
    const replicas = groups.reduce((sum, group) => sum + (group.replicas ?? 0), 0)
    const isWhole = groups.every(({ isSettled }) => isSettled === true)
    const tookMs = performance.now() - startMs
    if ((isWhole && replicas === 3 * (SHARDS + 1)) || tookMs > SETTLE_MS_MAX) {
      const how = tookMs > SETTLE_MS_MAX ? 'NOT settled' : 'settled'
      print(`${nodes.length} nodes ${how} after ${(tookMs / 1_000).toFixed(1)} s`)
      return nodes
    }
    await pause(200)
  }
}

function nodeSides(nodes: readonly Process[]): Side[] {
  const pids = async (): Promise<number[]> => await processTrees(nodes.map(({ pid }) => pid))
  const client = nodes[0] as Process
  return [
    { name: 'ephemeral', way: 'ephemeral', client, pids },
    { name: 'durable', way: 'durable', client, pids }
  ]
}

/** BullMQ where Redis is installed, and Piscina. */
async function peerSides(root: string, started: Started, print: Print): Promise<Side[]> {
  const sides: Side[] = []
  const version = redisVersion()
  if (version === undefined) {
    print('redis-server is not installed: BullMQ is LEFT OUT, and all that is measured by it')
  } else {
    print(
      `the peer: BullMQ on Redis ${version}, ${NODES} processes of ${QUEUE_CONCURRENCY} at a time`
    )
    for (const fsync of ['everysec', 'always'] as const) {
      sides.push(await queueSide({ root, started }, fsync))
    }
  }
  const pool = started.worker()
  await pool.ask({ do: 'pool', threads: SLOTS })
  const pids = async (): Promise<number[]> => await processTrees([pool.pid])
  sides.push({ name: `Piscina, ${SLOTS} threads`, way: 'pool', client: pool, pids })
  return sides
}

async function queueSide(
  { root, started }: { root: string; started: Started },
  fsync: AppendFsync
): Promise<Side> {
  const redis = started.add(await startRedis(root, fsync))
  const { port } = redis
  const servers = Array.from({ length: NODES }, () => started.worker())
  for (const server of servers) {
    await server.ask({ do: 'serve', port, concurrency: QUEUE_CONCURRENCY })
  }
  const client = started.worker()
  await client.ask({ do: 'queue', port })
  const all = [redis.pid, client.pid, ...servers.map(({ pid }) => pid)]
  const pids = (): Promise<number[]> => Promise.resolve(all)
  return { name: `BullMQ, ${fsync}`, way: 'queue', client, pids }
}

async function rounds(sides: readonly Side[], print: Print): Promise<void> {
  const figures = new Map<Side, Figures>()
  for (const side of sides) {
    figures.set(side, { rates: [], cpuMicros: [], tookMs: [] })
    for (let time = 0; time < WARM_UPS; time++) {
      await side.client.ask({ do: 'rate', way: side.way, count: ROUND_TASKS })
      await side.client.ask({ do: 'clean', way: side.way })
    }
  }
  for (let round = 1; round <= ROUNDS; round++) {
    const shown: string[] = []
    for (const side of sides) {
      const { client, way } = side
      const pids = await side.pids()
      const before = await sum(pids)
      const { rate = Number.NaN } = await client.ask({ do: 'rate', way, count: ROUND_TASKS })
      const micros = (((await sum(pids)) - before) * 1e6) / ROUND_TASKS
      await client.ask({ do: 'clean', way })
      figures.get(side)?.rates.push(rate)
      figures.get(side)?.cpuMicros.push(micros)
      shown.push(`${side.name} ${rate.toFixed(0)}`)
    }
    print(`round ${round}: ${shown.join(', ')} a second; load ${loadavg()[0]?.toFixed(1)}`)
    for (const side of sides) {
      const { client, way } = side
      const asked = { times: IDLE_TIMES, pauseMs: IDLE_PAUSE_MS }
      const { tookMs = [] } = await client.ask({ do: 'latencies', way, ...asked })
      figures.get(side)?.tookMs.push(...tookMs)
    }
  }
  report(figures, print)
  await profiles(sides, print)
}

async function sum(pids: readonly number[]): Promise<number> {
  const seconds = await Promise.all(pids.map(cpuSeconds))
  return seconds.reduce((total, one) => total + one, 0)
}

const WANTED: Readonly<Record<string, { times: number; p50Ms: number; p99Ms: number }>> = {
  ephemeral: { times: 1.5, p50Ms: 2, p99Ms: 10 },
  durable: { times: 1, p50Ms: 8, p99Ms: 40 }
}

function report(figures: ReadonlyMap<Side, Figures>, print: Print): void {
  print(`\ntasks that do nothing, medians of ${ROUNDS} rounds of ${ROUND_TASKS}:`)
  const peer = [...figures].find(([{ name }]) => name === 'BullMQ, everysec')
  const peerRate = median(peer?.[1].rates ?? [])
  for (const [{ name }, { rates, cpuMicros }] of figures) {
    const rate = median(rates)
    const times = rate / peerRate
    const wanted = WANTED[name]
    const against =
      Number.isNaN(times) || name.startsWith('BullMQ, e')
        ? ''
        : `${times.toFixed(2)} × BullMQ, everysec${wanted === undefined ? '' : aim(times >= wanted.times, `≥ ${wanted.times}`)}`
    print(
      `${name.padEnd(18)} ${rate.toFixed(0).padStart(6)}/s  ` +
        `${median(cpuMicros).toFixed(0).padStart(5)} µs of all processors each  ${against}`
    )
  }
  print(`\none at a time, idle, ${ROUNDS * IDLE_TIMES} times:`)
  for (const [{ name }, { tookMs }] of figures) {
    const sorted = tookMs.toSorted((a, b) => a - b)
    const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? Number.NaN
    const wanted = WANTED[name]
    const [p50, p99] = [at(0.5), at(0.99)]
    const aims =
      wanted === undefined ? ['', ''] : [wantedMs(p50, wanted.p50Ms), wantedMs(p99, wanted.p99Ms)]
    print(
      `${name.padEnd(18)} p50 ${p50.toFixed(2).padStart(7)} ms${aims[0]}  p99 ${p99.toFixed(2).padStart(7)} ms${aims[1]}`
    )
  }
}

function wantedMs(ms: number, mostMs: number): string {
  return aim(ms <= mostMs, `≤ ${mostMs}`)
}

function aim(isMet: boolean, wanted: string): string {
  return ` (wanted ${wanted}: ${isMet ? 'met' : 'NOT met'})`
}

/** Where the time of the node goes that has the program inside. */
async function profiles(sides: readonly Side[], print: Print): Promise<void> {
  for (const { name, way, client } of sides) {
    if (way !== 'ephemeral' && way !== 'durable') continue
    await client.ask({ do: 'profile' })
    await client.ask({ do: 'rate', way, count: 2 * ROUND_TASKS })
    const { lines = [] } = await client.ask({ do: 'profiled' })
    print(`\n${name} tasks that do nothing; the node with the program inside:`)
    for (const line of lines) print(line)
  }
  print('')
}

/** Two submit the same at the same time: what each had of the slots while both wanted some. */
async function fairness(nodes: readonly Process[], print: Print): Promise<void> {
  const indexes: number[] = []
  for (let round = 0; round < JOB_ROUNDS; round++) {
    const works = worksOf(FAIR_TASKS, seeded(round + 1))
    const answers = await Promise.all(
      nodes.slice(0, 2).map((node) => node.ask({ do: 'naps', works }))
    )
    const all = answers.map(({ spans = [] }) => spans)
    const beginMs = Math.max(...answers.map(({ submittedMs = 0 }) => submittedMs))
    const endMs = Math.min(...all.map((spans) => Math.max(...spans.map((span) => span.endedMs))))
    const had = all.map((spans) => slotMs(spans, beginMs, endMs))
    const total = had.reduce((a, b) => a + b, 0)
    const squares = had.reduce((a, b) => a + b * b, 0)
    indexes.push((total * total) / (had.length * squares))
  }
  const least = Math.min(...indexes)
  print(
    `two submitters of ${FAIR_TASKS} tasks: Jain's index ${indexes.map((one) => one.toFixed(3)).join(', ')}` +
      aim(least >= 0.98, '≥ 0.98')
  )
}

function slotMs(spans: readonly Span[], fromMs: number, untilMs: number): number {
  return spans.reduce((total, { beganMs, endedMs }) => {
    return total + Math.max(0, Math.min(endedMs, untilMs) - Math.max(beganMs, fromMs))
  }, 0)
}

async function kills(nodes: readonly Process[], print: Print): Promise<void> {
  for (const way of ['durable', 'ephemeral'] as const) {
    const tookMs: number[] = []
    for (let round = 0; round < KILLS; round++) {
      await pause(KILL_PAUSE_MS)
      const client = nodes[round % nodes.length] as Process
      const { ms = Number.NaN } = await client.ask({ do: 'kill', way, round })
      tookMs.push(ms)
    }
    print(
      `${way}: a task whose process is killed runs again after ${median(tookMs).toFixed(0)} ms` +
        `${wantedMs(median(tookMs), 1_000)}, at worst ${Math.max(...tookMs).toFixed(0)} ms`
    )
  }
}

/** So many that nobody gets to them while it is measured. */
async function queued(nodes: readonly Process[], print: Print): Promise<void> {
  const before = await Promise.all(nodes.map((node) => node.ask({ do: 'counts' })))
  const works = Array.from({ length: QUEUED_TASKS }, () => 60_000)
  const { ms = Number.NaN } = await (nodes[0] as Process).ask({ do: 'submit', works })
  await pause(QUEUED_MS)
  const after = await Promise.all(nodes.map((node) => node.ask({ do: 'counts' })))
  const grown = after.map((one, index) => {
    return (one.residentMib ?? 0) - (before[index]?.residentMib ?? 0)
  })
  const published = after.reduce((total, one, index) => {
    return total + (one.published ?? 0) - (before[index]?.published ?? 0)
  }, 0)
  await (nodes[0] as Process).ask({ do: 'cancel' })
  const most = Math.max(...grown)
  print(
    `${QUEUED_TASKS} tasks that wait: submitted in ${(ms / 1_000).toFixed(2)} s; ` +
      `nodes grew by ${grown.map((mib) => mib.toFixed(0)).join(', ')} MiB${aim(most <= 100, '≤ 100')}; ` +
      `${published} messages by gossip${aim(published <= 100, '≤ 100')} until ${QUEUED_MS / 1_000} s later`
  )
}

/** A job on nodes of unlike speed, and the least time that it could take. */
async function makespan(
  about: { root: string; started: Started; name: string },
  print: Print
): Promise<void> {
  const nodes = await startNodes(about, SPEEDS, print)
  const client = nodes[0] as Process
  const speedSum = SPEEDS.reduce((a, b) => a + b, 0)
  for (let time = 0; time < WARM_UPS; time++) {
    await client.ask({ do: 'rate', way: 'durable', count: ROUND_TASKS })
    await client.ask({ do: 'clean', way: 'durable' })
  }
  await client.ask({ do: 'naps', works: worksOf(100, seeded(1)) })
  const ratios: number[] = []
  for (let round = 0; round < JOB_ROUNDS; round++) {
    await pause(SPENT_MS)
    const works = worksOf(JOB_TASKS, seeded(100 + round))
    const longest = Math.max(...works) / Math.max(...SPEEDS)
    const leastMs = Math.max(works.reduce((a, b) => a + b, 0) / speedSum, longest)
    const { ms = Number.NaN, spans = [] } = await client.ask({ do: 'naps', works })
    ratios.push(ms / leastMs)
    const napMs = spans.reduce((total, span) => total + span.endedMs - span.beganMs, 0)
    const over =
      napMs / works.reduce((total, work, index) => total + work / (spans[index]?.speed ?? 1), 0)
    const shares = [...new Set(SPEEDS)].map((speed) => {
      return `${spans.filter((span) => span.speed === speed).length} at ${speed}`
    })
    print(
      `${JOB_TASKS} tasks on nodes of speed ${SPEEDS.join(', ')}: ${ms.toFixed(0)} ms, ` +
        `${(ms / leastMs).toFixed(3)} × the least possible (${shares.join(', ')}; ` +
        `slots asleep ${((100 * napMs) / (ms * SPEEDS.length)).toFixed(0)} % of the time, ` +
        `each for ${over.toFixed(3)} × as long as it should)`
    )
  }
  const ratio = median(ratios)
  print(`makespan: ${ratio.toFixed(3)} × the least possible${aim(ratio <= 1.15, '≤ 1.15')}`)
}

/** Of 20 to 50 ms, and one of fifty 10 to 20 times as long. */
function worksOf(count: number, random: () => number): number[] {
  const between = ({ min, max }: { min: number; max: number }): number =>
    min + random() * (max - min)
  return Array.from({ length: count }, () => {
    const times = random() < 1 / HEAVY_EVERY ? between(HEAVY_TIMES) : 1
    return between(WORK_MS) * times
  })
}

/** @returns numbers from 0 to 1, the same for the same seed */
function seeded(seed: number): () => number {
  let state = seed * 2_654_435_761
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
