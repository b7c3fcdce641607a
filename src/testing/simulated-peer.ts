// One peer of a simulated mesh: what survives its restarts, and how it is built from that.

import { assert } from '../base/assert.ts'
import type { Clock } from '../base/clock.ts'
import { peerId, sessionId, storeId } from '../base/ids.ts'
import { silentLogger, type Logger } from '../base/log.ts'
import { createRandom, type Random } from '../base/random.ts'
import { toHex } from '../base/bytes.ts'
import type { BlocksOptions } from '../blocks/blocks.ts'
import type { ScrubState } from '../blocks/scrub.ts'
import type { MembershipConfig } from '../core/membership/config.ts'
import type { Member, MemberRecord } from '../core/membership/member.ts'
import type { Offer } from '../core/jobs/requirements.ts'
import type { Executor, Work } from '../executor/executor.ts'
import { MemoryExecutor, type MemoryTask } from '../executor/memory/memory-executor.ts'
import type { Founding } from '../mesh/genesis.ts'
import { identityFromSeed, SEED_BYTES, type Identity } from '../mesh/identity.ts'
import { MemoryNetwork } from '../net/memory/memory-network.ts'
import type { MemoryWorld } from '../net/memory/memory-world.ts'
import { Node, type NodeJournal } from '../node/node.ts'
import type { WorkSetup } from '../node/node-work.ts'
import { MemoryLogDisk, MemoryLogStore } from '../storage/memory/memory-log-store.ts'
import { MemoryStateDisk, MemoryStateStore } from '../storage/memory/memory-state-store.ts'
import { MemoryBlockStore, MemoryDisk } from '../storage/memory/memory-block-store.ts'

/** What a simulated node does for others. */
export type SimulatedWork = {
  /** What tasks do; unless given, they end at once with what they were given. */
  behave?: ((work: Work) => MemoryTask) | undefined
  /** Tasks that it runs at one time; 2 unless given. */
  slots?: number | undefined
  /** What it says that it has, where that isn't as many processors as slots and 4 GiB of memory. */
  offer?: Partial<Offer> | undefined
  /** In thousandths of the usual node; 1 000 unless given. */
  speedMilli?: number | undefined
  /** Another executor than one in memory that runs `behave`. */
  executor?: ((clock: Clock) => Executor) | undefined
}

export type SimulatedPeerOptions = {
  index: number
  capacityBytes: number
  zone: string
  membership: MembershipConfig
  blocks?: Partial<BlocksOptions>
  logger?: Logger
  work?: SimulatedWork
  /** Its own, after each start; that of the world unless given. */
  clockOf?: ((clock: Clock) => Clock) | undefined
}

const SLOTS = 2
/** Memory that a simulated node gives to tasks. */
const TASK_MEMORY_BYTES = 2 ** 32

/** A machine: it may be switched off at any time and keeps its disk. */
export class SimulatedPeer {
  readonly identity: Identity
  readonly disk: MemoryDisk = new MemoryDisk()
  readonly logDisk: MemoryLogDisk = new MemoryLogDisk()
  readonly stateDisk: MemoryStateDisk = new MemoryStateDisk()
  readonly #options: SimulatedPeerOptions
  readonly #random: Random
  readonly #store: string
  #founding: Founding | undefined
  #remembered: readonly Member[] = []
  #incarnation = 0
  #revision = 1
  #scrub: ScrubState | undefined
  #layout: Uint8Array | undefined
  #hasLog = false
  #starts = 0
  node: Node | undefined
  store: MemoryBlockStore | undefined
  logStore: MemoryLogStore | undefined
  stateStore: MemoryStateStore | undefined
  network: MemoryNetwork | undefined
  executor: Executor | undefined

