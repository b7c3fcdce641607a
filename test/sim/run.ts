// Simulations by seed, for as long as wanted:
//
//   npm run sim -- --seeds 20            seeds 1 to 20
//   npm run sim -- --seed 7              one seed, again
//   npm run sim -- --seed 7 --peers 50   a smaller mesh

import { parseArgs } from 'node:util'
import { parseCount } from '../e2e/arguments.ts'
import { runMembership } from './membership.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    seeds: { type: 'string', default: '5' },
    peers: { type: 'string', default: '200' }
  }
})
const peers = parseCount('peers', values.peers)
const first = values.seed === undefined ? 1 : parseCount('seed', values.seed)
const count = values.seed === undefined ? parseCount('seeds', values.seeds) : 1
let failed = 0
for (let seed = first; seed < first + count; seed++) {
  const startedMs = performance.now()
  const departures = Math.floor(peers / 10)
  const { traceHash, violations, convergedMs, frames } = await runMembership({
    seed,
    peers,
    leave: departures,
    crash: departures
  })
  const took = ((performance.now() - startedMs) / 1_000).toFixed(1)
  process.stdout.write(
    `membership seed ${seed}: ${violations.length === 0 ? 'ok' : 'FAILED'}, agreed after ${convergedMs ?? '-'} ms, ` +
      `${frames} frames, trace ${traceHash.slice(0, 16)}, ${took} s\n`
  )
  for (const violation of violations.slice(0, 10)) process.stdout.write(`  ${violation}\n`)
  if (violations.length > 0) failed += 1
}
process.stdout.write(`${count - failed} passed, ${failed} failed\n`)
if (failed > 0) process.exitCode = 1
