// Virtual time: one heap of events. What is due at the same time runs in the order in which it was
// scheduled.

/** How finely a tick is divided: delays are drawn in these units. */
export const UNITS_PER_TICK = 10

type Event = { readonly time: number; readonly order: number; readonly run: () => void }

const isBefore = (a: Event, b: Event): boolean =>
  a.time < b.time || (a.time === b.time && a.order < b.order)

export class Schedule {
  /** In units. */
  now = 0
  #order = 0
  readonly #heap: Event[] = []

  /** The tick that runs now, for people. */
  get tick(): number {
    return Math.floor(this.now / UNITS_PER_TICK)
  }

  after(units: number, run: () => void): void {
    this.#push({ time: this.now + units, order: this.#order++, run })
  }

  /** Runs what is due up to `time`, until `isDone` says so between two events. */
  runUntil(time: number, isDone: () => boolean): void {
    for (;;) {
      const next = this.#heap[0]
      if (next === undefined || next.time > time || isDone()) break
      this.#pop()
      this.now = next.time
      next.run()
    }
    if (!isDone()) this.now = time
  }

  #push(event: Event): void {
    const heap = this.#heap
    let place = heap.length
    heap.push(event)
    while (place > 0) {
      const parent = (place - 1) >> 1
      const above = heap[parent] as Event
      if (!isBefore(event, above)) break
      heap[place] = above
      place = parent
    }
    heap[place] = event
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop() as Event
    const { length } = heap
    if (length === 0) return
    let place = 0
    for (;;) {
      let child = place * 2 + 1
      if (child >= length) break
      const right = child + 1
      if (right < length && isBefore(heap[right] as Event, heap[child] as Event)) child = right
      if (!isBefore(heap[child] as Event, last)) break
      heap[place] = heap[child] as Event
      place = child
    }
    heap[place] = last
  }
}
