// The faults of a chaos run. Each is done, mended and measured: how long until every shard accepted a
// write again, after what broke and after what mended it.

import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pick, type Random } from '../../../src/base/random.ts'
import { pause, until } from '../process-mesh.ts'
import type { Cluster } from './cluster.ts'
import type { Trouble } from './disk-and-clock.ts'
import type { Ledger } from './ledger.ts'

const HOUR_MS = 3_600_000
const SOUND: Trouble = { diskDelayMs: 0, clockOffsetMs: 0 }
const DAMAGED_STARTS = 3
/** Longer than that, and the service is taken for dead. */
const SERVED_LIMIT_MS = 60_000

export type Context = {
  readonly cluster: Cluster
  readonly ledger: Ledger
  readonly random: Random
  /** Tells how long the service took to come back after something. */
  readonly onServed: (after: string, durationMs: number) => void
}

export type Fault = {
  readonly name: string
  readonly needs?: 'networks' | 'small disk'
  /** Takes a replica away for good: all others must be whole before and after it. */
  readonly isLoss?: boolean
  run(context: Context): Promise<void>
}

/** Breaks something that a majority survives: the service must be back by itself. */
async function broken(context: Context, what: string, work: () => Promise<void>): Promise<void> {
  context.ledger.phase = what
  await work()
  await untilServed(context, what, context.ledger.mark())
}

/** Mends what was broken: the service must be back soon after it began. */
async function mended(context: Context, what: string, work: () => Promise<void>): Promise<void> {
  context.ledger.phase = what
  const sinceMs = context.ledger.mark()
  await work()
  await untilServed(context, what, sinceMs)
}

async function untilServed(context: Context, after: string, sinceMs: number): Promise<void> {
  const { ledger, onServed } = context
  onServed(after, await ledger.servedSince(sinceMs, SERVED_LIMIT_MS))
}

function someNodes({ cluster, random }: Context, count: number): number[] {
  const left = Array.from({ length: cluster.count }, (_, index) => index)
  return Array.from({ length: count }, () => left.splice(random.below(left.length), 1)[0] ?? 0)
}

const back = async (context: Context, nodes: readonly number[]): Promise<void> => {
  await Promise.all(nodes.map(async (index) => await context.cluster.start(index)))
}

function kill(count: number): Fault {
  const isAll = count === 5
  return {
    name: isAll ? 'kill -9 of all' : `kill -9 of ${count}`,
    async run(context) {
      const { cluster, random } = context
      const nodes = someNodes(context, count)
      const strike = async (): Promise<void> => {
        await Promise.all(nodes.map(async (index) => await cluster.kill(index)))
      }
      if (count === 1) await broken(context, 'kill -9', strike)
      else await strike()
      context.ledger.phase = `${count} nodes killed`
      await pause(random.below(3_000))
      await mended(context, `start of ${count} killed`, async () => await back(context, nodes))
    }
  }
}

function stopped(count: number): Fault {
  return {
    name: `SIGSTOP of ${count}`,
    async run(context) {
      const { cluster, random } = context
      const nodes = someNodes(context, count)
      const signal = (name: 'SIGSTOP' | 'SIGCONT'): Promise<void> => {
        for (const index of nodes) cluster.node(index).signal(name)
        return Promise.resolve()
      }
      if (count === 1) await broken(context, 'SIGSTOP', async () => await signal('SIGSTOP'))
      else await signal('SIGSTOP')
      context.ledger.phase = `${count} nodes stopped`
      await pause(1_000 + random.below(count === 1 ? 9_000 : 4_000))
      await mended(context, `SIGCONT of ${count}`, async () => await signal('SIGCONT'))
    }
  }
}

const POLITE: Fault = {
  name: 'polite stop',
  async run(context) {
    const { cluster, random } = context
    const [index = 0] = someNodes(context, 1)
    await broken(context, 'polite stop', async () => void (await cluster.node(index).stop()))
    await pause(random.below(2_000))
    await mended(context, 'start of 1 stopped', async () => await back(context, [index]))
  }
}

