// Several nodes' shards on the memory network and virtual time, without the rest of a node: who is a
// member is told by the test.

import { createRandom } from '../../src/base/random.ts'
import { storeId } from '../../src/base/ids.ts'
import type { PeerId, StoreId } from '../../src/base/ids.ts'
import { silentLogger } from '../../src/base/log.ts'
import type { Logger } from '../../src/base/log.ts'
import { toHex } from '../../src/base/bytes.ts'
import { placesOf } from '../../src/core/groups/committed-layout.ts'
import type { LayoutMember } from '../../src/core/groups/committed-layout.ts'
import type { Place } from '../../src/core/groups/roster.ts'
import { identityFromSeed } from '../../src/mesh/identity.ts'
import { MemoryNetwork } from '../../src/net/memory/memory-network.ts'
import { MemoryWorld } from '../../src/net/memory/memory-world.ts'
import { ShardLayer } from '../../src/shard/shard-layer.ts'
import { MemoryLogDisk, MemoryLogStore } from '../../src/storage/memory/memory-log-store.ts'
import { MemoryStateDisk, MemoryStateStore } from '../../src/storage/memory/memory-state-store.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

export class ShardPeer {
  readonly peer: PeerId
  store: StoreId
  readonly address: string
  readonly mesh: ShardMesh
  logDisk: MemoryLogDisk = new MemoryLogDisk()
  stateDisk: MemoryStateDisk = new MemoryStateDisk()
  layer!: ShardLayer
  network!: MemoryNetwork
  logStore!: MemoryLogStore
  stateStore!: MemoryStateStore
  isRunning = false
  isMember = false
  layout: Uint8Array | undefined
  weight = 1
  isFounding = false
  revision = 1
  /** How long it takes to read what it has of a group, at its next start. */
  checkMs = 0

  constructor(mesh: ShardMesh, index: number) {
    this.mesh = mesh
    const bytes = (count: number): Uint8Array =>
      Uint8Array.from({ length: count }, () => mesh.random.below(256))
    this.peer = identityFromSeed(bytes(32)).peerId
    this.store = storeId(toHex(bytes(16)))
    this.address = `/memory/${index}`
  }

  async start(): Promise<void> {
    const { mesh } = this
    const { clock, world } = mesh
    const log = mesh.logger
    this.network = new MemoryNetwork(
      { world, log },
      { peerId: this.peer, address: this.address, mesh: 'test' }
    )
    this.logStore = new MemoryLogStore({ clock, disk: this.logDisk, logger: log })
    this.stateStore = new MemoryStateStore({ clock, disk: this.stateDisk, logger: log })
    this.stateStore.checkMs = this.checkMs
    this.layer = new ShardLayer(
      {
        network: this.network,
        clock,
        random: createRandom(mesh.random.u32()),
        log,
        logStore: this.logStore,
        stateStore: this.stateStore,
        defer: (task) => void clock.after(0, task),
        members: () => mesh.members(),
        isOut: (peer) => mesh.peers.some((one) => one.peer === peer && !one.isMember),
        others: () =>
          mesh.peers.filter((one) => one !== this && one.isMember).map(({ peer }) => peer),
        isReachable: (peer) => this.network.connected().includes(peer),
        onLayout: (_, encoded) => {
          this.layout = encoded
        }
      },
      {
        self: this.peer,
        store: this.store,
        meshId: 'test',
        count: mesh.count,
        shape: {
          blocks: { arcCount: 64, replication: 3 },
          groups: { arcCount: mesh.count + 1, replication: 3 }
        },
        layout: this.layout,
        isFounding: this.isFounding
      }
    )
    await this.layer.open()
    await this.network.start()
    await this.dialAll()
    this.isRunning = true
    this.isMember = true
    await this.layer.start()
  }

  async dialAll(): Promise<void> {
    for (const other of this.mesh.peers) {
      if (other === this || !other.isRunning) continue
      this.network.learn(other.peer, [other.address])
      other.network.learn(this.peer, [this.address])
      await this.network.dial(other.address, { timeoutMs: 1_000 })
    }
  }

