// Simulations by seed, for as long as wanted: see {@link USAGE}.

import { parseArgs } from 'node:util'
import { parseCount } from '../e2e/arguments.ts'
import { runJobs } from './jobs/run.ts'
import { runMembership } from './membership.ts'
import { runMesh } from './mesh/run.ts'
import { runRaft } from './raft/run.ts'

const DEFAULTS = { raft: '1000', mesh: '200', jobs: '100', membership: '5' } as const
const KINDS = ['raft', 'mesh', 'jobs', 'membership'] as const
type Kind = (typeof KINDS)[number]
const PEERS = '200'
const USAGE = `Simulations by seed, for as long as wanted:

  npm run sim -- --seeds 10000               consensus, seeds 1 to 10000
  npm run sim -- --seeds 5000 --from 5001    the second half of them
  npm run sim -- --seeds 10000 --bail        the first that fails is the last
  npm run sim -- --seed 7                    one seed, again
  npm run sim -- mesh --seeds 2000           whole shards of several nodes, seeds 1 to 2000
  npm run sim -- jobs --seeds 1000           jobs on whole nodes, seeds 1 to 1000
  npm run sim -- membership --seeds 20       membership, seeds 1 to 20
  npm run sim -- --seed 7 --peers 50         membership too: only that has peers
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string' },
    seed: { type: 'string' },
    seeds: { type: 'string' },
    from: { type: 'string', default: '1' },
    peers: { type: 'string' },
    bail: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false }
  }
})
if (values.help) {
  process.stdout.write(USAGE)
  process.exit(0)
}
const byPeers = values.peers === undefined ? 'raft' : 'membership'
const simulation = kindOf(positionals[0] ?? values.only ?? byPeers)
const first = parseCount('seed', values.seed ?? values.from)
const count =
  values.seed === undefined ? parseCount('seeds', values.seeds ?? DEFAULTS[simulation]) : 1

if (simulation === 'membership') await runMemberships(parseCount('peers', values.peers ?? PEERS))
else {
  const runs = { raft: runRaft, mesh: runMesh, jobs: runJobs }
  const failures = await runs[simulation]({ first, count, bail: values.bail })
  if (failures > 0) process.exitCode = 1
}

function kindOf(name: string): Kind {
  const kind = KINDS.find((one) => one === name)
  if (kind === undefined) throw new Error(`There are ${KINDS.join(', ')}, and no "${name}"`)
  return kind
}

async function runMemberships(peers: number): Promise<void> {
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
}
