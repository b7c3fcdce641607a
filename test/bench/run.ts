// Numbers, side by side, in one run:  npm run bench [-- files kv compute hostile ring raft log]

import { run as compute } from './compute.ts'
import { run as files } from './files.ts'
import { run as hostile } from './hostile.ts'
import { run as kv } from './kv.ts'
import { run as log } from './log.ts'
import { run as raft } from './raft.ts'
import { run as ring } from './ring.ts'

const BENCHES: Readonly<Record<string, (print: (line: string) => void) => Promise<void>>> = {
  files,
  kv,
  compute,
  hostile,
  ring,
  raft,
  log
}

const print = (line: string): void => {
  process.stdout.write(`${line}\n`)
}
// Whoever reads only the first lines has what they want.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exit(error.code === 'EPIPE' ? 0 : 1)
})
const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(BENCHES)
for (const name of names) {
  const bench = BENCHES[name]
  if (bench === undefined) {
    process.stderr.write(
      `There is no bench "${name}"; there are ${Object.keys(BENCHES).join(', ')}\n`
    )
    process.exitCode = 2
    break
  }
  print(`== ${name}`)
  await bench(print)
}
