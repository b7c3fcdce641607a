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
import { isJoint } from '../core/raft/config-change.ts'
import { NO_REPLICA } from '../core/raft/messages.ts'
import type { Unsubscribe } from '../net/network.ts'
import type { ShardHost } from './host.ts'
import type { Replica } from './replica.ts'

/** How often groups are looked at while there is something to do. */
const PERIOD_MS = 200
/** And for a while after: a member that was in the way may just not have answered yet. */
const CALM_ROUNDS = 10
/**
 * Afterwards, in ticks of the replicas, as long as nothing changes. Not as often as leaders check their
 * quorum: right after that nobody counts as heard.
 */
const QUIET_PERIOD_TICKS = 5
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

/** Since when a group that is led here has been as it is. */
type Quiet = { readonly term: number; readonly version: number; readonly sinceMs: number }

/** What the groups are brought in line with. */
type Surroundings = {
  readonly layout: CommittedLayout
  readonly connected: readonly PeerId[]
}

export class Reconciler {
  readonly #parts: ReconcilerParts
  readonly #quiet = new Map<number, Quiet>()
  #preferred: { readonly version: number; readonly leaders: readonly (PeerId | undefined)[] } = {
    version: 0,
    leaders: []
  }
  readonly #unsubscribe: Unsubscribe
  #looked: Surroundings | undefined
  /** A leader came or went, or members changed. */
  #hasNews = true
  /** Looks since something was new or done. */
  #calmRounds = 0
  #quietTicks = 0
  #isStopped = false
  #timer: Timer | undefined

  constructor(parts: ReconcilerParts) {
    this.#parts = parts
    this.#unsubscribe = parts.host.onChanged(() => {
      this.#hasNews = true
    })
  }

  stop(): void {
    this.#unsubscribe()
    this.#timer?.cancel()
    this.#isStopped = true
  }

  /** A tick of the replicas has passed. */
  tick(): void {
    if (this.#timer !== undefined || this.#isStopped) return
    this.#quietTicks += 1
    if (this.#quietTicks >= QUIET_PERIOD_TICKS || this.#isNew(this.#surroundings())) this.#run()
  }

  #surroundings(): Surroundings | undefined {
    const layout = this.#parts.layout()
    return layout === undefined ? undefined : { layout, connected: this.#parts.connected() }
  }

  #isNew(now: Surroundings | undefined): boolean {
    const before = this.#looked
    if (this.#hasNews || now?.layout !== before?.layout) return true
    const peers = before?.connected ?? []
    return now?.connected.length !== peers.length || !peers.every((p) => now.connected.includes(p))
  }

  #run(): void {
    const now = this.#surroundings()
    const isNew = this.#isNew(now)
    this.#looked = now
    this.#hasNews = false
    this.#quietTicks = 0
    const isBusy = now !== undefined && this.#stepAll(now)
    this.#calmRounds = isNew || isBusy ? 0 : this.#calmRounds + 1
    if (this.#calmRounds >= CALM_ROUNDS) return
    this.#timer = this.#parts.clock.after(PERIOD_MS, () => {
      this.#timer = undefined
      this.#run()
    })
  }

  /** @returns whether something was done, or is under way */
  #stepAll({ layout, connected }: Surroundings): boolean {
    const { host, self } = this.#parts
    const present = new Set([self, ...connected])
    const led = [...host.replicas()].filter((replica) => replica.isReadyToLead)
    for (const group of this.#quiet.keys()) {
      if (host.replica(group)?.isLeader !== true) this.#quiet.delete(group)
    }
    let moves = led.filter(({ applied }) => applied.configState.learners.length > 0).length
    let isBusy = moves > 0
    for (const replica of led) {
      const isMoving = replica.applied.configState.learners.length > 0
      const view = this.#viewOf(replica, layout, { present, mayAdd: isMoving || moves < MOVES_MAX })
      const why = this.#step(replica, view)
      if (why === 'add-learner' && !isMoving) moves += 1
      isBusy ||= why !== undefined || view.isChangePending || isJoint(view.config)
    }
    return isBusy
  }

  /** @returns why a change was proposed, or leadership is handed over */
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
    replica.run((raft) => raft.transferLeader(to))
    this.#quiet.delete(group)
    return 'transfer'
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
    const nowMs = this.#parts.clock.monotonicMs()
    if (known === undefined || !isSame || !isThere) {
      this.#quiet.set(group, { term, version: layoutVersion, sinceMs: nowMs })
      return 0
    }
    return (nowMs - known.sinceMs) / QUIET_TICK_MS
  }
}
