// A simulated machine with a replica on it, and the driver of that replica: it does what a Ready
// asks for, at once or over storage threads; it crashes, restarts and is stopped for a while.

import { chance, createRandom, type Random } from '../../../src/base/random.ts'
import type { Refused } from '../../../src/core/raft/events.ts'
import { APPEND_THREAD, APPLY_THREAD, NO_REPLICA } from '../../../src/core/raft/messages.ts'
import type { Entry, Message, ReplicaId } from '../../../src/core/raft/messages.ts'
import { Raft } from '../../../src/core/raft/raft.ts'
import type { Ready } from '../../../src/core/raft/ready.ts'
import type { ReadState } from '../../../src/core/raft/state.ts'
import { Applier } from './applier.ts'
import type { Checker } from './checker.ts'
import type { Disk } from './disk.ts'
import type { MachineState } from './machine.ts'
import { streamOf, type Plan } from './plan.ts'
import { UNITS_PER_TICK, type Schedule } from './schedule.ts'
import { StorageThread } from './storage-thread.ts'
import type { Trace } from './trace.ts'
import { demand } from './violation.ts'

/** The rest of the world, as a machine sees it. */
export type World = {
  readonly plan: Plan
  readonly schedule: Schedule
  readonly trace: Trace
  readonly checker: () => Checker
  readonly send: (sender: ReplicaId, message: Message) => void
  readonly onApplied: (replica: Replica, entry: Entry) => void
  readonly onRead: (replica: Replica, read: ReadState) => void
  readonly onCrash: (replica: Replica) => void
  readonly isCalm: () => boolean
}

export class Replica {
  readonly id: ReplicaId
  raft: Raft | undefined
  /** Goes up with every start and every crash: what an earlier life left under way is void. */
  life = 0
  /** What has happened while the process was stopped, undefined when it runs. */
  #held: (() => void)[] | undefined
  #isWriting = false
  readonly #world: World
  readonly #applier: Applier
  readonly #append: StorageThread
  readonly #apply: StorageThread
  readonly #random: Random
  readonly #tickUnits: number

