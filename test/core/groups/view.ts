// A leader's view of its group in a few words, and its step likewise.

import { peerId, storeId } from '../../../src/base/ids.ts'
import type { PeerId } from '../../../src/base/ids.ts'
import type { GroupView, MemberProgress, Step } from '../../../src/core/groups/next-step.ts'
import type { GroupMember, Place, Roster } from '../../../src/core/groups/roster.ts'
import { EMPTY_CONFIG_STATE } from '../../../src/core/raft/messages.ts'
import type { ReplicaId } from '../../../src/core/raft/messages.ts'

const split = (words: string): string[] => words.split(' ').filter((word) => word !== '')

/** @returns the place that `a` (peer a, its first store) or `a2` (its second) names. */
export function placeOf(word: string): Place {
  const [, peer = '', store = ''] = /^([a-z]+)(\d*)$/.exec(word) ?? []
  return {
    peer: peerId(peer),
    store: storeId(
      Number(store || '1')
        .toString(16)
        .padStart(32, '0')
    )
  }
}

export const placesOf = (words: string): Place[] => split(words).map(placeOf)

/** @returns the members that `1a 2b 4a2` names: a replica's id and its place. */
export function membersOf(words: string): GroupMember[] {
  return split(words).map((word) => {
    const [, replica = '', place = ''] = /^(\d+)([a-z]+\d*)$/.exec(word) ?? []
    return { replica: Number(replica), ...placeOf(place) }
  })
}

export type ViewInWords = {
  readonly self?: ReplicaId
  readonly voters: string
  readonly learners?: string
  readonly desired: string
  /** Peers that this node is not connected to and has not heard. */
  readonly away?: string
  /** Replicas whose node said that it doesn't have them. */
  readonly dead?: readonly ReplicaId[]
  /** What is known of some members' logs, other than that they have everything. */
  readonly progress?: Readonly<Record<ReplicaId, Partial<MemberProgress>>>
  readonly preferred?: string
} & Partial<
  Pick<
    GroupView,
    'config' | 'layoutVersion' | 'lastIndex' | 'commit' | 'isChangePending' | 'mayAddLearner'
  >
> & { readonly roster?: Partial<Roster> }

export function viewOf(words: ViewInWords): GroupView {
  const { self = 1, voters, learners = '', desired, away = '', dead = [], preferred } = words
  const lastIndex = words.lastIndex ?? 5_000
  const ids = (members: string): ReplicaId[] => membersOf(members).map(({ replica }) => replica)
  const members = [...membersOf(voters), ...membersOf(learners)].toSorted(
    (a, b) => a.replica - b.replica
  )
  const nextReplica = Math.max(...members.map(({ replica }) => replica)) + 1
  const peersAway = new Set<PeerId>(placesOf(away).map(({ peer }) => peer))
  const known = new Map(
    members.map(({ replica, peer }) => {
      const isActive = !peersAway.has(peer)
      const progress = { match: lastIndex, isActive, isSnapshot: false }
      return [replica, { ...progress, ...words.progress?.[replica] }] as const
    })
  )
  return {
    self,
    roster: { members, nextReplica, layoutVersion: 7, generation: 0, ...words.roster },
    config: words.config ?? { ...EMPTY_CONFIG_STATE, voters: ids(voters), learners: ids(learners) },
    desired: placesOf(desired),
    layoutVersion: words.layoutVersion ?? 7,
    lastIndex,
    commit: words.commit ?? lastIndex,
    isChangePending: words.isChangePending ?? false,
    mayAddLearner: words.mayAddLearner ?? true,
    preferred: preferred === undefined ? undefined : placeOf(preferred).peer,
    progress: (replica) => known.get(replica),
    isReachable: (peer) => !peersAway.has(peer),
    isDead: (replica) => dead.includes(replica)
  }
}

/** @returns a step as `nothing`, `transfer 2` or `add-voter 4, add-learner 1`. */
export function inWords(step: Step): string {
  if (step.kind === 'nothing') return 'nothing'
  if (step.kind === 'transfer') return `transfer ${step.to}`
  return step.change.steps.map(({ type, id }) => `${type} ${id}`).join(', ')
}
