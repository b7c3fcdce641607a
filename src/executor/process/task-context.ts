// What a task is given besides its input.

import { format } from 'node:util'
import { MeshError } from '../../base/errors.ts'
import { PROGRESS_BYTES_MAX, type Dependency } from '../executor.ts'
import { decodeValue, encodeValue } from '../values.ts'
import type { TaskClient } from './task-client.ts'
import { TaskLog } from './task-log.ts'
import type { ThreadCancel, ThreadEvent, ThreadJob, ThreadRest } from './thread-messages.ts'

/** Between two values of progress that are told. */
const PROGRESS_EVERY_MS = 100

/** A task that runs in this thread: its context, and what is told of it. */
export class RunningTask {
  readonly number: number
  readonly #job: ThreadJob
  readonly #tell: (event: ThreadEvent) => void
  #log: TaskLog | undefined
  #abort: AbortController | undefined
  #cancelled: MeshError | undefined
  #after: object | undefined
  #eventCount = 0
  #isEnded = false
  #progress: Uint8Array | undefined
  #progressAt = Number.NEGATIVE_INFINITY
  #progressTimer: NodeJS.Timeout | undefined

  constructor(job: ThreadJob, tell: (event: ThreadEvent) => void) {
    this.number = job.number
    this.#job = job
    this.#tell = tell
  }

  /** Made when it is first asked for: most tasks never do. */
  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController()
      if (this.#cancelled !== undefined) this.#abort.abort(this.#cancelled)
    }
    return this.#abort.signal
  }

  cancel({ code }: ThreadCancel): void {
    const why = code === 'aborted' ? 'was cancelled' : 'has run for as long as it may'
    this.#cancelled = new MeshError(code, `Task ${this.#job.id} ${why}`)
    this.#abort?.abort(this.#cancelled)
  }

  context(input: unknown, client: TaskClient): object {
    const signal = (): AbortSignal => this.signal
    const after = (): object => (this.#after ??= decoded(this.#job.after))
    return {
      input,
      fencingToken: this.#job.fencingToken,
      get after() {
        return after()
      },
      get signal() {
        return signal()
      },
      log: (...args: readonly unknown[]) => this.say(format(...args)),
      progress: (value: unknown) => this.#tellProgress(value),
      get files() {
        return client.face('files')
      },
      get kv() {
        return client.face('kv')
      },
      get locks() {
        return client.face('locks')
      },
      get streams() {
        return client.face('streams')
      }
    }
  }

  say(text: string): void {
    if (this.#isEnded) return
    const { number } = this
    this.#log ??= new TaskLog((lines) => this.#send({ kind: 'lines', number, text: lines }))
    this.#log.add(text)
  }

  /** What it still does isn't told. @returns undefined when it said nothing at all */
  end(): ThreadRest | undefined {
    this.#isEnded = true
    clearTimeout(this.#progressTimer)
    const lines = this.#log?.take() ?? ''
    const progress = this.#progress
    const eventCount = this.#eventCount
    if (lines === '' && progress === undefined && eventCount === 0) return undefined
    return { lines, progress, eventCount }
  }

  #tellProgress(value: unknown): void {
    if (this.#isEnded) return
    const bytes = encodeValue(value)
    if (bytes.length > PROGRESS_BYTES_MAX) {
      const limit = `at most ${PROGRESS_BYTES_MAX}; put what is large into a file`
      throw new MeshError('too-large', `The progress has ${bytes.length} bytes, ${limit}`)
    }
    this.#progress = bytes
    // Asked here, and not left to a timer: a task may keep its thread busy.
    const dueMs = this.#progressAt + PROGRESS_EVERY_MS - performance.now()
    if (dueMs <= 0) this.#flushProgress()
    else this.#progressTimer ??= setTimeout(() => this.#flushProgress(), dueMs)
  }

  #flushProgress(): void {
    clearTimeout(this.#progressTimer)
    this.#progressTimer = undefined
    const value = this.#progress
    if (value === undefined || this.#isEnded) return
    this.#progress = undefined
    this.#progressAt = performance.now()
    this.#send({ kind: 'progress', number: this.number, value })
  }

  #send(event: ThreadEvent): void {
    this.#eventCount += 1
    this.#tell(event)
  }
}

/** @returns a value, or a list of values, for each name */
function decoded(after: readonly Dependency[] = []): object {
  return Object.fromEntries(
    after.map(({ name, isOne, outputs }) => {
      const values = outputs.map(decodeValue)
      return [name, isOne ? values[0] : values]
    })
  )
}
