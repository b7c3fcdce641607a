// What breaks, and when it ends.

import { chance, pick, shuffle, type Random } from '../../../src/base/random.ts'
import { JOB_COMPLETE, JOB_GRANT, JOB_SUBMIT } from '../../../src/core/machine/job-calls.ts'
import { START_JOB } from '../../../src/core/machine/job-start.ts'
import { streamOf } from '../mesh/plan.ts'
import type { JobNode } from './job-node.ts'
import { ACTS, type Fault, type Plan } from './plan.ts'
import { lostOnes } from './lost-ones.ts'
import type { JobsWorld } from './world.ts'

/** Faults of machines end by themselves after so long, at most: before a lease does, or after. */
const OUTAGE_MS_MAX = [1_500, 6_000, 15_000] as const
/** From when a connection is taken for broken, to when a lease has long ended. */
const ISOLATED_MS = { min: 3_500, spread: 8_000 } as const
/** A hunted machine is switched off so soon. */
const HUNT_MS_MAX = 30
/** A machine that was ended by a task is switched on again after this. */
const REVIVE_MS = 1_500
const MEMBERS_MIN = 2

const HUNTED: readonly (readonly [Fault, string])[] = [
  ['submit-hunt', JOB_SUBMIT.name],
  ['submit-hunt', START_JOB.name],
  ['grant-hunt', JOB_GRANT.name],
  ['complete-hunt', JOB_COMPLETE.name]
]

export class Nemesis {
  readonly #world: JobsWorld
  readonly #plan: Plan
  readonly #random: Random
  readonly #kinds: readonly Fault[]
  /** Bumped by every partition, so that an earlier one doesn't end it. */
  #partitions = 0
  #isOver = false
  #leaving: Promise<void> | undefined

  constructor(world: JobsWorld) {
    this.#world = world
    this.#plan = world.plan
    this.#random = streamOf(world.plan.seed, 'nemesis')
    this.#kinds = ACTS.filter((kind) => world.plan.faults.has(kind))
  }

  /** From now on things break. */
  start(): void {
    const { faults } = this.#plan
    const random = this.#random
    const { world, witness } = this.#world
    Object.assign(world.faults, {
      lossPerMille: faults.has('loss') ? 1 + random.below(80) : 0,
      duplicatePerMille: faults.has('duplication') ? 1 + random.below(80) : 0,
      reorderPerMille: faults.has('reorder') ? 1 + random.below(200) : 0,
      delayMsMax: faults.has('delay') ? 10 + random.below(200) : 3
    })
    const publish = world.publish.bind(world)
    world.publish = (...message) => {
      if (!faults.has('deaf') || this.#isOver) publish(...message)
    }
    witness.onAsked = (node, operation) => this.#hunt(node, operation)
    this.#actSoon()
    this.#reviveSoon()
  }

  /** Nothing breaks any more, and all machines run. */
  async end(): Promise<void> {
    this.#isOver = true
    const { world, nodes, trace } = this.#world
    trace.note('the faults end')
    Object.assign(world.faults, {
      lossPerMille: 0,
      duplicatePerMille: 0,
      reorderPerMille: 0,
      delayMsMax: 3
    })
    this.#heal()
    for (const node of nodes) {
      node.resume()
      this.#repair(node)
      void this.#on(node)
    }
    await Promise.resolve()
  }

  /** Tasks end machines also when nothing else does. */
  #reviveSoon(): void {
    this.#world.clock.after(REVIVE_MS, () => {
      this.#reviveSoon()
      if (!this.#isOver) return
      // Somebody tells them anew where the others are.
      for (const node of lostOnes(this.#world)) this.#world.kill(node)
      for (const node of this.#world.nodes) void this.#on(node)
    })
  }

  async #on(node: JobNode): Promise<void> {
    if (node.peer.node === undefined && !node.hasLeft) await this.#world.start(node)
  }

  /** Just when something is under way: who asks, or who leads. */
  #hunt(node: JobNode, operation: string): void {
    const isWorth = HUNTED.some(([kind, name]) => this.#plan.faults.has(kind) && name === operation)
    if (this.#isOver || !isWorth || !chance(this.#random, 1, 25)) return
    const hunted = chance(this.#random, 1, 2) ? node : this.#leader()
    const made = hunted?.peer.node
    this.#world.clock.after(this.#random.below(HUNT_MS_MAX), () => {
      if (hunted === undefined || this.#isOver || hunted.peer.node !== made) return
      this.#off(hunted)
    })
  }

  #leader(): JobNode | undefined {
    const leaders = this.#world.ready.filter(({ peer }) => {
      return [...(peer.node?.shardLayer.host.replicas() ?? [])].some(
        ({ isLeader, group }) => isLeader && group > 0
      )
    })
    return leaders.length === 0 ? undefined : pick(this.#random, leaders)
  }

