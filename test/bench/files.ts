// Files: put and get on real nodes beside Helia and beside one raw stream, in turn, in one run.

import { execFileSync } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NodeProcess } from '../../src/api/node-process.ts'
import type { StreamAnswer, StreamRequest } from './stream-worker.ts'
import { cpuSeconds, pause, residentMib } from './usage.ts'
import type { WorkerAnswer, WorkerRequest } from './worker.ts'
import { median, Worker } from './workers.ts'

type Print = (line: string) => void
type HeliaRequest =
  | { do: 'listen' }
  | { do: 'dial'; address: string }
  | { do: 'put'; bytes: number; seed: number }
  | { do: 'get'; cid: string }

const MIB = 1_048_576
const BYTES = 256 * MIB
const LONG_PUT_BYTES = 2_048 * MIB
const ROUNDS = 5
const IDLE_SETTLE_MS = 10_000
const IDLE_MS = 20_000
const HELIA_PACKAGES = ['helia@7', '@helia/unixfs@8']

/** Prints medians of {@link ROUNDS} interleaved rounds. */
export async function run(print: Print): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'atoll-bench-'))
  const workers: { end(): Promise<void> }[] = []
  const add = <W extends { end(): Promise<void> }>(worker: W): W => {
    workers.push(worker)
    return worker
  }
  try {
    const nodes = await startNodes(root, add)
    const stream = await startStream(add)
    installHelia(root, print)
    const helia = await startHelia(root, add, false)
    const heliaTuned = await startHelia(root, add, true)
    await rounds({ nodes, stream, helia, heliaTuned }, print)
    await longPut(nodes, print)
    await profiles(nodes, print)
    await Promise.all(workers.map((worker) => worker.end()))
    await idle(root, print)
  } finally {
    await Promise.all(workers.map((worker) => worker.end()))
    await rm(root, { recursive: true, force: true })
  }
}

type NodeWorker = Worker<WorkerRequest, WorkerAnswer>
type Add = <W extends { end(): Promise<void> }>(worker: W) => W

/**
 * Three nodes that hold everything between them, and a fourth with so little room that a file it
 * gets comes from the others: with three nodes and three copies every get would be local.
 */
async function startNodes(root: string, add: Add): Promise<NodeWorker[]> {
  const nodes: NodeWorker[] = []
  let address: string | undefined
  for (const [index, capacityBytes] of [64e9, 64e9, 64e9, 256 * MIB].entries()) {
    const node = add(new Worker<WorkerRequest, WorkerAnswer>('worker.ts'))
    const dataDir = join(root, `node-${index}`)
    const started = await node.ask({
      do: 'node',
      dataDir,
      capacityBytes,
      join: address === undefined ? [] : [address]
    })
    address ??= started.address
    nodes.push(node)
  }
  return nodes
}

async function startStream(add: Add): Promise<() => Promise<number>> {
  const listener = add(new Worker<StreamRequest, StreamAnswer>('stream-worker.ts'))
  const sender = add(new Worker<StreamRequest, StreamAnswer>('stream-worker.ts'))
  const { address = '' } = await listener.ask({ do: 'listen' })
  return async () => (await sender.ask({ do: 'send', address, bytes: BYTES })).ms ?? Number.NaN
}

const heliaFolder = (root: string): string => join(root, 'helia')

function installHelia(root: string, print: Print): void {
  print(`installing ${HELIA_PACKAGES.join(' and ')} for this run …`)
  execFileSync(
    'npm',
    [
      'install',
      '--prefix',
      heliaFolder(root),
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      ...HELIA_PACKAGES
    ],
    {
      stdio: 'inherit'
    }
  )
}

/** @param isTuned whether Helia has the engine settings that Atoll makes for itself */
async function startHelia(
  root: string,
  add: Add,
  isTuned: boolean
): Promise<(seed: number) => Promise<WorkerAnswer>> {
  const words = [heliaFolder(root), isTuned ? 'tuned' : 'as-it-comes']
  const make = (): Worker<HeliaRequest, WorkerAnswer> =>
    add(new Worker<HeliaRequest, WorkerAnswer>('helia-worker.js', { words, isTuned }))
  const [source, reader] = [make(), make()]
  const { address = '' } = await source.ask({ do: 'listen' })
  await reader.ask({ do: 'dial', address })
  return async (seed) => {
    const { cid = '' } = await source.ask({ do: 'put', bytes: BYTES, seed })
    return await reader.ask({ do: 'get', cid })
  }
}

