// A libp2p private key from the seed that a node keeps.

import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'

/** @param seed 32 bytes; its PeerId is that of `identityFromSeed`. */
export async function keyOfSeed(seed: Uint8Array): Promise<PrivateKey> {
  return await generateKeyPairFromSeed('Ed25519', seed)
}
