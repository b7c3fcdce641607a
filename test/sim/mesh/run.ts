// Many seeds of the simulation of the mesh, one after another.

import { inWords } from './show.ts'
import { simulate } from './simulation.ts'

/** How often a long run says how far it is. */
const REPORT_EVERY = 100

export type SeedRange = {
  readonly first: number
  readonly count: number
  /** Whether the first seed that fails is the last. */
  readonly bail: boolean
}

/** @returns how many seeds failed */
export async function runMesh({ first, count, bail }: SeedRange): Promise<number> {
  const write = (line: string): void => void process.stdout.write(`${line}\n`)
  const startedMs = performance.now()
  let violations = 0
  let stalls = 0
  for (let seed = first; seed < first + count; seed++) {
    const outcome = await simulate(seed)
    if (outcome.failure?.invariant === 'Progress') stalls += 1
    else if (outcome.failure !== undefined) violations += 1
    if (count === 1 || outcome.failure !== undefined) {
      for (const line of await inWords(outcome)) write(line)
    }
    if (bail && violations + stalls > 0) return violations + stalls
    const done = seed + 1 - first
    if (done === count || done % REPORT_EVERY === 0) {
      const each = ((performance.now() - startedMs) / done).toFixed(1)
      write(`mesh: ${done} seeds, ${violations} violations, ${stalls} stalls, ${each} ms each`)
    }
  }
  return violations + stalls
}