async function rounds(
  sides: {
    nodes: NodeWorker[]
    stream: () => Promise<number>
    helia: (seed: number) => Promise<WorkerAnswer>
    heliaTuned: (seed: number) => Promise<WorkerAnswer>
  },
  print: Print
): Promise<void> {
  const [writer, holder, , reader] = sides.nodes as [NodeWorker, NodeWorker, NodeWorker, NodeWorker]
  const figures = {
    raw: [],
    put: [],
    get: [],
    getLocal: [],
    helia: [],
    heliaTuned: [],
    first: [],
    heliaFirst: []
  } as Record<string, number[]>
  const rate = (ms = Number.NaN): number => BYTES / MIB / (ms / 1_000)
  for (let round = 0; round <= ROUNDS; round++) {
    const raw = rate(await sides.stream())
    const put = await writer.ask({ do: 'put', bytes: BYTES, seed: round })
    const { cid = '' } = put
    const get = await reader.ask({ do: 'get', cid })
    const getLocal = await holder.ask({ do: 'get', cid })
    const helia = await sides.helia(round)
    const heliaTuned = await sides.heliaTuned(round)
    if ([get, getLocal, helia, heliaTuned].some(({ bytes }) => bytes !== BYTES))
      throw new Error('A get was short')
    if (round === 0) continue // Warm-up.
    figures['raw']?.push(raw)
    figures['put']?.push(rate(put.ms))
    figures['get']?.push(rate(get.ms))
    figures['getLocal']?.push(rate(getLocal.ms))
    figures['helia']?.push(rate(helia.ms))
    figures['heliaTuned']?.push(rate(heliaTuned.ms))
    figures['first']?.push(get.firstMs ?? Number.NaN)
    figures['heliaFirst']?.push(helia.firstMs ?? Number.NaN)
    print(
      `round ${round}: raw ${raw.toFixed(0)}, put ${rate(put.ms).toFixed(0)}, get ${rate(get.ms).toFixed(0)}, ` +
        `local get ${rate(getLocal.ms).toFixed(0)}, Helia get ${rate(helia.ms).toFixed(0)}, tuned ${rate(heliaTuned.ms).toFixed(0)} MiB/s`
    )
  }
  const at = (name: string): number => median(figures[name] ?? [])
  const line = (what: string, name: string, rest = ''): void =>
    print(`${what.padEnd(44)} ${at(name).toFixed(0).padStart(6)} MiB/s  ${rest}`)
  const ratio = (a: string, b: string): string => (at(a) / at(b)).toFixed(2)
  print(`\n${BYTES / MIB} MiB, medians of ${ROUNDS} rounds:`)
  line('one raw noise + yamux stream', 'raw')
  line('put, 3 copies, fsync, majority', 'put', `${ratio('put', 'raw')} × raw (wanted ≥ 0.4)`)
  line(
    'get from other nodes',
    'get',
    `${ratio('get', 'raw')} × raw (wanted ≥ 0.7), ${ratio('get', 'helia')} × Helia (wanted ≥ 2)`
  )
  line('get at a node that has it', 'getLocal', `${ratio('getLocal', 'raw')} × raw`)
  line('Helia get between two nodes, as it comes', 'helia')
  line(
    "the same with Atoll's engine settings",
    'heliaTuned',
    `Atoll is ${ratio('get', 'heliaTuned')} × as fast`
  )
  print(
    `first byte of a get from other nodes: ${at('first').toFixed(1)} ms (wanted ≤ 50); Helia ${at('heliaFirst').toFixed(1)} ms`
  )
}

async function longPut(nodes: NodeWorker[], print: Print): Promise<void> {
  const writer = nodes[0] as NodeWorker
  const {
    ms = 0,
    rssBefore = 0,
    rssPeak = 0
  } = await writer.ask({ do: 'put', bytes: LONG_PUT_BYTES, seed: 99 })
  print(
    `put of ${LONG_PUT_BYTES / MIB} MiB: ${(LONG_PUT_BYTES / MIB / (ms / 1_000)).toFixed(0)} MiB/s, memory ` +
      `${(rssBefore / MIB).toFixed(0)} → at most ${(rssPeak / MIB).toFixed(0)} MiB: ` +
      `${((rssPeak - rssBefore) / MIB).toFixed(0)} MiB more (wanted ≤ 64)`
  )
}

/** Where the time of a put goes, and of a get, at both ends; the profiler has its own cost. */
async function profiles(nodes: NodeWorker[], print: Print): Promise<void> {
  const [writer, holder, , reader] = nodes as [NodeWorker, NodeWorker, NodeWorker, NodeWorker]
  const watch = async (
    ends: readonly (readonly [string, NodeWorker])[],
    work: () => Promise<WorkerAnswer>
  ): Promise<string> => {
    for (const [, end] of ends) await end.ask({ do: 'profile' })
    const { cid = '' } = await work()
    for (const [name, end] of ends) {
      const { lines = [], cpuMs = 0 } = await end.ask({ do: 'profiled' })
      print(`\n${name}: ${(cpuMs / (BYTES / MIB)).toFixed(1)} ms of processor time per MiB;`)
      for (const line of lines) print(line)
    }
    return cid
  }
  const ends = [
    ['put, the writer', writer],
    ['put, another owner', holder]
  ] as const
  const cid = await watch(ends, () => writer.ask({ do: 'put', bytes: BYTES, seed: 98 }))
  await watch([['get, the reader', reader]], () => reader.ask({ do: 'get', cid }))
}

/** Three nodes as users start them, left alone. */
async function idle(root: string, print: Print): Promise<void> {
  const nodes: NodeProcess[] = []
  try {
    for (let index = 0; index < 3; index++) {
      const first = nodes[0]?.up.addresses[0]
      nodes.push(
        await NodeProcess.start({
          dataDir: join(root, `idle-${index}`),
          words: [
            '--preset',
            'local',
            '--capacity',
            '1GiB',
            ...(first === undefined ? [] : ['--join', first])
          ]
        })
      )
    }
    await pause(IDLE_SETTLE_MS)
    const before = await Promise.all(nodes.map(({ pid }) => cpuSeconds(pid)))
    await pause(IDLE_MS)
    const after = await Promise.all(nodes.map(({ pid }) => cpuSeconds(pid)))
    const cpu = after.map(
      (seconds, index) => ((seconds - (before[index] ?? 0)) / (IDLE_MS / 1_000)) * 100
    )
    const rss = await Promise.all(nodes.map(({ pid }) => residentMib(pid)))
    print(
      `idle node of three: ${median(rss).toFixed(0)} MiB resident (wanted ≤ 150), ` +
        `${median(cpu).toFixed(2)} % of a core (wanted ≤ 2)`
    )
  } finally {
    await Promise.all(nodes.map((node) => node.stop()))
  }
}
