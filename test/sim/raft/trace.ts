// What happened in a run: a running hash over all of it, which tells whether two runs were the
// same, and the last events in words for people.

import { bytesOf } from '../../../src/core/raft/log.ts'
import type { Entry, Message } from '../../../src/core/raft/messages.ts'
import type { Schedule } from './schedule.ts'

/** How many events a failing run shows. */
const TAIL = 60

type Happening = {
  readonly time: number
  readonly replica: number
  readonly what: string
  readonly detail: Message | number | string
}

export class Trace {
  readonly #schedule: Schedule
  readonly #codes = new Map<string, number>()
  #low = 0x811c9dc5
  #high = 0x9e3779b9
  #ring: Happening[] = []
  #count = 0

  constructor(schedule: Schedule) {
    this.#schedule = schedule
  }

  /** How many events there were. */
  get count(): number {
    return this.#count
  }

  /** Something happened at a replica; 0 for none. */
  note(replica: number, what: string, detail: Message | number | string = 0): void {
    const time = this.#schedule.now
    this.#mix(time)
    this.#mix(replica)
    this.#mix(this.#codeOf(what))
    if (typeof detail === 'number') this.#mix(detail)
    else if (typeof detail === 'string') this.#mix(this.#codeOf(detail))
    else this.#mixMessage(detail)
    this.#ring[this.#count % TAIL] = { time, replica, what, detail }
    this.#count += 1
  }

  /** Words that explain and don't count: they are in the tail, not in the hash. */
  explain(replica: number, what: string, detail: string): void {
    this.#ring[this.#count % TAIL] = { time: this.#schedule.now, replica, what, detail }
    this.#count += 1
  }

  get hash(): string {
    const hex = (half: number): string => (half >>> 0).toString(16).padStart(8, '0')
    return hex(this.#low) + hex(this.#high)
  }

  /** @returns the last events, oldest first. */
  tail(): string[] {
    const from = Math.max(0, this.#count - TAIL)
    const lines: string[] = []
    for (let at = from; at < this.#count; at++)
      lines.push(inWords(this.#ring[at % TAIL] as Happening))
    return lines
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 0x01000193)
    this.#high = Math.imul(this.#high ^ (this.#low >>> 15) ^ value, 0x85ebca6b)
    this.#high = (this.#high << 13) | (this.#high >>> 19)
  }

  #mixMessage(message: Message): void {
    this.#mix(this.#codeOf(message.type))
    this.#mix(message.from)
    this.#mix(message.to)
    this.#mix(message.term)
    this.#mix(message.index)
    this.#mix(message.logTerm)
    this.#mix(message.commit)
    this.#mix(message.entries.length)
    this.#mix(message.reject ? message.rejectHint + 1 : 0)
    this.#mix(message.readSequence)
    this.#mix(message.snapshot?.index ?? 0)
  }

  #codeOf(word: string): number {
    const known = this.#codes.get(word)
    if (known !== undefined) return known
    let code = 0
    for (let at = 0; at < word.length; at++)
      code = Math.imul(code ^ word.charCodeAt(at), 0x01000193)
    this.#codes.set(word, code)
    return code
  }
}

function inWords({ time, replica, what, detail }: Happening): string {
  const words = typeof detail === 'object' ? messageInWords(detail) : String(detail)
  return `${String(time).padStart(7)}  ${replica === 0 ? '-' : `r${replica}`}  ${what} ${words}`
}

function messageInWords(message: Message): string {
  const { type, from, to, term, index, logTerm, commit, entries, snapshot } = message
  const parts = [`${type} r${from}→r${to} t${term}`]
  if (index > 0 || logTerm > 0) parts.push(`at ${index}/t${logTerm}`)
  if (commit > 0) parts.push(`commit ${commit}`)
  if (entries.length > 0) parts.push(`${entriesInWords(entries)} (${bytesOf(entries)} B)`)
  if (message.reject) parts.push(`reject, hint ${message.rejectHint}`)
  if (snapshot !== undefined) parts.push(`snapshot ${snapshot.index}/t${snapshot.term}`)
  if (message.readSequence > 0) parts.push(`read ${message.readSequence}`)
  if (message.isTransfer) parts.push('ordered')
  return parts.join(' ')
}

function entriesInWords(entries: readonly Entry[]): string {
  const shown = entries.slice(0, 6).map((entry) => {
    const change = entry.type === 'config-change' ? changeInWords(entry) : ''
    return `${entry.index}/t${entry.term}${change}`
  })
  return `[${shown.join(' ')}${entries.length > 6 ? ' …' : ''}]`
}

function changeInWords({ change }: Extract<Entry, { type: 'config-change' }>): string {
  const steps = change.steps.map(({ type, id }) => `${type} ${id}`)
  return `{${change.transition}: ${steps.join(', ')}}`
}
