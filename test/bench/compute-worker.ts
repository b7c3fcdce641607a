// A process of the bench of work: a node with a program inside, a worker of BullMQ, or a program that
// has BullMQ or Piscina do the same.

import { join } from 'node:path'
import { QueueEvents, Queue, Worker } from 'bullmq'
import { Piscina } from 'piscina'
import { createNode, type Job, type LocalNode } from '../../src/index.ts'
import {
  latenciesOf,
  nap,
  noop,
  rateOf,
  telling,
  type Span,
  type WorkTarget
} from './compute-load.ts'
import { setUpEngine } from './engine.ts'
import { Profile } from './profile.ts'
import { pause, residentMib } from './usage.ts'

export type WorkWay = 'ephemeral' | 'durable' | 'queue' | 'pool'

export type ComputeRequest =
  | { do: 'node'; dataDir: string; join: string[]; slots: number; speed: number; shards: number }
  | { do: 'groups' }
  /** Takes tasks from a queue, so many at one time. */
  | { do: 'serve'; port: number; concurrency: number }
  | { do: 'queue'; port: number }
  | { do: 'pool'; threads: number }
  | { do: 'rate'; way: WorkWay; count: number }
  /** Forgets what was done. */
  | { do: 'clean'; way: WorkWay }
  | { do: 'latencies'; way: WorkWay; times: number; pauseMs: number }
  /** Submits naps, and waits until they are done. */
  | { do: 'naps'; works: number[] }
  /** Submits naps and leaves them there. */
  | { do: 'submit'; works: number[] }
  | { do: 'cancel' }
  | { do: 'counts' }
  /** Ends the process of a task that runs, and waits until the task runs again. */
  | { do: 'kill'; way: 'ephemeral' | 'durable'; round: number }
  | { do: 'profile' }
  | { do: 'profiled' }

export type ComputeAnswer = {
  error?: string
  address?: string
  isSettled?: boolean
  replicas?: number
  rate?: number
  tookMs?: number[]
  /** When the mesh had the job. */
  submittedMs?: number
  spans?: Span[]
  ms?: number
  /** Messages with offers that this node has gossiped. */
  published?: number
  residentMib?: number
  lines?: string[]
}

const QUEUE = 'work'
const POLL_MS = 2
/** A task whose process is killed would take so long, and is given this time until it is. */
const KILLED_WORK_MS = 1_500
const KILL_AFTER_MS = 300
const RUNNING_MS_MAX = 20_000

setUpEngine()
const targets = new Map<WorkWay, WorkTarget>()
let node: LocalNode | undefined
let queued: Job | undefined
let profile: Profile | undefined

async function perform(request: ComputeRequest): Promise<ComputeAnswer> {
  switch (request.do) {
    case 'node':
      return await startNode(request)
    case 'serve':
      serve(request)
      return {}
    case 'queue':
      targets.set('queue', await queueTarget(request.port))
      return {}
    case 'pool':
      targets.set('pool', poolTarget(request.threads))
      return {}
    case 'rate':
      return { rate: await rateOf(targetOf(request.way), request.count) }
    case 'clean':
      await targetOf(request.way).clean?.()
      return {}
    case 'latencies':
      return { tookMs: await latenciesOf(targetOf(request.way), request) }
    case 'profile':
      profile = await Profile.start()
      return {}
    case 'profiled':
      return { lines: (await profile?.stop()) ?? [] }
    default:
      return await performAtNode(request, nodeHere())
  }
}

async function performAtNode(request: ComputeRequest, here: LocalNode): Promise<ComputeAnswer> {
  switch (request.do) {
    case 'groups': {
      const { isSettled, host } = here.shardLayer
      return { isSettled, replicas: [...host.replicas()].length }
    }
    case 'naps':
      return await naps(here, request.works)
    case 'submit': {
      const startMs = performance.now()
      queued = await here.submit(nap, request.works)
      return { ms: performance.now() - startMs }
    }
    case 'cancel':
      await queued?.cancel()
      return {}
    case 'counts': {
      return { published: here.work.offersPublished, residentMib: await residentMib(process.pid) }
    }
    case 'kill':
      return { ms: await killed(here, request) }
    default:
      throw new Error(`Nothing does ${request.do}`)
  }
}

