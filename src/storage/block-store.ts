// This node's own disk as a store of blocks. Two implementations, file and memory, are held to one
// suite: test/conformance/block-store.ts.

import type { BlockId } from '../base/ids.ts'

export type BlockUsage = {
  /** Blocks held. */
  count: number
  /** Sum of their sizes. */
  bytes: number
  /** What this node may hold; `put` refuses beyond it. */
  capacityBytes: number
}

/**
 * - `good`: the stored bytes match the id.
 * - `corrupt`: they don't (or can't be read); the block has been dropped from the index.
 * - `missing`: the store doesn't have it.
 */
export type Verdict = 'good' | 'corrupt' | 'missing'

export type BlockStore = {
  /** Reads what is there; clears away files of puts that were cut off. Idempotent. */
  open(): Promise<void>
  /** Waits for what is under way. Later calls reject with `stopped`. Idempotent. */
  close(): Promise<void>

  /** From the index: answers at once, and `false` from the moment a delete begins. */
  has(id: BlockId): boolean
  /** Size in bytes, from the index. */
  sizeOf(id: BlockId): number | undefined
  /** Ids in one arc of the ring, sorted; from the index. */
  list(arc: number): BlockId[]
  /** Arcs that hold at least one block, ascending. */
  arcs(): number[]
  usage(): BlockUsage

  /**
   * The bytes of a block, checked against its id on every read. They belong to the caller.
   * @throws not-found
   * @throws corrupt when they don't match; the file is set aside and the block is out of the index
   * @throws storage-failed
   */
  get(id: BlockId): Promise<Uint8Array>
  /**
   * Stores a block. When it resolves the block survives a power cut: its file and its folder are
   * fsynced. Storing what is there already is a success without a write. The store keeps no
   * reference to `bytes` after it resolves.
   * @throws invalid-data when the bytes don't match the id, or too-large; nothing is stored
   * @throws disk-full when the disk or this node's capacity is; nothing is stored, the store goes on
   * @throws storage-failed when an fsync or the disk failed: from then on every put rejects with it,
   *   reads go on (an fsync that failed once is never trusted again)
   */
  put(id: BlockId, bytes: Uint8Array): Promise<void>
  /** Removes a block if it is there; works on a full disk. @throws storage-failed */
  delete(id: BlockId): Promise<void>
  /** Reads and checks without handing out. @throws storage-failed */
  verify(id: BlockId): Promise<Verdict>
  /** Why the store refuses puts, once it does. */
  failure(): Error | undefined
}
