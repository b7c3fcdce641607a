// Random changes of a group's members, right and wrong ones.

import { chance, pick, type Random } from '../../../src/base/random.ts'
import { NO_BYTES } from '../../../src/core/raft/messages.ts'
import type {
  ConfigChange,
  ConfigChangeStep,
  ConfigState,
  ReplicaId
} from '../../../src/core/raft/messages.ts'
import { VOID_CONTEXT } from './machine.ts'

/** A change without steps. */
export const LEAVE: ConfigChange = { transition: 'auto', steps: [], context: NO_BYTES }

/** What whoever wants a change knows of the group. */
export type View = {
  readonly config: ConfigState
  readonly replicaCount: number
  /** Replicas that have nothing yet. */
  readonly blank: ReadonlySet<ReplicaId>
  readonly joint: boolean
}

/** @returns a change that somebody could want who sees this. */
export function drawChange(random: Random, view: View): ConfigChange {
  const { config, joint } = view
  if (config.votersOutgoing.length > 0 && chance(random, 3, 4)) return LEAVE
  const context = chance(random, 1, 20) ? Uint8Array.of(VOID_CONTEXT) : NO_BYTES
  if (!joint || chance(random, 1, 2)) {
    return { transition: 'auto', steps: [drawStep(random, view)], context }
  }
  const transition = pick(random, ['auto', 'implicit', 'explicit'] as const)
  const count = 1 + random.below(3)
  const steps = Array.from({ length: count }, () => drawStep(random, view))
  return { transition, steps, context }
}

function drawStep(random: Random, view: View): ConfigChangeStep {
  const any = 1 + random.below(view.replicaCount)
  const { voters, learners } = view.config
  switch (random.below(8)) {
    case 0:
    case 1:
      return { type: 'add-learner', id: any }
    case 2:
    case 3:
      return promote(random, view, learners.length > 0 ? pick(random, learners) : any)
    case 4:
      return promote(random, view, any)
    case 5:
      return { type: 'add-learner', id: someVoter(random, voters, any) }
    case 6:
      return { type: 'remove', id: someVoter(random, voters, any) }
    default:
      return { type: chance(random, 1, 8) ? 'update' : 'remove', id: any }
  }
}

/**
 * One that has nothing yet becomes a learner first, for it doesn't vote: as a voter it could leave
 * its group without a quorum for ever. Only seldom does somebody not know that.
 */
function promote(random: Random, { blank }: View, id: ReplicaId): ConfigChangeStep {
  const isEarly = blank.has(id) && !chance(random, 1, 30)
  return { type: isEarly ? 'add-learner' : 'add-voter', id }
}

/** Groups of one voter stay most of the time: nobody could go on without it. */
function someVoter(random: Random, voters: readonly ReplicaId[], any: ReplicaId): ReplicaId {
  return voters.length > 1 ? pick(random, voters) : any
}
