// Faults on real processes: `npm run chaos -- --cycles 50` for files, `npm run chaos -- kv --minutes 10`
// for what the mesh agrees on. Exit code 1 when anything that was acknowledged isn't so.

import { parseArgs } from 'node:util'
import { parseCount } from './arguments.ts'
import { runFileChaos } from './chaos/files.ts'
import { runKvChaos } from './chaos/kv.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: 'string' },
    cycles: { type: 'string', default: '50' },
    minutes: { type: 'string', default: '10' },
    only: { type: 'string' }
  }
})
const seed =
  values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : parseCount('seed', values.seed)
const [what = 'files'] = positionals
if (what !== 'files' && what !== 'kv') throw new Error(`There is no chaos of "${what}", only kv`)
const isRight =
  what === 'kv'
    ? await runKvChaos({ minutes: parseMinutes(values.minutes), seed, only: values.only })
    : await runFileChaos({ cycles: parseCount('cycles', values.cycles), seed })
process.exit(isRight ? 0 : 1)

function parseMinutes(text: string): number {
  const minutes = Number(text)
  if (minutes > 0) return minutes
  throw new Error(`--minutes takes a number above 0, not "${text}"`)
}
