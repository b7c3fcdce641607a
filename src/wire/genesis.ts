// The genesis record: protocols/genesis.

import { errorMessage } from '../base/errors.ts'
import { peerId, type PeerId } from '../base/ids.ts'
import { GenesisSchema, SignedGenesisSchema } from './generated/genesis/v1_pb.ts'
import { decode, encode, malformed, toSafeInteger } from './proto.ts'

/** What a mesh is founded on; fixed for its life. */
export type Genesis = {
  readonly founder: PeerId
  /** Raft groups, 1 to 4 096. */
  readonly shardCount: number
  /** Arcs of the block ring, a power of two up to 16 384. */
  readonly arcCount: number
  /** Copies of a block, 1 to 3. */
  readonly replication: number
  /** Milliseconds since the Unix epoch, by the founder's clock; decides nothing. */
  readonly createdMs: number
  /** 16 random bytes. */
  readonly nonce: Uint8Array
}

export type SignedGenesis = {
  /** An encoded Genesis, exactly as signed. Its SHA-256 is the mesh id. */
  readonly genesis: Uint8Array
  readonly signature: Uint8Array
}

const NONCE_BYTES = 16
const SIGNATURE_BYTES = 64
const SHARD_COUNT_LIMIT = 4_096
const ARC_COUNT_LIMIT = 16_384
const REPLICATION_LIMIT = 3

export function encodeGenesis(genesis: Genesis): Uint8Array {
  return encode(GenesisSchema, { ...genesis, createdMs: BigInt(genesis.createdMs) })
}

/** @throws invalid-data */
export function decodeGenesis(bytes: Uint8Array): Genesis {
  const message = decode(GenesisSchema, bytes)
  const between = (value: number, max: number, what: string): number => {
    if (value < 1 || value > max) throw malformed('genesis', `${what} ${value} is not in 1..${max}`)
    return value
  }
  const arcCount = between(message.arcCount, ARC_COUNT_LIMIT, 'arc count')
  if ((arcCount & (arcCount - 1)) !== 0) throw malformed('genesis', 'arc count is no power of two')
  if (message.nonce.length !== NONCE_BYTES)
    throw malformed('genesis', 'the nonce has the wrong length')
  return {
    founder: founderOf(message.founder),
    shardCount: between(message.shardCount, SHARD_COUNT_LIMIT, 'shard count'),
    arcCount,
    replication: between(message.replication, REPLICATION_LIMIT, 'replication'),
    createdMs: toSafeInteger(message.createdMs, 'genesis'),
    nonce: message.nonce
  }
}

function founderOf(text: string): PeerId {
  try {
    return peerId(text)
  } catch (error) {
    throw malformed('genesis', errorMessage(error), error)
  }
}

export function encodeSignedGenesis(signed: SignedGenesis): Uint8Array {
  return encode(SignedGenesisSchema, signed)
}

/** The signature is checked by its user. @throws invalid-data */
export function decodeSignedGenesis(bytes: Uint8Array): SignedGenesis {
  const { genesis, signature } = decode(SignedGenesisSchema, bytes)
  if (signature.length !== SIGNATURE_BYTES)
    throw malformed('genesis', 'the signature has the wrong length')
  return { genesis, signature }
}
