// The driver of a simulated replica: it does what a Ready asks for, at once or over storage threads.

import { chance, type Random } from '../../../src/base/random.ts'
import { APPEND_THREAD, APPLY_THREAD, NO_REPLICA } from '../../../src/core/raft/messages.ts'
import type { Entry, Message } from '../../../src/core/raft/messages.ts'
import type { Ready } from '../../../src/core/raft/ready.ts'
import type { Applier } from './applier.ts'
import { UNITS_PER_TICK } from './schedule.ts'
import { StorageThread } from './storage-thread.ts'
import { demand } from './violation.ts'
import type { Host, World } from './world.ts'

export type DriverParts = {
  readonly host: Host
  readonly world: World
  readonly applier: Applier
  readonly random: Random
}

export class Driver {
  readonly #host: Host
  readonly #world: World
  readonly #applier: Applier
  readonly #random: Random
  readonly #append: StorageThread
  readonly #apply: StorageThread
  /** Whether a Ready is being written: the next one is taken when that is done. */
  #isWriting = false
  #isTelling = false

  constructor({ host, world, applier, random }: DriverParts) {
    this.#host = host
    this.#world = world
    this.#applier = applier
    this.#random = random
    const delay = (): number => this.#diskDelay()
    this.#append = new StorageThread(world.schedule, delay, (job) => this.#appended(job))
    this.#apply = new StorageThread(world.schedule, delay, (job) => this.#applied(job))
  }

  /** The machine has crashed. */
  clear(): void {
    this.#isWriting = false
    this.#isTelling = false
    this.#append.clear()
    this.#apply.clear()
  }

  /** Does what there is to do after every step. */
  pump(): void {
    const { life } = this.#host
    this.#observe()
    const { raft } = this.#host
    while (life === this.#host.life && raft?.hasReady() === true && !this.#isWriting) {
      const ready = raft.take()
      this.#observe()
      for (const read of ready.readStates) this.#world.onRead(this.#host, read)
      if (this.#world.plan.knobs.asyncStorageWrites) this.#handOut(ready)
      else this.#write(ready)
    }
    if (life === this.#host.life && raft?.isCommitUntold === true) this.#tellLater()
  }

  #tellLater(): void {
    if (this.#isTelling) return
    this.#isTelling = true
    const { life } = this.#host
    this.#world.schedule.after(1 + this.#random.below(UNITS_PER_TICK), () => {
      if (life !== this.#host.life) return
      this.#isTelling = false
      this.#host.whenRunning(() => {
        this.#host.raft?.tellCommit()
        this.pump()
      })
    })
  }

  #observe(): void {
    this.#world.checker().observe(this.#host)
  }

  // Synchronous writes: one Ready after the other. Meanwhile the replica goes on to take messages.

  #write(ready: Ready): void {
    const { hardState, snapshot, entries, mustSync, messages, committedEntries } = ready
    const isEmpty = hardState === undefined && snapshot === undefined && entries.length === 0
    if (isEmpty && messages.length === 0 && committedEntries.length === 0) {
      this.#finish(ready)
      return
    }
    this.#applier.disk.begin({
      hardState,
      snapshot,
      entries,
      mustSync: mustSync || snapshot !== undefined
    })
    const delay = isEmpty ? 0 : this.#diskDelay()
    if (delay === 0) {
      this.#applier.disk.complete()
      this.#finish(ready)
      return
    }
    const { life } = this.#host
    this.#isWriting = true
    this.#world.schedule.after(delay, () => {
      if (life !== this.#host.life) return
      this.#applier.disk.complete()
      this.#host.whenRunning(() => {
        this.#finish(ready)
        this.pump()
      })
    })
  }

  #finish(ready: Ready): void {
    const { life } = this.#host
    if (this.#mayCrash()) return
    if (ready.snapshot !== undefined) this.#applier.install()
    this.#sendAll(ready.messages)
    if (this.#mayCrash()) return
    this.#applyAll(ready.committedEntries)
    if (life !== this.#host.life || this.#mayCrash()) return
    this.#isWriting = false
    this.#host.raft?.advance()
    this.#observe()
  }

  /** Whether the machine has just crashed, in the middle of a Ready. */
  #mayCrash(): boolean {
    const { plan, isCalm } = this.#world
    if (!plan.faults.has('crash-in-ready') || isCalm()) return false
    if (!chance(this.#random, 1, 40 * plan.faultTicks)) return false
    this.#host.crash()
    return true
  }

  // Asynchronous writes: messages to two threads, whose responses come in order.

  #handOut(ready: Ready): void {
    for (const message of ready.messages) {
      if (message.to === APPEND_THREAD) {
        this.#begin(message)
        this.#append.push(message)
      } else if (message.to === APPLY_THREAD) {
        this.#apply.push(message)
      } else {
        this.#sendAll([message])
      }
    }
  }

  #begin({ term, vote, commit, entries, snapshot }: Message): void {
    // Term, vote and commit of 0: no hard state.
    const hardState = term === 0 ? undefined : { term, vote, commit }
    this.#applier.disk.begin({ hardState, snapshot, entries, mustSync: true })
  }

  #appended(message: Message): void {
    this.#applier.disk.complete()
    this.#host.whenRunning(() => {
      if (this.#mayCrash()) return
      if (message.snapshot !== undefined) this.#applier.install()
      this.#append.next()
      this.#respond(message)
    })
  }

  #applied(message: Message): void {
    this.#host.whenRunning(() => {
      if (this.#mayCrash()) return
      const { life } = this.#host
      this.#applyAll(message.entries)
      if (life !== this.#host.life) return
      this.#apply.next()
      this.#respond(message)
    })
  }

  #respond({ responses }: Message): void {
    const { life } = this.#host
    for (const response of responses) {
      if (life !== this.#host.life) return
      if (response.to !== this.#host.id) {
        this.#sendAll([response])
        continue
      }
      this.#world.checker().checkAttested(this.#host, response)
      this.#host.input('is told', response, (raft) => raft.step(response))
    }
  }

  #sendAll(messages: readonly Message[]): void {
    for (const message of messages) {
      demand('Addressed', message.to > NO_REPLICA, `r${this.#host.id} sends to ${message.to}`)
      this.#world.checker().checkAttested(this.#host, message)
      this.#world.trace.note(this.#host.id, 'sends', message)
      this.#world.send(this.#host.id, message)
    }
  }

  #applyAll(entries: readonly Entry[]): void {
    const { life } = this.#host
    for (const entry of entries) {
      const { raft } = this.#host
      if (raft === undefined || life !== this.#host.life) return
      this.#applier.apply(raft, entry)
    }
    this.#applier.save()
  }

  #diskDelay(): number {
    const { plan, isCalm } = this.#world
    if (isCalm()) return this.#random.below(3)
    const isStuck = plan.faults.has('stuck-disk') && chance(this.#random, 1, 30)
    if (isStuck) return this.#random.below(60 * UNITS_PER_TICK)
    if (!plan.faults.has('slow-disk')) return this.#random.below(3)
    return this.#random.below(chance(this.#random, 1, 8) ? 12 * UNITS_PER_TICK : UNITS_PER_TICK)
  }
}
