// Changes of a group's members, as pure functions of the members before: simple ones that change
// at most one voter, and joint ones. (Dissertation, §4.1 to §4.3; Ongaro's 2015 correction of the
// single-server change is kept by the guards in `proposal.ts`.)

import { EMPTY_CONFIG_STATE, NO_REPLICA } from './messages.ts'
import type { ConfigChange, ConfigChangeStep, ConfigState, ReplicaId } from './messages.ts'
import { Inflights, Progress } from './progress.ts'

export type InflightLimits = {
  readonly inflightCountMax: number
  readonly inflightBytesMax: number
}

/**
 * Members and what is known of them. Invariants: learners are no voters of either half;
 * learnersNext are voters of the outgoing half; learnersNext and autoLeave only while joint; every
 * member has a progress, and nobody else.
 */
export type Membership = {
  readonly config: ConfigState
  readonly progress: ReadonlyMap<ReplicaId, Progress>
}

export const NO_MEMBERS: Membership = { config: EMPTY_CONFIG_STATE, progress: new Map() }

/** Why a change can't be made from these members. */
export type ChangeProblem =
  | 'removed all voters'
  | "can't apply simple config change in joint config"
  | 'more than one voter changed without entering joint config'
  | 'config is already joint'
  | "can't make a zero-voter config joint"
  | "can't leave a non-joint config"

/** @returns whether two majorities are needed. */
export function isJoint(config: ConfigState): boolean {
  return config.votersOutgoing.length > 0
}

export function isVoter(config: ConfigState, id: ReplicaId): boolean {
  return config.voters.includes(id) || config.votersOutgoing.includes(id)
}

/** @returns whether the change means: leave the joint configuration. */
export function isLeave(change: ConfigChange): boolean {
  return change.transition === 'auto' && change.steps.length === 0
}

/** @returns how the change enters a joint configuration; undefined when it is a simple one. */
function jointEntry(change: ConfigChange): { autoLeave: boolean } | undefined {
  if (change.transition === 'auto' && change.steps.length <= 1) return undefined
  return { autoLeave: change.transition !== 'explicit' }
}

/** What a change of members starts from. */
export type ChangeBase = {
  readonly members: Membership
  /** The last index of the log: where sending to a new member starts. */
  readonly lastIndex: number
  readonly limits: InflightLimits
}

/** @returns the members after the change, or why it can't be made. */
export function applyChange(base: ChangeBase, change: ConfigChange): Membership | ChangeProblem {
  if (isLeave(change)) return leaveJoint(base)
  const entry = jointEntry(change)
  return entry === undefined
    ? changeSimply(base, change.steps)
    : enterJoint(base, change.steps, entry.autoLeave)
}

/** A change of at most one voter: majorities before and after always share a member. */
export function changeSimply(
  base: ChangeBase,
  steps: readonly ConfigChangeStep[]
): Membership | ChangeProblem {
  const { config } = base.members
  if (isJoint(config)) return "can't apply simple config change in joint config"
  const draft = new Draft(base)
  for (const step of steps) draft.take(step)
  if (draft.voters.size === 0) return 'removed all voters'
  const added = [...draft.voters].filter((id) => !config.voters.includes(id)).length
  const removed = config.voters.filter((id) => !draft.voters.has(id)).length
  if (added + removed > 1) return 'more than one voter changed without entering joint config'
  return draft.result()
}

/** From now on a majority of the voters before and a majority of those after are needed. */
export function enterJoint(
  base: ChangeBase,
  steps: readonly ConfigChangeStep[],
  autoLeave: boolean
): Membership | ChangeProblem {
  const { config } = base.members
  if (isJoint(config)) return 'config is already joint'
  if (config.voters.length === 0) return "can't make a zero-voter config joint"
  const draft = new Draft(base)
  draft.outgoing = new Set(config.voters)
  for (const step of steps) draft.take(step)
  if (draft.voters.size === 0) return 'removed all voters'
  draft.autoLeave = autoLeave
  return draft.result()
}

/** From now on only the incoming half counts. */
export function leaveJoint(base: ChangeBase): Membership | ChangeProblem {
  if (!isJoint(base.members.config)) return "can't leave a non-joint config"
  const draft = new Draft(base)
  const { outgoing } = draft
  draft.outgoing = new Set()
  // Each goes from the set while it is visited, which a set allows.
  for (const id of draft.learnersNext) draft.demote(id)
  for (const id of outgoing) {
    if (!draft.voters.has(id) && !draft.learners.has(id)) draft.progress.delete(id)
  }
  draft.autoLeave = false
  return draft.result()
}

