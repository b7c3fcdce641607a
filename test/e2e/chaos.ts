// Faults on real processes: see {@link USAGE}. Exit code 1 when anything that was acknowledged isn't so.

import { parseArgs } from 'node:util'
import { parseCount } from './arguments.ts'
import { runFileChaos } from './chaos/files.ts'
import { runJobChaos } from './chaos/jobs.ts'
import { runKvChaos } from './chaos/kv.ts'

const USAGE = `Faults on real processes; exit code 1 when anything that was acknowledged isn't so:

  npm run chaos -- --cycles 50                        files
  npm run chaos -- kv --minutes 10                    what the mesh agrees on
  npm run chaos -- kv --minutes 2 --only "full disk"  one kind of fault
  npm run chaos -- jobs --runs 10 --megabytes 50      work
  npm run chaos -- kv --seed 7                        the same faults again
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string' },
    cycles: { type: 'string', default: '50' },
    minutes: { type: 'string', default: '10' },
    runs: { type: 'string', default: '10' },
    megabytes: { type: 'string', default: '50' },
    only: { type: 'string' },
    help: { type: 'boolean', default: false }
  }
})
if (values.help) {
  process.stdout.write(USAGE)
  process.exit(0)
}
const seed =
  values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : parseCount('seed', values.seed)
const [what = 'files'] = positionals
const KINDS: Readonly<Record<string, () => Promise<boolean>>> = {
  files: () => runFileChaos({ cycles: parseCount('cycles', values.cycles), seed }),
  kv: () => runKvChaos({ minutes: parseMinutes(values.minutes), seed, only: values.only }),
  jobs: () =>
    runJobChaos({
      runs: parseCount('runs', values.runs),
      megabytes: parseCount('megabytes', values.megabytes),
      seed
    })
}
const kind = KINDS[what]
if (kind === undefined) {
  throw new Error(`There is no chaos of "${what}"; there are ${Object.keys(KINDS).join(', ')}`)
}
const isRight = await kind()
process.exit(isRight ? 0 : 1)

function parseMinutes(text: string): number {
  const minutes = Number(text)
  if (minutes > 0) return minutes
  throw new Error(`--minutes takes a number above 0, not "${text}"`)
}
