// A place for one task at a time: a Piscina of one thread, for as long as the thread lives. So it is
// known which thread runs which task, and ending a task is ending its thread.

import { Piscina } from 'piscina'
import { BroadcastChannel, type Worker } from 'node:worker_threads'
import { assert } from '../../base/assert.ts'
import { errorMessage } from '../../base/errors.ts'
import { KIB, MIB } from '../../base/units.ts'
import { GRACE_MS, failed } from '../executor.ts'
import { boundedError, type ClientSource, type Ending, type Job } from './messages.ts'
import type {
  ThreadAnswer,
  ThreadCancel,
  ThreadData,
  ThreadEvent,
  ThreadJob
} from './thread-messages.ts'

/** From the end of a thread being asked for until it counts as stuck in native code. */
const STUCK_MS = 2_000
/** What of a heap isn't counted as the task's: garbage, and the engine's reserve. */
export const HEAP_RESERVE_BYTES: number = 64 * MIB
const HEAP_BYTES_MIN: number = 64 * MIB
const YOUNG_BYTES: number = 8 * MIB
/** Bundles that a thread has imported stay in its memory; after so many it is replaced. */
const BUNDLES_MAX = 32
/** Inputs from this size on are moved instead of copied. */
const MOVED_BYTES_MIN: number = 64 * KIB

/** Why a thread is ended while a task runs in it. */
export type Verdict = 'aborted' | 'task-timeout' | 'task-memory'

type SlotOptions = {
  readonly name: string
  readonly threadUrl: string
  readonly threadFlags: readonly string[]
  readonly client: ClientSource | undefined
}

type SlotEvents = {
  /** The job's time begins. */
  onStarted(job: Job): void
  onLines(job: Job, text: string): void
  onProgress(job: Job, value: Uint8Array): void
  /** The slot is free. */
  onEnded(job: Job, ending: Ending): void
  /** The thread that runs it can't be ended. */
  onStuck(job: Job, ending: Ending): void
}

type Running = {
  readonly job: Job
  startedMs: number
  isStarted: boolean
  verdict: Verdict | undefined
  /** Its thread is being ended. */
  isEnding: boolean
  timers: NodeJS.Timeout[]
  eventCount: number
  /** Its answer, which waits for the events that were sent before it. */
  answer: ThreadAnswer | undefined
}

export class TaskSlot {
  readonly #options: SlotOptions
  readonly #events: SlotEvents
  readonly #control: BroadcastChannel
  readonly #bundles = new Set<string>()
  /** There while there is a thread, or one is started. */
  #pool: Piscina | undefined
  #isReady = false
  /** What a task of this thread may hold. */
  #heapBytes = 0
  #running: Running | undefined

  constructor(options: SlotOptions, events: SlotEvents) {
    this.#options = options
    this.#events = events
    this.#control = new BroadcastChannel(options.name)
  }

  get job(): Job | undefined {
    return this.#running?.job
  }

