// The answers of shards, one for each call of a request: protocols/shard, Reply.

import { utf8 } from '../base/bytes.ts'
import type { PeerId } from '../base/ids.ts'
import { KIB } from '../base/units.ts'
import { NO_REPLICA, NUMBER_MAX } from '../core/raft/messages.ts'
import type { ReplicaId } from '../core/raft/messages.ts'
import { malformed } from './proto.ts'
import { bytesOf, flagOf, numberOf, peerOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import type { ProtoField } from './proto-writer.ts'
import { SHARD_FRAME_BYTES_MAX } from './shard.ts'
import { decodeFailed, writeFailed } from './shard-failure.ts'
import type { FailedResult } from './shard-failure.ts'
import { GROUP_MAX } from './shard-frame.ts'

/** All results of a reply together, so also one. */
const REPLY_BYTES_MAX: number = SHARD_FRAME_BYTES_MAX - 16 * KIB
/** Replicas of a group, those that come and go included. */
const GROUP_MEMBERS_MAX = 64

const WHAT = 'shard reply'

type GroupMember = {
  readonly peer: PeerId
  readonly replica: ReplicaId
  /** Else it is a learner. */
  readonly isVoter: boolean
}

/** Of an execute, a query or changes; the latter's result has the form of `state.changes`. */
type DoneResult = {
  readonly kind: 'done'
  /** The shard's, that the result belongs to. */
  readonly revision: number
  readonly result: Uint8Array
}

/** What a replica believes; all of it may be old. */
type LocatedResult = {
  readonly kind: 'located'
  readonly group: number
  readonly leader?: PeerId | undefined
  readonly term: number
  readonly members: readonly GroupMember[]
}

/** `layout` is absent when the asker has the newest that is known here. */
type LayoutResult = { readonly kind: 'layout'; readonly layout?: Uint8Array | undefined }

/**
 * The answer had no room behind those before it: ask again, for a command with the same client and
 * sequence. It may have been done.
 */
type AgainResult = { readonly kind: 'again' }

export type ShardResult = DoneResult | FailedResult | LocatedResult | LayoutResult | AgainResult

/**
 * What has no room is answered `again`, and what alone is too long fails as `too-large`.
 *
 * @param results one for each call, in the same order; as many as a request may have
 */
export function encodeShardReply(results: readonly ShardResult[]): Uint8Array {
  const again = encodeResult({ kind: 'again' })
  const writer = new ProtoWriter(512)
  let room = REPLY_BYTES_MAX - results.length * RESULT_OVERHEAD_BYTES
  for (const result of results) {
    let bytes = encodeResult(result)
    if (bytes.length > REPLY_BYTES_MAX - RESULT_OVERHEAD_BYTES) bytes = encodeResult(tooLong(bytes))
    if (bytes.length > room) bytes = again
    room -= bytes.length
    writer.present(1, bytes)
  }
  return writer.finish()
}

/**
 * Bytes in it are views of `bytes`.
 *
 * @param count of the calls that it answers
 * @throws invalid-data, invalid-argument
 */
export function decodeShardReply(bytes: Uint8Array, count: number): ShardResult[] {
  const results: ShardResult[] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field !== 1) continue
    if (results.length === count) throw malformed(WHAT, `it has more than ${count} results`)
    results.push(decodeResult(bytesOf(field, WHAT, bytes.length)))
  }
  if (results.length < count) {
    throw malformed(WHAT, `it has ${results.length} results, not ${count}`)
  }
  return results
}

/** Tag and length of a result, and an `again` in its place. */
const RESULT_OVERHEAD_BYTES = 8
const KINDS = { 1: 'done', 2: 'failed', 3: 'located', 4: 'layout', 5: 'again' } as const
type KindField = keyof typeof KINDS
const FIELD_OF: Readonly<Record<ShardResult['kind'], KindField>> = {
  done: 1,
  failed: 2,
  located: 3,
  layout: 4,
  again: 5
}

function tooLong(bytes: Uint8Array): FailedResult {
  const bound = `at most ${REPLY_BYTES_MAX} can be sent; ask for less at once`
  const message = `The answer has ${bytes.length} bytes; ${bound}`
  return { kind: 'failed', code: 'too-large', message, details: {} }
}

