// What nodes ask of each other about tasks: protocols/job, Call; the answers are in `job-reply.ts`.
// Written by hand, because thousands of small tasks a second come through here.

import { utf8 } from '../base/bytes.ts'
import { MeshError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'
import { JOB_SPEC_BYTES_MAX, JOB_SUBMITTER_BYTES_MAX } from '../core/machine/limits.ts'
import {
  decodeCode,
  decodeLimits,
  encodeCode,
  encodeLimits,
  hasRepeated,
  INPUT_BYTES_MAX,
  RUN_TASKS_MAX,
  spaceBytes,
  spaceOf,
  TASK_NAME_BYTES_MAX,
  taskNameProblem,
  throwIfWrong,
  wholeNumber
} from './job-task.ts'
import type { CodeRef, TaskLimits } from './job-task.ts'
import { malformed } from './proto.ts'
import { OneOf } from './proto-one-of.ts'
import { bounded, bytesOf, numberOf, textOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'

export { decodeJobOffers, encodeJobOffers } from './job-offers.ts'
export type { JobOffer } from './job-offers.ts'
export type { RanReply, TaskOutcome } from './job-outcome.ts'
export { decodeJobReply, encodeJobReply } from './job-reply.ts'
export type { ExplainedReply, JobReply, LogsReply, ProbedReply, Reason } from './job-reply.ts'
export { JOB_FRAME_BYTES_MAX, RUN_TASKS_MAX } from './job-task.ts'
export type { CodeRef, TaskLimits } from './job-task.ts'

export const JOB_PROTOCOL = '/atoll/job/1.0.0'
/** Requests of a stream that are served at once. */
export const JOB_SERVED_MAX = 64
/** Inputs of one run together. */
export const RUN_INPUTS_BYTES_MAX: number = MIB

const WHAT = 'job call'

/**
 * Run these tasks now. They may have been run before, or be run elsewhere too (J-5): the one with the
 * highest fencing token is the last that was granted. To cancel the request ends them (J-6), and so
 * does each one's passing its limits (J-7). What the node doesn't allow it doesn't run (J-8).
 */
export type RunCall = {
  kind: 'run'
  code: CodeRef
  /** What of the code is run; may be empty for a command. */
  task: string
  submitter: string
  /** A JobSpec. */
  spec: Uint8Array
  limits: TaskLimits
  /** 1 to {@link RUN_TASKS_MAX}, none of them twice. */
  tasks: readonly { id: number; input: Uint8Array; fencingToken: number }[]
}

/** Would you take such a task, and how busy are you? */
export type ProbeCall = { kind: 'probe'; spec: Uint8Array; submitter: string }

/** Why do you run no more tasks of this job? */
export type ExplainCall = { kind: 'explain'; spec: Uint8Array; submitter: string; space: string }

/** What has this attempt, which you run, written so far? An ended one isn't known any more (J-11). */
export type LogsCall = { kind: 'logs'; space: string; task: number; attempt: number }

export type JobCall = RunCall | ProbeCall | ExplainCall | LogsCall

const KINDS = new OneOf<JobCall['kind']>('it', {
  run: 1,
  probe: 2,
  explain: 3,
  logs: 4
})

/** What the far end would refuse isn't sent. @throws too-large, invalid-argument */
export function encodeJobCall(call: JobCall): Uint8Array {
  return KINDS.encode(call.kind, encodeContent(call))
}

/** Bytes in it are views of `bytes`. @throws invalid-data, invalid-argument */
export function decodeJobCall(bytes: Uint8Array): JobCall {
  const { kind, content: inner } = KINDS.decode(bytes, WHAT)
  switch (kind) {
    case 'run':
      return decodeRun(inner)
    case 'probe':
      return { kind: 'probe', ...decodeQuestion(inner) }
    case 'explain':
      return decodeExplain(inner)
    case 'logs':
      return decodeLogs(inner)
  }
}

function encodeContent(call: JobCall): Uint8Array {
  switch (call.kind) {
    case 'run':
      return encodeRun(call)
    case 'probe':
    case 'explain':
      return encodeQuestion(call)
    case 'logs':
      return encodeLogs(call)
  }
}

function encodeRun({ code, task, submitter, spec, limits, tasks }: RunCall): Uint8Array {
  throwIfWrong(taskNameProblem(task, code))
  const writer = new ProtoWriter(checkTasks(tasks) + 24 * tasks.length + spec.length + 512)
  writer.present(1, encodeCode(code))
  writer.bytes(2, utf8(task))
  writer.bytes(3, bounded(utf8(submitter), JOB_SUBMITTER_BYTES_MAX, 'The name of a submitter'))
  writer.bytes(4, bounded(spec, JOB_SPEC_BYTES_MAX, 'A job spec'))
  writer.present(5, encodeLimits(limits))
  for (const { id, input, fencingToken } of tasks) {
    const inner = new ProtoWriter(input.length + 24)
    inner.uint(1, wholeNumber(id, 'The number of a task'))
    inner.uint(2, wholeNumber(fencingToken, 'A fencing token'))
    inner.bytes(3, bounded(input, INPUT_BYTES_MAX, 'The input of a task'))
    writer.present(6, inner.finish())
  }
  return writer.finish()
}

/** @returns bytes of all inputs. @throws invalid-argument, too-large */
function checkTasks(tasks: RunCall['tasks']): number {
  const { length } = tasks
  if (length === 0 || length > RUN_TASKS_MAX) {
    const problem = `A run has ${length} tasks; 1 to ${RUN_TASKS_MAX} can be`
    throw new MeshError('invalid-argument', problem)
  }
  if (hasRepeated(tasks)) throw new MeshError('invalid-argument', 'A run has a task twice')
  let bytes = 0
  for (const { input } of tasks) bytes += input.length
  if (bytes > RUN_INPUTS_BYTES_MAX) {
    const bound = `at most ${RUN_INPUTS_BYTES_MAX} can be sent; send fewer at once`
    throw new MeshError('too-large', `The inputs of ${length} tasks have ${bytes} bytes; ${bound}`)
  }
  return bytes
}

const NONE: Uint8Array = new Uint8Array(0)

function decodeRun(bytes: Uint8Array): RunCall {
  let code: CodeRef | undefined
  let limits: TaskLimits | undefined
  let [task, submitter, spec] = ['', '', NONE]
  const tasks: RunCall['tasks'][number][] = []
  let room = RUN_INPUTS_BYTES_MAX
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) code = decodeCode(bytesOf(field, WHAT, bytes.length), WHAT)
    else if (field.field === 2) task = textOf(field, WHAT, TASK_NAME_BYTES_MAX)
    else if (field.field === 3) submitter = textOf(field, WHAT, JOB_SUBMITTER_BYTES_MAX)
    else if (field.field === 4) spec = bytesOf(field, WHAT, JOB_SPEC_BYTES_MAX)
    else if (field.field === 5) limits = decodeLimits(bytesOf(field, WHAT, bytes.length), WHAT)
    else if (field.field === 6) {
      if (tasks.length === RUN_TASKS_MAX) {
        throw malformed(WHAT, `it has more than ${RUN_TASKS_MAX} tasks`)
      }
      const read = decodeTask(bytesOf(field, WHAT, bytes.length))
      room -= read.input.length
      if (room < 0) throw malformed(WHAT, `its inputs have over ${RUN_INPUTS_BYTES_MAX} bytes`)
      tasks.push(read)
    }
  }
  if (code === undefined) throw malformed(WHAT, 'a run has no code')
  if (limits === undefined) throw malformed(WHAT, 'a run has no limits')
  if (tasks.length === 0) throw malformed(WHAT, 'a run has no task')
  if (hasRepeated(tasks)) throw malformed(WHAT, 'a run has a task twice')
  const problem = taskNameProblem(task, code)
  if (problem !== undefined) throw malformed(WHAT, problem)
  return { kind: 'run', code, task, submitter, spec, limits, tasks }
}