async function startNode(request: ComputeRequest & { do: 'node' }): Promise<ComputeAnswer> {
  const { dataDir, join: addresses, slots, speed, shards } = request
  const about = { dataDir, join: addresses, slots, speed, shards }
  node = await createNode({ ...about, capacityBytes: 1e9, preset: 'local' })
  const here = node
  targets.set('ephemeral', {
    async many(count) {
      for await (const value of here.map(noop, numbers(count), { ordered: false })) void value
    },
    one: async () => await here.run(noop, 1)
  })
  let job: Job | undefined
  targets.set('durable', {
    async many(count) {
      job = await here.submit(noop, numbers(count))
      const { done } = await job.wait()
      if (done !== count) throw new Error(`${done} of ${count} tasks are done`)
    },
    async one() {
      const one = await here.submit(noop, [1])
      for await (const { value } of one.results()) return value
      throw new Error('There is no result')
    },
    clean: async () => await job?.remove()
  })
  return { address: here.addresses[0] ?? '' }
}

async function naps(here: LocalNode, works: readonly number[]): Promise<ComputeAnswer> {
  const startMs = performance.now()
  const job = await here.submit(nap, works)
  const submittedMs = Date.now()
  await job.wait()
  const ms = performance.now() - startMs
  const spans: Span[] = []
  for await (const { value } of job.results()) spans.push(value)
  return { ms, submittedMs, spans }
}

/** @returns from the end of the process until the task runs again */
async function killed(
  here: LocalNode,
  { way, round }: ComputeRequest & { do: 'kill' }
): Promise<number> {
  const input = { key: `bench/${way}-${round}`, workMs: KILLED_WORK_MS }
  const over =
    way === 'durable'
      ? here.submit(telling, [input]).then(async (job) => await job.wait())
      : here.run(telling, input)
  const first = await told(here, input.key, () => true)
  await pause(KILL_AFTER_MS)
  const killedMs = Date.now()
  process.kill(first.pid, 'SIGKILL')
  const again = await told(here, input.key, ({ beganMs }) => beganMs >= killedMs)
  await over
  return again.beganMs - killedMs
}

type Told = { beganMs: number; pid: number }

async function told(here: LocalNode, key: string, is: (one: Told) => boolean): Promise<Told> {
  const untilMs = performance.now() + RUNNING_MS_MAX
  for (;;) {
    // On a machine that is busy with something else a shard may be without a leader for a moment.
    const entry = await here.kv.get(key).catch(() => undefined)
    const one = entry === undefined ? undefined : (JSON.parse(entry.text()) as Told)
    if (one !== undefined && is(one)) return one
    if (performance.now() > untilMs) throw new Error(`${key} was not told`)
    await pause(POLL_MS)
  }
}

function serve({ port, concurrency }: ComputeRequest & { do: 'serve' }): void {
  const connection = { host: '127.0.0.1', port }
  const worker = new Worker(QUEUE, (job) => Promise.resolve(job.data), { connection, concurrency })
  worker.on('error', () => {})
}

async function queueTarget(port: number): Promise<WorkTarget> {
  const connection = { host: '127.0.0.1', port }
  const queue = new Queue<number>(QUEUE, { connection })
  const events = new QueueEvents(QUEUE, { connection })
  await Promise.all([queue.waitUntilReady(), events.waitUntilReady()])
  return {
    async many(count) {
      await queue.addBulk(numbers(count).map((data) => ({ name: 'noop', data })))
      while ((await queue.getCompletedCount()) < count) await pause(POLL_MS)
    },
    async one() {
      const job = await queue.add('noop', 1)
      return (await job.waitUntilFinished(events)) as unknown
    },
    async clean() {
      await queue.clean(0, 0, 'completed')
    }
  }
}

function poolTarget(threads: number): WorkTarget {
  const filename = join(import.meta.dirname, 'noop-thread-worker.js')
  const pool = new Piscina({ filename, name: 'noop', minThreads: threads, maxThreads: threads })
  return {
    async many(count) {
      let next = 0
      const work = async (): Promise<void> => {
        while (next < count) await pool.run(next++)
      }
      await Promise.all(Array.from({ length: 512 }, work))
    },
    one: async () => await pool.run(1)
  }
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, number) => number)
}

function targetOf(way: WorkWay): WorkTarget {
  const target = targets.get(way)
  if (target === undefined) throw new Error(`Nobody here does ${way}`)
  return target
}

function nodeHere(): LocalNode {
  if (node === undefined) throw new Error('There is no node yet')
  return node
}

// Whoever started it is gone.
process.on('disconnect', () => process.exit(0))
process.on('message', (request: ComputeRequest) => {
  perform(request)
    .catch((error: unknown): ComputeAnswer => {
      return { error: error instanceof Error ? (error.stack ?? error.message) : String(error) }
    })
    .then((answer) => process.send?.(answer))
    .catch(() => process.exit(1))
})
