// Many seeds of the simulation of jobs, one after another.

import type { SeedRange } from '../mesh/run.ts'
import { inWords } from './show.ts'
import { simulate } from './simulation.ts'

/** How often a long run says how far it is. */
const REPORT_EVERY = 50
/** What a run ends with that isn't wrong, but doesn't end. */
const STALLS = ['Progress', 'NobodyIdle']

/** @returns how many seeds failed */
export async function runJobs({ first, count, bail }: SeedRange): Promise<number> {
  const write = (line: string): void => void process.stdout.write(`${line}\n`)
  const startedMs = performance.now()
  const sums = { violations: 0, stalls: 0, tasks: 0, grants: 0, stale: 0, deadLetters: 0 }
  for (let seed = first; seed < first + count; seed++) {
    const outcome = await simulate(seed)
    const { failure } = outcome
    if (failure !== undefined)
      sums[STALLS.includes(failure.invariant) ? 'stalls' : 'violations'] += 1
    for (const name of ['tasks', 'grants', 'stale', 'deadLetters'] as const)
      sums[name] += outcome[name]
    if (count === 1 || failure !== undefined) {
      for (const line of await inWords(outcome)) write(line)
    }
    const failures = sums.violations + sums.stalls
    if (bail && failures > 0) return failures
    const done = seed + 1 - first
    if (done !== count && done % REPORT_EVERY !== 0) continue
    const each = ((performance.now() - startedMs) / done).toFixed(1)
    const { violations, stalls, tasks, grants, stale, deadLetters } = sums
    const work = `${tasks} tasks, ${grants} grants, ${stale} stale, ${deadLetters} given up`
    write(
      `jobs: ${done} seeds, ${violations} violations, ${stalls} stalls, ${work}, ${each} ms each`
    )
  }
  return sums.violations + sums.stalls
}
