// A program that runs tasks which never end, and waits to be killed.

import { MIB } from '../../src/base/units.ts'
import { sampleWork } from './sample-work.ts'
import { createExecutor } from './samples.ts'

const { executor } = await createExecutor({ slots: 4, allowExec: true, memoryBytesMax: 128 * MIB })
await executor.start()
const begun: Promise<void>[] = []
const groups: string[] = []
const run = (...args: Parameters<typeof sampleWork>): void => {
  const { promise, resolve } = Promise.withResolvers<void>()
  begun.push(promise)
  void executor.run(sampleWork(...args), {
    onStart: args[2] === undefined ? resolve : () => {},
    onLog: (line) => {
      groups.push(line)
      resolve()
    }
  })
}
run('loop')
run('swallow')
// It says who it is, ignores what asks it to end, and so does the one that it starts.
const script =
  'trap "" TERM HUP INT; sh -c "trap \\"\\" TERM HUP; sleep 600" & echo $$ $! >&2; wait'
run('command', null, { code: { kind: 'exec', command: 'sh', args: ['-c', script] } })
await Promise.all(begun)
const commands = groups.join(' ').split(' ').map(Number)
process.stdout.write(`${JSON.stringify([...executor.pids(), ...commands])}\n`)
