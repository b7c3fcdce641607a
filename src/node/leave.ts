// Leaving a mesh: the others take over first, then this node is out.

import type { Clock } from '../base/clock.ts'
import { sleep } from '../base/clock.ts'
import { MeshError } from '../base/errors.ts'
import { isTerminal } from '../core/membership/member.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { ShardLayer } from '../shard/shard-layer.ts'
import type { BlockStore } from '../storage/block-store.ts'

/** How often it looks whether all is handed over. */
const POLL_MS = 100

export type LeaveOptions = {
  onProgress?: (blocksLeft: number) => void
  /** The others know; the node stops next. */
  onDone?: () => void
  signal?: AbortSignal | undefined
}

export type LeaveParts = {
  mesh: Mesh
  shardLayer: ShardLayer
  store: BlockStore
  clock: Clock
  /** Aborted when the node stops. */
  stopping: AbortSignal
}

/**
 * Waits until no group counts on this node and every block has its owners elsewhere.
 *
 * @throws invalid-argument when there is nobody to hand over to; the signals' reasons
 */
export async function leaveMesh(parts: LeaveParts, options: LeaveOptions): Promise<void> {
  const { mesh, shardLayer, store, clock, stopping } = parts
  const takers = mesh.members().filter(({ record, state }) => {
    return record.peerId !== mesh.self && !isTerminal(state) && record.status === 'up'
  })
  if (takers.length === 0) {
    throw new MeshError(
      'invalid-argument',
      'This is the only member of its mesh: there is nobody to hand its blocks over to. ' +
        'Just stop it, or join another node first'
    )
  }
  mesh.beginLeave()
  for (;;) {
    const { count } = store.usage()
    options.onProgress?.(count)
    if (count === 0 && shardLayer.isEmpty) break
    options.signal?.throwIfAborted()
    stopping.throwIfAborted()
    await sleep(clock, POLL_MS)
  }
  await mesh.endLeave()
}
