// Founding a mesh, and checking what a stranger says a mesh was founded on.

import { createHash } from 'node:crypto'
import { concatBytes, utf8 } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import { meshId, type MeshId } from '../base/ids.ts'
import { ARC_COUNT, REPLICATION, SHARD_COUNT } from '../base/limits.ts'
import {
  decodeGenesis,
  decodeSignedGenesis,
  encodeGenesis,
  encodeSignedGenesis,
  type Genesis
} from '../wire/genesis.ts'
import { verifySignature, type Identity } from './identity.ts'

const SIGNED_CONTEXT = utf8('atoll genesis v1\n')

export type Founding = {
  readonly meshId: MeshId
  readonly genesis: Genesis
  /** The encoded, signed record: what is stored and handed to joiners. */
  readonly signed: Uint8Array
}

/** Makes a new mesh. Called for an explicit `up` on an empty folder, and nowhere else. */
export function foundMesh(
  identity: Identity,
  options: { createdMs: number; nonce: Uint8Array; shardCount?: number | undefined }
): Founding {
  const bytes = encodeGenesis({
    founder: identity.peerId,
    shardCount: options.shardCount ?? SHARD_COUNT,
    arcCount: ARC_COUNT,
    replication: REPLICATION,
    createdMs: options.createdMs,
    nonce: options.nonce
  })
  const signature = identity.sign(concatBytes([SIGNED_CONTEXT, bytes]))
  return checkFounding(encodeSignedGenesis({ genesis: bytes, signature }))
}

/**
 * Reads a signed genesis record and checks it.
 *
 * @throws invalid-data when it is malformed or its founder didn't sign it.
 */
export function checkFounding(signed: Uint8Array): Founding {
  const { genesis: bytes, signature } = decodeSignedGenesis(signed)
  const genesis = decodeGenesis(bytes)
  if (!verifySignature(genesis.founder, concatBytes([SIGNED_CONTEXT, bytes]), signature)) {
    throw new MeshError('invalid-data', 'The genesis record is not signed by its founder')
  }
  const id = meshId(createHash('sha256').update(bytes).digest('hex'))
  return { meshId: id, genesis, signed: Uint8Array.from(signed) }
}
