// Questions and orders between nodes: protocols/node.

import {
  RequestSchema,
  ScrubReplySchema,
  StatusReplySchema,
  type Request
} from './generated/node/v1_pb.ts'
import { decode, encode, malformed, toSafeInteger } from './proto.ts'

export type NodeRequest = { kind: 'status' } | { kind: 'scrub'; bytesPerSecond: number | undefined }

export type ScrubReply = {
  readonly checked: number
  readonly bytes: number
  readonly damaged: number
  readonly mended: number
}

export type NodeStatusReply = {
  readonly usedBytes: number
  readonly blockCount: number
  /** Blocks held here of which some owner is known to lack its copy. */
  readonly underReplicated: number
  /** Blocks that this node should have and that nobody could give it. */
  readonly missing: number
  readonly layoutHash: string
  readonly layoutVersion: number
  /** Blocks still to be handed over or copied by this node. */
  readonly pendingMoves: number
  readonly agent: string
}

export function encodeNodeStatus(status: NodeStatusReply): Uint8Array {
  return encode(StatusReplySchema, {
    usedBytes: BigInt(status.usedBytes),
    blockCount: BigInt(status.blockCount),
    underReplicated: BigInt(status.underReplicated),
    missing: BigInt(status.missing),
    layoutHash: status.layoutHash,
    layoutVersion: BigInt(status.layoutVersion),
    pendingMoves: BigInt(status.pendingMoves),
    agent: status.agent
  })
}

/** @throws invalid-data */
export function decodeNodeStatus(bytes: Uint8Array): NodeStatusReply {
  const message = decode(StatusReplySchema, bytes)
  const integer = (value: bigint): number => toSafeInteger(value, 'node status')
  return {
    usedBytes: integer(message.usedBytes),
    blockCount: integer(message.blockCount),
    underReplicated: integer(message.underReplicated),
    missing: integer(message.missing),
    layoutHash: message.layoutHash.slice(0, 128),
    layoutVersion: integer(message.layoutVersion),
    pendingMoves: integer(message.pendingMoves),
    agent: message.agent.slice(0, 64)
  }
}

export function encodeNodeRequest(request: NodeRequest): Uint8Array {
  const value =
    request.kind === 'scrub' ? { bytesPerSecond: BigInt(request.bytesPerSecond ?? 0) } : {}
  return encode(RequestSchema, {
    operation: { case: request.kind, value } as unknown as Request['operation']
  })
}

/** @throws invalid-data */
export function decodeNodeRequest(bytes: Uint8Array): NodeRequest {
  const { operation } = decode(RequestSchema, bytes)
  switch (operation.case) {
    case 'status':
      return { kind: 'status' }
    case 'scrub': {
      const bytesPerSecond = toSafeInteger(operation.value.bytesPerSecond, 'rate')
      return { kind: 'scrub', bytesPerSecond: bytesPerSecond === 0 ? undefined : bytesPerSecond }
    }
    case undefined:
      throw malformed('node request', 'it names no operation that is known here')
  }
}

export function encodeScrubReply(reply: ScrubReply): Uint8Array {
  return encode(ScrubReplySchema, {
    checked: BigInt(reply.checked),
    bytes: BigInt(reply.bytes),
    damaged: BigInt(reply.damaged),
    mended: BigInt(reply.mended)
  })
}

/** @throws invalid-data */
export function decodeScrubReply(bytes: Uint8Array): ScrubReply {
  const message = decode(ScrubReplySchema, bytes)
  const integer = (value: bigint): number => toSafeInteger(value, 'scrub reply')
  return {
    checked: integer(message.checked),
    bytes: integer(message.bytes),
    damaged: integer(message.damaged),
    mended: integer(message.mended)
  }
}
