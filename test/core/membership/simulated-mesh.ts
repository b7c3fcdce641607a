// Many membership machines in one loop: a seeded network with delay, loss and partitions. Time goes
// in slots, ten to a tick; everything that happens in a slot does so in the order it was planned.

import { present } from '../../../src/base/assert.ts'
import type { PeerId } from '../../../src/base/ids.ts'
import { chance, createRandom } from '../../../src/base/random.ts'
import type { Random } from '../../../src/base/random.ts'
import type { MembershipConfig } from '../../../src/core/membership/config.ts'
import type {
  MembershipEvent,
  MembershipInput,
  Outgoing
} from '../../../src/core/membership/effects.ts'
import { checkInvariants } from '../../../src/core/membership/invariants.ts'
import type { ShownVersions } from '../../../src/core/membership/invariants.ts'
import type { MemberRecord } from '../../../src/core/membership/member.ts'
import { Membership } from '../../../src/core/membership/membership.ts'
import { record, session } from './records.ts'

const SLOTS_PER_TICK = 10
const DELAY_SLOTS_MAX = 100
const JOIN_RETRY_TICKS = 20

export type MeshOptions = {
  readonly seed: number
  readonly config: MembershipConfig
  /** Messages lost, of a hundred. */
  readonly lossPercent?: number
  /** A message takes 1..this slots; ten are a tick. Default 5: up to 50 ms. */
  readonly delaySlotsMax?: number
  /** The invariants are checked at one step of so many; 0 is never. Default 23. */
  readonly checkEvery?: number
}

export type TracedEvent = {
  readonly tick: number
  readonly node: PeerId
  readonly event: MembershipEvent
}

type SimulatedNode = {
  readonly id: PeerId
  readonly phase: number
  machine: Membership
  isRunning: boolean
  /** Messages pass between nodes of one side only. */
  side: number
  joinVia: PeerId | undefined
  shown: ShownVersions | undefined
}

type Delivery = { readonly from: SimulatedNode; readonly outgoing: Outgoing }

export class SimulatedMesh {
  readonly events: TracedEvent[] = []
  lossPercent: number
  messageCount = 0
  updateCount = 0
  readonly #options: Required<MeshOptions>
  readonly #random: Random
  readonly #nodes = new Map<PeerId, SimulatedNode>()
  /** By slot, modulo the longest delay. */
  readonly #deliveries: Delivery[][] = Array.from({ length: DELAY_SLOTS_MAX + 1 }, () => [])
  #slot = 0
  #steps = 0
  #sessions = 0
  #hash = 0x811c9dc5

  constructor(options: MeshOptions) {
    this.#options = { lossPercent: 0, delaySlotsMax: 5, checkEvery: 23, ...options }
    this.lossPercent = this.#options.lossPercent
    this.#random = createRandom(options.seed)
  }

