// What the owners of an arc say of the blocks that this node holds there.

import { errorMessage } from '../base/errors.ts'
import type { BlockId, PeerId } from '../base/ids.ts'
import type { Logger } from '../base/log.ts'
import type { OwnerAnswer } from '../core/block/arc-plan.ts'
import type { MeshView } from '../mesh/view.ts'
import type { BlockClient } from './block-client.ts'

export type OwnersQuestion = {
  readonly owners: readonly PeerId[]
  readonly ids: readonly BlockId[]
  /** Of the layout that this node acts on. */
  readonly hash: string
  /** See BlockClient.have. */
  readonly isPeek: boolean
}

/** @returns an answer, or that none came, for each owner but this node. */
export async function askOwners(
  { mesh, client, log }: { mesh: MeshView; client: BlockClient; log: Logger },
  { owners, ids, hash, isPeek }: OwnersQuestion
): Promise<Map<PeerId, OwnerAnswer>> {
  const answers = new Map<PeerId, OwnerAnswer>()
  await Promise.all(
    owners
      .filter((owner) => owner !== mesh.self)
      .map(async (owner) => {
        answers.set(owner, { reached: false })
        if (!mesh.isReachable(owner)) return
        try {
          const { held, layoutHash } = await client.have(owner, ids, { isPeek })
          answers.set(owner, { reached: true, sameLayout: layoutHash === hash, held })
        } catch (error) {
          log.debug('mover.ask_failed', { peer: owner, reason: errorMessage(error) })
        }
      })
  )
  return answers
}
