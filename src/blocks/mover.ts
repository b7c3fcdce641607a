// Keeping every block on its owners: hand-over, re-replication, hinted copies and repair, all by
// one rule (core/block/arc-plan.ts). This file finds the arcs to look at, asks, and does it.

import type { Clock, Timer } from '../base/clock.ts'
import { errorMessage, isMeshError } from '../base/errors.ts'
import type { BlockId, PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { Semaphore } from '../base/semaphore.ts'
import { planArc } from '../core/block/arc-plan.ts'
import { arcOf } from '../core/block/block-id.ts'
import { ownersOf } from '../core/ring/layout.ts'
import type { LayoutView, MeshView } from '../mesh/view.ts'
import type { Unsubscribe } from '../net/network.ts'
import type { BlockStore } from '../storage/block-store.ts'
import { askOwners } from './ask-owners.ts'
import { delayAfter, UNSEEN, type ArcWork, type Outcome } from './arc-work.ts'
import type { BlockClient } from './block-client.ts'
import { readOrReport } from './block-server.ts'
import type { Touches } from './touches.ts'

export type MoverOptions = {
  /** An arc that couldn't be finished is looked at again after this, milliseconds. */
  retryMs: number
  /** Arcs worked on at once. */
  arcsAtOnce: number
  /** Blocks sent at once, over all arcs. */
  sendsAtOnce: number
}

const MOVER_DEFAULTS: MoverOptions = { retryMs: 5_000, arcsAtOnce: 8, sendsAtOnce: 4 }

export type MoverComponents = {
  store: BlockStore
  client: BlockClient
  mesh: MeshView
  touches: Touches
  clock: Clock
  log: Logger
  onDamaged: (id: BlockId) => void
}

export class Mover {
  readonly #components: MoverComponents
  readonly #options: MoverOptions
  /** Arcs that must be looked at, by number. */
  readonly #dirty = new Map<number, ArcWork>()
  readonly #busy = new Set<number>()
  readonly #sends: Semaphore
  readonly #unsubscribe: Unsubscribe[] = []
  readonly #idle: (() => void)[] = []
  #timer: Timer | undefined
  /** When it fires, by the monotonic clock. */
  #timerMs = 0
  #running = false

  constructor(components: MoverComponents, options: Partial<MoverOptions> = {}) {
    this.#components = components
    this.#options = { ...MOVER_DEFAULTS, ...options }
    this.#sends = new Semaphore(this.#options.sendsAtOnce)
  }

  start(): void {
    const { mesh } = this.#components
    this.#running = true
    this.#unsubscribe.push(
      mesh.onLayoutChanged(() => this.markAll()),
      mesh.onReachable(() => this.#hurry())
    )
    this.markAll()
  }

  /** Starts nothing more and waits for what is under way. */
  async stop(): Promise<void> {
    this.#running = false
    this.#timer?.cancel()
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    if (this.#busy.size > 0) {
      await new Promise<void>((resolve) => {
        this.#idle.push(resolve)
      })
    }
  }

  /** Looks at every arc that holds something: after a start, a layout change, or for a scrub. */
  markAll(): void {
    for (const arc of this.#components.store.arcs()) this.#mark(arc, 0)
    this.#wake(0)
  }

  /** Looks at one block's arc: an owner may lack the block, or this node is no owner of it. */
  mark(id: BlockId): void {
    this.markArcs([this.arcOf(id)])
  }

  /** Looks at arcs of which an owner may lack a block. */
  markArcs(arcs: readonly number[]): void {
    const delayMs = this.#options.retryMs / 5
    for (const arc of arcs) this.#mark(arc, delayMs)
    if (arcs.length > 0) this.#wake(delayMs)
  }

  arcOf(id: BlockId): number {
    return arcOf(id, this.#components.mesh.layout().layout.arcCount)
  }

  /** Whether this node is an owner of a block's arc. */
  owns(id: BlockId): boolean {
    return this.#owners(this.arcOf(id)).includes(this.#components.mesh.self)
  }

  /** Blocks held here of which an owner is known to lack its copy. */
  underReplicated(): number {
    let sum = 0
    for (const { underReplicated } of this.#dirty.values()) sum += underReplicated
    return sum
  }

  /** Blocks in arcs that still have to be looked at. */
  pending(): number {
    let sum = 0
    for (const arc of this.#dirty.keys()) sum += this.#components.store.list(arc).length
    return sum
  }

  /** Whether all that could be done was done: what is left waits for a member that is away. */
  isQuiet(): boolean {
    return this.#busy.size === 0 && [...this.#dirty.values()].every(({ stuck }) => stuck)
  }

  #owners(arc: number): PeerId[] {
    return ownersOf(this.#components.mesh.layout().layout, arc)
  }

  #mark(arc: number, delayMs: number): void {
    const notBeforeMs = this.#components.clock.monotonicMs() + delayMs
    const known = this.#dirty.get(arc)
    const copies = this.#liveCopies(arc)
    if (known === undefined) {
      this.#dirty.set(arc, { ...UNSEEN, copies, notBeforeMs, underReplicated: 0 })
    } else {
      Object.assign(known, UNSEEN)
      known.copies = copies
      known.notBeforeMs = Math.min(known.notBeforeMs, notBeforeMs)
    }
  }

  /** How many reachable peers owned the arc under the layout before: who may have copies now. */
  #liveCopies(arc: number): number {
    const { mesh } = this.#components
    const before = mesh.earlierLayouts()[0] ?? mesh.layout()
    return ownersOf(before.layout, arc).filter(
      (peer) => peer === mesh.self || mesh.isReachable(peer)
    ).length
  }

  #someOwnerIsAway(arc: number): boolean {
    const { mesh } = this.#components
    return this.#owners(arc).some((owner) => owner !== mesh.self && !mesh.isReachable(owner))
  }

  /** A peer came back: what waits need not wait. */
  #hurry(): void {
    const nowMs = this.#components.clock.monotonicMs()
    for (const work of this.#dirty.values()) work.notBeforeMs = nowMs
    this.#wake(0)
  }

  /** Later at most: who marks arcs all the time must not put off what is due. */
  #wake(delayMs: number): void {
    const { clock } = this.#components
    const atMs = clock.monotonicMs() + delayMs
    if (!this.#running || (this.#timer !== undefined && this.#timerMs <= atMs)) return
    this.#timer?.cancel()
    this.#timerMs = atMs
    this.#timer = clock.after(delayMs, () => {
      this.#timer = undefined
      this.#schedule()
    })
  }

  #schedule(): void {
    if (!this.#running) return
    const nowMs = this.#components.clock.monotonicMs()
    const ready = [...this.#dirty]
      .filter(([arc, work]) => work.notBeforeMs <= nowMs && !this.#busy.has(arc))
      // The arcs with the fewest copies are the ones that the next failure would lose.
      .toSorted(([arcA, a], [arcB, b]) => a.copies - b.copies || arcA - arcB)
      .slice(0, this.#options.arcsAtOnce - this.#busy.size)
    for (const [arc, work] of ready) {
      this.#busy.add(arc)
      void this.#visit(arc, work).finally(() => {
        this.#busy.delete(arc)
        if (this.#busy.size === 0) for (const resolve of this.#idle.splice(0)) resolve()
        if (this.#dirty.size > 0) this.#wake(0)
      })
    }
    if (ready.length > 0 || this.#dirty.size === 0) return
    const soonest = Math.min(...[...this.#dirty.values()].map(({ notBeforeMs }) => notBeforeMs))
    if (this.#busy.size === 0) this.#wake(Math.max(1, soonest - nowMs))
  }

  /** Looks at one arc and does what its plan says. Never rejects. */
  async #visit(arc: number, work: ArcWork): Promise<void> {
    const { log } = this.#components
    const { round } = work
    // Marks that come while this runs must not be lost: they set the round back.
    work.round = -1
    let outcome: Outcome = 'later'
    try {
      outcome = await this.#work(arc, work, round)
    } catch (error) {
      log.warn('mover.arc_failed', { arc, reason: errorMessage(error) })
    }
    if (work.round !== -1) return
    if (outcome === 'done') {
      this.#dirty.delete(arc)
      return
    }
    work.stuck = outcome === 'later' && this.#someOwnerIsAway(arc)
    work.round = round
    const delayMs = delayAfter(work, outcome, this.#options.retryMs)
    work.notBeforeMs = this.#components.clock.monotonicMs() + delayMs
  }

  async #work(arc: number, work: ArcWork, round: number): Promise<Outcome> {
    const { store, mesh } = this.#components
    const holding = store.list(arc)
    if (holding.length === 0) return 'done'
    const view = mesh.layout()
    const owners = this.#owners(arc)
    const question = { owners, ids: holding, hash: view.hash, isPeek: true }
    const answers = await askOwners(this.#components, question)
    const plan = planArc({ self: mesh.self, owners, holding, answers, round })
    work.underReplicated = plan.underReplicated
    const sent = await Promise.all(plan.sends.map((send) => this.#send(send.id, send.to)))
    if (plan.drops.length > 0 && !(await this.#drop(plan.drops, view))) return 'later'
    if (!plan.again) return 'done'
    // When all that was lacking has been sent, look again at once: to drop, or to be done.
    if (sent.length > 0) return sent.every(Boolean) ? 'soon' : 'later'
    return [...answers.values()].every(({ reached }) => reached) ? 'waiting' : 'later'
  }

  /**
   * Drops what the owners have, as they say once more: now the copies there are counted on, and are
   * touched. @returns whether all of it was dropped
   */
  async #drop(ids: readonly BlockId[], { hash, layout }: LayoutView): Promise<boolean> {
    const { store, mesh, touches } = this.#components
    const arc = arcOf(ids[0] as BlockId, layout.arcCount)
    // Who is told from now on that it is here counts on this copy.
    const watch = touches.watch()
    try {
      const question = { owners: ownersOf(layout, arc), ids, hash, isPeek: false }
      const answers = [...(await askOwners(this.#components, question)).values()]
      for (const id of ids) {
        // Between the answers and now the layout may have changed: then they count no more.
        if (mesh.layout().hash !== hash || !this.#running || watch.has(id)) return false
        const areSure = answers.every(
          (answer) => answer.reached && answer.sameLayout && answer.held.has(id)
        )
        if (!areSure) return false
        await store.delete(id)
      }
      return true
    } finally {
      watch.end()
    }
  }

  /** @returns whether the owner has the block now. */
  async #send(id: BlockId, to: PeerId): Promise<boolean> {
    const { client, touches, log } = this.#components
    return await this.#sends.run(async () => {
      if (!this.#running) return false
      try {
        const bytes = await readOrReport(this.#components, id)
        await client.put(to, id, bytes, { touchedCycle: touches.of(id) })
        return true
      } catch (error) {
        const level = isMeshError(error, 'disk-full') ? 'warn' : 'debug'
        log[level]('mover.send_failed', { peer: to, id, reason: errorMessage(error) })
        return false
      }
    })
  }
}
