// Cycles of the collection: protocols/collect.

import { MIB } from '../base/units.ts'
import { ReplySchema, RequestSchema, type Reply, type Request } from './generated/collect/v1_pb.ts'
import { decode, encode, malformed, toSafeInteger } from './proto.ts'

/** What is kept of a digest: enough that two blocks never look alike. */
export const LIVE_DIGEST_BYTES = 16
/** Digests on a page of the live set, at most. */
export const LIVE_PAGE_COUNT_MAX = 32_768
const HASH_BYTES = 32
/** Room for a page. */
export const COLLECT_FRAME_BYTES_MAX: number = MIB

export type CollectRequest =
  | { kind: 'begin'; cycle: number }
  | { kind: 'sweep'; cycle: number; isCounted: boolean; releases: number }
  | { kind: 'live'; cycle: number; fromArc: number }

/** The live blocks of the arcs from the one that was asked for up to, without, `toArc`. */
export type LivePage = {
  readonly toArc: number
  /** Of {@link LIVE_DIGEST_BYTES} each, sorted, joined. */
  readonly digests: Uint8Array
  /** SHA-256 of `digests`. */
  readonly hash: Uint8Array
}

export type CollectReply =
  | { kind: 'begin' }
  | { kind: 'sweep'; checked: number; deleted: number; deletedBytes: number }
  | ({ kind: 'live' } & LivePage)

export function encodeCollectRequest(request: CollectRequest): Uint8Array {
  return encode(RequestSchema, { operation: operationOf(request) })
}

function operationOf(request: CollectRequest): Request['operation'] {
  const cycle = BigInt(request.cycle)
  switch (request.kind) {
    case 'begin':
      return { case: 'begin', value: { cycle } } as Request['operation']
    case 'sweep': {
      const value = { cycle, counted: request.isCounted, releases: BigInt(request.releases) }
      return { case: 'sweep', value } as Request['operation']
    }
    case 'live':
      return { case: 'live', value: { cycle, fromArc: request.fromArc } } as Request['operation']
  }
}

/** @throws invalid-data */
export function decodeCollectRequest(bytes: Uint8Array): CollectRequest {
  const { operation } = decode(RequestSchema, bytes)
  if (operation.case === undefined) {
    throw malformed('collect request', 'it names no operation that is known here')
  }
  const cycle = toSafeInteger(operation.value.cycle, 'collect request')
  if (cycle === 0) throw malformed('collect request', 'cycles are numbered from 1')
  switch (operation.case) {
    case 'begin':
      return { kind: 'begin', cycle }
    case 'sweep': {
      const releases = toSafeInteger(operation.value.releases, 'collect request')
      return { kind: 'sweep', cycle, isCounted: operation.value.counted, releases }
    }
    case 'live':
      return { kind: 'live', cycle, fromArc: operation.value.fromArc }
  }
}

export function encodeCollectReply(reply: CollectReply): Uint8Array {
  return encode(ReplySchema, { answer: answerOf(reply) })
}

function answerOf(reply: CollectReply): Reply['answer'] {
  switch (reply.kind) {
    case 'begin':
      return { case: 'begin', value: {} } as Reply['answer']
    case 'sweep': {
      const { checked, deleted, deletedBytes } = reply
      const value = {
        checked: BigInt(checked),
        deleted: BigInt(deleted),
        deletedBytes: BigInt(deletedBytes)
      }
      return { case: 'sweep', value } as Reply['answer']
    }
    case 'live': {
      const { toArc, digests, hash } = reply
      const value = { toArc, digests, count: digests.length / LIVE_DIGEST_BYTES, hash }
      return { case: 'live', value } as Reply['answer']
    }
  }
}

/** Whether a page's hash is right is for its reader to see. @throws invalid-data */
export function decodeCollectReply(bytes: Uint8Array): CollectReply {
  const { answer } = decode(ReplySchema, bytes)
  switch (answer.case) {
    case 'begin':
      return { kind: 'begin' }
    case 'sweep': {
      const integer = (value: bigint): number => toSafeInteger(value, 'collect reply')
      const { checked, deleted, deletedBytes } = answer.value
      return {
        kind: 'sweep',
        checked: integer(checked),
        deleted: integer(deleted),
        deletedBytes: integer(deletedBytes)
      }
    }
    case 'live': {
      const { toArc, digests, count, hash } = answer.value
      if (digests.length !== count * LIVE_DIGEST_BYTES || count > LIVE_PAGE_COUNT_MAX) {
        throw malformed('collect reply', `${digests.length} bytes are not ${count} digests`)
      }
      if (hash.length !== HASH_BYTES) throw malformed('collect reply', 'its hash is no SHA-256')
      return { kind: 'live', toArc, digests, hash }
    }
    case undefined:
      throw malformed('collect reply', 'it is no answer that is known here')
  }
}
