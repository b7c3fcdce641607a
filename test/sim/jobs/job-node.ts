// One machine of a run: what survives its restarts, its clock, and whether it is there.

import { MeshError } from '../../../src/base/errors.ts'
import type { Logger } from '../../../src/base/log.ts'
import type { MembershipConfig } from '../../../src/core/membership/config.ts'
import type { Work } from '../../../src/executor/executor.ts'
import { MemoryExecutor, type MemoryTask } from '../../../src/executor/memory/memory-executor.ts'
import type { Founding } from '../../../src/mesh/genesis.ts'
import type { MemoryWorld } from '../../../src/net/memory/memory-world.ts'
import type { Node } from '../../../src/node/node.ts'
import { SimulatedPeer } from '../../../src/testing/simulated-peer.ts'
import { SkewedClock } from '../../services/compute/skewed-clock.ts'
import { NodeClock } from '../mesh/node-clock.ts'
import type { NodePlan } from './plan.ts'

/** The blocks of a test mesh move without waiting for people. */
const QUICK_MOVER = { retryMs: 1_000 }

export class JobNode {
  readonly index: number
  readonly name: string
  readonly plan: NodePlan
  readonly peer: SimulatedPeer
  #clock: NodeClock | undefined
  #death: PromiseWithResolvers<never> | undefined
  /** It has started. */
  isReady = false
  /** Addresses of others, when it was switched on. */
  told: readonly string[] = []
  /** How often what runs its tasks has ended. */
  crashes = 0
  isPaused = false
  hasLeft = false
  /** The end of the process before. */
  stopping: Promise<void> = Promise.resolve()

  constructor(
    seed: number,
    options: {
      index: number
      name: string
      plan: NodePlan
      capacityBytes: number
      membership: MembershipConfig
      logger: Logger
      behave: (work: Work) => MemoryTask
    }
  ) {
    const { index, name, plan, behave, ...rest } = options
    this.index = index
    this.name = name
    this.plan = plan
    const { slots, speedMilli, labels, rate, offsetMs } = plan
    this.peer = new SimulatedPeer(seed, {
      ...rest,
      index,
      zone: 'default',
      blocks: { mover: QUICK_MOVER },
      work: { slots, speedMilli, behave, offer: { labels } },
      clockOf: (clock) => {
        const skewed = new SkewedClock(clock, { rate, offsetMs })
        return (this.#clock = new NodeClock(skewed))
      }
    })
  }

  get executor(): MemoryExecutor | undefined {
    const { executor } = this.peer
    return executor instanceof MemoryExecutor ? executor : undefined
  }

  /** What runs its tasks ends. */
  crash(): void {
    this.crashes += 1
    this.executor?.crash()
  }

  build(world: MemoryWorld, founding: Founding, join: readonly string[]): Node {
    this.isPaused = false
    this.told = join
    this.#death = Promise.withResolvers<never>()
    // Whoever waits for it is told; nobody may.
    this.#death.promise.catch(() => {})
    return this.peer.build(world, founding, join)
  }

  /** Settles as `work` does, unless the machine dies before. @throws unreachable when it does */
  async untilDeath<T>(work: Promise<T>): Promise<T> {
    // What comes of it later is of no interest.
    work.catch(() => {})
    const { promise } = this.#death ?? Promise.withResolvers<never>()
    return await Promise.race([work, promise])
  }

  kill(): void {
    this.isReady = false
    this.#clock?.end()
    // It never ends by itself: its time is over.
    void this.peer.kill().catch(() => {})
    this.#death?.reject(new MeshError('unreachable', `${this.name} was switched off`))
  }

  async stop(): Promise<void> {
    this.isReady = false
    const death = this.#death
    const stopping = this.peer.stop()
    this.stopping = stopping.catch(() => {})
    await stopping
    death?.reject(new MeshError('unreachable', `${this.name} has stopped`))
  }

  pause(): void {
    this.isPaused = true
    this.#clock?.pause()
  }

  resume(): void {
    this.isPaused = false
    this.#clock?.resume()
  }
}
