// Who the members of a group are: which peer and which store each replica is bound to. A roster is
// changed by committed config changes only, with the members themselves, so all replicas have the
// same one after the same entry. (Replica ids as in KIP-853 and CockroachDB: never used twice.)

import { assert } from '../../base/assert.ts'
import { isMeshError } from '../../base/errors.ts'
import type { PeerId, StoreId } from '../../base/ids.ts'
import { isLeave } from '../raft/config-change.ts'
import { NO_REPLICA, NUMBER_MAX } from '../raft/messages.ts'
import type { ConfigChange, ConfigState, ReplicaId } from '../raft/messages.ts'
import { decodeChangeContext } from './roster-codec.ts'

/** Where the layout wants a replica. A peer whose disk was lost comes back with another store. */
export type Place = { readonly peer: PeerId; readonly store: StoreId }

/** A replica that is a member, or becomes one, and the place that it is bound to for good. */
export type GroupMember = Place & { readonly replica: ReplicaId }

/** The bookkeeping of one group: part of its replicated state. */
export type Roster = {
  /** Ascending by replica: all that the configuration names, and nobody else. */
  readonly members: readonly GroupMember[]
  /** The id of the next replica: above all that were ever given out. */
  readonly nextReplica: ReplicaId
  /** Of the last change that was applied. */
  readonly layoutVersion: number
  /** Goes up when the group is founded anew after losing its quorum for good: {@link nextGeneration}. */
  readonly generation: number
}

/** The lots that are drawn for a generation. */
export const GENERATION_LOTS: number = 2 ** 20

/** What a change of members carries besides its steps, as the bytes of `ConfigChange.context`. */
export type ChangeContext = {
  /** The layout by which its leader decided. */
  readonly layoutVersion: number
  readonly generation: number
  /** Ascending by replica: the members that the steps add. */
  readonly added: readonly GroupMember[]
}

/** A change as its entry says it, looked at before it is applied. */
export type CheckedChange =
  /** To be applied; `context` is undefined when it only leaves a joint configuration. */
  | { readonly kind: 'valid'; readonly context: ChangeContext | undefined }
  /** To be skipped by every replica: `Raft.applyConfigChange` isn't called for it. */
  | { readonly kind: 'void'; readonly problem: string }

/** @returns the roster of a group that begins with `members` as its voters. */
export function foundingRoster(
  members: readonly GroupMember[],
  origin: { readonly layoutVersion: number; readonly generation: number }
): Roster {
  const sorted = members.toSorted((a, b) => a.replica - b.replica)
  assert(sorted.length > 0, 'a group begins with a member')
  const nextReplica = (sorted.at(-1)?.replica ?? NO_REPLICA) + 1
  const { layoutVersion, generation } = origin
  return { members: sorted, nextReplica, layoutVersion, generation }
}

/**
 * How often the group was founded anew, times {@link GENERATION_LOTS}, and a lot: should people on
 * both sides of a broken network found it anew, one generation is still the newer one for everybody.
 *
 * @param lot below {@link GENERATION_LOTS}
 */
export function nextGeneration(generation: number, lot: number): number {
  return generationOrdinal(generation) * GENERATION_LOTS + lot
}

/** @returns a generation as people count them: the first one is 1. */
export function generationOrdinal(generation: number): number {
  return Math.floor(generation / GENERATION_LOTS) + 1
}

/**
 * Decides from what is applied alone whether a committed change is void, so all replicas decide
 * alike. A change that a leader made by an older layout than the last one applied is: whoever
 * leads with old knowledge can't turn the group back.
 */
export function checkChange(roster: Roster, change: ConfigChange): CheckedChange {
  if (isLeave(change) && change.context.length === 0) return { kind: 'valid', context: undefined }
  let context: ChangeContext
  try {
    context = decodeChangeContext(change.context)
  } catch (error) {
    if (!isMeshError(error)) throw error
    return { kind: 'void', problem: error.message }
  }
  const problem = contextProblem(roster, context) ?? stepProblem(roster, context, change)
  return problem === undefined ? { kind: 'valid', context } : { kind: 'void', problem }
}

/** @returns why changes with this context are void; undefined when they aren't. */
function contextProblem(roster: Roster, context: ChangeContext): string | undefined {
  const { layoutVersion, generation, added } = context
  if (generation !== roster.generation) {
    return `it is of generation ${generation}, and the group of ${roster.generation}`
  }
  if (layoutVersion < roster.layoutVersion) {
    return `it follows layout ${layoutVersion}, and layout ${roster.layoutVersion} was applied`
  }
  const used = added.find(({ replica }) => replica < roster.nextReplica)
  return used === undefined ? undefined : `replica id ${used.replica} was given out before`
}

/** Every member that the steps leave behind has to stand in the roster. */
function stepProblem(
  { members }: Roster,
  { added }: ChangeContext,
  { steps }: ConfigChange
): string | undefined {
  const known = new Set([...members, ...added].map(({ replica }) => replica))
  const stranger = steps.find(({ type, id }) => type.startsWith('add-') && !known.has(id))
  return stranger === undefined ? undefined : `nobody knows where replica ${stranger.id} is`
}

/**
 * @param context of a valid change, see {@link checkChange}; a void one (one that it would refuse
 *   by its context) changes nothing
 * @param config the members after it
 * @returns the roster after it: without those who left, with those who came
 */
export function applyToRoster(
  roster: Roster,
  context: ChangeContext | undefined,
  config: ConfigState
): Roster {
  if (context !== undefined && contextProblem(roster, context) !== undefined) return roster
  const { voters, votersOutgoing, learners, learnersNext } = config
  const present = new Set([...voters, ...votersOutgoing, ...learners, ...learnersNext])
  const added = context?.added ?? []
  const members = [...roster.members, ...added].filter(({ replica }) => present.has(replica))
  // Also when the core refused the change: the id may have been told to somebody.
  const nextReplica = Math.max(roster.nextReplica, ...added.map(({ replica }) => replica + 1))
  assert(nextReplica <= NUMBER_MAX, 'there are ids left')
  const layoutVersion = context?.layoutVersion ?? roster.layoutVersion
  return { ...roster, members, nextReplica, layoutVersion }
}

/** @returns the member with this id; undefined when there is none. */
export function memberOf(roster: Roster, replica: ReplicaId): GroupMember | undefined {
  return roster.members.find((member) => member.replica === replica)
}