  /** All that was on the disks is lost; the node's name is kept elsewhere. */
  wipe(): void {
    this.logDisk = new MemoryLogDisk()
    this.stateDisk = new MemoryStateDisk()
    this.store = storeId(toHex(Uint8Array.from({ length: 16 }, () => this.mesh.random.below(256))))
    this.revision += 1
    this.isFounding = false
  }

  /** The power goes: what wasn't durable is lost. */
  async kill(): Promise<void> {
    this.isRunning = false
    this.logStore.faults.crash(this.mesh.random)
    this.stateStore.faults.crash(this.mesh.random)
    await this.network.stop()
    await this.layer.stop().catch(() => {})
  }
}

export class ShardMesh {
  readonly clock: VirtualClock = new VirtualClock()
  readonly random: ReturnType<typeof createRandom>
  readonly world: MemoryWorld
  readonly peers: ShardPeer[] = []
  readonly count: number
  readonly logger: Logger

  constructor(options: { seed?: number; count?: number; logger?: Logger } = {}) {
    this.random = createRandom(options.seed ?? 1)
    this.count = options.count ?? 4
    this.logger = options.logger ?? silentLogger
    this.world = new MemoryWorld({ clock: this.clock, random: createRandom(this.random.u32()) })
  }

  async add(): Promise<ShardPeer> {
    const peer = new ShardPeer(this, this.peers.length)
    peer.isFounding = this.peers.length === 0
    this.peers.push(peer)
    await this.clock.run(peer.start())
    return peer
  }

  members(): LayoutMember[] {
    return this.peers
      .filter(({ isMember }) => isMember)
      .map(({ peer, store, weight, revision }) => ({
        id: peer,
        store,
        weight,
        zone: 'a',
        revision
      }))
  }

  /** Cuts some nodes off from all others; those who notice drop their connections. */
  cutOff(side: readonly ShardPeer[]): void {
    for (const { peer } of side) {
      for (const other of this.peers.filter((one) => !side.includes(one))) {
        this.world.block(other.peer, peer)
        this.world.block(peer, other.peer)
      }
    }
  }

  /** Everybody reaches everybody again. */
  async heal(): Promise<void> {
    this.world.unblockAll()
    for (const one of this.peers.filter(({ isRunning }) => isRunning)) await one.dialAll()
  }

  /** Runs until `holds`, at most so long in virtual time. @returns after how many milliseconds */
  async until(holds: () => boolean, limitMs = 60_000): Promise<number> {
    const startMs = this.clock.monotonicMs()
    while (!holds()) {
      if (this.clock.monotonicMs() - startMs > limitMs) throw new Error('it does not come to hold')
      await this.clock.advance(50)
    }
    return this.clock.monotonicMs() - startMs
  }

  /**
   * Whether all know a layout of all members, and every group has a leader and the voters it says.
   *
   * @param away groups that nobody leads
   */
  isSettled(away: readonly number[] = []): boolean {
    const running = this.peers.filter(({ isRunning }) => isRunning)
    const members = placeNames(this.members().map(({ id, store }) => ({ peer: id, store })))
    for (const { layer, isMember } of running) {
      const known = layer.layouts.current()?.members.map(({ id, store }) => ({ peer: id, store }))
      if (isMember && placeNames(known ?? []) !== members) return false
    }
    for (let group = 0; group <= this.count; group++) {
      if (away.includes(group)) continue
      const leader = running.find(({ layer }) => layer.host.replica(group)?.isReadyToLead === true)
      const layout = leader?.layer.layouts.current()
      const applied = leader?.layer.host.replica(group)?.applied
      if (layout === undefined || applied === undefined) return false
      const { voters, votersOutgoing, learners } = applied.configState
      const wanted = placesOf(layout, group)
      if (placeNames(applied.roster.members) !== placeNames(wanted)) return false
      if (voters.length !== wanted.length || votersOutgoing.length + learners.length > 0)
        return false
    }
    return true
  }

  async stop(): Promise<void> {
    await this.clock.run(
      Promise.all(
        this.peers.map(async (peer) => (peer.isRunning ? await peer.layer.stop() : undefined))
      )
    )
  }
}

function placeNames(places: readonly Place[]): string {
  const names = places.map(({ peer, store }) => `${peer} ${store}`)
  return names.toSorted().join()
}
