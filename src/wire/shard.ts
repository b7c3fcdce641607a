// What is asked of shards, and what they answer: protocols/shard, Request and Reply. Between peers
// and at the local API alike. Written by hand, because every operation goes through it.

import { MeshError } from '../base/errors.ts'
import { MIB, MINUTE_MS } from '../base/units.ts'
import type { Request } from '../core/machine/command.ts'
import { COMMAND_BYTES_MAX, KEY_BYTES_MAX, SPACE_BYTES_MAX } from '../core/machine/limits.ts'
import type { WatchQuery } from '../core/machine/reads.ts'
import { malformed } from './proto.ts'
import { OneOf } from './proto-one-of.ts'
import { bounded, bytesOf, flagOf, numberOf, textOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import type { ProtoField } from './proto-writer.ts'
import { GROUP_MAX } from './shard-frame.ts'

export const SHARD_PROTOCOL = '/atoll/shard/1.0.0'
export const SHARD_FRAME_BYTES_MAX: number = 2 * MIB
/** Calls of one request. */
export const CALLS_MAX = 1_024
/** How long a call for changes may wait for one. */
export const WAIT_MS_MAX: number = MINUTE_MS
/** The group that keeps layouts; shard s is group s + 1. */
export const SYSTEM_GROUP = 0

const NAME_BYTES_MAX = 64
/** Bounds of a span: as stored, a byte after a key of full length included. */
const BOUND_BYTES_MAX = KEY_BYTES_MAX + 1
const WHAT = 'shard request'

/** The group of a number, or of a space: the latter at the local API alone. */
export type GroupTarget = { readonly group: number } | { readonly space: Uint8Array }

export type ExecuteCall = {
  readonly kind: 'execute'
  readonly target: GroupTarget
  readonly request: Request
}

export type QueryCall = {
  readonly kind: 'query'
  readonly target: GroupTarget
  /** Of what is read; empty when no space is meant. */
  readonly space: Uint8Array
  readonly name: string
  readonly version: number
  readonly args: Uint8Array
  /** Any replica may answer as it is. */
  readonly isStale: boolean
}

/** Answered once something changed in the span, or `waitMs` have passed. */
export type ChangesCall = {
  readonly kind: 'changes'
  readonly target: GroupTarget
  readonly query: WatchQuery
  /** 0 to {@link WAIT_MS_MAX}. */
  readonly waitMs: number
}

/** Asks for the committed layout, when it is newer than this one; 0 when none is known. */
type LayoutCall = { readonly kind: 'layout'; readonly knownVersion: number }

export type ShardCall = ExecuteCall | QueryCall | ChangesCall | LayoutCall

/** @param calls 1 to {@link CALLS_MAX} @throws too-large, invalid-argument */
export function encodeShardRequest(calls: readonly ShardCall[]): Uint8Array {
  if (calls.length === 0 || calls.length > CALLS_MAX) {
    const bound = `1 to ${CALLS_MAX} can be`
    throw new MeshError('invalid-argument', `A request has ${calls.length} calls; ${bound}`)
  }
  return joinShardCalls(calls.map(encodeShardCall))
}

/** What a call takes in a request beside its own bytes, at most. */
export const CALL_HEAD_BYTES = 4

/** @returns a request of calls that {@link encodeShardCall} encoded, 1 to {@link CALLS_MAX}. */
export function joinShardCalls(encoded: readonly Uint8Array[]): Uint8Array {
  let bytes = 0
  for (const call of encoded) bytes += CALL_HEAD_BYTES + call.length
  const writer = new ProtoWriter(bytes)
  for (const call of encoded) writer.present(1, call)
  return writer.finish()
}

/** Bytes in it are views of `bytes`. @throws invalid-data */
export function decodeShardRequest(bytes: Uint8Array): ShardCall[] {
  const calls: ShardCall[] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field !== 1) continue
    if (calls.length === CALLS_MAX) throw malformed(WHAT, `it has more than ${CALLS_MAX} calls`)
    calls.push(decodeCall(bytesOf(field, WHAT, bytes.length)))
  }
  if (calls.length === 0) throw malformed(WHAT, 'it has no call')
  return calls
}

const KINDS = new OneOf<ShardCall['kind']>('a call', {
  execute: 3,
  query: 4,
  changes: 5,
  layout: 7
})

/** @returns a part of a request. @throws too-large, invalid-argument */
export function encodeShardCall(call: ShardCall): Uint8Array {
  const content = encodeContent(call)
  const writer = new ProtoWriter(content.length + 32)
  if (call.kind !== 'layout') {
    const { target } = call
    if ('group' in target) writer.uint(1, target.group)
    else writer.present(2, bounded(target.space, SPACE_BYTES_MAX, 'A space'))
  }
  KINDS.write(writer, call.kind, content)
  return writer.finish()
}

function encodeContent(call: ShardCall): Uint8Array {
  if (call.kind === 'execute') return encodeRequest(call.request)
  if (call.kind === 'query') return encodeQuery(call)
  if (call.kind === 'changes') return encodeChanges(call)
  const writer = new ProtoWriter(16)
  writer.uint(1, call.knownVersion)
  return writer.finish()
}

