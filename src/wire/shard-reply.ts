// The answers of shards, one for each call of a request: protocols/shard, Reply.

import { KIB } from '../base/units.ts'
import { malformed } from './proto.ts'
import { OneOf } from './proto-one-of.ts'
import { bytesOf, numberOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import { SHARD_FRAME_BYTES_MAX } from './shard.ts'
import { decodeFailed, writeFailed } from './shard-failure.ts'
import type { FailedResult } from './shard-failure.ts'

/** All results of a reply together, so also one. */
const REPLY_BYTES_MAX: number = SHARD_FRAME_BYTES_MAX - 16 * KIB

const WHAT = 'shard reply'

/** Of an execute, a query or changes; the latter's result has the form of `state.changes`. */
type DoneResult = {
  readonly kind: 'done'
  /** The shard's, that the result belongs to. */
  readonly revision: number
  readonly result: Uint8Array
}

/** `layout` is absent when the asker has the newest that is known here. */
type LayoutResult = { readonly kind: 'layout'; readonly layout?: Uint8Array | undefined }

/**
 * The answer had no room behind those before it: ask again, for a command with the same client and
 * sequence. It may have been done.
 */
type AgainResult = { readonly kind: 'again' }

export type ShardResult = DoneResult | FailedResult | LayoutResult | AgainResult

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
const KINDS = new OneOf<ShardResult['kind']>('a result', {
  done: 1,
  failed: 2,
  layout: 4,
  again: 5
})

function tooLong(bytes: Uint8Array): FailedResult {
  const bound = `at most ${REPLY_BYTES_MAX} can be sent; ask for less at once`
  const message = `The answer has ${bytes.length} bytes; ${bound}`
  return { kind: 'failed', code: 'too-large', message, details: {}, isDecided: false }
}

function encodeResult(result: ShardResult): Uint8Array {
  return KINDS.encode(result.kind, encodeContent(result))
}

function encodeContent(result: ShardResult): Uint8Array {
  const writer = new ProtoWriter(result.kind === 'done' ? result.result.length + 24 : 128)
  if (result.kind === 'done') {
    writer.uint(1, result.revision)
    writer.bytes(2, result.result)
  } else if (result.kind === 'failed') {
    writeFailed(writer, result)
  } else if (result.kind === 'layout' && result.layout !== undefined) {
    writer.present(1, result.layout)
  }
  return writer.finish()
}

function decodeResult(bytes: Uint8Array): ShardResult {
  const { kind, content: inner } = KINDS.decode(bytes, WHAT)
  switch (kind) {
    case 'done':
      return decodeDone(inner)
    case 'failed':
      return decodeFailed(inner)
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
