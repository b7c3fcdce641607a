// The demo's counter: one key of the mesh, raised by compare-and-set, whose shard loses its leader.

import { utf8 } from '../../base/bytes.ts'
import { shardOf } from '../../core/groups/shard-of.ts'
import type { Kv } from '../../services/kv/kv.ts'
import type { DemoMesh } from './demo-mesh.ts'
import type { Console } from './output.ts'

const SPACE = 'demo'
const KEY = `${SPACE}/counter`
/** How long it counts before and after the kill. */
const BEFORE_MS = 1_000
const AFTER_MS = 2_000
const REDRAW_MS = 100
/** Leads are spread soon after nodes have joined: so often the same one is asked for in a row. */
const SAME_COUNT = 5

export type CounterRun = {
  /** The node that counted, and the one that was killed. */
  readonly through: number
  readonly victim: number
  readonly acknowledged: number
  /** The longest time between two increments that were accepted, from the kill on. */
  readonly gapMs: number
}

/** Counts through one node, and kills the one that leads meanwhile. */
export async function countAndKill(mesh: DemoMesh, context: Context): Promise<CounterRun> {
  const { victim, through } = await pickNodes(mesh)
  await using remote = await mesh.connect(through)
  const counting = new Counting(remote.kv, context)
  await counting.run(BEFORE_MS)
  await Promise.all([counting.run(AFTER_MS), mesh.node(victim).kill()])
  const { acknowledged, gapMs } = counting
  return { through, victim, acknowledged, gapMs: Math.round(gapMs) }
}

type Context = { readonly console: Console; readonly signal: AbortSignal }

class Counting {
  readonly #kv: Kv
  readonly #context: Context
  acknowledged = 0
  gapMs = 0
  #lastMs = 0
  #drawnMs = 0

  constructor(kv: Kv, context: Context) {
    this.#kv = kv
    this.#context = context
  }

  async run(durationMs: number): Promise<void> {
    const { console, signal } = this.#context
    this.gapMs = 0
    this.#lastMs = performance.now()
    const endMs = this.#lastMs + durationMs
    while (this.#lastMs < endMs) {
      signal.throwIfAborted()
      await increment(this.#kv)
      this.acknowledged += 1
      const nowMs = performance.now()
      this.gapMs = Math.max(this.gapMs, nowMs - this.#lastMs)
      this.#lastMs = nowMs
      if (!console.isTerminal || nowMs - this.#drawnMs < REDRAW_MS) continue
      this.#drawnMs = nowMs
      console.rewrite(`  counter ${this.acknowledged}`)
    }
    if (console.isTerminal) console.rewrite('')
  }
}

/** Who leads the counter's shard, once that has all its voters and the lead has stayed for a while. */
async function pickNodes(mesh: DemoMesh): Promise<{ victim: number; through: number }> {
  let leader: string | undefined
  let sameCount = 0
  await mesh.until('the shard of the counter has all its replicas', async () => {
    const groups = await mesh.groups()
    const shard = shardOf(utf8(SPACE), groups.length - 1)
    const group = groups.find((one) => one.shard === shard)
    const isWhole = group?.voters.length === group?.votersWanted && group?.learners.length === 0
    sameCount = isWhole && group.leader === leader ? sameCount + 1 : 0
    leader = group?.leader
    return leader !== undefined && sameCount >= SAME_COUNT
  })
  const victim = mesh.numberOf(leader ?? '')
  return { victim, through: mesh.runningBut(victim, 1) }
}

/** @returns the counter, as a node reads it. */
export async function readCounter(mesh: DemoMesh, through: number): Promise<number> {
  await using remote = await mesh.connect(through)
  return Number((await remote.kv.get(KEY))?.text() ?? '0')
}

/** Only when nobody else wrote it since it was read. */
async function increment(kv: Kv): Promise<void> {
  const entry = await kv.get(KEY)
  const next = Number(entry?.text() ?? '0') + 1
  await kv.put(KEY, String(next), { ifVersion: entry?.version ?? 0 })
}