  get tickCount(): number {
    return Math.floor(this.#slot / SLOTS_PER_TICK)
  }

  /** Of all messages and events so far: equal for equal runs. */
  get traceHash(): number {
    return this.#hash >>> 0
  }

  /** Starts a node; it joins through `via` until it knows anyone. */
  add(name: string, via?: string, changes: Partial<MemberRecord> = {}): Membership {
    const self = record(name, { session: this.#newSession(), ...changes })
    const machine = new Membership(this.#options.config, self, createRandom(this.#random.u32()))
    this.#nodes.set(self.peerId, {
      id: self.peerId,
      phase: this.#random.below(SLOTS_PER_TICK),
      machine,
      isRunning: true,
      side: 0,
      joinVia: via as PeerId | undefined,
      shown: undefined
    })
    return machine
  }

  /** Kills the process. With `isNoticed` its connections break; else it just falls silent. */
  crash(name: string, options: { isNoticed?: boolean } = {}): void {
    const node = this.#node(name)
    node.isRunning = false
    if (options.isNoticed !== true) return
    for (const other of this.#nodes.values()) {
      if (other.isRunning) this.#step(other, { kind: 'disconnected', peer: node.id })
    }
  }

  /** Starts a crashed node again with the identity it had, in a new session. */
  restart(name: string, via: string, changes: Partial<MemberRecord> = {}): Membership {
    const { machine } = this.#node(name)
    return this.add(name, via, { ...machine.self(), session: this.#newSession(), ...changes })
  }

  step(name: string, input: MembershipInput): void {
    this.#step(this.#node(name), input)
  }

  machine(name: string): Membership {
    return this.#node(name).machine
  }

  /** Cuts `names` off from the rest. */
  cutOff(names: readonly string[]): void {
    for (const name of names) this.#node(name).side = 1
  }

  heal(): void {
    for (const node of this.#nodes.values()) node.side = 0
  }

  run(ticks: number): void {
    const end = this.#slot + ticks * SLOTS_PER_TICK
    for (; this.#slot < end; this.#slot++) this.#runSlot()
  }

  /** @returns the ids of the nodes that run. */
  running(): PeerId[] {
    return [...this.#nodes.values()].filter((node) => node.isRunning).map((node) => node.id)
  }

  /** @returns whether every running node sees exactly the running ones alive and nobody suspect. */
  isConverged(): boolean {
    const running = new Set(this.running())
    return this.running().every((id) => {
      const { machine } = this.#node(id)
      if (machine.count('alive') !== running.size || machine.count('suspect') > 0) return false
      return machine
        .members()
        .every((member) => member.state !== 'alive' || running.has(member.record.peerId))
    })
  }

  /** @returns ticks until converged; fails after `ticksMax`. */
  runUntilConverged(ticksMax: number): number {
    const start = this.tickCount
    while (!this.isConverged()) {
      if (this.tickCount - start >= ticksMax) throw new Error('the mesh did not converge')
      this.run(1)
    }
    return this.tickCount - start
  }

  #runSlot(): void {
    const bucket = present(this.#deliveries[this.#slot % this.#deliveries.length], 'a bucket')
    for (const { from, outgoing } of bucket) this.#deliver(from, outgoing)
    bucket.length = 0
    const phase = this.#slot % SLOTS_PER_TICK
    for (const node of this.#nodes.values()) {
      if (!node.isRunning || node.phase !== phase) continue
      node.machine.tick()
      this.#carryOut(node)
      const isAlone = node.joinVia !== undefined && node.machine.members().length === 1
      if (isAlone && this.tickCount % JOIN_RETRY_TICKS === 0) {
        this.#step(node, { kind: 'join', peer: present(node.joinVia, 'a way in') })
      }
    }
  }

  #deliver(from: SimulatedNode, { to, message }: Outgoing): void {
    const node = this.#nodes.get(to)
    if (node === undefined || !node.isRunning || node.side !== from.side) return
    this.#step(node, { kind: 'message', from: from.id, message })
  }

  #step(node: SimulatedNode, input: MembershipInput): void {
    node.machine.step(input)
    this.#carryOut(node)
  }

  #carryOut(node: SimulatedNode): void {
    const { send, events } = node.machine.take()
    for (const event of events) {
      this.events.push({ tick: this.tickCount, node: node.id, event })
      this.#mix(node.id, event.kind, 'member' in event ? event.member.record.peerId : '')
    }
    for (const outgoing of send) this.#transmit(node, outgoing)
    const { checkEvery } = this.#options
    if (checkEvery > 0 && this.#steps++ % checkEvery === 0) {
      node.shown = checkInvariants(node.machine, node.shown)
    }
  }

  #transmit(from: SimulatedNode, outgoing: Outgoing): void {
    const { message } = outgoing
    this.messageCount++
    this.updateCount += message.kind === 'nack' ? 0 : message.updates.length
    this.#mix(from.id, message.kind, outgoing.to)
    const delay = 1 + this.#random.below(this.#options.delaySlotsMax)
    if (chance(this.#random, this.lossPercent, 100)) return
    const slot = (this.#slot + delay) % this.#deliveries.length
    present(this.#deliveries[slot], 'a bucket').push({ from, outgoing })
  }

  /** FNV-1a over the slot and the words. */
  #mix(...words: readonly string[]): void {
    let hash = Math.imul(this.#hash ^ this.#slot, 0x01000193)
    for (const word of words) {
      for (let index = 0; index < word.length; index++) {
        hash = Math.imul(hash ^ word.charCodeAt(index), 0x01000193)
      }
    }
    this.#hash = hash
  }

  #node(name: string): SimulatedNode {
    return present(this.#nodes.get(name as PeerId), `there is a node ${name}`)
  }

  #newSession(): MemberRecord['session'] {
    return session(++this.#sessions)
  }
}
