import { MemoryExecutor, type MemoryTask } from '../../src/executor/memory/memory-executor.ts'
import { decodeValue, encodeValue } from '../../src/executor/values.ts'
import { failed, type Work } from '../../src/executor/executor.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'
import { describeExecutor } from '../conformance/executor.ts'

function behave({ exportName, input }: Work): MemoryTask {
  switch (exportName) {
    case 'echo':
      return {
        durationMs: 1,
        result: { kind: 'done', output: input, durationMs: 1 },
        lines: ['begin'],
        progress: input
      }
    case 'wait': {
      const durationMs = decodeValue(input) as number
      const output = encodeValue('waited')
      return { durationMs, result: { kind: 'done', output, durationMs }, isAttentive: true }
    }
    case 'fail': {
      const error = { code: 'task-failed', message: 'TypeError: no good' } as const
      return { durationMs: 1, result: failed(error, { isRetryable: true }) }
    }
    default:
      return { durationMs: Infinity, result: { kind: 'lost', reason: 'It never ends' } }
  }
}

describeExecutor('MemoryExecutor', async () => {
  const clock = new VirtualClock()
  const executor = new MemoryExecutor({ clock, behave }, { slots: 2 })
  return {
    executor,
    settle: async (work) => await clock.run(work),
    pass: async (durationMs) => await clock.advance(durationMs),
    crash: () => executor.crash(),
    dispose: async () => await executor.stop()
  }
})
