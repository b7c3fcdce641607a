// What a node does about the blocks it holds in one arc: whom to send which, and what it may drop.
//
// One rule serves hinted copies, hand-over, re-replication and repair. A node that holds a block
// makes sure that every owner has it. A node that is no owner drops its copy, but only once every
// owner has said that it has the block *and* that it acts on the same layout: an owner under
// another layout may be about to drop the very copy that it reported.

import type { BlockId, PeerId } from '../../base/ids.ts'

/** What an owner answered, or that it didn't. */
export type OwnerAnswer =
  | { reached: false }
  | { reached: true; sameLayout: boolean; held: ReadonlySet<BlockId> }

export type ArcSituation = {
  self: PeerId
  /** Owners of the arc in the current layout, sorted. May include `self`. */
  owners: readonly PeerId[]
  /** What this node holds in the arc, sorted. */
  holding: readonly BlockId[]
  /** By every owner but `self`. */
  answers: ReadonlyMap<PeerId, OwnerAnswer>
  /**
   * How many times this arc has been looked at since something changed, from 0. Among several
   * holders the first sends in round 0, the second only if the block is still missing in round 1, …
   */
  round: number
}

export type ArcPlan = {
  sends: { id: BlockId; to: PeerId }[]
  drops: BlockId[]
  /**
   * Blocks of which some owner lacks its copy, or might; counted by the first holder only, so that
   * the sum over all nodes counts each block once.
   */
  underReplicated: number
  /** Whether the arc must be looked at again. */
  again: boolean
}

/** Decides for one arc. An arc without owners is left alone. */
export function planArc(situation: ArcSituation): ArcPlan {
  const { self, owners, holding, answers } = situation
  const plan: ArcPlan = { sends: [], drops: [], underReplicated: 0, again: false }
  if (owners.length === 0) return plan
  const isOwner = owners.includes(self)
  const others = owners.filter((owner) => owner !== self)

  for (const id of holding) {
    const lacking = others.filter((owner) => !holds(answers.get(owner), id))
    if (lacking.length > 0) {
      const rank = rankAmongHolders(situation, id)
      if (rank === 0) plan.underReplicated += 1
      plan.again = true
      if (rank <= situation.round) {
        for (const to of lacking) if (answers.get(to)?.reached === true) plan.sends.push({ id, to })
      }
    } else if (!isOwner) {
      if (others.every((owner) => agrees(answers.get(owner)))) plan.drops.push(id)
      else plan.again = true
    }
  }
  return plan
}

function holds(answer: OwnerAnswer | undefined, id: BlockId): boolean {
  return answer?.reached === true && answer.held.has(id)
}

function agrees(answer: OwnerAnswer | undefined): boolean {
  return answer?.reached === true && answer.sameLayout
}

/** How many owners that hold the block come before this node when it is to be sent. */
function rankAmongHolders(situation: ArcSituation, id: BlockId): number {
  const { self, owners, answers } = situation
  const before = owners.includes(self) ? owners.slice(0, owners.indexOf(self)) : owners
  return before.filter((owner) => holds(answers.get(owner), id)).length
}
