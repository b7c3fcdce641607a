// The hello exchange: protocols/hello.

import {
  meshId,
  sessionId,
  storeId,
  type MeshId,
  type SessionId,
  type StoreId
} from '../base/ids.ts'
import { HelloSchema } from './generated/hello/v1_pb.ts'
import { decode, encode, hexToBytes, malformed, toHexOfLength, toSafeInteger } from './proto.ts'

export type Hello = {
  /** Protocol generations that the sender speaks, inclusive. */
  readonly versionMin: number
  readonly versionMax: number
  /** Undefined: the sender has no mesh yet and asks for the genesis record. */
  readonly meshId: MeshId | undefined
  readonly storeId: StoreId
  readonly session: SessionId
  readonly incarnation: number
  /** Only in the answer to a hello without a mesh id: an encoded SignedGenesis. */
  readonly signedGenesis: Uint8Array | undefined
  /** Software version, for people. */
  readonly agent: string
}

const MESH_ID_BYTES = 32
const STORE_ID_BYTES = 16
const SESSION_BYTES = 8
const AGENT_LENGTH_MAX = 64

export function encodeHello(hello: Hello): Uint8Array {
  return encode(HelloSchema, {
    versionMin: hello.versionMin,
    versionMax: hello.versionMax,
    meshId: hello.meshId === undefined ? new Uint8Array(0) : hexToBytes(hello.meshId),
    storeId: hexToBytes(hello.storeId),
    session: hexToBytes(hello.session),
    incarnation: BigInt(hello.incarnation),
    signedGenesis: hello.signedGenesis ?? new Uint8Array(0),
    agent: hello.agent.slice(0, AGENT_LENGTH_MAX)
  })
}

/** @throws invalid-data */
export function decodeHello(bytes: Uint8Array): Hello {
  const message = decode(HelloSchema, bytes)
  if (message.versionMin < 1 || message.versionMin > message.versionMax) {
    throw malformed('hello', `versions ${message.versionMin}..${message.versionMax} are no range`)
  }
  return {
    versionMin: message.versionMin,
    versionMax: message.versionMax,
    meshId:
      message.meshId.length === 0
        ? undefined
        : meshId(toHexOfLength(message.meshId, MESH_ID_BYTES, 'mesh id')),
    storeId: storeId(toHexOfLength(message.storeId, STORE_ID_BYTES, 'store id')),
    session: sessionId(toHexOfLength(message.session, SESSION_BYTES, 'session id')),
    incarnation: toSafeInteger(message.incarnation, 'incarnation'),
    signedGenesis: message.signedGenesis.length === 0 ? undefined : message.signedGenesis,
    agent: message.agent.slice(0, AGENT_LENGTH_MAX)
  }
}
