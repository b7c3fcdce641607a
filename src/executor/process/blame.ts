// Whose doing it was that a process for tasks ended, as far as that can be known. The work that did it
// has failed; the others were lost.

import { failed, type WorkResult } from '../executor.ts'
import { describeExit, isOutOfHeap, type ChildExit } from './child-process.ts'
import type { WorkRun } from './work-run.ts'

/** Work that was reported with so much of its memory in use is suspected when memory ran out. */
const SUSPECT_PART = 0.75

type Blame = { readonly run: WorkRun; readonly result: WorkResult }

/**
 * @param begun work that ran in the process
 * @returns the work that ended it; undefined when it may have been another one, or nothing here
 */
export function blameOf(begun: readonly WorkRun[], exit: ChildExit): Blame | undefined {
  const [first, second] = begun.filter(({ usedBytes, work }) => {
    return usedBytes > work.limits.memoryBytes * SUSPECT_PART
  })
  const isOfMemory = isOutOfHeap(exit) || exit.signal === 'SIGKILL'
  if (isOfMemory && first !== undefined && second === undefined) return outOfMemory(first, exit)
  // Somebody outside did that, or the system's want of memory.
  if (exit.signal === 'SIGKILL') return undefined
  const [only, another] = begun
  if (only === undefined || another !== undefined) return undefined
  if (isOutOfHeap(exit)) return outOfMemory(only, exit)
  const message = `The task ended the process that it ran in: ${describeExit(exit)}`
  const result = failed({ code: 'task-exited', message }, { isRetryable: true })
  return { run: only, result }
}

function outOfMemory(run: WorkRun, exit: ChildExit): Blame {
  const { memoryBytes } = run.work.limits
  const message = `The task held more than ${memoryBytes} bytes of memory: ${describeExit(exit)}`
  return { run, result: failed({ code: 'task-memory', message }, { isRetryable: true }) }
}