  #actSoon(): void {
    if (this.#kinds.length === 0) return
    this.#world.clock.after(1 + this.#random.below(2 * this.#plan.faultMs), () => {
      if (this.#isOver) return
      this.#actSoon()
      this.#act(pick(this.#random, this.#kinds))
    })
  }

  #act(kind: Fault): void {
    const { ready, trace } = this.#world
    if (ready.length === 0) return
    const node = pick(this.#random, ready)
    switch (kind) {
      case 'partition':
      case 'one-way':
        return this.#partition(kind)
      case 'isolate':
        return this.#isolate()
      case 'disconnect': {
        const other = pick(this.#random, ready)
        if (other !== node) this.#world.world.disconnect(idOf(node), idOf(other))
        return undefined
      }
      case 'kill':
        return this.#off(node)
      case 'kill-leader':
        return this.#off(this.#leader() ?? node)
      case 'blackout':
        for (const one of ready) this.#off(one)
        return undefined
      case 'stop':
        void this.#world.stop(node)
        return this.#later(() => void this.#on(node))
      case 'pause':
        return this.#pause(node)
      case 'stuck-log':
        trace.note(`${node.name}: its log is stuck`)
        node.peer.logStore?.faults.stall()
        return this.#later(() => this.#repair(node))
      case 'full-blocks':
        trace.note(`${node.name}: a block finds no room`)
        return node.peer.store?.faults.fillDiskOnce()
      case 'executor-crash':
        trace.note(`${node.name}: what runs tasks ends`)
        return node.crash()
      case 'join':
        return this.#join()
      case 'leave':
        return this.#leave(node)
      default:
        return undefined
    }
  }

  /** For a while: ends a fault unless all have ended. */
  #later(run: () => void): void {
    const maxMs = pick(this.#random, OUTAGE_MS_MAX)
    this.#world.clock.after(1 + this.#random.below(maxMs), () => {
      if (!this.#isOver) run()
    })
  }

  #off(node: JobNode): void {
    this.#world.kill(node)
    this.#later(() => void this.#on(node))
  }

  /** One that does something finishes it, and can't tell before others have it. */
  #isolate(): void {
    const busy = this.#world.ready.filter(({ executor, plan }) => {
      return executor !== undefined && executor.freeSlots() < plan.slots
    })
    if (busy.length === 0) return
    const node = pick(this.#random, busy)
    this.#world.trace.note(`${node.name} is cut off`)
    this.#cutOff(node, ISOLATED_MS.min + this.#random.below(ISOLATED_MS.spread))
  }

  #cutOff(node: JobNode, durationMs: number): void {
    const { world, nodes, clock } = this.#world
    const others = nodes.filter((other) => other !== node)
    for (const other of others) {
      world.block(idOf(node), idOf(other))
      world.block(idOf(other), idOf(node))
    }
    clock.after(durationMs, () => {
      for (const other of others) {
        world.unblock(idOf(node), idOf(other))
        world.unblock(idOf(other), idOf(node))
      }
    })
  }

  #partition(kind: 'partition' | 'one-way'): void {
    this.#heal()
    const nodes = shuffle(this.#random, [...this.#world.nodes])
    if (nodes.length < 2) return
    const cut = 1 + this.#random.below(nodes.length - 1)
    const [side, others] = [nodes.slice(0, cut), nodes.slice(cut)]
    this.#world.trace.note(`${side.map(({ name }) => name).join()} are cut off, ${kind}`)
    for (const one of side) {
      for (const other of others) {
        this.#world.world.block(idOf(one), idOf(other))
        if (kind === 'partition') this.#world.world.block(idOf(other), idOf(one))
      }
    }
    const number = (this.#partitions += 1)
    this.#later(() => {
      if (number === this.#partitions) this.#heal()
    })
  }

  #heal(): void {
    this.#partitions += 1
    this.#world.world.unblockAll()
  }

  /** Frames to a machine that sleeps are lost. */
  #pause(node: JobNode): void {
    const { trace } = this.#world
    trace.note(`${node.name} sleeps`)
    const made = node.peer.node
    node.pause()
    const durationMs = 1 + this.#random.below(pick(this.#random, OUTAGE_MS_MAX))
    this.#cutOff(node, durationMs)
    this.#world.clock.after(durationMs, () => {
      if (node.peer.node !== made || !node.isPaused) return
      trace.note(`${node.name} wakes`)
      node.resume()
    })
  }

  #join(): void {
    const { nodes, plan, trace } = this.#world
    if (nodes.length >= plan.nodes.length) return
    const node = this.#world.add()
    trace.note(`${node.name} joins`)
    void this.#world.start(node)
  }

  /** One at a time, and never the first one. */
  #leave(node: JobNode): void {
    const members = this.#world.nodes.filter(({ hasLeft }) => !hasLeft)
    if (node.index === 0 || members.length <= MEMBERS_MIN || this.#leaving !== undefined) return
    this.#leaving = this.#world.leave(node).finally(() => (this.#leaving = undefined))
  }

  #repair({ peer }: JobNode): void {
    peer.logStore?.faults.resume()
  }
}

function idOf({ peer }: JobNode): JobNode['peer']['identity']['peerId'] {
  return peer.identity.peerId
}
