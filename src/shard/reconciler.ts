// Brings the groups that this node leads to the layout: asks the core's `nextStep` and does what it
// says, one step of a group at a time.

import type { Clock, Timer } from '../base/clock.ts'
import type { PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import { placesOf } from '../core/groups/committed-layout.ts'
import type { CommittedLayout } from '../core/groups/committed-layout.ts'
import { nextStep } from '../core/groups/next-step.ts'
import type { GroupView } from '../core/groups/next-step.ts'
import { preferredLeaders, shouldTransfer } from '../core/groups/preferred-leaders.ts'
import { NO_REPLICA } from '../core/raft/messages.ts'
import type { ShardHost } from './host.ts'
import type { Replica } from './replica.ts'

/** How often groups are looked at. */
const PERIOD_MS = 200
/** The unit in which `shouldTransfer` counts how long all was quiet. */
const QUIET_TICK_MS = 100
/** Groups led here that bring a learner up to date at one time. */
const MOVES_MAX = 6

export type ReconcilerParts = {
  readonly clock: Clock
  readonly log: Logger
  readonly host: ShardHost
  readonly self: PeerId
  readonly layout: () => CommittedLayout | undefined
  readonly connected: () => readonly PeerId[]
}

/** How long a group that is led here has been as it is, in ticks of the core. */
type Quiet = { readonly term: number; readonly version: number; ticks: number }

export class Reconciler {
  readonly #parts: ReconcilerParts
  readonly #quiet = new Map<number, Quiet>()
  #preferred: { readonly version: number; readonly leaders: readonly (PeerId | undefined)[] } = {
    version: 0,
    leaders: []
  }
  #timer: Timer | undefined

  constructor(parts: ReconcilerParts) {
    this.#parts = parts
  }

  start(): void {
    this.#timer = this.#parts.clock.after(PERIOD_MS, () => {
      this.start()
      this.#run()
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  #run(): void {
    const { host, layout: current, connected, self } = this.#parts
    const layout = current()
    if (layout === undefined) return
    const present = new Set([self, ...connected()])
    const led = [...host.replicas()].filter((replica) => replica.isReadyToLead)
    for (const group of this.#quiet.keys()) {
      if (host.replica(group)?.isLeader !== true) this.#quiet.delete(group)
    }
    let moves = led.filter(({ applied }) => applied.configState.learners.length > 0).length
    for (const replica of led) {
      const isMoving = replica.applied.configState.learners.length > 0
      const view = this.#viewOf(replica, layout, { present, mayAdd: isMoving || moves < MOVES_MAX })
      if (this.#step(replica, view) === 'add-learner' && !isMoving) moves += 1
    }
  }

  /** @returns why a change was proposed */
  #step(replica: Replica, view: GroupView): string | undefined {
    const { log } = this.#parts
    const { group } = replica
    const step = nextStep(view)
    if (step.kind === 'change') {
      const isTaken = replica.changeMembers(step.change)
      const { why, change } = step
      if (isTaken) log.info('shard.change', { group, why, steps: JSON.stringify(change.steps) })
      this.#quiet.delete(group)
      return isTaken ? why : undefined
    }
    const to =
      step.kind === 'transfer' ? step.to : shouldTransfer(view, this.#quietOf(replica, view))
    if (to === undefined) return undefined
    log.info('shard.transfer', { group, to })
    replica.transferTo(to)
    this.#quiet.delete(group)
    return undefined
  }

  #viewOf(
    replica: Replica,
    layout: CommittedLayout,
    about: { present: ReadonlySet<PeerId>; mayAdd: boolean }
  ): GroupView {
    const { host } = this.#parts
    const { group, applied, raft } = replica
    const { log, members, pendingConfigIndex, transferTo } = raft.state
    return {
      self: replica.id,
      roster: applied.roster,
      config: applied.configState,
      desired: placesOf(layout, group),
      layoutVersion: layout.version,
      lastIndex: log.lastIndex,
      commit: log.committed,
      isChangePending: pendingConfigIndex > log.applied || transferTo !== NO_REPLICA,
      mayAddLearner: about.mayAdd,
      preferred: this.#leadersOf(layout)[group],
      progress: (id) => {
        const progress = members.progress.get(id)
        if (progress === undefined) return undefined
        const { match, isActive, state } = progress
        return { match, isActive, isSnapshot: state === 'snapshot' }
      },
      isReachable: (peer) => about.present.has(peer),
      isDead: (id) => host.isDead(group, id)
    }
  }

  #leadersOf(layout: CommittedLayout): readonly (PeerId | undefined)[] {
    if (this.#preferred.version !== layout.version) {
      const owners = Array.from({ length: layout.groups.arcCount }, (_, group) =>
        placesOf(layout, group).map(({ peer }) => peer)
      )
      this.#preferred = { version: layout.version, leaders: preferredLeaders(owners) }
    }
    return this.#preferred.leaders
  }

  #quietOf(replica: Replica, { preferred, layoutVersion, isReachable }: GroupView): number {
    const { group, term } = replica
    const known = this.#quiet.get(group)
    const isSame = known?.term === term && known.version === layoutVersion
    const isThere = preferred !== undefined && isReachable(preferred)
    if (known === undefined || !isSame || !isThere) {
      this.#quiet.set(group, { term, version: layoutVersion, ticks: 0 })
      return 0
    }
    known.ticks += PERIOD_MS / QUIET_TICK_MS
    return known.ticks
  }
}
