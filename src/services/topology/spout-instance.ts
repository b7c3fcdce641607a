// A spout at work: it emits what its function yields while there is room, and again what failed or took
// too long, and keeps how far everything is processed.

import { SECOND_MS } from '../../base/units.ts'
import { op } from '../kv/txn.ts'
import { ReplayWindow } from '../../core/streams/replay-window.ts'
import type { SpoutContext } from './definition.ts'
import type { FiguresNow } from './figures.ts'
import type { InstanceParts } from './instance.ts'
import { parsed, positionKey } from './keys.ts'
import { pause } from './waiting.ts'
import type { Message } from './tuple-codec.ts'

const PENDING_MAX = 4_096
const TIMEOUT_MS: number = 10 * SECOND_MS
const TRIES_MAX = 32
const TICK_MS = 50
const KEEP_MS = 500
/** When an instance has begun elsewhere, what was under way has until then. */
const REPLACED_MS: number = 1.5 * SECOND_MS
/** Values that are emitted without letting anything else happen. */
const BURST = 128
/** Roots of one attempt: it has its own range of them. */
const ROOTS_PER_ATTEMPT: number = 2 ** 32

export class SpoutInstance {
  readonly #parts: InstanceParts
  readonly #window: ReplayWindow<unknown, unknown>
  #position: unknown
  #keptPosition: unknown
  #yielded = 0
  #keptMs = 0
  #keeping: Promise<void> | undefined

  constructor(parts: InstanceParts) {
    this.#parts = parts
    const { pendingMax = PENDING_MAX, timeoutMs = TIMEOUT_MS } = parts.definition.options
    const firstRoot = parts.attempt * ROOTS_PER_ATTEMPT
    this.#window = new ReplayWindow({ pendingMax, timeoutMs, triesMax: TRIES_MAX, firstRoot })
  }

  figures(): FiguresNow {
    const { acked, replayed, givenUp, pending } = this.#window
    const { emitted: out, queued: queue } = this.#parts.outlet
    return { in: this.#yielded, out, acked, failed: 0, replayed, givenUp, pending, queue }
  }

  async load(): Promise<void> {
    const { place, definition, kv, signal } = this.#parts
    const key = positionKey(definition.name, place.index)
    const entry = await kv.get(key, { signal })
    if (entry !== undefined) this.#position = parsed(entry.text(), key)
    this.#keptPosition = this.#position
  }

  take(message: Message): void {
    if (message.kind !== 'acks') return
    const { roots, xors, failed } = message
    const nowMs = performance.now()
    for (const root of failed) this.#window.fail(root)
    for (const [index, root] of roots.entries()) {
      const ids = { high: xors[2 * index] ?? 0, low: xors[2 * index + 1] ?? 0 }
      this.#window.xor(root, ids, nowMs)
    }
    this.#parts.bell.ring()
  }

  /** @returns whether all was processed */
  async run(): Promise<boolean> {
    const { routes } = this.#parts
    routes.onChanged((_, isReplaced) => {
      if (isReplaced) this.#window.hasten(performance.now() + REPLACED_MS)
    })
    const timer = setInterval(() => this.#tick(), TICK_MS)
    try {
      await this.#emitAll()
      await this.#drain()
    } finally {
      clearInterval(timer)
    }
    await this.#keeping
    await this.#parts.fence.finish(this.#positionWrites())
    return this.#window.pending === 0
  }

  /** Until the source has ended, or is to. */
  async #emitAll(): Promise<void> {
    const { place, stopped, outlet, bell } = this.#parts
    const values = place.operator.fn(this.#context() as never, undefined as never) as
      | Iterable<unknown>
      | AsyncIterable<unknown>
    const iterator =
      Symbol.asyncIterator in values ? values[Symbol.asyncIterator]() : values[Symbol.iterator]()
    for (let burst = 0; ; burst++) {
      while (!stopped.isOver && (this.#window.isFull || outlet.isFull)) await bell.wait()
      if (burst % BURST === 0) await new Promise((resolve) => setImmediate(resolve))
      if (stopped.isOver) break
      const next = iterator.next()
      const result = 'then' in next ? await stopped.or(next) : next
      if (result === undefined) break
      if (result.done === true) return
      this.#yielded += 1
      this.#emit(this.#window.add(result.value), result.value)
    }
    // It may wait for something that never comes.
    void Promise.resolve(iterator.return?.()).catch(() => {})
  }

  #emit(sequence: number, value: unknown): void {
    const root = this.#window.nextRoot()
    const ids = this.#parts.outlet.emit(value, this.#parts.place.index, root)
    this.#window.begin(sequence, { root, ids }, performance.now())
  }

  /** Until all is processed; when the topology is to stop, not for ever. */
  async #drain(): Promise<void> {
    const { signal, routes } = this.#parts
    const startedMs = performance.now()
    while (this.#window.pending > 0) {
      signal.throwIfAborted()
      const { stop } = routes
      if (stop !== undefined && performance.now() - startedMs > stop.drainMs) return
      await pause(TICK_MS, signal)
    }
  }

  #tick(): void {
    const nowMs = performance.now()
    if (!this.#parts.outlet.isFull) {
      for (const { sequence, value } of this.#window.takeReplays(nowMs)) this.#emit(sequence, value)
      this.#parts.bell.ring()
    }
    if (nowMs - this.#keptMs >= KEEP_MS && this.#keeping === undefined) this.#keep(nowMs)
  }

  #keep(nowMs: number): void {
    const writes = this.#positionWrites()
    if (writes.length === 0) return
    this.#keptMs = nowMs
    this.#keeping = this.#parts.fence.write(writes).finally(() => {
      this.#keeping = undefined
    })
    this.#parts.watch(this.#keeping)
  }

  #positionWrites(): ReturnType<typeof op.put>[] {
    const position = this.#window.position ?? this.#position
    if (position === this.#keptPosition) return []
    this.#keptPosition = position
    const { definition, place } = this.#parts
    return [op.put(positionKey(definition.name, place.index), JSON.stringify(position))]
  }

  #context(): SpoutContext {
    return {
      ...this.#parts.context,
      position: this.#position,
      checkpoint: (position) => this.#window.mark(position)
    }
  }
}
