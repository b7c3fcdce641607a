// The layout to act on: the newest that was committed, as far as this node has heard. Whoever learns
// of one hands it in; nothing is computed here.

import { Emitter } from '../base/emitter.ts'
import { layoutHash, type RingOptions } from '../core/ring/layout.ts'
import type { Layout } from '../core/ring/layout.ts'
import { nextLayout } from '../core/ring/next-layout.ts'
import type { Unsubscribe } from '../net/network.ts'
import type { LayoutView } from './view.ts'

/** Layouts before the current one whose owners are still asked for blocks. */
const EARLIER_COUNT_MAX = 8

export class Layouts {
  readonly #events = new Emitter<{ changed: LayoutView }>()
  #current: LayoutView
  #earlier: LayoutView[] = []

  constructor(options: RingOptions) {
    const nobodys = nextLayout(null, [], options)
    this.#current = { version: 0, hash: layoutHash(nobodys), layout: nobodys }
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

  /** A layout was committed; one that is older than the current one is passed over. */
  commit(version: number, layout: Layout): void {
    const before = this.#current
    if (version <= before.version) return
    this.#current = { version, hash: layoutHash(layout), layout }
    if (this.#current.hash === before.hash) return
    if (before.version > 0) this.#earlier = [before, ...this.#earlier].slice(0, EARLIER_COUNT_MAX)
    this.#events.emit('changed', this.#current)
  }
}
