// The layout to act on. Until layouts are committed by consensus every node computes it from its
// own member list, always afresh, so that equal lists give equal layouts. This file is the only
// place that knows.

import type { Clock, Timer } from '../base/clock.ts'
import { Emitter } from '../base/emitter.ts'
import { CAPACITY_UNIT_BYTES, WEIGHT_MAX } from '../base/limits.ts'
import { isTerminal, type Member } from '../core/membership/member.ts'
import { layoutHash, type RingMember, type RingOptions } from '../core/ring/layout.ts'
import { nextLayout } from '../core/ring/next-layout.ts'
import type { Unsubscribe } from '../net/network.ts'
import type { LayoutView } from './view.ts'

/** Layouts before the current one whose owners are still asked for blocks. */
const EARLIER_COUNT_MAX = 8

/** @returns the placement weight of a capacity: an integer in 1..WEIGHT_MAX. */
function weightOf(capacityBytes: number): number {
  return Math.min(WEIGHT_MAX, Math.max(1, Math.round(capacityBytes / CAPACITY_UNIT_BYTES)))
}

/**
 * Down is not gone: a member that doesn't answer keeps its place. Those that are leaving, or out of
 * the mesh, have none.
 */
function ringMembers(members: readonly Member[]): RingMember[] {
  return members
    .filter(({ state, record }) => !isTerminal(state) && record.status === 'up')
    .map(({ record }) => ({
      id: record.peerId,
      weight: weightOf(record.capacityBytes),
      zone: record.zone
    }))
}

export type LayoutsComponents = {
  clock: Clock
  /** The table as it is, and its number. */
  table: () => { members: readonly Member[]; version: number }
}

/** Changes are collected this long before the layout is computed again. */
const DELAY_MS = 50

export class Layouts {
  readonly #components: LayoutsComponents
  readonly #options: RingOptions
  readonly #events = new Emitter<{ changed: LayoutView }>()
  #current: LayoutView
  #earlier: LayoutView[] = []
  #timer: Timer | undefined
  #running = true

  constructor(components: LayoutsComponents, options: RingOptions) {
    this.#components = components
    this.#options = options
    this.#current = this.#compute()
  }

  current(): LayoutView {
    return this.#current
  }

  /** Newest first. */
  earlier(): readonly LayoutView[] {
    return this.#earlier
  }

  onChanged(listener: (view: LayoutView) => void): Unsubscribe {
    return this.#events.on('changed', listener)
  }

  /** Something that placement depends on has changed. */
  changed(): void {
    if (this.#timer !== undefined || !this.#running) return
    this.#timer = this.#components.clock.after(DELAY_MS, () => this.update())
  }

  /** Computes the layout now; tells the listeners when it places blocks otherwise. */
  update(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    const next = this.#compute()
    const before = this.#current
    this.#current = next
    if (next.hash === before.hash) return
    this.#earlier = [before, ...this.#earlier].slice(0, EARLIER_COUNT_MAX)
    this.#events.emit('changed', next)
  }

  stop(): void {
    this.#running = false
    this.#timer?.cancel()
  }

  #compute(): LayoutView {
    const { members, version } = this.#components.table()
    const layout = nextLayout(null, ringMembers(members), this.#options)
    return { version, hash: layoutHash(layout), layout }
  }
}