/** From whom to whom nothing gets. */
type Cuts = (context: Context) => (readonly [number, number])[]

function between(some: readonly number[], others: readonly number[]): [number, number][] {
  return some.flatMap((one) => others.flatMap((other): [number, number][] => [[one, other]]))
}

const bothWays = (pairs: [number, number][]): [number, number][] => [
  ...pairs,
  ...pairs.map(([from, to]): [number, number] => [to, from])
]

function cut(name: string, cuts: Cuts, isMinority: boolean): Fault {
  return {
    name,
    needs: 'networks',
    async run(context) {
      const { cluster, random } = context
      const strike = async (): Promise<void> => {
        await Promise.all(cuts(context).map(async ([from, to]) => await cluster.cut(from, to)))
      }
      if (isMinority) await broken(context, name, strike)
      else await strike()
      context.ledger.phase = name
      await pause(1_000 + random.below(7_000))
      await mended(context, `end of ${name}`, async () => await cluster.mend())
    }
  }
}

const alone: Cuts = (context) => {
  const [one = 0, ...others] = someNodes(context, context.cluster.count)
  return bothWays(between([one], others))
}

const halves: Cuts = (context) => {
  const nodes = someNodes(context, context.cluster.count)
  return bothWays(between(nodes.slice(0, 2), nodes.slice(2)))
}

/** One sees both sides, which don't see each other. */
const bridge: Cuts = (context) => {
  const nodes = someNodes(context, context.cluster.count)
  return bothWays(between(nodes.slice(0, 2), nodes.slice(3)))
}

const mute: Cuts = (context) => {
  const [one = 0, ...others] = someNodes(context, context.cluster.count)
  return between([one], others)
}

const deaf: Cuts = (context) => {
  const [one = 0, ...others] = someNodes(context, context.cluster.count)
  return between(others, [one])
}

const everybodyAlone: Cuts = (context) => {
  const nodes = someNodes(context, context.cluster.count)
  return between(nodes, nodes).filter(([from, to]) => from !== to)
}

const FLAPPING: Fault = {
  name: 'flapping cut of one',
  needs: 'networks',
  async run(context) {
    const { cluster, random, ledger } = context
    const pairs = alone(context)
    ledger.phase = 'flapping'
    for (let turn = 0; turn < 8; turn++) {
      await Promise.all(pairs.map(async ([from, to]) => await cluster.cut(from, to)))
      await pause(100 + random.below(900))
      await cluster.mend()
      await pause(100 + random.below(900))
    }
    await mended(context, 'end of flapping', async () => await cluster.mend())
  }
}

const DISK_FULL: Fault = {
  name: 'full disk',
  needs: 'small disk',
  async run(context) {
    const { cluster, random } = context
    const index = cluster.smallDisk ?? 0
    let empty = async (): Promise<void> => {}
    await broken(context, 'full disk', async () => void (empty = await cluster.fillDisk(index)))
    await pause(2_000 + random.below(6_000))
    await mended(context, 'room on the disk', async () => {
      await empty()
      if (!cluster.isRunning(index)) await cluster.start(index)
    })
  }
}

/** As a card that is worn out, or busy with something else. */
const SLOW_DISK: Fault = {
  name: 'slow disk',
  async run(context) {
    const { cluster, random } = context
    const [index = 0] = someNodes(context, 1)
    const diskDelayMs = 50 + random.below(1_500)
    await broken(context, 'slow disk', async () => {
      await cluster.trouble(index, { diskDelayMs, clockOffsetMs: 0 })
    })
    await pause(1_000 + random.below(6_000))
    await mended(context, 'end of slow disk', async () => await cluster.trouble(index, SOUND))
  }
}

