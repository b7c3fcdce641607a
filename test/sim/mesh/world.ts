// What all parts of a run share: time, the network, the nodes, and who is a member in truth.

import { toMeshError } from '../../../src/base/errors.ts'
import type { PeerId } from '../../../src/base/ids.ts'
import type { Random } from '../../../src/base/random.ts'
import { createRandom } from '../../../src/base/random.ts'
import { identityFromSeed } from '../../../src/mesh/identity.ts'
import { MemoryWorld } from '../../../src/net/memory/memory-world.ts'
import { VirtualClock } from '../../../src/testing/virtual-clock.ts'
import { Violation } from '../raft/violation.ts'
import { Checker } from './checker.ts'
import { MeshNode, type News } from './node.ts'
import { streamOf, type Plan } from './plan.ts'
import { Trace } from './trace.ts'

/** Names cost time to make, and they need not differ between runs. */
const PEERS: readonly PeerId[] = Array.from({ length: 5 }, (_, index) => {
  const random = createRandom(0x1000 + index)
  const seed = Uint8Array.from({ length: 32 }, () => random.below(256))
  return identityFromSeed(seed).peerId
})

export class MeshWorld {
  readonly plan: Plan
  readonly clock: VirtualClock = new VirtualClock()
  readonly random: Random
  readonly world: MemoryWorld
  readonly trace: Trace
  readonly checker: Checker
  readonly nodes: MeshNode[] = []
  /** Members in truth; nodes hear of it sooner or later. */
  readonly members: Set<MeshNode> = new Set()
  readonly out: Set<PeerId> = new Set()
  /** What no part of a node expected. */
  failure: Error | undefined
  readonly #names = new Map<string, string>()

  constructor(plan: Plan) {
    this.plan = plan
    this.random = streamOf(plan.seed, 'nodes')
    this.trace = new Trace(() => this.clock.monotonicMs())
    this.world = new MemoryWorld({ clock: this.clock, random: streamOf(plan.seed, 'network') })
    this.world.trace = (_, __, bytes) => this.trace.frame(bytes)
    this.checker = new Checker(this)
  }

  /** A new machine, switched off. */
  add(): MeshNode {
    const index = this.nodes.length
    const peer = PEERS[index] as PeerId
    const node = new MeshNode(this, index, { peer, isFounding: index === 0 })
    this.nodes.push(node)
    this.#names.set(peer, node.name)
    return node
  }

  get running(): MeshNode[] {
    return this.nodes.filter(({ running }) => running !== undefined)
  }

  /** Switches a machine on. What goes wrong with it is told by `failure`. */
  async start(node: MeshNode): Promise<void> {
    await this.#noted(node, node.start())
  }

  /** Ends a node politely. */
  async stop(node: MeshNode): Promise<void> {
    await this.#noted(node, node.stop())
  }

  async #noted(node: MeshNode, work: Promise<void>): Promise<void> {
    try {
      await work
    } catch (error) {
      if (error instanceof Violation) this.failure ??= error
      const { code, message } = toMeshError(error)
      this.trace.note(`${node.name} failed: ${code}: ${message}`)
      if (code === 'stopped') return
      if (code === 'internal') this.failure ??= error as Error
      else node.kill()
    }
  }

  /** It is a member from now on, or again. */
  admit(node: MeshNode): void {
    this.members.add(node)
    this.out.delete(node.peer)
  }

  /** It leaves: what it owns goes to others. */
  dismiss(node: MeshNode): void {
    this.members.delete(node)
    this.out.add(node.peer)
  }

  /** What is true now. */
  news(): News {
    const members = this.nodes.filter((node) => this.members.has(node)).map(({ member }) => member)
    return { members, out: new Set(this.out) }
  }

  /** Everybody hears what is true. */
  tellAll(): void {
    for (const node of this.nodes) node.news = this.news()
  }

  /** @returns a text with the names of nodes in place of their ids */
  say(text: string): string {
    return this.#names.get(text) ?? text
  }
}
