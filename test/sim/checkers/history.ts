// What clients asked and were told, in the order in which it happened: what a checker of
// linearizability looks at. One event for each line of JSON, so that a run can be kept and looked
// at again.

/** How an operation ended. */
type Ending =
  /** It was done, with this output. */
  | { readonly event: 'ok'; readonly id: number; readonly output: unknown }
  /** It was certainly not done, and never will be. */
  | { readonly event: 'fail'; readonly id: number; readonly reason: string }
  /** It may have been done, or be done yet: a timeout, a lost connection, a client that died. */
  | { readonly event: 'unknown'; readonly id: number; readonly reason: string }

type Beginning = {
  readonly event: 'begin'
  readonly id: number
  readonly client: string
  /** What is linearizable by itself: a key, a lock, a volume. */
  readonly key: string
  readonly input: unknown
}

/** `atMs` is for people: the order of the events is what counts. */
export type HistoryEvent = (Beginning | Ending) & { readonly atMs: number }

/** One operation of a history; calls and returns are places in the order of all events. */
export type Operation<Input, Output> = {
  readonly id: number
  readonly client: string
  readonly key: string
  readonly input: Input
  /** Undefined when nobody knows whether it was done. */
  readonly output: Output | undefined
  readonly call: number
  /** Infinite when nobody knows. */
  readonly return: number
}

/** Clients of one process write down here what they do. */
export class Recorder {
  readonly events: HistoryEvent[] = []
  readonly #now: () => number
  readonly #open = new Set<number>()
  #nextId = 1

  /** @param now milliseconds, from any origin */
  constructor(now: () => number = () => 0) {
    this.#now = now
  }

  /** Before anything is sent. @returns the operation's id, for what comes of it */
  begin(client: string, key: string, input: unknown): number {
    const id = this.#nextId++
    this.#open.add(id)
    this.events.push({ event: 'begin', id, client, key, input, atMs: this.#now() })
    return id
  }

  /** @param output an object, perhaps an empty one: undefined would mean that nobody knows */
  ok(id: number, output: object): void {
    this.#end(id)
    this.events.push({ event: 'ok', id, output, atMs: this.#now() })
  }

  /** Only when it is certain that the operation has no effect and will have none. */
  fail(id: number, reason: string): void {
    this.#end(id)
    this.events.push({ event: 'fail', id, reason, atMs: this.#now() })
  }

  unknown(id: number, reason: string): void {
    this.#end(id)
    this.events.push({ event: 'unknown', id, reason, atMs: this.#now() })
  }

  toJsonLines(): string {
    return this.events.map((event) => `${JSON.stringify(event)}\n`).join('')
  }

  #end(id: number): void {
    if (!this.#open.delete(id)) throw new Error(`Operation ${id} isn't under way`)
  }
}

/** @throws Error that names the first line that is no event. */
export function eventsOfJsonLines(lines: string): HistoryEvent[] {
  return lines
    .split('\n')
    .map((line, index) => ({ line, index }))
    .filter(({ line }) => line !== '')
    .map(({ line, index }) => eventOf(line, index + 1))
}

function eventOf(line: string, number: number): HistoryEvent {
  try {
    const event = JSON.parse(line) as HistoryEvent
    const isKnown = ['begin', 'ok', 'fail', 'unknown'].includes(event.event)
    if (isKnown && Number.isInteger(event.id)) return event
  } catch (cause) {
    throw new Error(`Line ${number} of the history is no JSON`, { cause })
  }
  throw new Error(`Line ${number} of the history is no event`)
}

/**
 * @returns the operations in the order of their calls. Those that failed are left out; those that
 *   have not ended count as unknown.
 */
export function operationsOf<Input, Output>(
  events: readonly HistoryEvent[]
): Operation<Input, Output>[] {
  const endings = new Map<number, { ending: HistoryEvent; place: number }>()
  for (const [place, ending] of events.entries()) {
    if (ending.event === 'begin') continue
    if (endings.has(ending.id)) throw new Error(`Operation ${ending.id} ends twice`)
    endings.set(ending.id, { ending, place })
  }
  const operations: Operation<Input, Output>[] = []
  for (const [call, event] of events.entries()) {
    if (event.event !== 'begin') continue
    const { id, client, key } = event
    const end = endings.get(id)
    if (end !== undefined && end.place < call)
      throw new Error(`Operation ${id} ends before it begins`)
    if (end?.ending.event === 'fail') continue
    const isKnown = end?.ending.event === 'ok'
    operations.push({
      id,
      client,
      key,
      input: event.input as Input,
      output: isKnown ? (end.ending as { output: Output }).output : undefined,
      call,
      return: isKnown ? end.place : Number.POSITIVE_INFINITY
    })
  }
  return operations
}