  constructor(id: ReplicaId, world: World) {
    this.id = id
    this.#world = world
    const { seed, faults } = world.plan
    this.#random = streamOf(seed, `replica ${id}`)
    const drift = this.#random.below(5) - 2
    this.#tickUnits = UNITS_PER_TICK + (faults.has('drift') ? drift : 0)
    this.#applier = new Applier({
      ...world,
      id,
      random: this.#random,
      isLazy: faults.has('lazy-machine'),
      onApplied: (entry) => {
        if (entry.type === 'config-change') this.#observe()
        world.onApplied(this, entry)
      }
    })
    const delay = (): number => this.#diskDelay()
    this.#append = new StorageThread(world.schedule, delay, (job) => this.#appended(job))
    this.#apply = new StorageThread(world.schedule, delay, (job) => this.#applied(job))
  }

  get disk(): Disk {
    return this.#applier.disk
  }

  get machine(): MachineState {
    return this.#applier.machine
  }

  get isRunning(): boolean {
    return this.raft !== undefined
  }

  get isPaused(): boolean {
    return this.#held !== undefined
  }

  start(): void {
    const { plan, trace, checker } = this.#world
    this.life += 1
    this.#applier.recover()
    const config = { ...plan.knobs, id: this.id, applied: this.machine.applied }
    const random = createRandom(this.#random.u32())
    trace.note(this.id, 'starts', this.machine.applied)
    this.raft = new Raft({ config, random, storage: this.disk.storage })
    checker().started(this)
    this.#tickLater()
  }

  /** The machine loses its power. Nothing happens to one that has none. */
  crash(): void {
    if (this.raft === undefined) return
    const { plan, trace, checker } = this.#world
    trace.note(this.id, 'crashes')
    this.life += 1
    this.raft = undefined
    this.#held = undefined
    this.#isWriting = false
    this.#append.clear()
    this.#apply.clear()
    this.disk.crash(this.#random, plan.faults.has('torn-write'))
    checker().stopped(this.id)
    checker().checkDurable()
    this.#world.onCrash(this)
  }

  /** The process is stopped: nothing is lost, and everything waits. */
  pause(): void {
    if (this.raft === undefined || this.#held !== undefined) return
    this.#world.trace.note(this.id, 'is paused')
    this.#held = []
  }

  resume(): void {
    const held = this.#held
    if (held === undefined) return
    this.#world.trace.note(this.id, 'goes on', held.length)
    this.#held = undefined
    const { life } = this
    for (const run of held) if (life === this.life) run()
  }

  /** Gives the replica something from outside. @returns false when nobody is there */
  input(what: string, detail: Message | number, act: (raft: Raft) => Refused | void): boolean {
    if (this.raft === undefined) return false
    this.#run(() => {
      const { raft } = this
      if (raft === undefined) return
      this.#world.trace.note(this.id, what, detail)
      const refused = act(raft)
      if (refused !== undefined) this.#checkRefusal(refused, detail)
      this.#pump()
    })
    return true
  }

  /** Gives the replica what must be refused. */
  inputGarbage(message: Message): void {
    if (this.raft === undefined) return
    this.#run(() => {
      const { raft } = this
      if (raft === undefined) return
      this.#world.trace.note(this.id, 'gets garbage', message.type)
      const wasReady = raft.hasReady()
      const isRefused = raft.step(message) !== undefined
      demand('GarbageIsRefused', isRefused, `r${this.id} believes a broken ${message.type}`)
      this.#observe()
      const isQuiet = wasReady || !raft.hasReady()
      demand('GarbageIsRefused', isQuiet, `r${this.id} does something for it`)
    })
  }

  /** Between replicas that keep the rules, nothing is refused but for want of a leader or room. */
  #checkRefusal({ refusal, problem }: Refused, detail: Message | number): void {
    this.#world.trace.note(this.id, 'refuses', refusal)
    const isUsual =
      refusal === 'proposal-dropped' ||
      refusal === 'no-leader' ||
      refusal === 'overloaded' ||
      refusal === 'unknown-replica'
    // What was passed on in a circle.
    const isOwn = typeof detail === 'object' && detail.from === this.id
    demand('NothingImpossible', isUsual || isOwn, `r${this.id} refuses (${refusal}): ${problem}`)
  }

  /** Now, or when the process goes on. */
  #run(act: () => void): void {
    if (this.#held === undefined) act()
    else this.#held.push(act)
  }

  #tickLater(): void {
    const { life } = this
    this.#world.schedule.after(this.#tickUnits, () => {
      if (life !== this.life) return
      this.input('tick', 0, (raft) => raft.tick())
      if (life === this.life) this.#tickLater()
    })
  }

  #diskDelay(): number {
    const { plan, isCalm } = this.#world
    if (isCalm()) return this.#random.below(3)
    const isStuck = plan.faults.has('stuck-disk') && chance(this.#random, 1, 30)
    if (isStuck) return this.#random.below(60 * UNITS_PER_TICK)
    if (!plan.faults.has('slow-disk')) return this.#random.below(3)
    return this.#random.below(chance(this.#random, 1, 8) ? 12 * UNITS_PER_TICK : UNITS_PER_TICK)
  }

  /** Does what there is to do after every step. */
  #pump(): void {
    const { life } = this
    this.#observe()
    const { raft } = this
    while (life === this.life && raft?.hasReady() === true && !this.#isWriting) {
      const ready = raft.take()
      this.#observe()
      for (const read of ready.readStates) this.#world.onRead(this, read)
      if (this.#world.plan.knobs.asyncStorageWrites) this.#handOut(ready)
      else this.#write(ready)
    }
  }

  #observe(): void {
    this.#world.checker().observe(this)
  }

  // Synchronous writes: one Ready after the other. Meanwhile the replica goes on to take messages.

  #write(ready: Ready): void {
    const { hardState, snapshot, entries, mustSync, messages, committedEntries } = ready
    const isEmpty = hardState === undefined && snapshot === undefined && entries.length === 0
    if (isEmpty && messages.length === 0 && committedEntries.length === 0) {
      this.#finish(ready)
      return
    }
    this.disk.begin({ hardState, snapshot, entries, mustSync: mustSync || snapshot !== undefined })
    const delay = isEmpty ? 0 : this.#diskDelay()
    if (delay === 0) {
      this.disk.complete()
      this.#finish(ready)
      return
    }
    const { life } = this
    this.#isWriting = true
    this.#world.schedule.after(delay, () => {
      if (life !== this.life) return
      this.disk.complete()
      this.#run(() => {
        this.#finish(ready)
        this.#pump()
      })
    })
  }

  #finish(ready: Ready): void {
    const { life } = this
    if (this.#mayCrash()) return
    if (ready.snapshot !== undefined) this.#applier.install()
    this.#sendAll(ready.messages)
    if (this.#mayCrash()) return
    this.#applyAll(ready.committedEntries)
    if (life !== this.life || this.#mayCrash()) return
    this.#isWriting = false
    this.raft?.advance()
    this.#observe()
  }

  /** Whether the machine has just crashed, in the middle of a Ready. */
  #mayCrash(): boolean {
    const { plan, isCalm } = this.#world
    if (!plan.faults.has('crash-in-ready') || isCalm()) return false
    if (!chance(this.#random, 1, 40 * plan.faultTicks)) return false
    this.crash()
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
    this.disk.begin({ hardState, snapshot, entries, mustSync: true })
  }

  #appended(message: Message): void {
    this.disk.complete()
    this.#run(() => {
      if (this.#mayCrash()) return
      if (message.snapshot !== undefined) this.#applier.install()
      this.#append.next()
      this.#respond(message)
    })
  }

  #applied(message: Message): void {
    this.#run(() => {
      if (this.#mayCrash()) return
      const { life } = this
      this.#applyAll(message.entries)
      if (life !== this.life) return
      this.#apply.next()
      this.#respond(message)
    })
  }

  #respond({ responses }: Message): void {
    const { life } = this
    for (const response of responses) {
      if (life !== this.life) return
      if (response.to !== this.id) {
        this.#sendAll([response])
        continue
      }
      this.#world.checker().checkAttested(this, response)
      this.input('is told', response, (raft) => raft.step(response))
    }
  }

  #sendAll(messages: readonly Message[]): void {
    for (const message of messages) {
      demand('Addressed', message.to > NO_REPLICA, `r${this.id} sends to ${message.to}`)
      this.#world.checker().checkAttested(this, message)
      this.#world.trace.note(this.id, 'sends', message)
      this.#world.send(this.id, message)
    }
  }

  #applyAll(entries: readonly Entry[]): void {
    const { life } = this
    for (const entry of entries) {
      const { raft } = this
      if (raft === undefined || life !== this.life) return
      this.#applier.apply(raft, entry)
    }
    this.#applier.save()
  }

  /** Forgets a part of the log. */
  compact(random: Random): void {
    if (this.isRunning && !this.isPaused) this.#applier.compact(random)
  }
}
