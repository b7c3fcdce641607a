// Watches what the threads hold. The engine limits their heaps only: buffers are outside, and a heap
// that meets its limit may end the whole process, so a task that holds too much is ended before.

import { MIB } from '../../base/units.ts'
import type { Job } from './messages.ts'
import { HEAP_RESERVE_BYTES, type TaskSlot } from './task-slot.ts'

const EVERY_MS = 50
/** Threads without a task are looked at this seldom, in rounds. */
const IDLE_ROUNDS = 40
/** What is garbage, and wasn't collected yet, counts for nobody. */
const GARBAGE_BYTES: number = HEAP_RESERVE_BYTES / 2
/** From this part of its limit on a task is reported: should the process end, it may have been it. */
const REPORTED_PART = 0.75
/** An idle thread that holds so much of what a task may is replaced. */
const KEPT_PART = 0.5
/** The process itself, with nothing running. */
const PROCESS_BYTES: number = 128 * MIB

type Watched = { job: Job | undefined; overCount: number; bytes: number; isAsking: boolean }

export class MemoryWatch {
  readonly #slots: readonly TaskSlot[]
  readonly #onUsage: (job: Job, bytes: number) => void
  readonly #watched = new Map<TaskSlot, Watched>()
  #timer: NodeJS.Timeout | undefined
  #round = 0
  #idleRounds = 0
  #fullCount = 0

  /** @param slots that there are; may grow */
  constructor(slots: readonly TaskSlot[], onUsage: (job: Job, bytes: number) => void) {
    this.#slots = slots
    this.#onUsage = onUsage
  }

  /** A task begins. The watch ends by itself when there have been none for a while. */
  wake(): void {
    this.#idleRounds = 0
    this.#timer ??= setInterval(() => this.#look(), EVERY_MS)
  }

  #look(): void {
    this.#round += 1
    const isIdle = this.#slots.every(({ job }) => job === undefined)
    this.#idleRounds = isIdle ? this.#idleRounds + 1 : 0
    if (this.#idleRounds > IDLE_ROUNDS) {
      clearInterval(this.#timer)
      this.#timer = undefined
      return
    }
    for (const slot of this.#slots) {
      // What has ended by the next look isn't worth asking for.
      const isDue = (slot.runningMs() ?? 0) >= EVERY_MS || this.#round % IDLE_ROUNDS === 0
      if (isDue) void this.#ask(slot)
    }
    this.#lookAtAll()
  }

  async #ask(slot: TaskSlot): Promise<void> {
    const { thread, job } = slot
    const watched = this.#watchedOf(slot, job)
    // Node.js before 22.16 can't tell: there the size of the process alone decides.
    if (watched.isAsking || typeof thread?.getHeapStatistics !== 'function') return
    watched.isAsking = true
    try {
      const statistics = await thread.getHeapStatistics()
      const bytes = statistics.used_heap_size + statistics.external_memory
      if (slot.job === job && slot.thread === thread) this.#judge(slot, watched, bytes)
    } catch {
      // It has ended meanwhile.
    } finally {
      watched.isAsking = false
    }
  }

  #watchedOf(slot: TaskSlot, job: Job | undefined): Watched {
    const known = this.#watched.get(slot) ?? { job, overCount: 0, bytes: 0, isAsking: false }
    if (known.job !== job) Object.assign(known, { job, overCount: 0, bytes: 0 })
    this.#watched.set(slot, known)
    return known
  }

  #judge(slot: TaskSlot, watched: Watched, bytes: number): void {
    const { job } = slot
    watched.bytes = bytes
    if (job === undefined) {
      if (bytes > slot.heapBytes * KEPT_PART) slot.renew()
      return
    }
    if (bytes > job.memoryBytes * REPORTED_PART) this.#onUsage(job, bytes)
    watched.overCount = bytes > job.memoryBytes + GARBAGE_BYTES ? watched.overCount + 1 : 0
    // Twice, for a collection may have been about to begin.
    if (watched.overCount >= 2) slot.kill('task-memory')
  }

  /** What isn't counted for a thread is seen at the process only. */
  #lookAtAll(): void {
    const running = this.#slots.filter((slot) => slot.runningMs() !== undefined)
    if (running.length === 0) return
    const allowed = running.reduce((sum, { job }) => sum + (job?.memoryBytes ?? 0), 0)
    const reserve = PROCESS_BYTES + this.#slots.length * HEAP_RESERVE_BYTES
    const isFull = process.memoryUsage.rss() > allowed + reserve
    this.#fullCount = isFull ? this.#fullCount + 1 : 0
    if (this.#fullCount < 2) return
    this.#fullCount = 0
    const [largest] = running.toSorted(
      (a, b) => this.#heldBy(b) - this.#heldBy(a) || (b.runningMs() ?? 0) - (a.runningMs() ?? 0)
    )
    largest?.kill('task-memory')
  }

  #heldBy(slot: TaskSlot): number {
    const watched = this.#watched.get(slot)
    return watched?.job === slot.job ? (watched?.bytes ?? 0) : 0
  }
}
