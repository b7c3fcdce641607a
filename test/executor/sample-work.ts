// Work for executors under test.

import { MIB } from '../../src/base/units.ts'
import type { Work, WorkLimits } from '../../src/executor/executor.ts'
import { encodeValue } from '../../src/executor/values.ts'

export const LIMITS: WorkLimits = { timeoutMs: 20_000, memoryBytes: 64 * MIB }

let workCount = 0

export function sampleWork(task: string, input: unknown = null, change: Partial<Work> = {}): Work {
  return {
    id: `work-${(workCount += 1)}`,
    code: { kind: 'bundle', cid: 'samples' },
    exportName: task,
    input: encodeValue(input),
    limits: LIMITS,
    fencingToken: 1,
    ...change
  }
}