  /** Milliseconds since the task began; undefined while nothing runs, or its thread still starts. */
  runningMs(): number | undefined {
    if (this.#running?.isStarted !== true) return undefined
    return performance.now() - this.#running.startedMs
  }

  /** Whether there is a thread whose heap is large enough. */
  fits({ memoryBytes }: Job): boolean {
    return this.#pool !== undefined && memoryBytes <= this.#heapBytes
  }

  /** What a task of this thread may hold. */
  get heapBytes(): number {
    return this.#heapBytes
  }

  get thread(): Worker | undefined {
    return this.#isReady ? this.#pool?.threads[0] : undefined
  }

  /** Makes a job the one that runs here, when none does. Then it is told, and `begin` called. */
  take(job: Job): void {
    const running: Running = {
      job,
      startedMs: performance.now(),
      isStarted: false,
      verdict: undefined,
      isEnding: false,
      timers: [],
      eventCount: 0,
      answer: undefined
    }
    if (!this.fits(job)) this.renew()
    this.#running = running
    if (job.code.kind !== 'exec') this.#bundles.add(job.code.path)
    if (this.#isReady) this.#started(running)
  }

  /** Gives the job that was taken to the thread. */
  begin(): void {
    const running = this.#running
    if (running === undefined) return
    const { job } = running
    // Of the frame that it came in, with what the task builds on.
    const buffer = job.input.buffer as ArrayBuffer
    const transferList = buffer.byteLength < MOVED_BYTES_MIN ? [] : [buffer]
    this.#pool ??= this.#createPool(job)
    this.#pool.run(threadJobOf(job), { transferList }).then(
      (answer: ThreadAnswer) => this.#answered(running, answer),
      (error: unknown) => this.#broken(running, error)
    )
  }

  /** Aborts the signal of the task; ends its thread when it doesn't end by itself. */
  cancel(verdict: 'aborted' | 'task-timeout'): void {
    const running = this.#running
    if (running === undefined || running.verdict !== undefined) return
    running.verdict = verdict
    const { number } = running.job
    // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a channel has no origin
    this.#control.postMessage({ number, code: verdict } satisfies ThreadCancel)
    running.timers.push(setTimeout(() => this.#end(running), GRACE_MS))
  }

  /** Ends the task's thread at once. */
  kill(verdict: Verdict): void {
    const running = this.#running
    if (running === undefined) return
    running.verdict ??= verdict
    this.#end(running)
  }

  /** The next task gets another thread. Only while nothing runs. */
  renew(): void {
    const pool = this.#pool
    if (this.#running !== undefined || pool === undefined) return
    this.#forget(pool)
    void pool.destroy()
  }

  #createPool({ memoryBytes }: Job): Piscina {
    const { name, threadUrl, threadFlags, client } = this.#options
    // Rounded up, so that tasks that differ a little can share a thread.
    this.#heapBytes = Math.max(HEAP_BYTES_MIN, 2 ** Math.ceil(Math.log2(memoryBytes)))
    const heapBytes = this.#heapBytes + HEAP_RESERVE_BYTES
    const pool = new Piscina({
      filename: threadUrl,
      name: 'run',
      execArgv: [...threadFlags],
      minThreads: 0,
      maxThreads: 1,
      idleTimeout: Infinity,
      // A thread that waits in Atomics can't keep a connection alive between two tasks.
      atomics: 'disabled',
      recordTiming: false,
      workerData: { control: name, client } satisfies ThreadData,
      resourceLimits: {
        maxOldGenerationSizeMb: Math.ceil(heapBytes / MIB),
        maxYoungGenerationSizeMb: YOUNG_BYTES / MIB
      }
    })
    pool.on('message', (event: ThreadEvent) => {
      if (this.#pool === pool) this.#told(event)
    })
    pool.on('workerDestroy', () => this.#forget(pool))
    pool.on('error', (error) => {
      // One that has run tasks ended by what an earlier task left behind.
      if (this.#isReady || this.#pool !== pool) return
      // One that couldn't start wouldn't start the next time: the whole process is tried anew.
      process.stderr.write(`A thread can't be started: ${errorMessage(error)}\n`)
      process.exit(1)
    })
    return pool
  }

  #started(running: Running): void {
    running.isStarted = true
    running.startedMs = performance.now()
    running.timers.push(setTimeout(() => this.cancel('task-timeout'), running.job.timeoutMs))
    this.#events.onStarted(running.job)
  }

  #told(event: ThreadEvent): void {
    const running = this.#running
    if (event.kind === 'ready') {
      this.#isReady = true
      if (running?.isStarted === false) this.#started(running)
      return
    }
    if (running?.job.number !== event.number) return
    running.eventCount += 1
    if (event.kind === 'lines') this.#events.onLines(running.job, event.text)
    else this.#events.onProgress(running.job, event.value)
    if (running.answer !== undefined) this.#answered(running, running.answer)
  }

  #answered(running: Running, answer: ThreadAnswer): void {
    running.answer = answer
    const { ending, rest } = answer
    const isWaiting = (rest?.eventCount ?? 0) > running.eventCount
    if (this.#running !== running || running.isEnding || isWaiting) return
    if (rest !== undefined && rest.lines !== '') this.#events.onLines(running.job, rest.lines)
    if (rest?.progress !== undefined) this.#events.onProgress(running.job, rest.progress)
    this.#ended(running, running.verdict === undefined ? ending : judged(running, running.verdict))
  }

  /** The thread has ended, and not because it was told to. */
  #broken(running: Running, error: unknown): void {
    if (this.#running === running && !running.isEnding) {
      this.#ended(running, brokenEnding(running, error))
    }
  }

  #ended(running: Running, ending: Ending): void {
    for (const timer of running.timers) clearTimeout(timer)
    this.#running = undefined
    if (this.#bundles.size > BUNDLES_MAX) this.renew()
    this.#events.onEnded(running.job, ending)
  }

  #end(running: Running): void {
    const pool = this.#pool
    if (this.#running !== running || running.isEnding || pool === undefined) return
    running.isEnding = true
    const ending = judged(running, running.verdict ?? 'aborted')
    const stuck = setTimeout(() => this.#events.onStuck(running.job, ending), STUCK_MS)
    running.timers.push(stuck)
    void pool.destroy().then(() => this.#ended(running, ending))
  }

  #forget(pool: Piscina): void {
    if (this.#pool !== pool) return
    this.#pool = undefined
    this.#isReady = false
    this.#bundles.clear()
  }
}

function threadJobOf(job: Job): ThreadJob {
  const { number, id, code, exportName, input, after, fencingToken, memoryBytes } = job
  assert(code.kind !== 'exec', 'commands run in another process')
  const { kind, path } = code
  const sent = { number, id, kind, path, exportName, input, fencingToken, memoryBytes }
  return after.length === 0 ? sent : { ...sent, after }
}

function brokenEnding(running: Running, error: unknown): Ending {
  const { verdict } = running
  if (verdict !== undefined) return judged(running, verdict)
  const durationMs = performance.now() - running.startedMs
  const text = errorMessage(error)
  if ((error as { code?: unknown }).code === 'ERR_WORKER_OUT_OF_MEMORY') {
    return judged(running, 'task-memory')
  }
  if (text.startsWith('worker exited with code')) {
    const message = `The task ended its thread: ${text}`
    return failed({ code: 'task-exited', message }, { isRetryable: true, durationMs })
  }
  const stack = error instanceof Error ? error.stack : undefined
  const message = `An error that nothing caught: ${text}`
  return failed(boundedError({ code: 'task-failed', message, stack }), {
    isRetryable: true,
    durationMs
  })
}

function judged({ job, startedMs }: Running, verdict: Verdict): Ending {
  const messages: Readonly<Record<Verdict, string>> = {
    aborted: 'The task was cancelled',
    'task-timeout': `The task took longer than ${job.timeoutMs} ms`,
    'task-memory': `The task held more than ${job.memoryBytes} bytes of memory`
  }
  const error = { code: verdict, message: messages[verdict] }
  return failed(error, { isRetryable: true, durationMs: performance.now() - startedMs })
}
