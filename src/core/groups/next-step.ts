// Moves the members of a group toward the layout, one safe step at a time. The group's leader asks
// what to do next; nothing is remembered, so whoever leads next goes on where this one stopped.

import { present } from '../../base/assert.ts'
import type { PeerId } from '../../base/ids.ts'
import { isJoint } from '../raft/config-change.ts'
import type { ConfigChange, ConfigChangeStep, ConfigState, ReplicaId } from '../raft/messages.ts'
import { majorityOf } from '../raft/quorum.ts'
import { encodeChangeContext } from './roster-codec.ts'
import { memberOf } from './roster.ts'
import type { GroupMember, Place, Roster } from './roster.ts'

/** Learners that are brought up to date at one time; those out of reach cost nothing. */
export const LEARNERS_MAX = 2
/** A learner this close to the end of the log can vote: what it lacks is on its way. */
export const READY_LAG_ENTRIES = 1_024
/** And this close to what is committed. */
export const READY_COMMIT_LAG_ENTRIES = 256

/** What the leader knows of a member's log. */
export type MemberProgress = {
  /** The member's log is durably equal to the leader's up to here. */
  readonly match: number
  /** It was heard since the last check of the quorum. */
  readonly isActive: boolean
  /** It is being sent a snapshot. */
  readonly isSnapshot: boolean
}

/** What a leader knows of its group; everything as far as it has applied changes. */
export type GroupView = {
  /** The leader itself: whoever doesn't lead doesn't ask. */
  readonly self: ReplicaId
  readonly roster: Roster
  readonly config: ConfigState
  /** The owners of the group by the layout, 1 to 7 of different peers. Of none: do nothing. */
  readonly desired: readonly Place[]
  /** Of the layout that says so. */
  readonly layoutVersion: number
  readonly lastIndex: number
  readonly commit: number
  /** A change is in the log and not applied, or leadership is being handed over. */
  readonly isChangePending: boolean
  /** Whether this node may bring another learner up to date now, of whatever group. */
  readonly mayAddLearner: boolean
  /** Who is to lead, if it can be chosen; see `preferredLeaders`. */
  readonly preferred?: PeerId | undefined
  /** Undefined for nobody's id. */
  readonly progress: (replica: ReplicaId) => MemberProgress | undefined
  /** Whether the peer is connected, as far as this node knows. True for itself. */
  readonly isReachable: (peer: PeerId) => boolean
  /** Whether its own node said that it has no such replica any more: it never comes back. */
  readonly isDead: (replica: ReplicaId) => boolean
}

/** What the leader is to do now; afterwards it asks again. */
export type Step =
  | { readonly kind: 'nothing' }
  /** Propose this change. */
  | {
      readonly kind: 'change'
      readonly why: 'add-learner' | 'promote' | 'demote' | 'remove-learner'
      readonly change: ConfigChange
    }
  /** Hand leadership to this voter; the next leader goes on. */
  | { readonly kind: 'transfer'; readonly to: ReplicaId }

const NOTHING: Step = { kind: 'nothing' }

/**
 * Learner first; promoted when it has caught up; who goes is demoted in the same change and removed
 * afterwards. No change is made whose quorum isn't there now. May be asked at any time, as often as
 * one likes: equal views give equal steps.
 */
export function nextStep(view: GroupView): Step {
  const { self, roster, config, desired, layoutVersion, isChangePending } = view
  if (desired.length === 0 || isChangePending || isJoint(config)) return NOTHING
  // The group has moved on by a layout that this leader hasn't seen yet.
  if (layoutVersion < roster.layoutVersion || !config.voters.includes(self)) return NOTHING
  const plan = new Plan(view)
  if (!plan.isQuorum(config.voters)) return NOTHING
  return removeLearner(plan) ?? changeVoters(plan) ?? addLearner(plan) ?? NOTHING
}

/** @returns the wanted voter at `peer`, when leadership can be handed to it now. */
export function successorAt(view: GroupView, peer: PeerId): ReplicaId | undefined {
  const { self, roster, config, layoutVersion, isChangePending } = view
  if (isChangePending || isJoint(config) || layoutVersion < roster.layoutVersion) return undefined
  const plan = new Plan(view)
  return config.voters.find(
    (replica) => replica !== self && plan.member(replica).peer === peer && plan.isReady(replica)
  )
}

/** One at a time, so that the change is never joint. Whoever was demoted goes this way too. */
function removeLearner(plan: Plan): Step | undefined {
  const id = plan.view.config.learners.find((replica) => !plan.isWanted(replica))
  if (id === undefined) return undefined
  return plan.change('remove-learner', [{ type: 'remove', id }])
}

/**
 * Makes voters of the learners that are ready, and learners of voters that aren't wanted. The
 * voters stay as many as wanted, however long a replacement takes; only those who are gone don't
 * count. The leader isn't demoted: it hands over, and the next one demotes it.
 */
