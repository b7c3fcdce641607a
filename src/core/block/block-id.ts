// Block ids and their place on the ring: CIDv1 text to bytes and back, without a library.

import { blockId, type BlockId } from '../../base/ids.ts'
import { MeshError } from '../../base/errors.ts'

/** Bytes of a binary block id: version, codec, hash code, hash length, 32 bytes of SHA-256. */
export const BLOCK_ID_BYTES = 36
/** Where the digest starts in them. */
const DIGEST_OFFSET = 4

export const CODEC_RAW = 0x55
export const CODEC_DAG_PB = 0x70

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** @returns the text form (multibase base32 without padding, prefix `b`) of a binary block id. */
export function blockIdFromBytes(bytes: Uint8Array): BlockId {
  assertBinary(bytes)
  let text = 'b'
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = (value << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(value >>> bits) & 31]
    }
    value &= (1 << bits) - 1
  }
  if (bits > 0) text += ALPHABET[(value << (5 - bits)) & 31]
  return blockId(text)
}

/**
 * @returns the 36 bytes of a block id.
 * @throws invalid-argument unless it is CIDv1, raw or dag-pb, sha2-256.
 */
export function blockIdToBytes(id: BlockId): Uint8Array {
  const bytes = new Uint8Array(BLOCK_ID_BYTES)
  let bits = 0
  let value = 0
  let offset = 0
  for (let index = 1; index < id.length; index++) {
    value = ((value << 5) | ALPHABET.indexOf(id[index] as string)) & 0xffff
    bits += 5
    if (bits >= 8 && offset < BLOCK_ID_BYTES) {
      bits -= 8
      bytes[offset++] = (value >>> bits) & 0xff
    }
  }
  assertBinary(bytes)
  return bytes
}

/** @returns the SHA-256 digest inside a block id, 32 bytes. */
export function blockDigest(id: BlockId): Uint8Array {
  return blockIdToBytes(id).subarray(DIGEST_OFFSET)
}

/** @returns the arc of the ring, in [0, arcCount), that the first 32 bits of a digest fall on. */
function arcOfDigest(digest: Uint8Array, arcCount: number): number {
  const view = new DataView(digest.buffer, digest.byteOffset, 4)
  return Math.floor((view.getUint32(0) * arcCount) / 0x1_0000_0000)
}

/** @returns the arc, in [0, arcCount), that holds a block. */
export function arcOf(id: BlockId, arcCount: number): number {
  return arcOfDigest(blockDigest(id), arcCount)
}

/** @throws invalid-argument unless `bytes` is a CIDv1, raw or dag-pb, sha2-256. */
function assertBinary(bytes: Uint8Array): void {
  const good =
    bytes.length === BLOCK_ID_BYTES &&
    bytes[0] === 1 &&
    (bytes[1] === CODEC_RAW || bytes[1] === CODEC_DAG_PB) &&
    bytes[2] === 0x12 &&
    bytes[3] === 0x20
  if (!good) {
    throw new MeshError(
      'invalid-argument',
      'Unsupported CID: a block id is CIDv1, raw or dag-pb, with a sha2-256 hash'
    )
  }
}
