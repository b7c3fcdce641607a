// A thread that runs tasks, one at a time. Started by Piscina in the process for tasks.

import { setPriority } from 'node:os'
import { BroadcastChannel, parentPort, workerData } from 'node:worker_threads'
import { MeshError, errorMessage, isMeshError } from '../../base/errors.ts'
import { present } from '../../base/assert.ts'
import { WORK_BYTES_MAX, failed } from '../executor.ts'
import { decodeValue, encodeValue } from '../values.ts'
import { taskOf } from './bundle-tasks.ts'
import { boundedError, type Ending } from './messages.ts'
import { TaskClient } from './task-client.ts'
import { RunningTask } from './task-context.ts'
import { consoleTo } from './task-log.ts'
import type {
  ThreadAnswer,
  ThreadCancel,
  ThreadData,
  ThreadEvent,
  ThreadJob
} from './thread-messages.ts'
import { runWasm } from './wasm-task.ts'

/** Tasks leave the processor to the peer when both want it. */
const NICENESS = 5

const port = present(parentPort, 'this is a thread')
const tell = (event: ThreadEvent): void => port.postMessage(event)
const { control, client: source } = workerData as ThreadData
const client = new TaskClient(source)
let running: RunningTask | undefined

const channel = new BroadcastChannel(control)
channel.addEventListener('message', (event) => {
  const cancel = (event as unknown as { data: ThreadCancel }).data
  if (running?.number === cancel.number) running.cancel(cancel)
})
channel.unref()
globalThis.console = consoleTo((text) => running?.say(text))
try {
  // Of this thread alone, where the system has priorities of threads.
  if (process.platform === 'linux') setPriority(0, NICENESS)
} catch {
  // Not allowed here: all have the same.
}
tell({ kind: 'ready' })

/** What Piscina calls. Never rejects. */
export async function run(job: ThreadJob): Promise<ThreadAnswer> {
  const task = new RunningTask(job, tell)
  running = task
  const startedMs = performance.now()
  const ending = await endingOf(job, task, startedMs)
  running = undefined
  const rest = task.end()
  return rest === undefined ? { ending } : { ending, rest }
}

async function endingOf(job: ThreadJob, task: RunningTask, startedMs: number): Promise<Ending> {
  try {
    const output = await outputOf(job, task)
    const durationMs = performance.now() - startedMs
    if (output.length <= WORK_BYTES_MAX) return { kind: 'done', output, durationMs }
    const sizes = `${output.length} bytes, at most ${WORK_BYTES_MAX}; put them into a file`
    throw new MeshError('too-large', `The result has ${sizes}`)
  } catch (error) {
    const durationMs = performance.now() - startedMs
    if (!(error instanceof ThrownByTask)) return refusedEnding(error, durationMs)
    const { cause } = error
    const message = cause instanceof Error ? `${cause.name}: ${cause.message}` : errorMessage(cause)
    const stack = cause instanceof Error ? ownStack(cause.stack) : undefined
    return failed(boundedError({ code: 'task-failed', message, stack }), {
      isRetryable: (cause as { isRetryable?: unknown } | null | undefined)?.isRetryable !== false,
      durationMs
    })
  }
}

async function outputOf(job: ThreadJob, task: RunningTask): Promise<Uint8Array> {
  if (job.kind === 'wasm') return await runWasm(job, (text) => task.say(text))
  const fn = await taskOf(job.path, job.exportName)
  const input = decodeValue(job.input)
  const value = await thrownByTask(async () => await fn(task.context(input, client), input))
  try {
    return encodeValue(value)
  } catch (error) {
    const advice = 'return what structuredClone can copy'
    throw new MeshError('invalid-result', `${errorMessage(error)}; ${advice}`, { cause: error })
  }
}

/** Marks what a task threw, which may look like one of our own errors. */
class ThrownByTask extends Error {}

async function thrownByTask(run: () => Promise<unknown>): Promise<unknown> {
  try {
    return await run()
  } catch (error) {
    throw new ThrownByTask('', { cause: error })
  }
}

/** It would be the same elsewhere: the code isn't good, or what it returned, or it can't but repeat. */
function refusedEnding(error: unknown, durationMs: number): Ending {
  const code = isMeshError(error) ? error.code : 'internal'
  const stack = error instanceof Error ? ((error.cause as Error | undefined)?.stack ?? '') : ''
  const described = { code, message: errorMessage(error), stack: stack === '' ? undefined : stack }
  return failed(boundedError(described), { isRetryable: code === 'internal', durationMs })
}

/** Without the frames of what called the task. */
function ownStack(stack: string | undefined): string | undefined {
  return stack
    ?.split('\n')
    .filter((line) => !/[/\\](?:executor-thread\.[jt]s|piscina[/\\])/.test(line))
    .join('\n')
}
