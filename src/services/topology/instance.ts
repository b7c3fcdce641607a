// One instance of an operator, from its start on a worker to its end: it says where it is, takes what
// is sent to it, and ends when everything is processed.

import { randomBytes } from 'node:crypto'
import { MeshError } from '../../base/errors.ts'
import { createRandom } from '../../base/random.ts'
import type { TaskContext } from '../compute/code/task-context.ts'
import type { Kv } from '../kv/kv.ts'
import type { StreamsClient } from '../streams/streams.ts'
import { inboxName } from './batch-sender.ts'
import { BoltInstance } from './bolt-instance.ts'
import {
  placesOf,
  type InstancePlace,
  type OperatorContext,
  type TopologyDefinition
} from './definition.ts'
import { Fence } from './fence.ts'
import { FigureTeller } from './figures.ts'
import { Outlet } from './outlet.ts'
import { Routes } from './routes.ts'
import { SpoutInstance } from './spout-instance.ts'
import { decodeMessage } from './tuple-codec.ts'
import { Bell, Interruption } from './waiting.ts'

/** What spouts and bolts are made with. */
export type InstanceParts = {
  readonly definition: TopologyDefinition
  readonly place: InstancePlace
  readonly attempt: number
  readonly kv: Kv
  readonly fence: Fence
  readonly routes: Routes
  readonly outlet: Outlet
  readonly context: OperatorContext
  /** Aborted when the instance has to end, whyever. */
  readonly signal: AbortSignal
  /** Over when the topology is to stop, or the instance has to end. */
  readonly stopped: Interruption
  /** Over when there is nothing more to come: all spouts are done, or the instance has to end. */
  readonly ended: Interruption
  /** Rings when something has moved on. */
  readonly bell: Bell
  /** What rejects ends the instance. */
  watch(work: Promise<unknown>): void
}

/** The task of one instance. @returns whether all that it yielded was processed @throws conflict (there is a newer attempt), or what its function throws */
export async function runInstance(
  definition: TopologyDefinition,
  task: TaskContext,
  { index }: { readonly index: number }
): Promise<boolean> {
  const place = placesOf(definition.operators)[index]
  if (place === undefined) throw new MeshError('invalid-argument', `There is no instance ${index}`)
  const { kv, streams, fencingToken: attempt } = task
  const over = new AbortController()
  const signal = AbortSignal.any([task.signal, over.signal])
  try {
    const peer = await streams.open(inboxName(definition.name, index, attempt))
    const record = { peer, attempt }
    const about = { topology: definition.name, index, record }
    const fence = new Fence({ kv, signal }, about)
    if (!(await fence.claim())) return true
    return await runClaimed(definition, task, { place, fence, signal, record })
  } finally {
    over.abort(new MeshError('aborted', 'The instance has ended'))
  }
}

async function runClaimed(
  definition: TopologyDefinition,
  task: TaskContext,
  about: {
    place: InstancePlace
    fence: Fence
    signal: AbortSignal
    record: { peer: string; attempt: number }
  }
): Promise<boolean> {
  const { place, signal, record } = about
  const { kv, streams } = task
  const failed = Promise.withResolvers<never>()
  failed.promise.catch(() => {})
  signal.addEventListener('abort', () => failed.reject(signal.reason))
  const received = new Interruption()
  const watch = (work: Promise<unknown>): void => {
    work.catch((error: unknown) => failed.reject(error))
  }
  const parts = partsOf(definition, task, { ...about, received, watch })
  const isSpout = place.operator.kind === 'spout'
  const runner = isSpout ? new SpoutInstance(parts) : new BoltInstance(parts)
  await runner.load()
  await parts.routes.start()
  const read = (): ReturnType<typeof runner.figures> => runner.figures()
  const names = { topology: definition.name, index: place.index, ...record }
  const figures = new FigureTeller({ kv, signal, read }, names)
  await figures.start()
  const inbox = inboxName(definition.name, place.index, record.attempt)
  watch(receive(streams, inbox, { signal, received, runner }))
  const run = runner.run()
  watch(run)
  const isDrained = await Promise.race([run, failed.promise])
  figures.stop()
  // What they are at the end is nice to know, and no reason to fail.
  await figures.tell().catch(() => {})
  return isDrained
}

async function receive(
  streams: StreamsClient,
  inbox: string,
  about: { signal: AbortSignal; received: Interruption; runner: SpoutInstance | BoltInstance }
): Promise<void> {
  const { signal, received, runner } = about
  let coming = streams.receive(inbox)
  while (!signal.aborted) {
    const batches = await received.or(coming)
    if (batches === undefined) break
    // The next ones come while these are processed.
    coming = streams.receive(inbox)
    for (const batch of batches) {
      if (!signal.aborted) await runner.take(decodeMessage(batch))
    }
  }
  coming.catch(() => {})
}

function partsOf(
  definition: TopologyDefinition,
  task: TaskContext,
  about: {
    place: InstancePlace
    fence: Fence
    signal: AbortSignal
    received: Interruption
    watch: (work: Promise<unknown>) => void
  }
): InstanceParts {
  const { place, fence, signal, received, watch } = about
  const { kv, streams, files, locks, fencingToken } = task
  const { operators, name } = definition
  const log = (...values: readonly unknown[]): void => task.log(...values)
  const routes = new Routes({ kv, signal, log }, name)
  const random = createRandom(randomBytes(4).readUInt32LE())
  const bell = new Bell()
  const components = { streams, routes, signal, random, bell }
  const outlet = new Outlet(components, { topology: name, place, operators })
  const stopped = new Interruption()
  const ended = new Interruption()
  const endAll = (): void => {
    for (const one of [stopped, ended, received]) one.end()
    bell.ring()
  }
  const spouts = placesOf(operators).filter(({ operator }) => operator.kind === 'spout')
  routes.onChanged(() => {
    if (routes.stop !== undefined) stopped.end()
    if (spouts.every(({ index }) => routes.recordOf(index)?.isDone === true)) endAll()
    bell.ring()
  })
  signal.addEventListener('abort', endAll)
  const { operator, instance } = place
  const names = { topology: name, operator: operator.name, instance, parallel: operator.parallel }
  const context: OperatorContext = { signal, log, files, kv, locks, ...names, fencingToken }
  const own = { definition, place, attempt: fencingToken, kv, fence, routes, outlet, context }
  return { ...own, signal, stopped, ended, bell, watch }
}