/** @returns members as a snapshot or a restart gives them; nothing is known of their logs. */
export function restoreMembers(config: ConfigState, base: Omit<ChangeBase, 'members'>): Membership {
  const draft = new Draft({ ...base, members: NO_MEMBERS })
  for (const id of config.voters) draft.voters.add(id)
  for (const id of config.votersOutgoing) draft.outgoing.add(id)
  for (const id of config.learners) draft.learners.add(id)
  for (const id of config.learnersNext) draft.learnersNext.add(id)
  for (const id of new Set([...draft.voters, ...draft.outgoing])) draft.meet(id, false)
  for (const id of draft.learners) draft.meet(id, true)
  draft.autoLeave = config.autoLeave
  return draft.result()
}

/** @returns what is wrong with members that came from outside; undefined when nothing is. */
export function configProblem(config: ConfigState): string | undefined {
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = config
  for (const list of [voters, votersOutgoing, learners, learnersNext]) {
    for (const [place, id] of list.entries()) {
      if (place > 0 && (list[place - 1] as number) >= id) return 'its members are not ascending'
    }
  }
  if (voters.length === 0) return 'it has no voters'
  if (learners.some((id) => isVoter(config, id))) return 'a learner is a voter too'
  if (learnersNext.some((id) => !votersOutgoing.includes(id) || voters.includes(id)))
    return 'a future learner is no outgoing voter'
  if (!isJoint(config) && (autoLeave || learnersNext.length > 0)) return 'it is joint only in part'
  return undefined
}

/** Members that are being changed: copies, so that dropping it undoes everything. */
class Draft {
  readonly voters: Set<ReplicaId>
  outgoing: Set<ReplicaId>
  readonly learners: Set<ReplicaId>
  readonly learnersNext: Set<ReplicaId>
  autoLeave: boolean
  readonly progress: Map<ReplicaId, Progress>
  readonly #base: ChangeBase

  constructor(base: ChangeBase) {
    const { config, progress } = base.members
    this.#base = base
    this.voters = new Set(config.voters)
    this.outgoing = new Set(config.votersOutgoing)
    this.learners = new Set(config.learners)
    this.learnersNext = new Set(config.learnersNext)
    this.autoLeave = config.autoLeave
    this.progress = new Map([...progress].map(([id, known]) => [id, known.clone()]))
  }

  take({ type, id }: ConfigChangeStep): void {
    if (id === NO_REPLICA) return
    if (type === 'add-voter') this.#promote(id)
    else if (type === 'add-learner') this.demote(id)
    else if (type === 'remove') this.#remove(id)
  }

  #promote(id: ReplicaId): void {
    this.meet(id, false)
    this.learners.delete(id)
    this.learnersNext.delete(id)
    this.voters.add(id)
  }

  /** Makes a learner; a voter of the outgoing half becomes one only when that half is left. */
  demote(id: ReplicaId): void {
    if (this.learners.has(id)) return
    this.voters.delete(id)
    this.learnersNext.delete(id)
    if (this.outgoing.has(id)) {
      this.learnersNext.add(id)
      return
    }
    this.meet(id, true)
    this.learners.add(id)
  }

  #remove(id: ReplicaId): void {
    this.voters.delete(id)
    this.learners.delete(id)
    this.learnersNext.delete(id)
    if (!this.outgoing.has(id)) this.progress.delete(id)
  }

  /** Makes sure that a member has a progress. */
  meet(id: ReplicaId, isLearner: boolean): void {
    const known = this.progress.get(id)
    if (known !== undefined) {
      known.isLearner = isLearner
      return
    }
    const { lastIndex, limits } = this.#base
    const inflights = new Inflights(limits.inflightCountMax, limits.inflightBytesMax)
    this.progress.set(id, new Progress(Math.max(lastIndex, 1), isLearner, inflights))
  }

  result(): Membership {
    const config: ConfigState = {
      voters: ascending(this.voters),
      votersOutgoing: ascending(this.outgoing),
      learners: ascending(this.learners),
      learnersNext: ascending(this.learnersNext),
      autoLeave: this.autoLeave
    }
    const ids = ascending(this.progress.keys())
    // In ascending order, because every broadcast visits members in that order.
    const progress = new Map(ids.map((id) => [id, this.progress.get(id) as Progress]))
    return { config, progress }
  }
}

function ascending(ids: Iterable<ReplicaId>): ReplicaId[] {
  return [...ids].toSorted((a, b) => a - b)
}
