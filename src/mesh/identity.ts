// A node's Ed25519 key, and how its PeerId follows from it.

import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { base58btc } from 'multiformats/bases/base58'
import { assert } from '../base/assert.ts'
import { concatBytes, equalBytes } from '../base/bytes.ts'
import { peerId, type PeerId } from '../base/ids.ts'

/** Bytes of the secret seed that a key is made of (RFC 8032, section 5.1.5). */
export const SEED_BYTES = 32

const PUBLIC_KEY_BYTES = 32
/** What stands before a raw seed in PKCS #8, and before a raw public key in SPKI (RFC 8410). */
const PKCS8_PREFIX = Uint8Array.from(Buffer.from('302e020100300506032b657004220420', 'hex'))
const SPKI_PREFIX = Uint8Array.from(Buffer.from('302a300506032b6570032100', 'hex'))
/** Identity multihash of 36 bytes that hold a libp2p public key: type Ed25519, 32 bytes of data. */
const PEER_ID_PREFIX = Uint8Array.from([0x00, 0x24, 0x08, 0x01, 0x12, 0x20])

export type Identity = {
  readonly peerId: PeerId
  readonly seed: Uint8Array
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** @returns an Ed25519 signature, 64 bytes. */
  sign(message: Uint8Array): Uint8Array
}

/** @param seed 32 secret random bytes. */
export function identityFromSeed(seed: Uint8Array): Identity {
  assert(seed.length === SEED_BYTES, 'a seed has 32 bytes')
  const privateKey = createPrivateKey({
    key: Buffer.from(concatBytes([PKCS8_PREFIX, seed])),
    format: 'der',
    type: 'pkcs8'
  })
  const spki = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const publicKey = Uint8Array.from(spki.subarray(SPKI_PREFIX.length))
  return {
    peerId: peerId(base58btc.baseEncode(concatBytes([PEER_ID_PREFIX, publicKey]))),
    seed,
    publicKey,
    sign: (message) => Uint8Array.from(sign(null, message, privateKey))
  }
}

/** @returns whether `signature` over `message` was made by the key of `signer`; false for other key types. */
export function verifySignature(
  signer: PeerId,
  message: Uint8Array,
  signature: Uint8Array
): boolean {
  const key = publicKeyOf(signer)
  return key !== undefined && verify(null, message, key, signature)
}

function publicKeyOf(peer: PeerId): KeyObject | undefined {
  let bytes: Uint8Array
  try {
    bytes = base58btc.baseDecode(peer)
  } catch {
    return undefined // Not base58: no PeerId that holds a key.
  }
  const isEd25519 =
    bytes.length === PEER_ID_PREFIX.length + PUBLIC_KEY_BYTES &&
    equalBytes(bytes.subarray(0, PEER_ID_PREFIX.length), PEER_ID_PREFIX)
  if (!isEd25519) return undefined
  const spki = concatBytes([SPKI_PREFIX, bytes.subarray(PEER_ID_PREFIX.length)])
  return createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
}
