// A simulated machine with a replica on it: it starts, crashes, and is stopped for a while.

import { createRandom, type Random } from '../../../src/base/random.ts'
import type { Refused } from '../../../src/core/raft/events.ts'
import type { Message, ReplicaId } from '../../../src/core/raft/messages.ts'
import { Raft } from '../../../src/core/raft/raft.ts'
import { Applier } from './applier.ts'
import type { Disk } from './disk.ts'
import { Driver } from './driver.ts'
import type { MachineState } from './machine.ts'
import { streamOf } from './plan.ts'
import { UNITS_PER_TICK } from './schedule.ts'
import { demand } from './violation.ts'
import type { Host, World } from './world.ts'

export class Replica implements Host {
  readonly id: ReplicaId
  raft: Raft | undefined
  life = 0
  /** What has happened while the process was stopped, undefined when it runs. */
  #held: (() => void)[] | undefined
  readonly #world: World
  readonly #applier: Applier
  readonly #driver: Driver
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
        if (entry.type === 'config-change') world.checker().observe(this)
        world.onApplied(this, entry)
      }
    })
    const parts = { host: this, world, applier: this.#applier, random: this.#random }
    this.#driver = new Driver(parts)
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

  crash(): void {
    if (this.raft === undefined) return
    const { plan, trace, checker } = this.#world
    trace.note(this.id, 'crashes')
    this.life += 1
    this.raft = undefined
    this.#held = undefined
    this.#driver.clear()
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

  input(what: string, detail: Message | number, act: (raft: Raft) => Refused | void): boolean {
    if (this.raft === undefined) return false
    this.whenRunning(() => {
      const { raft } = this
      if (raft === undefined) return
      this.#world.trace.note(this.id, what, detail)
      const refused = act(raft)
      if (refused !== undefined) this.#checkRefusal(refused, detail)
      this.#driver.pump()
    })
    return true
  }

  /** Gives the replica what must be refused. */
  inputGarbage(message: Message): void {
    if (this.raft === undefined) return
    this.whenRunning(() => {
      const { raft } = this
      if (raft === undefined) return
      this.#world.trace.note(this.id, 'gets garbage', message.type)
      const wasReady = raft.hasReady()
      const isRefused = raft.step(message) !== undefined
      demand('GarbageIsRefused', isRefused, `r${this.id} believes a broken ${message.type}`)
      this.#world.checker().observe(this)
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

  whenRunning(act: () => void): void {
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

  /** Forgets a part of the log. */
  compact(random: Random): void {
    if (this.isRunning && !this.isPaused) this.#applier.compact(random)
  }
}
