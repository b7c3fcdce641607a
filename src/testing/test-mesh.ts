// A mesh inside one process, for tests: whole nodes on a simulated network and virtual time, the
// same run for the same seed; or on real sockets and disks.

import { assert, present } from '../base/assert.ts'
import { MeshError } from '../base/errors.ts'
import { createRandom, type Random } from '../base/random.ts'
import { GIB } from '../base/units.ts'
import { membershipConfig, type MembershipConfig } from '../core/membership/config.ts'
import { foundMesh, type Founding } from '../mesh/genesis.ts'
import { MemoryWorld } from '../net/memory/memory-world.ts'
import type { Node } from '../node/node.ts'
import { TICK_MS } from '../mesh/member-driver.ts'
import { driven } from './driven.ts'
import { SimulatedPeer } from './simulated-peer.ts'
import { isSettled, type TestMesh, type TestMeshOptions } from './contract.ts'
import { TcpTestMesh } from './tcp-test-mesh.ts'
import { VirtualClock } from './virtual-clock.ts'

/**
 * Starts a mesh whose peers all know each other.
 *
 * @example
 * ```ts
 * await using mesh = await createTestMesh({ peers: 5, seed: 7 })
 * const { cid } = await mesh.nodes[0].files.put(bytes)
 * await mesh.kill(0)
 * for await (const part of mesh.nodes[3].files.get(cid)) …
 * ```
 */
export async function createTestMesh(options: TestMeshOptions): Promise<TestMesh> {
  if (!Number.isInteger(options.peers) || options.peers < 1 || options.peers > 1_000) {
    throw new MeshError(
      'invalid-argument',
      `Cannot make a mesh of ${options.peers} peers: 1 to 1000`
    )
  }
  const mesh = options.transport === 'tcp' ? new TcpTestMesh(options) : new SimulatedMesh(options)
  for (let index = 0; index < options.peers; index++) await mesh.add()
  await mesh.settle()
  return mesh
}

/** A test says more with few shards, sooner. */
const SHARDS = 4
/** The blocks of a test mesh move without waiting for people. */
const QUICK_MOVER = { retryMs: 1_000 }
const SETTLE_STEP_MS = 100
const SETTLE_LIMIT_MS = 600_000

export class SimulatedMesh implements TestMesh {
  readonly clock: VirtualClock = new VirtualClock()
  readonly world: MemoryWorld
  readonly peers: SimulatedPeer[] = []
  readonly nodes: Node[] = []
  readonly #options: TestMeshOptions
  readonly #random: Random
  readonly #membership: MembershipConfig
  #founding: Founding | undefined

  constructor(options: TestMeshOptions) {
    this.#options = options
    this.#random = createRandom(options.seed ?? 1)
    const worldRandom = createRandom(this.#random.u32())
    this.world = new MemoryWorld({ clock: this.clock, random: worldRandom }, options.faults)
    this.#membership = membershipConfig('local', {
      ...(options.graceMs === undefined
        ? {}
        : { graceTicks: Math.ceil(options.graceMs / TICK_MS) }),
      ...options.membership
    })
  }

  async add(): Promise<number> {
    const index = this.peers.length
    const { capacityBytes = GIB, zoneOf, blocks, workOf, clockOf } = this.#options
    const peer = new SimulatedPeer(this.#random.u32(), {
      index,
      capacityBytes,
      zone: zoneOf?.(index) ?? 'default',
      membership: this.#membership,
      blocks: { mover: QUICK_MOVER, ...blocks },
      work: workOf?.(index) ?? {},
      clockOf: clockOf === undefined ? undefined : (clock) => clockOf(index, clock)
    })
    this.peers.push(peer)
    this.#founding ??= foundMesh(peer.identity, {
      createdMs: this.clock.nowMs(),
      nonce: new Uint8Array(16).fill(this.#random.below(256)),
      shardCount: this.#options.shards ?? SHARDS
    })
    await this.#start(index)
    return index
  }

  async kill(index: number): Promise<void> {
    await this.clock.run(this.#peer(index).kill())
  }

  /** @param options.join whether it is told an address; else it has to know the others. */
  async restart(index: number, options: { join: boolean } = { join: true }): Promise<Node> {
    if (this.#peer(index).node !== undefined) await this.clock.run(this.#peer(index).stop())
    return await this.#start(index, options)
  }

  partition(groups: readonly (readonly number[])[]): void {
    const groupOf = new Map<number, number>()
    groups.forEach((group, number) => {
      for (const index of group) groupOf.set(index, number)
    })
    this.world.unblockAll()
    this.peers.forEach((from, a) => {
      this.peers.forEach((to, b) => {
        const together = groupOf.has(a) && groupOf.get(a) === groupOf.get(b)
        if (a !== b && !together) this.world.block(from.identity.peerId, to.identity.peerId)
      })
    })
  }

  heal(): void {
    this.world.unblockAll()
  }

  async settle(): Promise<void> {
    const endMs = this.clock.monotonicMs() + SETTLE_LIMIT_MS
    for (let quiet = 0; quiet < 3; quiet = this.#isSettled() ? quiet + 1 : 0) {
      assert(this.clock.monotonicMs() < endMs, `the mesh settles within ${SETTLE_LIMIT_MS} ms`)
      await this.clock.advance(SETTLE_STEP_MS)
    }
  }

  async advance(durationMs: number): Promise<void> {
    await this.clock.advance(durationMs)
  }

  async stop(): Promise<void> {
    await this.clock.run(Promise.all(this.peers.map((peer) => peer.stop())))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #start(index: number, options: { join: boolean } = { join: true }): Promise<Node> {
    const peer = this.#peer(index)
    const first = this.peers.find((other) => other !== peer && other.node !== undefined)
    const join = first === undefined || !options.join ? [] : [first.address]
    const node = peer.build(this.world, present(this.#founding, 'the mesh was founded'), join)
    await this.clock.run(node.start())
    const shown = driven(node, this.clock, ['files', 'blocks', 'kv', 'locks'])
    this.nodes[index] = shown
    return shown
  }

  #peer(index: number): SimulatedPeer {
    const peer = this.peers[index]
    if (peer === undefined) throw new MeshError('invalid-argument', `There is no peer ${index}`)
    return peer
  }

  #isSettled(): boolean {
    const nodes = this.peers.flatMap(({ node }) => (node === undefined ? [] : [node]))
    return isSettled(nodes)
  }
}
