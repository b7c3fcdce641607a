// How the tasks of a run ended: protocols/job, Ran.

import { utf8 } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import { KIB, MIB } from '../base/units.ts'
import { hasRepeated, JOB_FRAME_BYTES_MAX, RUN_TASKS_MAX, wholeNumber } from './job-task.ts'
import { malformed } from './proto.ts'
import { OneOf } from './proto-one-of.ts'
import { bytesOf, cutText, flagOf, numberOf, textOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import type { ProtoField } from './proto-writer.ts'

/** An output; more than that is a file, which the task writes by itself. */
export const OUTPUT_BYTES_MAX: number = MIB
/** Of what a task has written, its end goes with its outcome. */
export const OUTCOME_LOGS_BYTES_MAX: number = 16 * KIB
/** Of a failure, or a reason: for programs. */
export const CODE_BYTES_MAX = 64
/** And for people. */
export const TEXT_BYTES_MAX: number = KIB
const REPLY_BYTES_MAX: number = JOB_FRAME_BYTES_MAX - 16 * KIB
const WHAT = 'job reply'

export type TaskOutcome = { id: number; durationMs: number; logs: string } & (
  | { kind: 'done'; output: Uint8Array }
  | { kind: 'failed'; code: string; message: string; isRetryable: boolean }
  /** It may have run, but how it ended isn't known. */
  | { kind: 'lost'; reason: string }
  /** It hasn't begun: no slot was free for it (J-4), or the node won't run it (J-8). */
  | { kind: 'busy' }
)

/** One outcome for each task of the run, in any order. */
export type RanReply = { kind: 'ran'; outcomes: readonly TaskOutcome[] }

/** Tag and length of an outcome. */
const OVERHEAD_BYTES = 8
/** What an outcome takes that has no room for more. */
const LOST_BYTES = 128

/** @throws invalid-argument */
export function encodeRan({ outcomes }: RanReply): Uint8Array {
  if (outcomes.length === 0 || outcomes.length > RUN_TASKS_MAX) {
    const problem = `An answer has ${outcomes.length} outcomes; 1 to ${RUN_TASKS_MAX} can be`
    throw new MeshError('invalid-argument', problem)
  }
  if (hasRepeated(outcomes)) throw new MeshError('invalid-argument', 'A task has two outcomes')
  const encoded = inRoom(outcomes)
  const length = bytesOfAll(encoded)
  const writer = new ProtoWriter(length)
  for (const bytes of encoded) writer.present(1, bytes)
  return writer.finish()
}

/** J-9: the logs go first, then what has no room behind those before it. */
function inRoom(outcomes: readonly TaskOutcome[]): Uint8Array[] {
  const whole = outcomes.map(encodeOutcome)
  if (bytesOfAll(whole) <= REPLY_BYTES_MAX) return whole
  let room = REPLY_BYTES_MAX - outcomes.length * LOST_BYTES
  return outcomes.map((outcome) => {
    const short = encodeOutcome({ ...outcome, logs: '' })
    const fits = short.length + OVERHEAD_BYTES <= room + LOST_BYTES
    const bytes = fits ? short : encodeOutcome(withoutRoom(outcome))
    room -= Math.max(0, bytes.length + OVERHEAD_BYTES - LOST_BYTES)
    return bytes
  })
}

function bytesOfAll(encoded: readonly Uint8Array[]): number {
  let length = 0
  for (const bytes of encoded) length += bytes.length + OVERHEAD_BYTES
  return length
}

function withoutRoom({ id, durationMs }: TaskOutcome): TaskOutcome {
  const reason = 'The answer had no room for its output; ask for fewer tasks at once'
  return { kind: 'lost', id, durationMs, logs: '', reason }
}

const KINDS = new OneOf<TaskOutcome['kind']>('an outcome', {
  done: 4,
  failed: 5,
  lost: 6,
  busy: 7
})

function encodeOutcome(outcome: TaskOutcome): Uint8Array {
  const isDone = outcome.kind === 'done'
  if (isDone && outcome.output.length > OUTPUT_BYTES_MAX) return encodeOutcome(tooLong(outcome))
  const writer = new ProtoWriter(isDone ? outcome.output.length + 64 : 64)
  writer.uint(1, wholeNumber(outcome.id, 'The number of a task'))
  writer.uint(2, wholeNumber(Math.round(outcome.durationMs), 'A duration'))
  if (outcome.logs !== '') writer.bytes(3, endOf(outcome.logs, OUTCOME_LOGS_BYTES_MAX))
  KINDS.write(writer, outcome.kind, encodeEnd(outcome))
  return writer.finish()
}

function encodeEnd(outcome: TaskOutcome): Uint8Array {
  if (outcome.kind === 'done') return outcome.output
  if (outcome.kind === 'failed') return encodeFailed(outcome)
  return outcome.kind === 'lost' ? cutText(outcome.reason, TEXT_BYTES_MAX) : NONE
}

function tooLong(outcome: TaskOutcome & { kind: 'done' }): TaskOutcome {
  const { id, durationMs, logs, output } = outcome
  const bound = `at most ${OUTPUT_BYTES_MAX} can be returned; write a file and return its CID`
  const message = `The output has ${output.length} bytes; ${bound}`
  return { kind: 'failed', id, durationMs, logs, code: 'too-large', message, isRetryable: false }
}

function encodeFailed(outcome: TaskOutcome & { kind: 'failed' }): Uint8Array {
  const writer = new ProtoWriter(128)
  writer.bytes(1, cutText(outcome.code, CODE_BYTES_MAX))
  writer.bytes(2, cutText(outcome.message, TEXT_BYTES_MAX))
  writer.bool(3, outcome.isRetryable)
  return writer.finish()
}

const NONE = new Uint8Array(0)

/** Bytes in it are views. @throws invalid-data */
export function decodeRan(bytes: Uint8Array): RanReply {
  const outcomes: TaskOutcome[] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field !== 1) continue
    if (outcomes.length === RUN_TASKS_MAX) {
      throw malformed(WHAT, `it has more than ${RUN_TASKS_MAX} outcomes`)
    }
    outcomes.push(decodeOutcome(bytesOf(field, WHAT, bytes.length)))
  }
  if (outcomes.length === 0) throw malformed(WHAT, 'it has no outcome')
  if (hasRepeated(outcomes)) throw malformed(WHAT, 'a task has two outcomes')
  return { kind: 'ran', outcomes }
}

