// What happened in a run: a running hash over all of it, which tells whether two runs were the
// same, and the last events in words for people.

import { createHash } from 'node:crypto'
import type { LogFields, Logger } from '../../../src/base/log.ts'

/** How many events a failing run shows. */
const TAIL = 80

export class Trace {
  readonly #now: () => number
  readonly #hash = createHash('sha256')
  readonly #ring: string[] = []
  #count = 0
  /** Hears what nodes log. */
  listener: ((node: string, line: string) => void) | undefined

  constructor(now: () => number) {
    this.#now = now
  }

  /** How many events there were. */
  get count(): number {
    return this.#count
  }

  note(what: string): void {
    const line = `${String(this.#now()).padStart(6)}  ${what}`
    this.#hash.update(line)
    this.#ring[this.#count % TAIL] = line
    this.#count += 1
  }

  /** Something happened at a node. */
  said(node: string, what: string): void {
    const line = `${node} ${what}`
    this.note(line)
    this.listener?.(node, line)
  }

  /** Of a frame that arrived: it is in the hash, not in the tail. */
  frame(bytes: number): void {
    this.#hash.update(`${this.#now()} ${bytes}\n`)
  }

  hash(): string {
    return this.#hash.copy().digest('hex').slice(0, 16)
  }

  /** @returns the last events, oldest first. */
  tail(): string[] {
    const from = Math.max(0, this.#count - TAIL)
    return Array.from(
      { length: this.#count - from },
      (_, at) => this.#ring[(from + at) % TAIL] as string
    )
  }

  /** What a node logs; `say` shortens the names of peers. */
  loggerOf(node: string, say: (text: string) => string): Logger {
    const write = (event: string, fields: LogFields = {}): void => {
      const words = Object.entries(fields).map(([name, value]) => `${name}=${say(String(value))}`)
      this.said(node, `${event} ${words.join(' ')}`)
    }
    const hint = (event: string): void => this.listener?.(node, `${node} ${event}`)
    return { debug: hint, info: write, warn: write, error: write }
  }
}
