// A bolt at work: each tuple goes through its function, what comes of it is emitted, and it counts as
// processed: at once, or, when there is something to be kept, as soon as that is durable.

import { MeshError } from '../../base/errors.ts'
import { AckBuffer } from '../../core/streams/ack-buffer.ts'
import { statePrefix } from './keys.ts'
import { InstanceState } from './instance-state.ts'
import type { BoltContext, Emitted } from './definition.ts'
import type { FiguresNow } from './figures.ts'
import type { InstanceParts } from './instance.ts'
import type { Message, Tuples } from './tuple-codec.ts'

/** Between two times that what was processed is made durable. */
const FLUSH_MS = 400
/** Failures that are told, of an instance. */
const TOLD_MAX = 20

export class BoltInstance {
  readonly #parts: InstanceParts
  readonly #state: InstanceState
  readonly #context: BoltContext
  /** Processed, and not durable yet. */
  #held = new AckBuffer()
  #in = 0
  #acked = 0
  #failed = 0
  /** Something was processed, or begun to be, since the last time. */
  #isFlushDue = false
  #flushing: Promise<void> | undefined

  constructor(parts: InstanceParts) {
    this.#parts = parts
    const { definition, place } = parts
    const prefix = statePrefix(definition.name, place.operator.name)
    this.#state = new InstanceState(`${prefix}${place.instance}/`)
    this.#context = { ...parts.context, state: this.#state }
  }

  figures(): FiguresNow {
    const { emitted: out, queued: queue } = this.#parts.outlet
    const own = { in: this.#in, acked: this.#acked, failed: this.#failed }
    return { ...own, out, replayed: 0, givenUp: 0, pending: 0, queue }
  }

  async load(): Promise<void> {
    await this.#state.load(this.#parts.kv, this.#parts.signal)
  }

  async take(message: Message): Promise<void> {
    if (message.kind !== 'tuples') return
    const { outlet } = this.#parts
    for (let index = 0; index < message.values.length; index++) {
      const processing = this.#process(message, index)
      if (processing !== undefined) await processing
    }
    outlet.tellSoon()
    while (outlet.isFull && !this.#parts.signal.aborted) await this.#parts.bell.wait()
  }

  /** Until all spouts are done. @returns true: what isn't processed, its spout knows */
  async run(): Promise<true> {
    const { signal } = this.#parts
    const timer = setInterval(() => this.#flushNext(), FLUSH_MS)
    try {
      await this.#parts.ended.wait()
      signal.throwIfAborted()
    } finally {
      clearInterval(timer)
    }
    await this.#flushing
    await this.#flush()
    return true
  }

  /** One after the other: a later state must not be overwritten by an earlier one. */
  #flushNext(): void {
    if (this.#flushing !== undefined) return
    this.#flushing = this.#flush().finally(() => {
      this.#flushing = undefined
    })
    this.#parts.watch(this.#flushing)
  }

  /** @returns a promise only when the function does: most are done at once */
  #process(tuples: Tuples, index: number): Promise<void> | undefined {
    this.#in += 1
    this.#isFlushDue = true
    const source = tuples.sources[index] as number
    const root = tuples.roots[index] as number
    const ids = { high: tuples.ids[2 * index] as number, low: tuples.ids[2 * index + 1] as number }
    const emit = (value: unknown): void => {
      const made = this.#parts.outlet.emit(value, source, root)
      ids.high ^= made.high
      ids.low ^= made.low
    }
    const done = (): void => {
      this.#acked += 1
      const isKept = this.#parts.place.operator.flush !== undefined || this.#state.isUsed
      const acks = isKept ? this.#held : this.#parts.outlet.acks
      acks.add(source, root, ids.high, ids.low)
    }
    try {
      const { fn } = this.#parts.place.operator
      const result = fn(this.#context as never, tuples.values[index] as never) as
        | Emitted<unknown>
        | Promise<Emitted<unknown>>
      if (result === undefined) {
        done()
        return undefined
      }
      if (isSync(result)) {
        for (const value of result) emit(value)
        done()
        return undefined
      }
      return emitAll(result, emit).then(done, (error: unknown) => this.#fail(source, root, error))
    } catch (error) {
      this.#fail(source, root, error)
      return undefined
    }
  }

  /** The spout that it came from emits its value again. */
  #fail(source: number, root: number, error: unknown): void {
    this.#failed += 1
    if (this.#failed <= TOLD_MAX) this.#parts.context.log('A tuple failed:', error)
    this.#parts.outlet.acks.fail(source, root)
  }

  /** What was processed until now is durable when it resolves, and counts as processed then. */
  async #flush(): Promise<void> {
    if (!this.#isFlushDue && this.#held.count === 0) return
    this.#isFlushDue = false
    const held = this.#held
    this.#held = new AckBuffer()
    // Both as they are now: what is processed meanwhile is in the next one.
    const writes = this.#state.takeWrites()
    const flushing = this.#parts.place.operator.flush?.(this.#context as never)
    await Promise.all([
      flushing,
      ...writes.map(async (parts) => await this.#parts.fence.write(parts))
    ])
    this.#parts.outlet.acks.merge(held)
    this.#parts.outlet.tellSoon()
  }
}

/** @throws invalid-result */
function isSync(result: unknown): result is Iterable<unknown> {
  if (typeof result === 'object' && result !== null) return Symbol.iterator in result
  const advice = 'a bolt returns a list of tuples, a generator, or nothing'
  throw new MeshError('invalid-result', `It returned a ${typeof result}: ${advice}`)
}

async function emitAll(
  result: Promise<Emitted<unknown>> | Exclude<Emitted<unknown>, void>,
  emit: (value: unknown) => void
): Promise<void> {
  const values = await result
  if (values === undefined || values === null) return
  for await (const value of values) emit(value)
}
