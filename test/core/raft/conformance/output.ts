// What a directive prints: log lines as far as the level lets them through, and everything else
// unless the level is NONE.

import type { ReplicaId } from '../../../../src/core/raft/messages.ts'
import { DirectiveError } from './directive.ts'
import type { EventOf } from './log-line.ts'
import { idText, messageName, targetText } from './texts.ts'

const LEVELS = ['DEBUG', 'INFO', 'WARN', 'ERROR', 'FATAL', 'NONE'] as const

export type Level = (typeof LEVELS)[number]

export function parseLevel(name: string): Level {
  const found = LEVELS.find((level) => level === name.toUpperCase())
  if (found === undefined) {
    throw new DirectiveError(`log levels must be one of ${LEVELS.join(', ')}`)
  }
  return found
}

export class Output {
  level: Level = 'DEBUG'
  /** Shows what the files from outside never show: refusals, reads, marks. */
  isDetailed = false
  #text = ''

  write(text: string): void {
    if (this.level !== 'NONE') this.#text += text
  }

  log(level: Level, text: string): void {
    if (LEVELS.indexOf(this.level) <= LEVELS.indexOf(level)) this.write(`${level} ${text}\n`)
  }

  logRefusal(self: ReplicaId, { message, refusal, problem }: EventOf<'message-refused'>): void {
    if (!this.isDetailed) return
    const what = `${messageName(message.type)} from ${targetText(message.from)}`
    this.log('WARN', `${idText(self)} refused ${what}: ${refusal} (${problem})`)
  }

  /** Runs an action whose output is moved to the right. */
  indented(action: () => void): void {
    const before = this.#text
    this.#text = ''
    try {
      action()
    } finally {
      const lines = this.#text.split('\n')
      if (lines.at(-1) === '') lines.pop()
      this.#text = before + lines.map((line) => `  ${line}\n`).join('')
    }
  }

  /** @returns what was printed since the last time */
  take(): string {
    const text = this.#text
    this.#text = ''
    return text
  }
}
