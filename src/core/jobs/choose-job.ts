// Which of several jobs a worker asks for tasks. First by priority, which grows while a job gets
// nobody, so that none waits for ever; then the submitter who had least of this worker; then the job
// of which inputs are here; and among equals the better of two at random, so that workers that see
// the same don't all do the same.

import { compareText } from '../../base/ids.ts'
import type { Random } from '../../base/random.ts'
import { SECOND_MS } from '../../base/units.ts'

/** So long without anybody is worth a step of priority. */
const AGEING_MS: number = 30 * SECOND_MS

/** A job of which the worker may have tasks. */
export type Candidate = {
  /** Its name, as text. */
  readonly space: string
  /** 0 to 9; higher goes first. */
  readonly priority: number
  /** Slot-time that its submitter had of the worker lately, over their weight; the least goes first. */
  readonly usedMs: number
  /** Since somebody was granted tasks of it, as far as is known. */
  readonly waitedMs: number
  /** Tasks that could be granted now, about. */
  readonly readyCount: number
  /** Bytes or blocks of its inputs that are here. */
  readonly localInputs: number
}

/** @returns the priority that counts: a step more for each half minute without anybody */
export function effectivePriority({ priority, waitedMs }: Candidate): number {
  return priority + Math.floor(Math.max(0, waitedMs) / AGEING_MS)
}

/** @returns that of which the next task begins: by priority, then the submitter who had least */
export function nextToBegin<Job extends Pick<Candidate, 'priority' | 'usedMs'>>(
  jobs: readonly Job[]
): Job | undefined {
  const [first] = best(
    best(jobs, ({ priority }) => priority),
    ({ usedMs }) => -usedMs
  )
  return first
}

/** @returns the job to ask for tasks; undefined when there is none. Same random, same job. */
export function chooseJob<Job extends Candidate>(
  candidates: readonly Job[],
  random: Random
): Job | undefined {
  const ready = candidates
    .filter(({ readyCount }) => readyCount > 0)
    .toSorted((a, b) => compareText(a.space, b.space))
  const urgent = best(ready, effectivePriority)
  const fair = best(urgent, ({ usedMs }) => -usedMs)
  const near = best(fair, ({ localInputs }) => localInputs)
  const one = near[random.below(Math.max(1, near.length))]
  const other = near[random.below(Math.max(1, near.length))]
  if (one === undefined || other === undefined) return undefined
  return other.readyCount > one.readyCount ? other : one
}

/** @returns those with the highest value. */
function best<Job>(jobs: readonly Job[], valueOf: (job: Job) => number): Job[] {
  let highest = -Infinity
  let found: Job[] = []
  for (const job of jobs) {
    const value = valueOf(job)
    if (value > highest) {
      highest = value
      found = []
    }
    if (value === highest) found.push(job)
  }
  return found
}
