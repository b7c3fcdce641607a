// Tasks that misbehave, on a node as people start it: how quickly it answers meanwhile, how long they
// last beyond their limits, and when all its slots take tasks again.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { NodeProcess } from '../../src/api/node-process.ts'
import { toMeshError } from '../../src/base/errors.ts'
import { connect, task, type RemoteNode, type TaskDefinition } from '../../src/index.ts'
import { pause } from './usage.ts'
import { median } from './workers.ts'

type Print = (line: string) => void
type Hostile = TaskDefinition<number, unknown>

const SLOTS = 2
const TIMES = 7
const TIMEOUT_MS = 500
const PROBE_EVERY_MS = 5
const WANTED = { probeP99Ms: 100, wholeMs: 1_000 }
const limits = { memory: '64MB', timeout: TIMEOUT_MS, retries: 0 }

const HOSTILE: readonly (readonly [what: string, hostile: Hostile])[] = [
  [
    'loops for ever',
    task(
      'loops',
      () => {
        for (;;);
      },
      limits
    )
  ],
  [
    'eats the heap',
    task(
      'eats',
      () => {
        const all: number[][] = []
        for (;;) all.push(Array.from({ length: 10_000 }, (_, index) => index * 1.5))
      },
      limits
    )
  ],
  [
    'eats buffers',
    task(
      'eatsBuffers',
      async () => {
        const all: Uint8Array[] = []
        for (;;) {
          all.push(new Uint8Array(4_000_000).fill(1))
          await Promise.resolve()
        }
      },
      limits
    )
  ],
  ['exits', task('exits', () => process.exit(3), limits)],
  [
    'throws',
    task(
      'throws',
      () => {
        throw new Error('no')
      },
      limits
    )
  ],
  [
    'blocks its event loop',
    task(
      'blocks',
      () => {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
      },
      limits
    )
  ],
  ['never answers', task('waits', () => new Promise(() => {}), limits)]
]
const rest: TaskDefinition<number, number> = task('rest', (_, number) => {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
  return number
})

/** Prints what each of {@link HOSTILE} did to its node. */
export async function run(print: Print): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), 'atoll-bench-hostile-'))
  const dataDir = join(root, 'node')
  const listen = ['--listen', '/ip4/127.0.0.1/tcp/0', '--preset', 'local']
  const words = [...listen, '--slots', String(SLOTS)]
  const started = await NodeProcess.start({ dataDir, words })
  try {
    await using node = await connect({ dataDir })
    await untilWhole(node)
    const quiet = await probed(node, async () => await pause(2_000))
    print(`nothing runs: a probe is answered after ${percentiles(quiet)}`)
    for (const [what, hostile] of HOSTILE) print(await measure(node, what, hostile))
  } finally {
    await started.stop()
    await rm(root, { recursive: true, force: true, maxRetries: 3 })
  }
}

async function measure(node: RemoteNode, what: string, hostile: Hostile): Promise<string> {
  const tookMs: number[] = []
  const wholeMs: number[] = []
  const codes = new Set<string>()
  const probes = await probed(node, async () => {
    for (let time = 0; time < TIMES; time++) {
      const beganMs = performance.now()
      // As many as it can take: each of its slots has one.
      const all = Array.from({ length: SLOTS }, (_, number) => node.run(hostile, number))
      for (const one of await Promise.allSettled(all)) {
        codes.add(one.status === 'rejected' ? toMeshError(one.reason).code : 'none')
      }
      const endedMs = performance.now()
      await untilWhole(node)
      tookMs.push(endedMs - beganMs)
      wholeMs.push(performance.now() - endedMs)
    }
  })
  const worst = Math.max(...wholeMs)
  return (
    `${what.padEnd(21)} ended after ${median(tookMs).toFixed(0)} ms with ${[...codes].join(', ')}; ` +
    `whole again ${median(wholeMs).toFixed(0)} ms later, at worst ${worst.toFixed(0)}` +
    `${aim(worst <= WANTED.wholeMs, WANTED.wholeMs)}; a probe is answered after ` +
    `${percentiles(probes)}${aim(at(probes, 0.99) <= WANTED.probeP99Ms, WANTED.probeP99Ms)}`
  )
}

/** All slots take tasks, at the same time. */
async function untilWhole(node: RemoteNode): Promise<void> {
  await Promise.all(Array.from({ length: SLOTS }, (_, number) => node.run(rest, number)))
}

/** @returns how long each question took that was asked while something went on */
async function probed(node: RemoteNode, work: () => Promise<void>): Promise<number[]> {
  const tookMs: number[] = []
  const over = new AbortController()
  const probing = (async (): Promise<void> => {
    while (!over.signal.aborted) {
      const beganMs = performance.now()
      await node.kv.get('probe', { stale: true })
      tookMs.push(performance.now() - beganMs)
      await pause(PROBE_EVERY_MS)
    }
  })()
  try {
    await work()
  } finally {
    over.abort()
    await probing
  }
  return tookMs
}

function percentiles(tookMs: readonly number[]): string {
  const shown = [0.5, 0.99, 1].map((share) => at(tookMs, share).toFixed(1))
  return `p50 ${shown[0]}, p99 ${shown[1]}, at worst ${shown[2]} ms`
}

function at(tookMs: readonly number[], share: number): number {
  const sorted = tookMs.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

function aim(isMet: boolean, mostMs: number): string {
  return ` (wanted ≤ ${mostMs}: ${isMet ? 'met' : 'NOT met'})`
}
