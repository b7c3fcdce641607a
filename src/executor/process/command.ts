// A command as a task: its input goes to stdin, stdout is its output, stderr its log. It leads a
// process group of its own, which ends with it.

import { spawn, type ChildProcessByStdio } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { errorMessage, type ErrorCode } from '../../base/errors.ts'
import { GRACE_MS, WORK_BYTES_MAX, failed } from '../executor.ts'
import { groupBytes } from './group-memory.ts'
import { boundedError, type Ending, type Job } from './messages.ts'
import { TaskLog } from './task-log.ts'

const MEMORY_EVERY_MS = 500
/** A line that doesn't end is told in parts of this length. */
const LINE_LENGTH_MAX = 8_192

type CommandEvents = {
  /** @param group its process group */
  onStarted(group: number): void
  /** One line or several. */
  onLine(lines: string): void
  onEnded(ending: Ending): void
}

export class Command {
  readonly #job: Job
  readonly #events: CommandEvents
  readonly #log: TaskLog
  readonly #decoder = new StringDecoder()
  readonly #output: Buffer[] = []
  readonly #timers: NodeJS.Timeout[] = []
  readonly #startedMs: number = performance.now()
  #child: ChildProcessByStdio<Writable, Readable, Readable> | undefined
  #outputBytes = 0
  #line = ''
  #lastLine = ''
  #verdict: ErrorCode | undefined
  #isEnded = false

  constructor(job: Job, events: CommandEvents) {
    this.#job = job
    this.#events = events
    this.#log = new TaskLog((lines) => events.onLine(lines))
  }

  start(): void {
    const { code, id, fencingToken, input, timeoutMs } = this.#job
    if (code.kind !== 'exec') return
    const env = { ATOLL_TASK_ID: id, ATOLL_FENCING_TOKEN: String(fencingToken) }
    let child: ChildProcessByStdio<Writable, Readable, Readable>
    try {
      child = spawn(code.command, code.args, {
        stdio: ['pipe', 'pipe', 'pipe'],
        env: { ...process.env, ...env },
        // A group of its own.
        detached: true
      })
    } catch (error) {
      this.#notStarted(errorMessage(error))
      return
    }
    this.#child = child
    child.once('error', (error) => {
      if (child.pid === undefined) this.#notStarted(error.message)
    })
    if (child.pid === undefined) return
    this.#events.onStarted(child.pid)
    this.#timers.push(setTimeout(() => this.cancel('task-timeout'), timeoutMs))
    this.#timers.push(setInterval(() => void this.#watchMemory(), MEMORY_EVERY_MS))
    child.stdout.on('data', (chunk: Buffer) => this.#take(chunk))
    child.stderr.on('data', (chunk: Buffer) => this.#say(this.#decoder.write(chunk)))
    // What it left behind has the pipes, and would keep them open.
    child.once('exit', () => this.kill())
    child.once('close', (status, signal) => this.#closed(status, signal))
    // It needn't read what it is given.
    child.stdin.on('error', () => {})
    child.stdin.end(input)
  }

  /** Asks the whole group to end; ends it by force when it doesn't. */
  cancel(verdict: 'aborted' | 'task-timeout'): void {
    if (this.#verdict !== undefined) return
    this.#verdict = verdict
    this.#signal('SIGTERM')
    this.#timers.push(setTimeout(() => this.kill(), GRACE_MS))
  }

  /** Ends the whole group. */
  kill(): void {
    this.#signal('SIGKILL')
  }

  #signal(signal: NodeJS.Signals): void {
    const group = this.#child?.pid
    if (group === undefined || this.#isEnded) return
    try {
      process.kill(-group, signal)
    } catch {
      // There is nobody left in it.
    }
  }

  #take(chunk: Buffer): void {
    this.#outputBytes += chunk.length
    if (this.#outputBytes <= WORK_BYTES_MAX) {
      this.#output.push(chunk)
      return
    }
    this.#output.length = 0
    this.#verdict ??= 'too-large'
    this.kill()
  }

  #say(text: string): void {
    const lines = (this.#line + text).split('\n')
    this.#line = lines.pop() ?? ''
    if (this.#line.length > LINE_LENGTH_MAX) lines.push(this.#line)
    if (lines.at(-1) === this.#line) this.#line = ''
    for (const line of lines) {
      this.#log.add(line)
      if (line.trim() !== '') this.#lastLine = line
    }
  }

  async #watchMemory(): Promise<void> {
    const group = this.#child?.pid
    if (group === undefined) return
    const bytes = await groupBytes(group)
    if (bytes <= this.#job.memoryBytes) return
    this.#verdict ??= 'task-memory'
    this.kill()
  }

  #notStarted(why: string): void {
    this.#ended({ code: 'not-found', message: `The command can't be started: ${why}` })
  }

  #closed(status: number | null, signal: string | null): void {
    this.#say(`${this.#decoder.end()}\n`)
    const rest = this.#log.take()
    if (rest.trim() !== '') this.#events.onLine(rest.trimEnd())
    if (this.#verdict !== undefined) {
      this.#ended({ code: this.#verdict, message: this.#why(this.#verdict) })
    } else if (status === 0) {
      const output = Buffer.concat(this.#output)
      this.#finish({ kind: 'done', output, durationMs: this.#durationMs })
    } else {
      const how = signal === null ? `exit code ${status}` : signal
      const last = this.#lastLine === '' ? '' : `: ${this.#lastLine}`
      this.#ended({ code: 'task-failed', message: `The command ended with ${how}${last}` })
    }
  }

  #why(verdict: ErrorCode): string {
    const { timeoutMs, memoryBytes } = this.#job
    if (verdict === 'task-timeout') return `The command took longer than ${timeoutMs} ms`
    if (verdict === 'task-memory') {
      return `The command and what it started held more than ${memoryBytes} bytes of memory`
    }
    if (verdict === 'too-large') return `The command wrote more than ${WORK_BYTES_MAX} bytes`
    return 'The command was cancelled'
  }

  get #durationMs(): number {
    return performance.now() - this.#startedMs
  }

  #ended(error: { code: ErrorCode; message: string }): void {
    const isRetryable = error.code !== 'too-large'
    this.#finish(failed(boundedError(error), { isRetryable, durationMs: this.#durationMs }))
  }

  #finish(ending: Ending): void {
    if (this.#isEnded) return
    this.#isEnded = true
    for (const timer of this.#timers) clearTimeout(timer)
    this.#events.onEnded(ending)
  }
}
