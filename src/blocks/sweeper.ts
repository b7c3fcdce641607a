// Deleting the blocks of this node that nothing refers to: rules C-5 to C-7 of protocols/collect.

import { hash as hashOf } from 'node:crypto'
import { equalBytes } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import { arcOf, blockDigest } from '../core/block/block-id.ts'
import type { MeshView } from '../mesh/view.ts'
import type { BlockStore } from '../storage/block-store.ts'
import { LIVE_DIGEST_BYTES, type LivePage } from '../wire/collect.ts'
import type { Touches } from './touches.ts'

/** Deletions under way at once: more gain nothing from a disk. */
const DELETES_AT_ONCE = 16

export type SweepResult = { checked: number; deleted: number; deletedBytes: number }

export type Sweep = {
  readonly cycle: number
  /** The live set from an arc on. */
  readonly pageOf: (fromArc: number) => Promise<LivePage>
  readonly signal: AbortSignal
}

export class Sweeper {
  readonly #store: BlockStore
  readonly #touches: Touches
  readonly #mesh: MeshView
  /** Blocks known to be lacking everywhere: one that nothing refers to isn't missed. */
  readonly #missing: Set<BlockId>

  constructor(components: {
    store: BlockStore
    touches: Touches
    mesh: MeshView
    missing: Set<BlockId>
  }) {
    this.#store = components.store
    this.#touches = components.touches
    this.#mesh = components.mesh
    this.#missing = components.missing
  }

  /**
   * Deletes what isn't live and wasn't touched since the cycle before began.
   *
   * @throws invalid-data when a page isn't in order; storage-failed; `signal.reason`
   */
  async sweep({ cycle, pageOf, signal }: Sweep): Promise<SweepResult> {
    const result = { checked: 0, deleted: 0, deletedBytes: 0 }
    let toArc = 0
    let live: ReadonlySet<string> = new Set()
    const { arcCount } = this.#mesh.layout().layout
    const missingByArc = Map.groupBy(this.#missing, (id) => arcOf(id, arcCount))
    const arcs = new Set([...this.#store.arcs(), ...missingByArc.keys()])
    for (const arc of [...arcs].toSorted((a, b) => a - b)) {
      signal.throwIfAborted()
      if (arc >= toArc) {
        const page = await pageOf(arc)
        live = readPage(page, arc)
        toArc = page.toArc
      }
      for (const id of missingByArc.get(arc) ?? []) {
        if (!live.has(shortDigest(id))) this.#missing.delete(id)
      }
      await this.#sweepArc(arc, { cycle, live, result })
    }
    return result
  }

  async #sweepArc(
    arc: number,
    { cycle, live, result }: { cycle: number; live: ReadonlySet<string>; result: SweepResult }
  ): Promise<void> {
    const store = this.#store
    const ids = store.list(arc)
    result.checked += ids.length
    const dead = ids.filter((id) => !live.has(shortDigest(id)))
    for (let from = 0; from < dead.length; from += DELETES_AT_ONCE) {
      const deleting = dead.slice(from, from + DELETES_AT_ONCE).flatMap((id) => {
        // Looked at and out of the index in one turn: whoever asks afterwards hears that it is gone.
        const bytes = store.sizeOf(id)
        if (bytes === undefined || this.#touches.of(id) >= cycle - 1) return []
        this.#touches.forget(id)
        result.deleted += 1
        result.deletedBytes += bytes
        return [store.delete(id)]
      })
      await Promise.all(deleting)
    }
  }
}

/** What stands for a block in the live set. */
export function shortDigestBytes(id: BlockId): Uint8Array {
  return blockDigest(id).subarray(0, LIVE_DIGEST_BYTES)
}

function shortDigest(id: BlockId): string {
  return String.fromCharCode(...shortDigestBytes(id))
}

/** @throws invalid-data unless the page is complete for this arc at least. */
function readPage({ toArc, digests, hash }: LivePage, arc: number): ReadonlySet<string> {
  if (toArc <= arc)
    throw new MeshError('invalid-data', `A page of live blocks ends before arc ${arc}`)
  if (!equalBytes(hashOf('sha256', digests, 'buffer'), hash)) {
    throw new MeshError('invalid-data', 'A page of live blocks is not what its hash says')
  }
  const live = new Set<string>()
  for (let at = 0; at < digests.length; at += LIVE_DIGEST_BYTES) {
    live.add(String.fromCharCode(...digests.subarray(at, at + LIVE_DIGEST_BYTES)))
  }
  return live
}
