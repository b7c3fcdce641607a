// Whether a mesh on which nothing breaks any more comes to rest: everything that can be done is being
// done, and in the end it is done.

import { MeshError } from '../../../src/base/errors.ts'
import type { JobView } from '../../../src/core/machine/job-queries.ts'
import { demand } from '../raft/violation.ts'
import type { JobNode } from './job-node.ts'
import type { JobPlan } from './plan.ts'
import { allViews } from './seen-jobs.ts'
import type { JobsWorld } from './world.ts'

/** A node that has nothing to do begins what it could do within this. */
const IDLE_MS_MAX = 15_000

export class Patience {
  readonly #world: JobsWorld
  /** Since when a task of a job could be begun and a node has nothing to do, and after what attempt. */
  readonly #since = new Map<string, { atMs: number; attempts: number }>()

  constructor(world: JobsWorld) {
    this.#world = world
  }

  /** @throws Violation when something waits for nothing */
  check(): void {
    const { clock, plan } = this.#world
    const jobs = allViews(this.#world)
    for (const job of plan.jobs) {
      const seen = jobs.get(job.id)
      const idle = this.#world.ready.find((node) => isIdle(node) && canDo(node, job, seen))
      const isWaiting = seen?.state.phase === 'open' && seen.readyCount > 0
      if (!isWaiting || idle === undefined) {
        this.#since.delete(job.id)
        continue
      }
      const { attempts } = seen.state
      const before = this.#since.get(job.id)
      const isSame = before?.attempts === attempts
      const since = isSame ? before : { atMs: clock.monotonicMs(), attempts }
      this.#since.set(job.id, since)
      const waitedMs = clock.monotonicMs() - since.atMs
      const detail = `${job.id} waits for ${waitedMs} ms, and ${idle.name} has nothing to do`
      demand('NobodyIdle', waitedMs <= IDLE_MS_MAX, detail)
    }
  }
}

function isIdle(node: JobNode): boolean {
  const { slots } = node.plan
  return slots > 0 && node.executor?.freeSlots() === slots
}

function canDo({ plan, peer }: JobNode, { label }: JobPlan, seen: JobView | undefined): boolean {
  const fits = label === undefined || plan.labels.get('kind') === label
  return fits && seen?.state.denied.includes(peer.identity.peerId) !== true
}

/** @returns what isn't at rest, in words */
export function restless(world: JobsWorld, acknowledged: ReadonlySet<string>): string | undefined {
  const down = world.nodes.find(({ isReady, hasLeft }) => !isReady && !hasLeft)
  if (down !== undefined) return `${down.name} isn't there`
  const jobs = allViews(world)
  for (const { id } of world.plan.jobs) {
    const seen = jobs.get(id)
    if (seen === undefined) {
      if (acknowledged.has(id)) return `${id} is nowhere`
      continue
    }
    const { phase, counts } = seen.state
    const { done, failed, running, waiting } = counts
    const words = `${done} done, ${failed} failed, ${running} running, ${waiting} waiting`
    if (phase === 'open') return `${id} is open: ${words} of ${seen.job.count}`
  }
  const busy = world.ready.find((node) => !isIdle(node) && node.plan.slots > 0)
  return busy === undefined ? undefined : `${busy.name} still runs something`
}

/** @returns the machine by an id of a peer */
export function nodeOf(world: JobsWorld, peer: string): JobNode {
  const node = world.nodes.find((one) => one.peer.identity.peerId === peer)
  if (node === undefined) throw new MeshError('not-found', `No machine is ${peer}`)
  return node
}