function changeVoters(plan: Plan): Step | undefined {
  const { config, desired, self } = plan.view
  const promoted = config.learners.filter((replica) => plan.isReady(replica))
  const unwanted = config.voters.filter((replica) => !plan.isWanted(replica))
  const gone = unwanted.filter((replica) => plan.isGone(replica))
  const others = unwanted.filter((replica) => !gone.includes(replica) && replica !== self)
  const excess = config.voters.length + promoted.length - desired.length
  const demoted = [...gone, ...others].slice(0, Math.max(excess, gone.length))
  // The new voters are there, so it is only for those who go that the quorum could be missing.
  const after = (): ReplicaId[] =>
    [...config.voters, ...promoted].filter((replica) => !demoted.includes(replica))
  while (demoted.length > 0 && !plan.isQuorum(after())) demoted.pop()
  if (demoted.length === 0 && excess > 0 && unwanted.includes(self)) {
    const to = plan.successor()
    if (to !== undefined) return { kind: 'transfer', to }
  }
  if (promoted.length === 0 && demoted.length === 0) return undefined
  return plan.change(promoted.length > 0 ? 'promote' : 'demote', [
    ...promoted.map((id) => ({ type: 'add-voter', id }) as const),
    ...demoted.map((id) => ({ type: 'add-learner', id }) as const)
  ])
}

function addLearner(plan: Plan): Step | undefined {
  const { view } = plan
  const { learners } = view.config
  const busy = learners.filter((replica) => view.isReachable(plan.member(replica).peer))
  if (!view.mayAddLearner || busy.length >= LEARNERS_MAX) return undefined
  const place = view.desired.find(
    (wanted) => plan.holderOf(wanted) === undefined && view.isReachable(wanted.peer)
  )
  if (place === undefined) return undefined
  const replica = view.roster.nextReplica
  const added = [{ replica, peer: place.peer, store: place.store }]
  return plan.change('add-learner', [{ type: 'add-learner', id: replica }], added)
}

/** The members in the light of the layout. */
class Plan {
  readonly view: GroupView
  /** The replica of each wanted place that has one. */
  readonly #holders = new Map<Place, ReplicaId>()

  constructor(view: GroupView) {
    this.view = view
    for (const place of view.desired) {
      const here = view.roster.members.filter(
        ({ replica, peer, store }) =>
          peer === place.peer && store === place.store && !this.#isLost(replica)
      )
      // Another one was only added because the one before was lost.
      const newest = here.at(-1)
      if (newest !== undefined) this.#holders.set(place, newest.replica)
    }
  }

  holderOf(place: Place): ReplicaId | undefined {
    return this.#holders.get(place)
  }

  isWanted(replica: ReplicaId): boolean {
    return [...this.#holders.values()].includes(replica)
  }

  member(replica: ReplicaId): GroupMember {
    return present(memberOf(this.view.roster, replica), 'every member stands in the roster')
  }

  /** It never comes back: its node has lost it, or the whole store that it was in. */
  #isLost(replica: ReplicaId): boolean {
    const { self, desired, isDead } = this.view
    if (replica === self) return false
    const { peer, store } = this.member(replica)
    return isDead(replica) || desired.some((place) => place.peer === peer && place.store !== store)
  }

  /** It counts for a quorum now. */
  #isPresent(replica: ReplicaId): boolean {
    const { self, progress, isReachable } = this.view
    if (replica === self) return true
    const isHeard = progress(replica)?.isActive === true && isReachable(this.member(replica).peer)
    return isHeard && !this.#isLost(replica)
  }

  /** More than absent: right after a check of the quorum nobody has been heard. */
  isGone(replica: ReplicaId): boolean {
    const { self, progress, isReachable } = this.view
    if (replica === self) return false
    if (this.#isLost(replica)) return true
    return progress(replica)?.isActive !== true && !isReachable(this.member(replica).peer)
  }

  isQuorum(voters: readonly ReplicaId[]): boolean {
    const count = voters.filter((replica) => this.#isPresent(replica)).length
    return count >= majorityOf(voters.length)
  }

  /** Whether it has about all that the leader has, and answers. */
  #isCaughtUp(replica: ReplicaId): boolean {
    const { progress, lastIndex, commit } = this.view
    const known = progress(replica)
    // A member that was never heard counts as active at first; its match tells.
    if (known === undefined || known.isSnapshot || known.match === 0) return false
    const isClose =
      known.match >= lastIndex - READY_LAG_ENTRIES &&
      known.match >= commit - READY_COMMIT_LAG_ENTRIES
    return isClose && this.#isPresent(replica)
  }

  isReady(replica: ReplicaId): boolean {
    return this.isWanted(replica) && this.#isCaughtUp(replica)
  }

  /** @returns a voter that may lead: the preferred one, or the one that lacks least. */
  successor(): ReplicaId | undefined {
    const { config, self, progress, preferred } = this.view
    const rank = (replica: ReplicaId): number =>
      this.member(replica).peer === preferred
        ? Number.POSITIVE_INFINITY
        : (progress(replica)?.match ?? 0)
    const [best] = config.voters
      .filter((replica) => replica !== self && this.isReady(replica))
      .toSorted((a, b) => (rank(a) === rank(b) ? a - b : rank(b) - rank(a)))
    return best
  }

  change(
    why: 'add-learner' | 'promote' | 'demote' | 'remove-learner',
    steps: readonly ConfigChangeStep[],
    added: readonly GroupMember[] = []
  ): Step {
    const { layoutVersion, roster } = this.view
    const context = encodeChangeContext({ layoutVersion, generation: roster.generation, added })
    // Simple where one voter changes; otherwise joint, and it leaves itself.
    return { kind: 'change', why, change: { transition: 'auto', steps, context } }
  }
}
