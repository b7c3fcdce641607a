import { setTimeout as sleep } from 'node:timers/promises'
import { describeExecutor } from '../conformance/executor.ts'
import { createExecutor } from './samples.ts'

describeExecutor('ProcessExecutor', async () => {
  const sample = await createExecutor()
  const { executor } = sample
  return {
    executor,
    settle: async (work) => await work,
    pass: async (durationMs) => await sleep(durationMs),
    crash: () => {
      for (const pid of executor.pids()) process.kill(pid, 'SIGKILL')
    },
    dispose: async () => await sample[Symbol.asyncDispose]()
  }
})