function decodeCall(bytes: Uint8Array): ShardCall {
  let target: GroupTarget | undefined
  let found: ProtoField | undefined
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) target = { group: numberOf(field, WHAT, GROUP_MAX) }
    else if (field.field === 2) target = { space: bytesOf(field, WHAT, SPACE_BYTES_MAX).slice() }
    else found = KINDS.take(found, field, WHAT)
  }
  const { kind, field } = KINDS.demand(found, WHAT)
  const inner = bytesOf(field, WHAT, bytes.length)
  const where = target ?? { group: SYSTEM_GROUP }
  switch (kind) {
    case 'execute':
      return { kind: 'execute', target: where, request: decodeRequest(inner) }
    case 'query':
      return decodeQuery(inner, where)
    case 'changes':
      return decodeChanges(inner, where)
    case 'layout':
      return { kind: 'layout', knownVersion: decodeKnownVersion(inner) }
  }
}

function encodeRequest(request: Request): Uint8Array {
  const writer = new ProtoWriter(request.args.length + 128)
  writer.uint(1, request.client)
  writer.uint(2, request.sequence)
  writer.uint(3, request.answeredBelow)
  writer.bytes(4, bounded(request.space, SPACE_BYTES_MAX, 'A space'))
  writer.bytes(5, toName(request.operation))
  writer.uint(6, request.version)
  writer.bytes(7, bounded(request.args, COMMAND_BYTES_MAX, `The command ${request.operation}`))
  return writer.finish()
}

type Draft<T> = { -readonly [key in keyof T]: T[key] }
const NONE = new Uint8Array(0)

function decodeRequest(bytes: Uint8Array): Request {
  const draft: Draft<Request> = {
    client: 0,
    sequence: 0,
    answeredBelow: 0,
    space: NONE,
    operation: '',
    version: 0,
    args: NONE
  }
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) draft.client = numberOf(field, WHAT)
    else if (field.field === 2) draft.sequence = numberOf(field, WHAT)
    else if (field.field === 3) draft.answeredBelow = numberOf(field, WHAT)
    else if (field.field === 4) draft.space = bytesOf(field, WHAT, SPACE_BYTES_MAX)
    else if (field.field === 5) draft.operation = nameOf(field)
    else if (field.field === 6) draft.version = numberOf(field, WHAT)
    else if (field.field === 7) draft.args = bytesOf(field, WHAT, COMMAND_BYTES_MAX)
  }
  if (draft.operation === '') throw malformed(WHAT, 'a command has no operation')
  return draft
}

function encodeQuery(call: QueryCall): Uint8Array {
  const writer = new ProtoWriter(call.args.length + 128)
  writer.bytes(1, bounded(call.space, SPACE_BYTES_MAX, 'A space'))
  writer.bytes(2, toName(call.name))
  writer.uint(3, call.version)
  writer.bytes(4, bounded(call.args, COMMAND_BYTES_MAX, `The query ${call.name}`))
  writer.bool(5, call.isStale)
  return writer.finish()
}

function decodeQuery(bytes: Uint8Array, target: GroupTarget): QueryCall {
  const draft: Draft<QueryCall> = {
    kind: 'query',
    target,
    space: NONE,
    name: '',
    version: 0,
    args: NONE,
    isStale: false
  }
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) draft.space = bytesOf(field, WHAT, SPACE_BYTES_MAX)
    else if (field.field === 2) draft.name = nameOf(field)
    else if (field.field === 3) draft.version = numberOf(field, WHAT)
    else if (field.field === 4) draft.args = bytesOf(field, WHAT, COMMAND_BYTES_MAX)
    else if (field.field === 5) draft.isStale = flagOf(field, WHAT)
  }
  if (draft.name === '') throw malformed(WHAT, 'a query has no name')
  return draft
}

function encodeChanges({ query, waitMs }: ChangesCall): Uint8Array {
  const writer = new ProtoWriter(query.from.length + query.to.length + 64)
  writer.uint(1, query.area)
  writer.bytes(2, bounded(query.from, BOUND_BYTES_MAX, 'The beginning of a span'))
  writer.bytes(3, bounded(query.to, BOUND_BYTES_MAX, 'The end of a span'))
  writer.uint(4, query.revision)
  writer.uint(5, query.eventsMax ?? 0)
  writer.uint(6, Math.min(Math.ceil(waitMs), WAIT_MS_MAX))
  return writer.finish()
}

function decodeChanges(bytes: Uint8Array, target: GroupTarget): ChangesCall {
  const query: Draft<WatchQuery> = { area: 0, from: NONE, to: NONE, revision: 0 }
  let waitMs = 0
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) query.area = numberOf(field, WHAT)
    else if (field.field === 2) query.from = bytesOf(field, WHAT, BOUND_BYTES_MAX)
    else if (field.field === 3) query.to = bytesOf(field, WHAT, BOUND_BYTES_MAX)
    else if (field.field === 4) query.revision = numberOf(field, WHAT)
    else if (field.field === 5) setEventsMax(query, numberOf(field, WHAT))
    else if (field.field === 6) waitMs = numberOf(field, WHAT, WAIT_MS_MAX)
  }
  return { kind: 'changes', target, query, waitMs }
}

function setEventsMax(query: Draft<WatchQuery>, eventsMax: number): void {
  if (eventsMax > 0) query.eventsMax = eventsMax
}

function decodeKnownVersion(bytes: Uint8Array): number {
  let version = 0
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) version = numberOf(field, WHAT)
  }
  return version
}

const encoder = new TextEncoder()

/** Of an operation or a query. @throws invalid-argument */
function toName(name: string): Uint8Array {
  const bytes = encoder.encode(name)
  if (bytes.length === 0 || bytes.length > NAME_BYTES_MAX) {
    const bound = `1 to ${NAME_BYTES_MAX} can be`
    throw new MeshError('invalid-argument', `A name has ${bytes.length} bytes; ${bound}`)
  }
  return bytes
}

function nameOf(field: ProtoField): string {
  return textOf(field, WHAT, NAME_BYTES_MAX)
}
