// What breaks, and when it ends.

import { chance, pick, shuffle, type Random } from '../../../src/base/random.ts'
import type { MeshNode } from './node.ts'
import { ACTS, streamOf, type Fault, type Plan } from './plan.ts'
import { isEmptied, unsettled } from './settled.ts'
import type { MeshWorld } from './world.ts'

/** Faults of machines end by themselves after so long, at most. */
const OUTAGE_MS_MAX = 4_000
const NEWS_MS_MAX = 4_000
/** A slow disk takes so long for a write, at most. */
const SLOW_MS_MAX = 60
/** A hunted machine is switched off so soon. */
const HUNT_MS_MAX = 30
/** What is logged when a machine is worth being switched off. */
const HUNTED: readonly (readonly [Fault, RegExp])[] = [
  ['leader-hunt', / leads term /],
  ['change-hunt', / shard\.change /],
  ['snapshot-hunt', / snapshot\./]
]
export class Nemesis {
  readonly #world: MeshWorld
  readonly #plan: Plan
  readonly #random: Random
  readonly #kinds: readonly Fault[]
  /** Bumped by every partition, so that an earlier one doesn't end it. */
  #partitions = 0
  #isOver = false
  readonly #leaving = new Set<MeshNode>()

  constructor(world: MeshWorld) {
    this.#world = world
    this.#plan = world.plan
    this.#random = streamOf(world.plan.seed, 'nemesis')
    this.#kinds = ACTS.filter((kind) => world.plan.faults.has(kind))
  }

  /** From now on things break. */
  start(): void {
    const { faults } = this.#plan
    const random = this.#random
    Object.assign(this.#world.world.faults, {
      lossPerMille: faults.has('loss') ? 1 + random.below(80) : 0,
      duplicatePerMille: faults.has('duplication') ? 1 + random.below(80) : 0,
      reorderPerMille: faults.has('reorder') ? 1 + random.below(200) : 0,
      delayMsMax: faults.has('delay') ? 10 + random.below(200) : 3
    })
    this.#actSoon()
    this.tellSoon()
    this.#world.trace.listener = (node, line) => this.#hunt(node, line)
    for (const node of this.#world.nodes) this.#slowDown(node)
  }

  /** Just when something is under way. */
  #hunt(name: string, line: string): void {
    const isWorth = HUNTED.some(([kind, words]) => this.#plan.faults.has(kind) && words.test(line))
    if (this.#isOver || !isWorth || !chance(this.#random, 1, 3)) return
    const node = this.#world.nodes.find((one) => one.name === name)
    const process = node?.running
    this.#world.clock.after(this.#random.below(HUNT_MS_MAX), () => {
      if (node === undefined || this.#isOver || node.running !== process) return
      this.#off(node, () => node.kill())
    })
  }

