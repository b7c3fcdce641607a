// A thread of the storage: it does what it is told one after the other, each after a while. What
// waits when a write begins is done with it ("group commit").

import type { Message } from '../../../src/core/raft/messages.ts'
import type { Schedule } from './schedule.ts'

export class StorageThread {
  readonly #schedule: Schedule
  readonly #delay: () => number
  readonly #done: (job: Message) => void
  #jobs: Message[] = []
  /** What an earlier life left under way is void. */
  #life = 0
  #isBusy = false
  /** How many of the next jobs are part of the write before them. */
  #together = 0

  /** @param done a job is done; whoever is told calls `next` when it has taken note */
  constructor(schedule: Schedule, delay: () => number, done: (job: Message) => void) {
    this.#schedule = schedule
    this.#delay = delay
    this.#done = done
  }

  push(job: Message): void {
    this.#jobs.push(job)
    if (!this.#isBusy) this.next()
  }

  next(): void {
    const job = this.#jobs.shift()
    this.#isBusy = job !== undefined
    if (job === undefined) return
    const life = this.#life
    const isPart = this.#together > 0
    this.#together = isPart ? this.#together - 1 : this.#jobs.length
    this.#schedule.after(isPart ? 0 : this.#delay(), () => {
      if (life === this.#life) this.#done(job)
    })
  }

  clear(): void {
    this.#life += 1
    this.#jobs = []
    this.#isBusy = false
    this.#together = 0
  }
}
