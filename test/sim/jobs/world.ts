// What all parts of a run share: time, the network, the machines, and what happened.

import { present } from '../../../src/base/assert.ts'
import { MeshError, toMeshError } from '../../../src/base/errors.ts'
import { pick, type Random } from '../../../src/base/random.ts'
import { MIB } from '../../../src/base/units.ts'
import { membershipConfig } from '../../../src/core/membership/config.ts'
import { foundMesh, type Founding } from '../../../src/mesh/genesis.ts'
import { MemoryWorld } from '../../../src/net/memory/memory-world.ts'
import type { Node } from '../../../src/node/node.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { streamOf } from '../mesh/plan.ts'
import { Trace } from '../mesh/trace.ts'
import { JobNode } from './job-node.ts'
import type { Plan } from './plan.ts'
import { Tasks } from './tasks.ts'
import { Witness } from './witness.ts'

const CAPACITY_BYTES: number = 64 * MIB

export class JobsWorld {
  readonly plan: Plan
  readonly clock: VirtualClock = new VirtualClock()
  readonly world: MemoryWorld
  readonly trace: Trace
  readonly tasks: Tasks
  readonly witness: Witness
  readonly nodes: JobNode[] = []
  /** What no part expected. */
  failure: Error | undefined
  readonly #random: Random
  readonly #names = new Map<string, string>()
  #founding: Founding | undefined

  constructor(plan: Plan) {
    this.plan = plan
    this.#random = streamOf(plan.seed, 'nodes')
    this.trace = new Trace(() => this.clock.monotonicMs())
    this.world = new MemoryWorld({ clock: this.clock, random: streamOf(plan.seed, 'network') })
    this.world.trace = (_, __, bytes) => this.trace.frame(bytes)
    this.tasks = new Tasks(this)
    this.witness = new Witness(this)
  }

  /** A new machine, switched off. */
  add(): JobNode {
    const index = this.nodes.length
    const name = `n${index}`
    const logger = this.trace.loggerOf(name, (text) => this.say(text))
    const node = new JobNode(this.#random.u32(), {
      index,
      name,
      plan: present(this.plan.nodes[index], 'the machine is planned'),
      capacityBytes: CAPACITY_BYTES,
      membership: membershipConfig('local'),
      logger,
      behave: (work) => this.tasks.begin(node, work)
    })
    this.nodes.push(node)
    this.#names.set(node.peer.identity.peerId, name)
    return node
  }

  /** Those that have started. */
  get ready(): JobNode[] {
    return this.nodes.filter(({ isReady }) => isReady)
  }

  /** Those that are switched on. */
  get running(): JobNode[] {
    return this.nodes.filter(({ peer }) => peer.node !== undefined)
  }

  /** Switches a machine on. */
  async start(node: JobNode): Promise<void> {
    await node.stopping
    if (node.peer.node !== undefined || node.hasLeft) return
    const other = this.running.find((one) => one !== node)
    const join = other === undefined ? [] : [other.peer.address]
    this.#founding ??= foundMesh(node.peer.identity, {
      createdMs: this.clock.nowMs(),
      nonce: new Uint8Array(16).fill(this.plan.seed % 256),
      shardCount: this.plan.shardCount
    })
    this.trace.note(`${node.name} starts`)
    const made = node.build(this.world, this.#founding, join)
    this.witness.watch(node, made)
    try {
      await made.start()
      if (node.peer.node !== made) return
      node.isReady = true
      this.trace.note(`${node.name} is there`)
    } catch (error) {
      if (node.peer.node !== made) return
      this.#note(node, error)
      this.kill(node)
    }
  }

  /** A power cut. */
  kill(node: JobNode): void {
    if (node.peer.node === undefined) return
    this.trace.note(`${node.name} is switched off`)
    node.kill()
  }

  /** A polite end. */
  async stop(node: JobNode): Promise<void> {
    if (!node.isReady) {
      this.kill(node)
      return
    }
    this.trace.note(`${node.name} stops`)
    await node.stop()
  }

  /** It hands over what it has, and is out of the mesh then. */
  async leave(node: JobNode): Promise<void> {
    const { node: made } = node.peer
    if (made === undefined || !node.isReady) return
    this.trace.note(`${node.name} leaves`)
    try {
      await node.untilDeath(made.leave())
      if (node.peer.node !== made) return
      node.hasLeft = true
      this.trace.note(`${node.name} has left`)
      await node.stop()
    } catch (error) {
      if (node.peer.node === made) this.#note(node, error)
    }
  }

  /** @returns a machine at random; undefined when none runs */
  any(random: Random): JobNode | undefined {
    const { ready } = this
    return ready.length === 0 ? undefined : pick(random, ready)
  }

  /** It is over: whatever of a dead machine still waits for something keeps nothing large. */
  end(): void {
    this.clock.end()
    this.world.trace = undefined
    for (const { peer } of this.nodes) {
      peer.logDisk.files.clear()
      peer.disk.blocks.clear()
    }
  }

  /** Asks something through a machine at random. @throws unreachable when it is switched off meanwhile */
  async through<T>(random: Random, ask: (node: Node) => Promise<T>): Promise<T> {
    const node = this.any(random)
    const { node: made } = node?.peer ?? {}
    if (node === undefined || made === undefined) {
      throw new MeshError('unreachable', 'No machine runs')
    }
    return await node.untilDeath(ask(made))
  }

  /** @returns a text with the names of machines in place of their ids */
  say(text: string): string {
    return this.#names.get(text) ?? text
  }

  #note(node: JobNode, error: unknown): void {
    const { code, message } = toMeshError(error)
    this.trace.note(`${node.name} failed: ${code}: ${message}`)
    if (code === 'internal') this.failure ??= error as Error
  }
}