  /** @param seed decides the peer's identity and everything random that it does. */
  constructor(seed: number, options: SimulatedPeerOptions) {
    this.#options = options
    this.#random = createRandom(seed)
    this.identity = identityFromSeed(this.#bytes(SEED_BYTES))
    this.#store = toHex(this.#bytes(16))
  }

  get address(): string {
    return `/memory/${this.#options.index}-${this.#starts}`
  }

  /** Builds the node and its parts as they are after a start; `start()` is the caller's. */
  build(world: MemoryWorld, founding: Founding, join: readonly string[]): Node {
    assert(this.node === undefined, 'the peer is switched off')
    this.#starts += 1
    this.#founding ??= founding
    this.#incarnation += 1
    const { capacityBytes, zone, membership, blocks, logger = silentLogger } = this.#options
    const { arcCount } = this.#founding.genesis
    const self: MemberRecord = {
      peerId: peerId(this.identity.peerId),
      incarnation: this.#incarnation,
      session: sessionId(toHex(this.#bytes(8))),
      storeId: storeId(this.#store),
      revision: this.#revision,
      name: `peer-${this.#options.index}`,
      zone,
      capacityBytes,
      labels: [],
      addresses: [],
      status: 'up'
    }
    const network = new MemoryNetwork(
      { world, log: logger },
      { peerId: self.peerId, address: this.address, mesh: this.#founding.meshId }
    )
    const store = new MemoryBlockStore({ disk: this.disk, logger }, { capacityBytes, arcCount })
    const random = createRandom(this.#random.u32())
    const { work = {}, clockOf } = this.#options
    const clock = clockOf?.(world.clock) ?? world.clock
    const logStore = new MemoryLogStore({ clock, disk: this.logDisk, logger })
    const stateStore = new MemoryStateStore({ clock, disk: this.stateDisk, logger })
    const defer = (task: () => void): void => void clock.after(0, task)
    const journal = this.#journal(self)
    const executor = executorOf(work, clock)
    const parts = { network, store, clock, random, log: logger, journal, executor }
    const node = new Node(
      { ...parts, logStore, stateStore, defer },
      {
        founding: this.#founding,
        self,
        membership,
        join,
        remembered: this.#remembered,
        layout: this.#layout,
        hasLog: this.#hasLog,
        work: setupOf(work),
        ...(blocks === undefined ? {} : { blocks })
      }
    )
    this.node = node
    this.store = store
    this.logStore = logStore
    this.stateStore = stateStore
    this.network = network
    this.executor = executor
    return node
  }

  /** A power cut: nothing that wasn't durable survives, nobody is told. */
  async kill(): Promise<void> {
    const { node, store, network } = this
    assert(node !== undefined && store !== undefined && network !== undefined, 'the peer runs')
    this.node = undefined
    store.faults.crash()
    this.logStore?.faults.crash(this.#random)
    this.stateStore?.faults.crash(this.#random)
    await network.stop()
    // What is left of it only ends its timers; a dead machine writes nothing.
    await node.stop().catch(() => {})
  }

  /** A polite stop. */
  async stop(): Promise<void> {
    const { node } = this
    this.node = undefined
    await node?.stop()
  }

  #journal(self: MemberRecord): NodeJournal {
    const isCurrent = (): boolean => this.node?.mesh.selfRecord().session === self.session
    return {
      remember: (members) => {
        if (isCurrent()) this.#remembered = members
        return Promise.resolve()
      },
      saveSelf: ({ incarnation, revision }) => {
        if (isCurrent()) {
          this.#incarnation = incarnation
          this.#revision = revision
        }
        return Promise.resolve()
      },
      saveLayout: (encoded) => {
        if (isCurrent()) this.#layout = encoded
        return Promise.resolve()
      },
      saveLog: () => {
        this.#hasLog = true
        return Promise.resolve()
      },
      scrub: {
        load: () => Promise.resolve(this.#scrub),
        save: (state) => {
          this.#scrub = { ...state }
          return Promise.resolve()
        }
      }
    }
  }

  #bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.#random.below(256))
  }
}

function executorOf(
  { executor, behave = echo, slots = SLOTS, offer }: SimulatedWork,
  clock: Clock
): Executor {
  if (executor !== undefined) return executor(clock)
  return new MemoryExecutor({ clock, behave }, { slots, allowExec: offer?.allowsExec })
}

function setupOf({ slots = SLOTS, offer, speedMilli = 1_000 }: SimulatedWork): WorkSetup {
  const usual: Offer = {
    cpuMilli: slots * 1_000,
    memoryBytes: TASK_MEMORY_BYTES,
    gpus: 0,
    labels: new Map(),
    allowsExec: false,
    accepts: { submitters: undefined }
  }
  return { offer: { ...usual, ...offer }, speedMilli }
}

function echo({ input }: Work): MemoryTask {
  return { durationMs: 0, result: { kind: 'done', output: input, durationMs: 0 } }
}