function decodeTask(bytes: Uint8Array): RunCall['tasks'][number] {
  const task = { id: 0, input: NONE, fencingToken: 0 }
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) task.id = numberOf(field, WHAT)
    else if (field.field === 2) task.fencingToken = numberOf(field, WHAT)
    else if (field.field === 3) task.input = bytesOf(field, WHAT, INPUT_BYTES_MAX)
  }
  return task
}

function encodeQuestion(call: ProbeCall | ExplainCall): Uint8Array {
  const writer = new ProtoWriter(call.spec.length + 256)
  writer.bytes(1, bounded(call.spec, JOB_SPEC_BYTES_MAX, 'A job spec'))
  writer.bytes(2, bounded(utf8(call.submitter), JOB_SUBMITTER_BYTES_MAX, 'The name of a submitter'))
  if (call.kind === 'explain') writer.bytes(3, spaceBytes(call.space))
  return writer.finish()
}

function decodeQuestion(bytes: Uint8Array): { spec: Uint8Array; submitter: string } {
  const question = { spec: NONE, submitter: '' }
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) question.spec = bytesOf(field, WHAT, JOB_SPEC_BYTES_MAX)
    else if (field.field === 2) question.submitter = textOf(field, WHAT, JOB_SUBMITTER_BYTES_MAX)
  }
  return question
}

function decodeExplain(bytes: Uint8Array): ExplainCall {
  let space: string | undefined
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 3) space = spaceOf(field, WHAT)
  }
  if (space === undefined) throw malformed(WHAT, 'it names no job')
  return { kind: 'explain', ...decodeQuestion(bytes), space }
}

function encodeLogs({ space, task, attempt }: LogsCall): Uint8Array {
  const writer = new ProtoWriter(256)
  writer.bytes(1, spaceBytes(space))
  writer.uint(2, wholeNumber(task, 'The number of a task'))
  writer.uint(3, wholeNumber(attempt, 'The number of an attempt'))
  return writer.finish()
}

function decodeLogs(bytes: Uint8Array): LogsCall {
  let space: string | undefined
  let [task, attempt] = [0, 0]
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) space = spaceOf(field, WHAT)
    else if (field.field === 2) task = numberOf(field, WHAT)
    else if (field.field === 3) attempt = numberOf(field, WHAT)
  }
  if (space === undefined) throw malformed(WHAT, 'it names no job')
  return { kind: 'logs', space, task, attempt }
}