/** Some nodes find themselves an hour earlier or later, as when a clock without a battery is set. */
const CLOCK_JUMPS: Fault = {
  name: 'clocks jump by an hour',
  async run(context) {
    const { cluster, random } = context
    const nodes = someNodes(context, 1 + random.below(cluster.count))
    const jump = async (offsetOf: () => number): Promise<void> => {
      const troubles = nodes.map((index) => [index, offsetOf()] as const)
      await Promise.all(
        troubles.map(async ([index, clockOffsetMs]) => {
          await cluster.trouble(index, { diskDelayMs: 0, clockOffsetMs })
        })
      )
    }
    await broken(context, 'clock jump', async () => {
      await jump(() => pick(random, [-HOUR_MS, HOUR_MS]))
    })
    await pause(500 + random.below(3_000))
    await mended(context, 'clock jump back', async () => await jump(() => 0))
  }
}

const WIPED: Fault = {
  name: 'log and state lost',
  isLoss: true,
  async run(context) {
    const { cluster } = context
    const [index = 0] = someNodes(context, 1)
    await broken(context, 'kill -9', async () => await cluster.kill(index))
    await cluster.loseState(index)
    await mended(context, 'start of an empty node', async () => await cluster.start(index))
  }
}

const REPLACED: Fault = {
  name: 'folder lost, evicted, joined anew',
  isLoss: true,
  async run(context) {
    const { cluster } = context
    const [index = 0, other = 1] = someNodes(context, 2)
    const { peerId } = cluster.node(index).up
    await broken(context, 'kill -9', async () => await cluster.kill(index))
    await cluster.loseEverything(index)
    const client = await cluster.client(other)
    await until('it is evicted', 30_000, async () => {
      await client.json(`evict/${encodeURIComponent(peerId)}`, { method: 'POST' })
      return true
    })
    await mended(context, 'start of a new node', async () => await cluster.start(index))
  }
}

const FLIPPED: Fault = {
  name: 'flipped bytes in log and state',
  isLoss: true,
  async run(context) {
    const { cluster, random } = context
    const [index = 0] = someNodes(context, 1)
    await broken(context, 'kill -9', async () => await cluster.kill(index))
    const folder = join(cluster.dirOf(index), pick(random, ['log', 'state']))
    for (const name of await readdir(folder)) {
      if (name !== 'lock.mdb') await flip(join(folder, name), random)
    }
    await mended(context, 'start of a damaged node', async () => {
      // As whoever looks after services does: the third start finds out what ended two. (D-17)
      for (let time = 1; time < DAMAGED_STARTS; time++) {
        if (await cluster.startsAfterDamage(index)) return
      }
      await cluster.start(index)
    })
  }
}

/** An old backup of a disk is put back: what was promised since is forgotten. */
const RESTORED: Fault = {
  name: 'old backup restored',
  isLoss: true,
  async run(context) {
    const { cluster, random } = context
    const [index = 0] = someNodes(context, 1)
    await broken(context, 'polite stop', async () => void (await cluster.node(index).stop()))
    const backUp = await cluster.backUp(index)
    await mended(context, 'start after a backup', async () => await cluster.start(index))
    await pause(500 + random.below(3_000))
    await broken(context, 'kill -9', async () => await cluster.kill(index))
    await backUp.restore()
    await mended(context, 'start of an old backup', async () => await cluster.start(index))
  }
}

/** Somewhere in what was written: files are longer than that. */
async function flip(path: string, random: Random): Promise<void> {
  const bytes = await readFile(path)
  const end = bytes.findLastIndex((byte) => byte !== 0)
  if (end < 1) return
  const at = random.below(end)
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << random.below(8)), at)
  await writeFile(path, bytes)
}

export const FAULTS: readonly Fault[] = [
  kill(1),
  kill(2),
  kill(5),
  stopped(1),
  stopped(2),
  POLITE,
  cut('cut of one', alone, true),
  cut('cut of two from three', halves, true),
  cut('bridge', bridge, true),
  cut('one that nobody hears', mute, true),
  cut('one that hears nobody', deaf, true),
  cut('everybody alone', everybodyAlone, false),
  FLAPPING,
  DISK_FULL,
  SLOW_DISK,
  CLOCK_JUMPS,
  WIPED,
  REPLACED,
  FLIPPED,
  RESTORED
]
