// Time that stands still until somebody runs it: the clock of simulations and of the test mesh.

import type { Clock, Timer } from '../base/clock.ts'
import { assert } from '../base/assert.ts'

type Entry = { atMs: number; sequence: number; run: (() => void) | undefined }

/** Lets everything that needs no time happen: all microtasks, and what they start. */
async function settleMicrotasks(): Promise<void> {
  await new Promise<void>((resolve) => {
    setImmediate(resolve)
  })
}

/**
 * A clock that jumps from timer to timer. Timers due at one instant fire in the order they were
 * set, so a run depends on nothing but its inputs. Code under it must not do real I/O.
 */
export class VirtualClock implements Clock {
  #nowMs = 0
  #sequence = 0
  #heap: Entry[] = []
  /** Whose `run` moves the time. */
  #leader: object | undefined
  readonly #startMs: number

  /** @param startMs what `nowMs` says at the start, milliseconds since the Unix epoch. */
  constructor(startMs = 1_700_000_000_000) {
    this.#startMs = startMs
  }

  monotonicMs(): number {
    return this.#nowMs
  }

  nowMs(): number {
    return this.#startMs + this.#nowMs
  }

  after(delayMs: number, run: () => void): Timer {
    const entry: Entry = {
      atMs: this.#nowMs + Math.max(0, delayMs),
      sequence: this.#sequence++,
      run
    }
    this.#push(entry)
    return {
      cancel: () => {
        entry.run = undefined
      }
    }
  }

  /** Runs everything that is due within the next `durationMs`, and leaves the clock at its end. */
  async advance(durationMs: number): Promise<void> {
    const endMs = this.#nowMs + durationMs
    await settleMicrotasks()
    while (this.#peekMs() <= endMs) {
      this.#fireNext()
      if (this.#peekMs() > this.#nowMs) await settleMicrotasks()
    }
    this.#nowMs = endMs
  }

  /** Nothing that waits for it happens any more, and nothing of it is kept. */
  end(): void {
    this.#heap = []
  }

  /**
   * Runs the clock until `work` settles, and settles like it. Several callers may run it at once.
   *
   * @param limitMs virtual time after which the run is given up as stuck.
   */
  async run<T>(work: Promise<T>, limitMs = 3_600_000): Promise<T> {
    const state = { settled: false }
    const settle = (): void => {
      state.settled = true
    }
    work.then(settle, settle)
    const endMs = this.#nowMs + limitMs
    try {
      await settleMicrotasks()
      while (!state.settled) {
        // One of them moves the time; when it is done another one goes on.
        this.#leader ??= state
        if (this.#leader === state) {
          assert(this.#peekMs() <= endMs, `work settles within ${limitMs} ms of virtual time`)
          this.#fireNext()
        }
        await settleMicrotasks()
      }
    } finally {
      if (this.#leader === state) this.#leader = undefined
    }
    return await work
  }

  #fireNext(): void {
    const entry = this.#pop()
    if (entry === undefined) return
    this.#nowMs = entry.atMs
    const { run } = entry
    entry.run = undefined
    run?.()
  }

  /** When the next live timer is due; Infinity when there is none. */
  #peekMs(): number {
    while (this.#heap[0] !== undefined && this.#heap[0].run === undefined) this.#pop()
    return this.#heap[0]?.atMs ?? Number.POSITIVE_INFINITY
  }

  #before(a: Entry, b: Entry): boolean {
    return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence)
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let index = heap.length
    heap.push(entry)
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (!this.#before(entry, heap[parent] as Entry)) break
      heap[index] = heap[parent] as Entry
      index = parent
    }
    heap[index] = entry
  }

  #pop(): Entry | undefined {
    const heap = this.#heap
    const top = heap[0]
    const last = heap.pop()
    if (top === undefined || last === undefined || heap.length === 0) return top
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && this.#before(heap[child + 1] as Entry, heap[child] as Entry))
        child += 1
      if (!this.#before(heap[child] as Entry, last)) break
      heap[index] = heap[child] as Entry
      index = child
    }
    heap[index] = last
    return top
  }
}
