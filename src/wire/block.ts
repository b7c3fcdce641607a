// Requests about blocks: protocols/block. A body is header length (u16), header, payload.

import { blockIdFromBytes, blockIdToBytes, BLOCK_ID_BYTES } from '../core/block/block-id.ts'
import { assert } from '../base/assert.ts'
import { concatBytes } from '../base/bytes.ts'
import { peerId, type BlockId, type PeerId } from '../base/ids.ts'
import { ReplySchema, RequestSchema, type Request } from './generated/block/v1_pb.ts'
import { decode, encode, malformed, toSafeInteger } from './proto.ts'

/** Ids in one `have` or `delete`, at most. */
export const BLOCK_ID_COUNT_MAX = 1_024

export type BlockRequest =
  /** `isPeek`: the asker doesn't count on the copies. */
  | { kind: 'have'; ids: readonly BlockId[]; isPeek?: true | undefined }
  | { kind: 'get'; id: BlockId }
  | {
      kind: 'put'
      id: BlockId
      bytes: Uint8Array
      hintFor: PeerId | undefined
      /** Of a copy that is moved; see Touches. */
      touchedCycle?: number | undefined
    }
  | { kind: 'delete'; ids: readonly BlockId[] }
  | { kind: 'inspect'; id: BlockId }

export type BlockReply = {
  /** Answer to `have`: which of the ids, in their order, the peer holds. Else empty. */
  readonly held: readonly boolean[]
  /** Hash of the layout that the answering node acts on. */
  readonly layoutHash: string
  /** A block, in the answer to `get`; else empty. */
  readonly payload: Uint8Array
}

const EMPTY = new Uint8Array(0)
const HEADER_LENGTH_BYTES = 2
const LAYOUT_HASH_LENGTH_MAX = 128

/** @returns parts of a body; the block's bytes are not copied. */
export function encodeBlockRequest(request: BlockRequest): Uint8Array[] {
  return framed(
    encode(RequestSchema, { operation: operationOf(request) }),
    request.kind === 'put' ? request.bytes : EMPTY
  )
}

function operationOf(request: BlockRequest): Request['operation'] {
  switch (request.kind) {
    case 'have':
      return {
        case: 'have',
        value: { ids: joinIds(request.ids), peek: request.isPeek === true }
      } as Request['operation']
    case 'delete':
      return { case: 'delete', value: { ids: joinIds(request.ids) } } as Request['operation']
    case 'put': {
      const { id, hintFor = '', touchedCycle } = request
      const touched = touchedCycle === undefined ? {} : { touchedCycle: BigInt(touchedCycle) }
      return {
        case: 'put',
        value: { id: blockIdToBytes(id), hintFor, ...touched }
      } as Request['operation']
    }
    case 'get':
    case 'inspect':
      return {
        case: request.kind,
        value: { id: blockIdToBytes(request.id) }
      } as Request['operation']
  }
}

/** A block's bytes are a view of `body`. @throws invalid-data, invalid-argument */
export function decodeBlockRequest(body: Uint8Array): BlockRequest {
  const { header, payload } = unframed(body)
  const { operation } = decode(RequestSchema, header)
  switch (operation.case) {
    case 'have': {
      const ids = splitIds(operation.value.ids)
      return operation.value.peek ? { kind: 'have', ids, isPeek: true } : { kind: 'have', ids }
    }
    case 'delete':
      return { kind: 'delete', ids: splitIds(operation.value.ids) }
    case 'get':
    case 'inspect':
      return { kind: operation.case, id: blockIdFromBytes(operation.value.id) }
    case 'put': {
      const { id, hintFor, touchedCycle } = operation.value
      return {
        kind: 'put',
        id: blockIdFromBytes(id),
        bytes: payload,
        hintFor: hintFor === '' ? undefined : peerId(hintFor),
        ...(touchedCycle === undefined
          ? {}
          : { touchedCycle: toSafeInteger(touchedCycle, 'block request') })
      }
    }
    case undefined:
      throw malformed('block request', 'it names no operation that is known here')
  }
}

/** @returns parts of a body; the payload is not copied. */
export function encodeBlockReply(
  reply: Partial<BlockReply> & { layoutHash: string }
): Uint8Array[] {
  const held = new Uint8Array(Math.ceil((reply.held?.length ?? 0) / 8))
  reply.held?.forEach((isHeld, index) => {
    if (isHeld) held[index >> 3] = (held[index >> 3] as number) | (1 << (index & 7))
  })
  return framed(encode(ReplySchema, { held, layoutHash: reply.layoutHash }), reply.payload ?? EMPTY)
}

/** @param asked how many ids the request had. @throws invalid-data */
export function decodeBlockReply(body: Uint8Array, asked = 0): BlockReply {
  const { header, payload } = unframed(body)
  const { held, layoutHash } = decode(ReplySchema, header)
  if (held.length !== Math.ceil(asked / 8))
    throw malformed('block reply', 'it answers another number of ids')
  return {
    held: Array.from(
      { length: asked },
      (_, index) => ((held[index >> 3] as number) & (1 << (index & 7))) !== 0
    ),
    layoutHash: layoutHash.slice(0, LAYOUT_HASH_LENGTH_MAX),
    payload
  }
}

function framed(header: Uint8Array, payload: Uint8Array): Uint8Array[] {
  assert(header.length <= 0xffff, 'a header fits its length field')
  const length = new Uint8Array([header.length >> 8, header.length & 0xff])
  return payload.length === 0 ? [length, header] : [length, header, payload]
}

function unframed(body: Uint8Array): { header: Uint8Array; payload: Uint8Array } {
  if (body.length < HEADER_LENGTH_BYTES) throw malformed('block message', 'it has no header')
  const end = HEADER_LENGTH_BYTES + (((body[0] as number) << 8) | (body[1] as number))
  if (end > body.length) throw malformed('block message', 'its header is cut off')
  return { header: body.subarray(HEADER_LENGTH_BYTES, end), payload: body.subarray(end) }
}

function joinIds(ids: readonly BlockId[]): Uint8Array {
  return concatBytes(ids.map(blockIdToBytes))
}

function splitIds(bytes: Uint8Array): BlockId[] {
  const count = bytes.length / BLOCK_ID_BYTES
  if (!Number.isInteger(count) || count < 1 || count > BLOCK_ID_COUNT_MAX) {
    throw malformed('block request', `${bytes.length} bytes are not 1 to ${BLOCK_ID_COUNT_MAX} ids`)
  }
  return Array.from({ length: count }, (_, index) =>
    blockIdFromBytes(bytes.subarray(index * BLOCK_ID_BYTES, (index + 1) * BLOCK_ID_BYTES))
  )
}
