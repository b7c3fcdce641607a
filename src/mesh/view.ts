// What the layers above see of the mesh: who answers, and who owns what.

import type { PeerId } from '../base/ids.ts'
import type { Layout } from '../core/ring/layout.ts'
import type { Unsubscribe } from '../net/network.ts'

/** A layout with its name. Two nodes with the same hash place every block alike. */
export type LayoutView = {
  /** Grows with every change that this node learned of. */
  readonly version: number
  readonly hash: string
  readonly layout: Layout
}

export type MeshView = {
  readonly self: PeerId
  /** The layout to act on. */
  layout(): LayoutView
  /** Those before it, newest first: their owners may still hold what has not been moved. */
  earlierLayouts(): readonly LayoutView[]
  /** Whether membership believes that the peer answers. Advice: it orders attempts. */
  isReachable(peer: PeerId): boolean
  /** The other members that haven't left, sorted; reachable or not. */
  others(): readonly PeerId[]
  onLayoutChanged(listener: (view: LayoutView) => void): Unsubscribe
  /** A member joined, or answers again. */
  onReachable(listener: (peer: PeerId) => void): Unsubscribe
}