function decodeOutcome(bytes: Uint8Array): TaskOutcome {
  let [id, durationMs, logs] = [0, 0, '']
  let found: ProtoField | undefined
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) id = numberOf(field, WHAT)
    else if (field.field === 2) durationMs = numberOf(field, WHAT)
    else if (field.field === 3) logs = textOf(field, WHAT, OUTCOME_LOGS_BYTES_MAX)
    else found = KINDS.take(found, field, WHAT)
  }
  const { kind, field } = KINDS.demand(found, WHAT)
  const about = { id, durationMs, logs }
  switch (kind) {
    case 'done':
      return { kind, ...about, output: bytesOf(field, WHAT, OUTPUT_BYTES_MAX) }
    case 'failed':
      return { kind, ...about, ...decodeFailed(field, bytes.length) }
    case 'lost':
      return { kind, ...about, reason: textOf(field, WHAT, TEXT_BYTES_MAX) }
    case 'busy':
      bytesOf(field, WHAT, bytes.length)
      return { kind, ...about }
  }
}

function decodeFailed(
  content: ProtoField,
  bytesMax: number
): { code: string; message: string; isRetryable: boolean } {
  const failed = { code: '', message: '', isRetryable: false }
  for (const field of readFields(bytesOf(content, WHAT, bytesMax), WHAT)) {
    if (field.field === 1) failed.code = textOf(field, WHAT, CODE_BYTES_MAX)
    else if (field.field === 2) failed.message = textOf(field, WHAT, TEXT_BYTES_MAX)
    else if (field.field === 3) failed.isRetryable = flagOf(field, WHAT)
  }
  return failed
}

/** @returns the end of a text in UTF-8, cut between characters to at most `bytesMax` bytes. */
export function endOf(text: string, bytesMax: number): Uint8Array {
  // A code unit is at least one byte: no need to encode what can't be part of the end.
  const bytes = utf8(text.length > bytesMax ? text.slice(-bytesMax) : text)
  let start = Math.max(0, bytes.length - bytesMax)
  // A byte of the form 10xxxxxx goes on with the character before it.
  while (start < bytes.length && start > 0 && ((bytes[start] as number) & 0xc0) === 0x80) start += 1
  return bytes.subarray(start)
}
