// Block ids from bytes: what makes every read checkable.

import { hash } from 'node:crypto'

import type { BlockId } from '../base/ids.ts'
import { BLOCK_ID_BYTES, blockIdFromBytes, blockIdToBytes } from '../core/block/block-id.ts'

/** Bytes of a binary id before the digest: version, codec, hash code, hash length. */
const HEADER_BYTES = 4
/** Codec's place among them. */
const CODEC_OFFSET = 1
/** Multihash code of SHA-256. */
const SHA2_256 = 0x12
const DIGEST_BYTES: number = BLOCK_ID_BYTES - HEADER_BYTES

/**
 * @param codec `CODEC_RAW` or `CODEC_DAG_PB`.
 * @returns the id of a block with these bytes.
 * @throws invalid-argument for another codec.
 */
export function hashBlock(bytes: Uint8Array, codec: number): BlockId {
  const binary = new Uint8Array(BLOCK_ID_BYTES)
  binary.set([1, codec, SHA2_256, DIGEST_BYTES])
  binary.set(hash('sha256', bytes, 'buffer'), HEADER_BYTES)
  return blockIdFromBytes(binary)
}

/**
 * @returns whether `id` is the id of `bytes`. Texts are compared, so an id with stray bits after
 *   its digest, which would decode to the same bytes, doesn't match.
 * @throws invalid-argument unless `id` is CIDv1, raw or dag-pb, sha2-256.
 */
export function matchesId(id: BlockId, bytes: Uint8Array): boolean {
  const codec = blockIdToBytes(id)[CODEC_OFFSET] as number
  return hashBlock(bytes, codec) === id
}