function encodeResult(result: ShardResult): Uint8Array {
  const content = encodeContent(result)
  const writer = new ProtoWriter(content.length + 16)
  writer.present(FIELD_OF[result.kind], content)
  return writer.finish()
}

function encodeContent(result: ShardResult): Uint8Array {
  const writer = new ProtoWriter(result.kind === 'done' ? result.result.length + 24 : 128)
  if (result.kind === 'done') {
    writer.uint(1, result.revision)
    writer.bytes(2, result.result)
  } else if (result.kind === 'failed') {
    writeFailed(writer, result)
  } else if (result.kind === 'located') {
    writeLocated(writer, result)
  } else if (result.kind === 'layout' && result.layout !== undefined) {
    writer.present(1, result.layout)
  }
  return writer.finish()
}

function decodeResult(bytes: Uint8Array): ShardResult {
  let content: ProtoField | undefined
  for (const field of readFields(bytes, WHAT)) {
    if (!(field.field in KINDS)) continue
    if (content !== undefined) throw malformed(WHAT, 'a result is of two kinds')
    content = field
  }
  if (content === undefined) throw malformed(WHAT, 'a result is of no kind that is known here')
  const inner = bytesOf(content, WHAT, bytes.length)
  switch (KINDS[content.field as KindField]) {
    case 'done':
      return decodeDone(inner)
    case 'failed':
      return decodeFailed(inner)
    case 'located':
      return decodeLocated(inner)
    case 'layout':
      return decodeLayout(inner)
    case 'again':
      return { kind: 'again' }
  }
}

function decodeDone(bytes: Uint8Array): DoneResult {
  let revision = 0
  let result: Uint8Array = new Uint8Array(0)
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) revision = numberOf(field, WHAT)
    else if (field.field === 2) result = bytesOf(field, WHAT, REPLY_BYTES_MAX)
  }
  return { kind: 'done', revision, result }
}

function decodeLayout(bytes: Uint8Array): LayoutResult {
  let layout: Uint8Array | undefined
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) layout = bytesOf(field, WHAT, REPLY_BYTES_MAX)
  }
  return layout === undefined ? { kind: 'layout' } : { kind: 'layout', layout }
}

function writeLocated(writer: ProtoWriter, result: LocatedResult): void {
  writer.uint(1, result.group)
  if (result.leader !== undefined) writer.bytes(2, utf8(result.leader))
  writer.uint(3, result.term)
  for (const { peer, replica, isVoter } of result.members.slice(0, GROUP_MEMBERS_MAX)) {
    const member = new ProtoWriter(80)
    member.bytes(1, utf8(peer))
    member.uint(2, replica)
    member.bool(3, isVoter)
    writer.present(4, member.finish())
  }
}

function decodeLocated(bytes: Uint8Array): LocatedResult {
  let group = 0
  let term = 0
  let leader: PeerId | undefined
  const members: GroupMember[] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) group = numberOf(field, WHAT, GROUP_MAX)
    else if (field.field === 2) leader = peerOf(field, WHAT)
    else if (field.field === 3) term = numberOf(field, WHAT, NUMBER_MAX)
    else if (field.field === 4) {
      if (members.length === GROUP_MEMBERS_MAX)
        throw malformed(WHAT, 'a group has too many members')
      members.push(decodeMember(bytesOf(field, WHAT, bytes.length)))
    }
  }
  const rest = { group, term, members }
  return leader === undefined ? { kind: 'located', ...rest } : { kind: 'located', ...rest, leader }
}

function decodeMember(bytes: Uint8Array): GroupMember {
  let peer: PeerId | undefined
  let replica = NO_REPLICA
  let isVoter = false
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) peer = peerOf(field, WHAT)
    else if (field.field === 2) replica = numberOf(field, WHAT, NUMBER_MAX)
    else if (field.field === 3) isVoter = flagOf(field, WHAT)
  }
  if (peer === undefined || replica === NO_REPLICA) throw malformed(WHAT, 'a member has no id')
  return { peer, replica, isVoter }
}
