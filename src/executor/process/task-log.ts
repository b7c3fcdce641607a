// What a task says while it runs: lines and progress. Told at once as long as it is little, else a
// few times a second; what is too much is dropped, the oldest first.

import { Console } from 'node:console'
import { Writable } from 'node:stream'
import { LOG_BYTES_MAX, LOG_LINE_BYTES_MAX } from '../executor.ts'

/** Bytes told in a second, and bytes told at once after a quiet time. */
const BYTES_PER_MS = 1_024
const BURST_BYTES: number = LOG_BYTES_MAX / 4
/** A line costs as much as one of this length at least. */
const LINE_COST_MIN = 256
const LATER_MS = 100

export class TaskLog {
  readonly #tell: (lines: string) => void
  #waiting: string[] = []
  #waitingBytes = 0
  #droppedCount = 0
  #allowance = BURST_BYTES
  #at: number = performance.now()
  #timer: NodeJS.Timeout | undefined

  constructor(tell: (lines: string) => void) {
    this.#tell = tell
  }

  /** @param text one line or several */
  add(text: string): void {
    for (const line of text.split('\n')) this.#wait(cutLine(line))
    if (!this.#flush()) this.#timer ??= setTimeout(() => this.#later(), LATER_MS)
  }

  /** Ends it. @returns what wasn't told yet */
  take(): string {
    clearTimeout(this.#timer)
    this.#timer = undefined
    return this.#takeLines().join('\n')
  }

  #later(): void {
    this.#timer = undefined
    if (!this.#flush()) this.#timer = setTimeout(() => this.#later(), LATER_MS)
  }

  #wait(line: string): void {
    this.#waiting.push(line)
    this.#waitingBytes += costOf(line)
    while (this.#waitingBytes > LOG_BYTES_MAX) {
      this.#waitingBytes -= costOf(this.#waiting.shift() ?? '')
      this.#droppedCount += 1
    }
  }

  /** @returns whether all of it could be told */
  #flush(): boolean {
    const now = performance.now()
    this.#allowance = Math.min(BURST_BYTES, this.#allowance + (now - this.#at) * BYTES_PER_MS)
    this.#at = now
    if (this.#waitingBytes > this.#allowance) return this.#flushSome()
    this.#allowance -= this.#waitingBytes
    this.#tell(this.#takeLines().join('\n'))
    return true
  }

  #flushSome(): boolean {
    const lines: string[] = []
    for (;;) {
      const [first] = this.#waiting
      if (first === undefined || costOf(first) > this.#allowance) break
      this.#allowance -= costOf(first)
      this.#waitingBytes -= costOf(first)
      lines.push(first)
      this.#waiting.shift()
    }
    if (lines.length > 0) this.#tell([...this.#notice(), ...lines].join('\n'))
    return false
  }

  #takeLines(): string[] {
    const lines = [...this.#notice(), ...this.#waiting]
    this.#waiting = []
    this.#waitingBytes = 0
    return lines
  }

  #notice(): string[] {
    if (this.#droppedCount === 0) return []
    const notice = `… ${this.#droppedCount} lines were dropped`
    this.#droppedCount = 0
    return [notice]
  }
}

/** The console of a thread: what is written to it is a line of the task that runs. */
export function consoleTo(add: (text: string) => void): Console {
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: string | Buffer, _encoding, done) {
      add(String(chunk).replace(/\n$/, ''))
      done()
    }
  })
  return new Console({ stdout: stream, stderr: stream })
}

function cutLine(line: string): string {
  if (Buffer.byteLength(line) <= LOG_LINE_BYTES_MAX) return line
  // Half of a character at the end becomes none.
  const bytes = Buffer.from(line).subarray(0, LOG_LINE_BYTES_MAX - 3)
  return `${new TextDecoder().decode(bytes, { stream: true })}…`
}

function costOf(line: string): number {
  return Math.max(LINE_COST_MIN, Buffer.byteLength(line))
}
