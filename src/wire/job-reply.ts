// What nodes answer about tasks: protocols/job, Reply.

import { KIB } from '../base/units.ts'
import { CODE_BYTES_MAX, decodeRan, encodeRan, endOf, TEXT_BYTES_MAX } from './job-outcome.ts'
import type { RanReply } from './job-outcome.ts'
import { wholeNumber } from './job-task.ts'
import { malformed } from './proto.ts'
import { OneOf } from './proto-one-of.ts'
import { bytesOf, cutText, numberOf, textOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import type { ProtoField } from './proto-writer.ts'

/** Of what a running task has written, its end. */
export const LOGS_BYTES_MAX: number = 256 * KIB
export const REASONS_MAX = 16
const WHAT = 'job reply'

/** Why a node doesn't take a task: the code for programs, the text for people. */
export type Reason = { code: string; text: string }

export type ProbedReply = {
  kind: 'probed'
  slots: number
  freeSlots: number
  /** Tasks that wait for a slot. */
  waiting: number
  /** How fast it is, in thousandths of the usual node. */
  speedMilli: number
  /** Why it wouldn't take such a task, up to {@link REASONS_MAX}; none: it would. */
  reasons: readonly Reason[]
}

export type ExplainedReply = {
  kind: 'explained'
  reasons: readonly Reason[]
  /** Tasks of the job that it runs now. */
  running: number
}

export type LogsReply = { kind: 'logs'; text: string }

export type JobReply = RanReply | ProbedReply | ExplainedReply | LogsReply

const KINDS = new OneOf<JobReply['kind']>('it', {
  ran: 1,
  probed: 2,
  explained: 3,
  logs: 4
})

/** Texts are cut to their limits (J-10); what has no room is lost (J-9). @throws invalid-argument */
export function encodeJobReply(reply: JobReply): Uint8Array {
  return KINDS.encode(reply.kind, encodeContent(reply))
}

/** Bytes in it are views of `bytes`. @throws invalid-data */
export function decodeJobReply(bytes: Uint8Array): JobReply {
  const { kind, content: inner } = KINDS.decode(bytes, WHAT)
  switch (kind) {
    case 'ran':
      return decodeRan(inner)
    case 'probed':
      return decodeProbed(inner)
    case 'explained':
      return decodeExplained(inner)
    case 'logs':
      return decodeLogs(inner)
  }
}

function encodeContent(reply: JobReply): Uint8Array {
  if (reply.kind === 'ran') return encodeRan(reply)
  const writer = new ProtoWriter(256)
  if (reply.kind === 'probed') {
    writer.uint(1, wholeNumber(reply.slots, 'A count of slots'))
    writer.uint(2, wholeNumber(reply.freeSlots, 'A count of free slots'))
    writer.uint(3, wholeNumber(reply.waiting, 'A count of waiting tasks'))
    writer.uint(4, wholeNumber(reply.speedMilli, 'A speed'))
    writeReasons(writer, 5, reply.reasons)
  } else if (reply.kind === 'explained') {
    writeReasons(writer, 1, reply.reasons)
    writer.uint(2, wholeNumber(reply.running, 'A count of running tasks'))
  } else {
    writer.bytes(1, endOf(reply.text, LOGS_BYTES_MAX))
  }
  return writer.finish()
}

function writeReasons(writer: ProtoWriter, field: number, reasons: readonly Reason[]): void {
  for (const { code, text } of reasons.slice(0, REASONS_MAX)) {
    const inner = new ProtoWriter(128)
    inner.bytes(1, cutText(code, CODE_BYTES_MAX))
    inner.bytes(2, cutText(text, TEXT_BYTES_MAX))
    writer.present(field, inner.finish())
  }
}

function pushReason(reasons: Reason[], content: ProtoField, bytesMax: number): void {
  if (reasons.length === REASONS_MAX) throw malformed(WHAT, `over ${REASONS_MAX} reasons`)
  const reason = { code: '', text: '' }
  for (const field of readFields(bytesOf(content, WHAT, bytesMax), WHAT)) {
    if (field.field === 1) reason.code = textOf(field, WHAT, CODE_BYTES_MAX)
    else if (field.field === 2) reason.text = textOf(field, WHAT, TEXT_BYTES_MAX)
  }
  reasons.push(reason)
}

function decodeProbed(bytes: Uint8Array): ProbedReply {
  const reasons: Reason[] = []
  const counts = { slots: 0, freeSlots: 0, waiting: 0, speedMilli: 0 }
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) counts.slots = numberOf(field, WHAT)
    else if (field.field === 2) counts.freeSlots = numberOf(field, WHAT)
    else if (field.field === 3) counts.waiting = numberOf(field, WHAT)
    else if (field.field === 4) counts.speedMilli = numberOf(field, WHAT)
    else if (field.field === 5) pushReason(reasons, field, bytes.length)
  }
  return { kind: 'probed', ...counts, reasons }
}

function decodeExplained(bytes: Uint8Array): ExplainedReply {
  const reasons: Reason[] = []
  let running = 0
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) pushReason(reasons, field, bytes.length)
    else if (field.field === 2) running = numberOf(field, WHAT)
  }
  return { kind: 'explained', reasons, running }
}

function decodeLogs(bytes: Uint8Array): LogsReply {
  let text = ''
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) text = textOf(field, WHAT, LOGS_BYTES_MAX)
  }
  return { kind: 'logs', text }
}
