// Batches between programs of the mesh, and how much may be under way: protocols/stream.

import { utf8 } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { peerId } from '../base/ids.ts'
import { KIB, MIB } from '../base/units.ts'
import { CallSchema, ReplySchema, type Call, type Reply } from './generated/stream/v1_pb.ts'
import { decode, encode, malformed } from './proto.ts'

export const STREAM_PROTOCOL = '/atoll/stream/1.0.0'
/** A batch, and room for what stands around it. */
export const STREAM_BATCH_BYTES_MAX: number = MIB
export const STREAM_FRAME_BYTES_MAX: number = 2 * MIB
/** Sends of one node to another that aren't answered. */
export const STREAM_SERVED_MAX = 2_048
/** Of an inbox or a sender. */
const STREAM_NAME_BYTES_MAX = 256
/** Batches of one answer. */
const STREAM_RECEIVED_MAX = 1_024
const STREAM_CREDIT_MAX: number = 64 * KIB

export type StreamCall =
  /** `peer`: to whom the node hands it on; between nodes there is none. */
  | {
      readonly kind: 'send'
      readonly inbox: string
      readonly from: string
      readonly batch: Uint8Array
      readonly peer?: PeerId | undefined
    }
  | { readonly kind: 'open'; readonly inbox: string }
  | { readonly kind: 'receive'; readonly inbox: string }

export type StreamReply =
  | { readonly kind: 'taken'; readonly credit: number }
  | { readonly kind: 'opened'; readonly peer: PeerId }
  | { readonly kind: 'received'; readonly batches: readonly Uint8Array[] }

/** @throws invalid-argument, too-large (T-1) */
export function encodeStreamCall(call: StreamCall): Uint8Array {
  checkName(call.inbox, 'inbox')
  if (call.kind !== 'send') {
    const { kind, inbox } = call
    return encode(CallSchema, { call: { case: kind, value: { inbox } } as Call['call'] })
  }
  const { inbox, from, batch, peer = '' } = call
  checkName(from, 'sender')
  if (batch.length > STREAM_BATCH_BYTES_MAX) {
    const sizes = `${batch.length} bytes; at most ${STREAM_BATCH_BYTES_MAX} can be sent`
    throw new MeshError('too-large', `A batch has ${sizes}`)
  }
  const value = { inbox, from, batch, peer }
  return encode(CallSchema, { call: { case: 'send', value } as Call['call'] })
}

/** @returns the call; its batch is a view @throws invalid-data, invalid-argument (T-1) */
export function decodeStreamCall(bytes: Uint8Array): StreamCall {
  const { call } = decode(CallSchema, bytes)
  if (call.case === undefined) throw malformed('stream call', 'it is no call that is known here')
  const inbox = nameOf(call.value.inbox)
  if (call.case !== 'send') return { kind: call.case, inbox }
  const { batch, peer } = call.value
  if (batch.length > STREAM_BATCH_BYTES_MAX) {
    throw malformed('stream call', `its batch has ${batch.length} bytes`)
  }
  const from = nameOf(call.value.from)
  if (peer === '') return { kind: 'send', inbox, from, batch }
  return { kind: 'send', inbox, from, batch, peer: peerId(peer) }
}

export function encodeStreamReply(reply: StreamReply): Uint8Array {
  return encode(ReplySchema, { answer: answerOf(reply) })
}

function answerOf(reply: StreamReply): Reply['answer'] {
  switch (reply.kind) {
    case 'taken':
      return { case: 'taken', value: { credit: reply.credit } } as Reply['answer']
    case 'opened': {
      const peer: string = reply.peer
      return { case: 'opened', value: { peer } } as Reply['answer']
    }
    case 'received':
      return { case: 'received', value: { batches: reply.batches } } as Reply['answer']
  }
}

/** @returns the answer; its batches are views @throws invalid-data, invalid-argument (T-1) */
export function decodeStreamReply(bytes: Uint8Array): StreamReply {
  const { answer } = decode(ReplySchema, bytes)
  switch (answer.case) {
    case 'taken': {
      const { credit } = answer.value
      if (credit >= 1 && credit <= STREAM_CREDIT_MAX) return { kind: 'taken', credit }
      throw malformed('stream reply', `a credit is ${credit}`)
    }
    case 'opened':
      return { kind: 'opened', peer: peerId(answer.value.peer) }
    case 'received': {
      const { batches } = answer.value
      if (batches.length <= STREAM_RECEIVED_MAX) return { kind: 'received', batches }
      throw malformed('stream reply', `it has ${batches.length} batches`)
    }
    case undefined:
      throw malformed('stream reply', 'it is no answer that is known here')
  }
}

function nameOf(name: string): string {
  if (isName(name)) return name
  throw malformed('stream call', `a name has 1 to ${STREAM_NAME_BYTES_MAX} bytes`)
}

function checkName(name: string, what: string): void {
  if (isName(name)) return
  const rule = `1 to ${STREAM_NAME_BYTES_MAX} bytes`
  throw new MeshError('invalid-argument', `The name of an ${what} has ${rule}`)
}

function isName(name: string): boolean {
  const { length } = utf8(name)
  return length >= 1 && length <= STREAM_NAME_BYTES_MAX
}
