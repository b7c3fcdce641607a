// A whole mesh of members on the simulated network: hello, discovery, membership and layouts as
// they are, no blocks. Peers join, leave and crash under loss and partitions; in the end all that
// run must agree, and nobody who runs may be thought gone.

import { createHash } from 'node:crypto'
import { peerId, sessionId, storeId, type PeerId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import { chance, createRandom, shuffle, type Random } from '../../src/base/random.ts'
import { toHex } from '../../src/base/bytes.ts'
import { GIB } from '../../src/base/units.ts'
import { membershipConfig } from '../../src/core/membership/config.ts'
import type { MemberUpdate } from '../../src/core/membership/member.ts'
import { foundMesh, type Founding } from '../../src/mesh/genesis.ts'
import { identityFromSeed } from '../../src/mesh/identity.ts'
import { Mesh } from '../../src/mesh/mesh.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../../src/net/memory/memory-world.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

export type MembershipRun = {
  seed: number
  peers: number
  leave: number
  crash: number
}

export type MembershipOutcome = {
  /** Over every delivered frame: the same for the same seed. */
  traceHash: string
  /** What must not have happened, in words. */
  violations: string[]
  /** Virtual time from the last fault until all agreed, milliseconds; undefined when they never did. */
  convergedMs: number | undefined
  frames: number
}

type Peer = { mesh: Mesh; network: MemoryNetwork; remembered: readonly MemberUpdate[] }

const CONVERGE_LIMIT_MS = 180_000
const CONVERGE_STEP_MS = 1_000

/** Runs one seed. */
export async function runMembership(options: MembershipRun): Promise<MembershipOutcome> {
  return await new MembershipSimulation(options).run()
}

class MembershipSimulation {
  readonly #options: MembershipRun
  readonly #random: Random
  readonly #clock = new VirtualClock()
  readonly #world: MemoryWorld
  readonly #trace = createHash('sha256')
  readonly #running: Peer[] = []
  readonly #left = new Set<PeerId>()
  readonly #crashed = new Set<PeerId>()
  readonly #violations: string[] = []
  #founding: Founding | undefined
  #frames = 0
  #made = 0

  constructor(options: MembershipRun) {
    this.#options = options
    this.#random = createRandom(options.seed)
    this.#world = new MemoryWorld(
      { clock: this.#clock, random: createRandom(this.#random.u32()) },
      this.#faults()
    )
    this.#world.trace = (from, to, bytes) => {
      this.#frames += 1
      this.#trace.update(`${this.#clock.monotonicMs()} ${from} ${to} ${bytes}\n`)
    }
  }

  async run(): Promise<MembershipOutcome> {
    const { peers, leave, crash } = this.#options
    for (let count = 0; count < peers; count++) {
      await this.#join()
      await this.#clock.advance(this.#random.below(60))
    }
    await this.#clock.advance(10_000)

    const order = shuffle(this.#random, [...this.#running])
    const departures = [
      ...order.slice(0, leave).map((peer) => () => this.#leave(peer)),
      ...order.slice(leave, leave + crash).map((peer) => () => this.#crash(peer))
    ]
    for (const [index, depart] of shuffle(this.#random, departures).entries()) {
      await depart()
      await this.#clock.advance(this.#random.below(500))
      if (index % 20 === 10) await this.#splitForAWhile()
    }
    this.#world.unblockAll()
    this.#world.faults = { ...this.#world.faults, lossPerMille: 0, reorderPerMille: 0 }
    const convergedMs = await this.#converge()
    this.#checkNobodyIsGone()
    const traceHash = this.#trace.digest('hex')
    for (const { mesh, network } of this.#running) {
      await mesh.stop()
      await network.stop()
    }
    return { traceHash, violations: this.#violations, convergedMs, frames: this.#frames }
  }

  /** Each seed has its own mix. */
  #faults(): {
    lossPerMille: number
    reorderPerMille: number
    duplicatePerMille: number
    delayMsMax: number
  } {
    const some = (max: number): number => (chance(this.#random, 2, 3) ? this.#random.below(max) : 0)
    return {
      lossPerMille: some(100),
      reorderPerMille: some(200),
      duplicatePerMille: some(100),
      delayMsMax: 3 + some(60)
    }
  }

  async #join(): Promise<void> {
    const identity = identityFromSeed(
      Uint8Array.from({ length: 32 }, () => this.#random.below(256))
    )
    this.#founding ??= foundMesh(identity, { createdMs: 0, nonce: new Uint8Array(16) })
    const number = this.#made++
    const network = new MemoryNetwork(
      { world: this.#world, log: silentLogger },
      { peerId: peerId(identity.peerId), address: `/memory/${number}`, mesh: this.#founding.meshId }
    )
    const first = this.#running[this.#random.below(Math.max(1, this.#running.length))]
    const peer: Partial<Peer> = { network, remembered: [] }
    const hex = (count: number): string =>
      toHex(Uint8Array.from({ length: count }, () => this.#random.below(256)))
    peer.mesh = new Mesh(
      {
        network,
        clock: this.#clock,
        random: createRandom(this.#random.u32()),
        log: silentLogger,
        remember: (members) => {
          peer.remembered = members
          return Promise.resolve()
        }
      },
      {
        founding: this.#founding,
        membership: membershipConfig('lan'),
        join: first === undefined ? [] : [...first.network.addresses()],
        remembered: [],
        agent: 'simulation',
        self: {
          peerId: network.peerId,
          incarnation: 1,
          session: sessionId(hex(8)),
          storeId: storeId(hex(16)),
          revision: 1,
          name: `peer-${number}`,
          zone: `zone-${number % 3}`,
          capacityBytes: GIB,
          labels: [],
          addresses: [],
          status: 'up'
        }
      }
    )
    const { mesh } = peer
    mesh.on('member', ({ kind, member }) => {
      const other = member.record.peerId
      if (kind === 'gone' && this.#running.some((runner) => runner.mesh.self === other)) {
        this.#violations.push(`${mesh.self} declared ${other} gone while it ran`)
      }
    })
    mesh.on('fatal', (error) => this.#violations.push(`${mesh.self} failed: ${error.message}`))
    this.#running.push(peer as Peer)
    await network.start()
    mesh.start()
  }

  async #leave(peer: Peer): Promise<void> {
    peer.mesh.beginLeave()
    await this.#clock.advance(500)
    await this.#clock.run(peer.mesh.endLeave())
    await this.#clock.advance(200)
    this.#left.add(peer.mesh.self)
    await this.#end(peer)
  }

  async #crash(peer: Peer): Promise<void> {
    this.#crashed.add(peer.mesh.self)
    await this.#end(peer)
  }

  async #end(peer: Peer): Promise<void> {
    this.#running.splice(this.#running.indexOf(peer), 1)
    await peer.network.stop()
    await this.#clock.run(peer.mesh.stop())
  }

  /** Cuts the mesh in two for less than the grace, one way or both ways. */
  async #splitForAWhile(): Promise<void> {
    const ids = shuffle(
      this.#random,
      this.#running.map(({ mesh }) => mesh.self)
    )
    const cut = 1 + this.#random.below(ids.length - 1)
    const bothWays = chance(this.#random, 2, 3)
    for (const a of ids.slice(0, cut)) {
      for (const b of ids.slice(cut)) {
        this.#world.block(a, b)
        if (bothWays) this.#world.block(b, a)
      }
    }
    await this.#clock.advance(4_000 + this.#random.below(16_000))
    this.#world.unblockAll()
  }

  async #converge(): Promise<number | undefined> {
    for (let waitedMs = 0; waitedMs <= CONVERGE_LIMIT_MS; waitedMs += CONVERGE_STEP_MS) {
      if (this.#disagreement() === undefined) return waitedMs
      await this.#clock.advance(CONVERGE_STEP_MS)
    }
    this.#violations.push(`no agreement after ${CONVERGE_LIMIT_MS} ms: ${this.#disagreement()}`)
    return undefined
  }

  /** @returns what somebody sees wrongly, or undefined when all see what is. */
  #disagreement(): string | undefined {
    const [first] = this.#running
    for (const { mesh } of this.#running) {
      for (const { mesh: other } of this.#running) {
        const state = mesh.member(other.self)?.state
        if (state !== 'alive') return `${mesh.self} thinks ${other.self} is ${state}`
      }
      for (const peer of this.#left) {
        const state = mesh.member(peer)?.state
        if (state !== 'left' && state !== undefined)
          return `${mesh.self} thinks ${peer}, which left, is ${state}`
      }
      for (const peer of this.#crashed) {
        const state = mesh.member(peer)?.state
        if (state !== 'dead' && state !== 'gone')
          return `${mesh.self} thinks ${peer}, which crashed, is ${state}`
      }
      if (mesh.layout().hash !== first?.mesh.layout().hash) return `${mesh.self} has another layout`
    }
    return undefined
  }

  #checkNobodyIsGone(): void {
    const ids = this.#running.map(({ mesh }) => mesh.self)
    for (const { mesh } of this.#running) {
      for (const id of ids) {
        const state = mesh.member(id)?.state
        if (state === 'gone' || state === 'evicted')
          this.#violations.push(`${mesh.self} holds ${id} to be ${state}`)
      }
    }
  }
}