  /** Its disks take their time, so that it can be switched off between any two of its writes. */
  #slowDown(node: MeshNode): void {
    for (const kind of ['slow-log', 'slow-state'] as const) {
      if (!this.#plan.faults.has(kind)) continue
      const step = (isStuck: boolean): void => {
        if (this.#isOver) return
        const store = kind === 'slow-log' ? node.running?.logStore : node.running?.stateStore
        if (isStuck) store?.faults.stall()
        else store?.faults.resume()
        const nextMs = this.#random.below(isStuck ? SLOW_MS_MAX : SLOW_MS_MAX / 4)
        this.#world.clock.after(1 + nextMs, () => step(!isStuck))
      }
      step(true)
    }
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
    this.#world.tellAll()
    for (const node of nodes) {
      node.resume()
      // A store that failed once is of no use before a new start.
      if (node.isDoomed || node.running?.layer.host.failure() !== undefined) node.kill()
      this.#repair(node)
      if (node.running === undefined && !this.#hasLeft(node)) void this.#world.start(node)
    }
    await Promise.resolve()
  }

  /** Nodes that left and have nothing any more are switched off. */
  retire(): void {
    for (const node of this.#leaving) {
      if (!isEmptied(node)) continue
      this.#leaving.delete(node)
      this.#world.trace.note(`${node.name} has left`)
      void this.#world.stop(node)
    }
  }

  /** All nodes hear of the members, each in its time. */
  tellSoon(): void {
    const news = this.#world.news()
    for (const node of this.#world.nodes) {
      const isLate = this.#plan.faults.has('late-news')
      const delayMs = isLate ? this.#random.below(NEWS_MS_MAX) : 50
      this.#world.clock.after(delayMs, () => {
        if (!this.#isOver) node.news = news
      })
    }
  }

  #hasLeft(node: MeshNode): boolean {
    return !this.#world.members.has(node) && !this.#leaving.has(node)
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
    const { running } = this.#world
    if (running.length === 0) return
    const node = pick(this.#random, running)
    switch (kind) {
      case 'partition':
        return this.#partition('both')
      case 'one-way':
        return this.#partition('one-way')
      case 'flapping':
        return this.#flap()
      case 'disconnect':
        return this.#disconnect(node)
      case 'kill':
        return this.#off(node, () => node.kill())
      case 'blackout':
        for (const one of running) this.#off(one, () => one.kill())
        return undefined
      case 'stop':
        return this.#off(node, () => void this.#world.stop(node))
      case 'pause':
        return this.#pause(node)
      case 'wipe':
      case 'flipped-log':
      case 'flipped-state':
        return this.#damage(node, kind)
      case 'join':
        return this.#join()
      case 'leave':
        return this.#leave(node)
      case 'wrong-news':
        return this.#lie(node)
      case 'transfer':
        return this.#transfer(node)
      default:
        return this.#breakDisk(node, kind)
    }
  }

  /** For a while: ends a fault unless all have ended. */
  #later(run: () => void, maxMs = OUTAGE_MS_MAX): void {
    this.#world.clock.after(1 + this.#random.below(maxMs), () => {
      if (!this.#isOver) run()
    })
  }

  #partition(kind: 'both' | 'one-way'): void {
    this.#heal()
    const nodes = shuffle(this.#random, [...this.#world.nodes])
    if (nodes.length < 2) return
    const cut = 1 + this.#random.below(nodes.length - 1)
    const [side, others] = [nodes.slice(0, cut), nodes.slice(cut)]
    this.#world.trace.note(`${side.map(({ name }) => name).join()} are cut off, ${kind}`)
    for (const one of side) {
      for (const other of others) {
        this.#world.world.block(one.peer, other.peer)
        if (kind === 'both') this.#world.world.block(other.peer, one.peer)
      }
    }
    const number = (this.#partitions += 1)
    this.#later(() => {
      if (number === this.#partitions) this.#heal()
    }, 2 * OUTAGE_MS_MAX)
  }

  #heal(): void {
    this.#partitions += 1
    this.#world.world.unblockAll()
  }

  #flap(): void {
    this.#partition(chance(this.#random, 1, 2) ? 'both' : 'one-way')
    for (let times = 0, atMs = 0; times < 6; times++) {
      atMs += 50 + this.#random.below(600)
      this.#world.clock.after(atMs, () => {
        if (this.#isOver) return
        if (times % 2 === 0) this.#heal()
        else this.#partition('both')
      })
    }
  }

  #disconnect(node: MeshNode): void {
    const other = pick(this.#random, this.#world.running)
    if (other !== node) this.#world.world.disconnect(node.peer, other.peer)
  }

  #off(node: MeshNode, end: () => void): void {
    end()
    this.#later(() => this.#on(node))
  }

  #on(node: MeshNode): void {
    if (node.running === undefined && !this.#hasLeft(node)) void this.#world.start(node)
  }

  /** Frames to a machine that sleeps wait in the kernel in truth; here they are lost, which is worse. */
  #pause(node: MeshNode): void {
    const { world, nodes, trace } = this.#world
    trace.note(`${node.name} sleeps`)
    node.pause()
    const others = nodes.filter((other) => other !== node)
    for (const { peer } of others) {
      world.block(node.peer, peer)
      world.block(peer, node.peer)
    }
    this.#later(() => {
      trace.note(`${node.name} wakes`)
      for (const { peer } of others) {
        world.unblock(node.peer, peer)
        world.unblock(peer, node.peer)
      }
      node.resume()
    })
  }

  /** Only what a group can bear: one disk, and no other before all is as it should be again. */
  #damage(node: MeshNode, kind: 'wipe' | 'flipped-log' | 'flipped-state'): void {
    if (this.#world.members.size < 3 || unsettled(this.#world) !== undefined) return
    node.kill()
    this.#world.trace.note(`${node.name}: ${kind}`)
    if (kind === 'wipe') this.#wipe(node)
    else if (kind === 'flipped-log') node.flipLog()
    else node.flipState()
    this.#later(() => this.#on(node))
  }

  #wipe(node: MeshNode): void {
    node.wipe()
    this.tellSoon()
  }

  #join(): void {
    const { nodes, trace } = this.#world
    if (nodes.length >= this.#plan.nodeCount + this.#plan.joinerCount) return
    const node = this.#world.add()
    trace.note(`${node.name} joins`)
    node.news = this.#world.news()
    this.#world.admit(node)
    node.news = this.#world.news()
    void this.#world.start(node)
    this.#slowDown(node)
    this.tellSoon()
  }

  #leave(node: MeshNode): void {
    const { members, trace } = this.#world
    if (members.size <= 2 || !members.has(node)) return
    if (this.#leaving.size > 0) return
    trace.note(`${node.name} leaves`)
    this.#world.dismiss(node)
    this.#leaving.add(node)
    this.tellSoon()
  }

  /** For a while a node takes another one for gone that isn't, or has forgotten one. */
  #lie(node: MeshNode): void {
    const about = pick(this.#random, this.#world.nodes)
    const { members, out } = node.news
    const isOut = chance(this.#random, 1, 2)
    this.#world.trace.note(`${node.name} hears that ${about.name} is ${isOut ? 'gone' : 'nobody'}`)
    node.news = {
      members: members.filter(({ id }) => id !== about.peer),
      out: isOut ? new Set([...out, about.peer]) : out
    }
    this.#later(() => (node.news = this.#world.news()))
  }

  #transfer(node: MeshNode): void {
    const replicas = [...(node.running?.layer.host.replicas() ?? [])].filter((r) => r.isLeader)
    if (replicas.length === 0) return
    const replica = pick(this.#random, replicas)
    const to = pick(this.#random, replica.applied.configState.voters)
    replica.run((raft) => raft.transferLeader(to))
  }

  #breakDisk(node: MeshNode, kind: Fault): void {
    const { running, name } = node
    if (running === undefined) return
    this.#world.trace.note(`${name}: ${kind}`)
    const { logStore, stateStore } = running
    if (kind === 'full-disk') logStore.faults.setFull(true)
    else if (kind === 'stuck-log') logStore.faults.stall()
    else if (kind === 'stuck-state') stateStore.faults.stall()
    else if (kind === 'failed-sync') {
      if (node.isDoomed) return
      node.isDoomed = true
      if (chance(this.#random, 1, 2)) logStore.faults.failNextSync()
      else stateStore.faults.failNextFlush()
      // The operator starts it again.
      this.#later(() => this.#off(node, () => node.kill()))
      return
    }
    this.#later(() => this.#repair(node), 2 * OUTAGE_MS_MAX)
  }

  #repair({ running }: MeshNode): void {
    running?.logStore.faults.setFull(false)
    running?.logStore.faults.resume()
    running?.stateStore.faults.resume()
  }
}
