// The slots of the process, and the work that waits for one of them.

import { MINUTE_MS } from '../../base/units.ts'
import type { FrameChannel } from './frame-channel.ts'
import { MemoryWatch } from './memory-watch.ts'
import { MESSAGES, sendDouble, sendEnding, type Job, type ProcessConfig } from './messages.ts'
import { TaskSlot } from './task-slot.ts'

/** Threads end when no task has begun for so long. */
const THREADS_IDLE_MS: number = MINUTE_MS

export type PoolConfig = ProcessConfig & {
  readonly threadUrl: string
  readonly threadFlags: readonly string[]
}

export class TaskPool {
  readonly #channel: FrameChannel
  readonly #config: PoolConfig
  readonly #slots: TaskSlot[] = []
  readonly #watch: MemoryWatch
  readonly #idleTimer: NodeJS.Timeout
  #waiting: Job[] = []
  #isFillDue = false

  constructor(channel: FrameChannel, config: PoolConfig) {
    this.#channel = channel
    this.#config = config
    this.#watch = new MemoryWatch(this.#slots, (job, bytes) =>
      sendDouble(channel, MESSAGES.usage, job.number, bytes)
    )
    // Memory that nobody needs now: starting threads again takes less than a tenth of a second.
    this.#idleTimer = setTimeout(() => {
      for (const slot of this.#slots) slot.renew()
    }, THREADS_IDLE_MS)
  }

  run(job: Job): void {
    this.#waiting.push(job)
    this.#fill()
  }

  cancel(number: number): void {
    const slot = this.#slots.find(({ job }) => job?.number === number)
    if (slot !== undefined) {
      slot.cancel('aborted')
    } else if (this.#waiting.some((job) => job.number === number)) {
      this.#waiting = this.#waiting.filter((job) => job.number !== number)
      this.#channel.send(MESSAGES.cancelled, number)
    }
  }

  /**
   * Later in this turn, and then all at once: what has ended and what begins is on its way to the
   * peer before a task begins, which may end this process at once.
   */
  #fill(): void {
    if (this.#isFillDue) return
    this.#isFillDue = true
    setImmediate(() => {
      const taken = this.#take()
      this.#channel.flush()
      this.#isFillDue = false
      for (const slot of taken) slot.begin()
      if (taken.length === 0) return
      this.#watch.wake()
      this.#idleTimer.refresh()
    })
  }

  #take(): TaskSlot[] {
    const taken: TaskSlot[] = []
    for (;;) {
      const [job] = this.#waiting
      const slot = job === undefined ? undefined : this.#slotFor(job)
      if (job === undefined || slot === undefined) return taken
      this.#waiting.shift()
      slot.take(job)
      taken.push(slot)
    }
  }

  #slotFor(job: Job): TaskSlot | undefined {
    const idle = this.#slots.filter((slot) => slot.job === undefined)
    return idle.find((slot) => slot.fits(job)) ?? this.#addSlot() ?? idle[0]
  }

  /** Threads are started when they are needed. */
  #addSlot(): TaskSlot | undefined {
    const { slots, ...options } = this.#config
    if (this.#slots.length >= slots) return undefined
    const channel = this.#channel
    const name = `atoll-${process.pid}-${this.#slots.length}`
    const slot = new TaskSlot(
      { name, ...options },
      {
        onStarted: ({ number }) => {
          channel.send(MESSAGES.started, number)
          // Of a thread that has just been started: its task begins now.
          if (!this.#isFillDue) channel.flush()
        },
        onLines: ({ number }, text) => channel.send(MESSAGES.lines, number, Buffer.from(text)),
        onProgress: ({ number }, value) => channel.send(MESSAGES.progress, number, value),
        onEnded: ({ number }, ending) => {
          // Before the channel flushes by itself, so that one write has both.
          this.#fill()
          sendEnding(channel, number, ending)
        },
        onStuck: ({ number }, ending) => {
          channel.send(MESSAGES.fatal, number, Buffer.from(JSON.stringify(ending)))
          channel.flush()
          setTimeout(() => process.kill(process.pid, 'SIGKILL'), 100)
        }
      }
    )
    this.#slots.push(slot)
    return slot
  }
}
