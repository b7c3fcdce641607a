// Workers in virtual time that pull tasks of jobs, as nodes do, one slot each: for measures of how
// well work is spread. Everything follows from the seed.

import { createRandom } from '../../../src/base/random.ts'
import type { Random } from '../../../src/base/random.ts'
import { chooseJob } from '../../../src/core/jobs/choose-job.ts'
import { grantSize } from '../../../src/core/jobs/grant-size.ts'
import { Shares } from '../../../src/core/jobs/shares.ts'

/** From asking to the first task. */
const ROUND_TRIP_MS = 3

export type VirtualJob = {
  readonly space: string
  readonly submitter: string
  readonly priority: number
  /** What each task that nobody has takes at speed 1, the next one last. */
  readonly left: number[]
}

type VirtualWorker = {
  readonly speed: number
  readonly shares: Shares
  /** When it is done with what it was granted, and asks again. */
  freeMs: number
  estimates: Map<string, number>
}

export class VirtualWorkers {
  readonly jobs: VirtualJob[]
  /** Slot-time that each submitter had. */
  readonly usedMs: Map<string, number> = new Map()
  /** When the last task was done. */
  endMs = 0
  grantCount = 0
  readonly #workers: VirtualWorker[]
  readonly #random: Random
  readonly #granted = new Map<string, number>()
  readonly #sizeOf: (size: number) => number

  /** @param options.sizeOf of a grant instead of what `grantSize` says */
  constructor(
    jobs: VirtualJob[],
    options: { speeds: readonly number[]; seed: number; sizeOf?: (size: number) => number }
  ) {
    this.jobs = jobs
    this.#random = createRandom(options.seed)
    this.#sizeOf = options.sizeOf ?? ((size) => size)
    this.#workers = options.speeds.map((speed) => ({
      speed,
      shares: new Shares(),
      freeMs: this.#random.below(10),
      estimates: new Map()
    }))
  }

  /** Until no job has tasks any more, or `until` says that it is enough. */
  run(until: () => boolean = () => false): void {
    while (!until()) {
      const worker = this.#workers.reduce((first, one) => (one.freeMs < first.freeMs ? one : first))
      if (!this.#pull(worker)) return
    }
  }

  #pull(worker: VirtualWorker): boolean {
    const nowMs = worker.freeMs
    const views = this.jobs.map((job) => ({
      job,
      space: job.space,
      usedMs: worker.shares.of(job.submitter, nowMs),
      priority: job.priority,
      waitedMs: nowMs - (this.#granted.get(job.space) ?? 0),
      readyCount: job.left.length,
      localInputs: 0
    }))
    const choice = chooseJob(views, this.#random)
    if (choice === undefined) return false
    const { job } = choice
    this.#granted.set(job.space, nowMs)
    const estimateMs = worker.estimates.get(job.space)
    const size = grantSize({
      remaining: job.left.length,
      freeSlots: 1,
      estimateMs,
      speed: worker.speed,
      speedSum: this.#workers.reduce((sum, { speed }) => sum + speed, 0)
    })
    this.grantCount += 1
    worker.freeMs += ROUND_TRIP_MS
    for (const work of job.left.splice(-this.#sizeOf(size))) this.#do(worker, job, work)
    this.endMs = Math.max(this.endMs, worker.freeMs)
    return true
  }

  #do(worker: VirtualWorker, { space, submitter }: VirtualJob, work: number): void {
    const durationMs = work / worker.speed
    worker.freeMs += durationMs
    worker.shares.charge(submitter, durationMs, worker.freeMs)
    const before = worker.estimates.get(space) ?? durationMs
    worker.estimates.set(space, before + (durationMs - before) / 8)
    this.usedMs.set(submitter, (this.usedMs.get(submitter) ?? 0) + durationMs)
  }
}

/** Jain, Chiu and Hawe, 1984: 1 when all have the same, 1/n when one has all. */
export function jainIndex(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0)
  const squares = values.reduce((total, value) => total + value * value, 0)
  return (sum * sum) / (values.length * squares)
}
