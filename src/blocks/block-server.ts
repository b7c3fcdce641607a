// Answering other peers about the blocks held here: protocols/block.

import { isMeshError } from '../base/errors.ts'
import type { BlockId, PeerId } from '../base/ids.ts'
import type { Body, RequestHandler } from '../net/network.ts'
import type { MeshView } from '../mesh/view.ts'
import type { BlockStore } from '../storage/block-store.ts'
import { decodeBlockRequest, encodeBlockReply } from '../wire/block.ts'
import type { Touches } from './touches.ts'

export type BlockServerComponents = {
  store: BlockStore
  mesh: MeshView
  touches: Touches
  /** A block came in that this node may not be an owner of: it has to be looked after. */
  onReceived: (id: BlockId, from: PeerId) => void
  /** The copy here is bad or lost although the index had it. */
  onDamaged: (id: BlockId) => void
}

/** @returns the handler of the block protocol. */
export function createBlockServer(components: BlockServerComponents): RequestHandler {
  const { store, mesh, touches } = components
  const reply = (rest: { held?: boolean[]; payload?: Uint8Array } = {}): Body =>
    encodeBlockReply({ ...rest, layoutHash: mesh.layout().hash })

  return async (body, { peer }) => {
    const request = decodeBlockRequest(body)
    switch (request.kind) {
      case 'have': {
        const held = request.ids.map((id) => store.has(id))
        if (request.isPeek !== true) {
          for (const [index, id] of request.ids.entries())
            if (held[index] === true) touches.touch(id)
        }
        return reply({ held })
      }
      case 'get':
        return reply({ payload: await readOrReport(components, request.id) })
      case 'put':
        touches.touch(request.id, request.touchedCycle)
        await store.put(request.id, request.bytes)
        components.onReceived(request.id, peer)
        return reply()
      case 'delete':
        for (const id of request.ids) await store.delete(id)
        return reply()
      case 'inspect': {
        const held = store.has(request.id)
        if (held && (await store.verify(request.id)) !== 'good') components.onDamaged(request.id)
        return reply()
      }
    }
  }
}

/** Reads a block; a copy that proves bad is reported, so that it gets mended. */
export async function readOrReport(
  components: Pick<BlockServerComponents, 'store' | 'onDamaged'>,
  id: BlockId
): Promise<Uint8Array> {
  const wasHeld = components.store.has(id)
  try {
    return await components.store.get(id)
  } catch (error) {
    if (isMeshError(error, 'corrupt') || (wasHeld && isMeshError(error, 'not-found'))) {
      components.onDamaged(id)
    }
    throw error
  }
}
