// What calls about tasks are made of, and how much of it there may be: protocols/job, J-1.

import { fromUtf8, utf8 } from '../base/bytes.ts'
import { isMeshError, MeshError } from '../base/errors.ts'
import { blockId } from '../base/ids.ts'
import { KIB, MIB } from '../base/units.ts'
import { blockIdFromBytes, blockIdToBytes } from '../core/block/block-id.ts'
import { checkJobSpace, parseJobSpace } from '../core/machine/job-names.ts'
import { SPACE_BYTES_MAX } from '../core/machine/limits.ts'
import { malformed } from './proto.ts'
import { OneOf } from './proto-one-of.ts'
import { bytesOf, numberOf, textOf } from './proto-values.ts'
import { ProtoWriter, readFields } from './proto-writer.ts'
import type { ProtoField } from './proto-writer.ts'

/** What is run: a block with a bundle of JavaScript or a WebAssembly module, or a command of the node's. */
export type CodeRef =
  | { kind: 'bundle' | 'wasm'; cid: string }
  | { kind: 'exec'; command: string; args: readonly string[] }

/** Of each task. */
export type TaskLimits = { timeoutMs: number; memoryBytes: number }

export const JOB_FRAME_BYTES_MAX: number = 2 * MIB
/** Tasks of one run. */
export const RUN_TASKS_MAX = 256
/** An input; more than that is a file, which the task reads by itself. */
export const INPUT_BYTES_MAX: number = 256 * KIB
export const TASK_NAME_BYTES_MAX = 128
/** Over 24 days: what a timer can wait for. */
export const TASK_TIMEOUT_MS_MAX = 2_147_000_000
export const COMMAND_ARGS_MAX = 64
/** A command and its arguments together. */
const COMMAND_BYTES_MAX: number = 4 * KIB

/** @returns what is wrong with it, for people; undefined when nothing is. */
export function codeProblem(code: CodeRef): string | undefined {
  return code.kind === 'exec' ? commandProblem(code) : cidProblem(code.cid)
}

/** @returns what is wrong with the name of a task of such code; undefined when nothing is. */
export function taskNameProblem(task: string, { kind }: CodeRef): string | undefined {
  if (utf8(task).length > TASK_NAME_BYTES_MAX) {
    return `the name of a task has at most ${TASK_NAME_BYTES_MAX} bytes`
  }
  if (task === '' && kind !== 'exec') return `a ${kind} needs the name of the task in it`
  return undefined
}

/** @returns what is wrong with them, for people; undefined when nothing is. */
export function limitsProblem({ timeoutMs, memoryBytes }: TaskLimits): string | undefined {
  if (!Number.isSafeInteger(timeoutMs) || timeoutMs < 1 || timeoutMs > TASK_TIMEOUT_MS_MAX) {
    return `a timeout of ${timeoutMs} ms; 1 to ${TASK_TIMEOUT_MS_MAX} can be`
  }
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < 1) {
    return `a memory of ${memoryBytes} bytes; 1 and more can be`
  }
  return undefined
}

function cidProblem(cid: string): string | undefined {
  try {
    blockIdToBytes(blockId(cid))
    return undefined
  } catch (error) {
    if (isMeshError(error)) return error.message
    throw error
  }
}

function commandProblem({ command, args }: CodeRef & { kind: 'exec' }): string | undefined {
  if (command === '') return 'a command has no name'
  if (args.length > COMMAND_ARGS_MAX) {
    return `a command has ${args.length} arguments; at most ${COMMAND_ARGS_MAX} can be`
  }
  const texts = [command, ...args]
  // No operating system takes it.
  if (texts.some((text) => text.includes('\0'))) return 'a command has a NUL in it'
  const bytes = texts.reduce((sum, text) => sum + utf8(text).length, 0)
  if (bytes > COMMAND_BYTES_MAX) {
    return `a command has ${bytes} bytes with its arguments; at most ${COMMAND_BYTES_MAX} can be`
  }
  return undefined
}

const CODE = new OneOf<CodeRef['kind']>('its code', { bundle: 1, wasm: 2, exec: 3 })

/** @throws invalid-argument */
export function encodeCode(code: CodeRef): Uint8Array {
  if (code.kind !== 'exec') return CODE.encode(code.kind, blockIdToBytes(blockId(code.cid)))
  throwIfWrong(commandProblem(code))
  return CODE.encode('exec', encodeCommand(code))
}

function encodeCommand({ command, args }: CodeRef & { kind: 'exec' }): Uint8Array {
  const writer = new ProtoWriter(128)
  writer.bytes(1, utf8(command))
  for (const arg of args) writer.present(2, utf8(arg))
  return writer.finish()
}

/** @throws invalid-data, invalid-argument for an id of no block */
export function decodeCode(bytes: Uint8Array, what: string): CodeRef {
  const { kind, content } = CODE.decode(bytes, what)
  return kind === 'exec' ? decodeCommand(content, what) : { kind, cid: blockIdFromBytes(content) }
}

function decodeCommand(bytes: Uint8Array, what: string): CodeRef {
  let command = ''
  const args: string[] = []
  for (const field of readFields(bytes, what)) {
    if (field.field === 1) command = textOf(field, what, COMMAND_BYTES_MAX)
    else if (field.field === 2) {
      if (args.length === COMMAND_ARGS_MAX)
        throw malformed(what, `it has more than ${COMMAND_ARGS_MAX} arguments`)
      args.push(textOf(field, what, COMMAND_BYTES_MAX))
    }
  }
  const code = { kind: 'exec', command, args } as const
  const problem = commandProblem(code)
  if (problem !== undefined) throw malformed(what, problem)
  return code
}

/** @throws invalid-argument */
export function encodeLimits(limits: TaskLimits): Uint8Array {
  throwIfWrong(limitsProblem(limits))
  const writer = new ProtoWriter(24)
  writer.uint(1, limits.timeoutMs)
  writer.uint(2, limits.memoryBytes)
  return writer.finish()
}

/** @throws invalid-data */
export function decodeLimits(bytes: Uint8Array, what: string): TaskLimits {
  const limits = { timeoutMs: 0, memoryBytes: 0 }
  for (const field of readFields(bytes, what)) {
    if (field.field === 1) limits.timeoutMs = numberOf(field, what)
    else if (field.field === 2) limits.memoryBytes = numberOf(field, what)
  }
  const problem = limitsProblem(limits)
  if (problem !== undefined) throw malformed(what, problem)
  return limits
}

/** @returns the space of a job's part. @throws invalid-data */
export function spaceOf(field: ProtoField, what: string): string {
  const space = bytesOf(field, what, SPACE_BYTES_MAX)
  if (parseJobSpace(space) === undefined) throw malformed(what, 'it names what is no job')
  return fromUtf8(space)
}

/** @throws invalid-argument */
export function spaceBytes(space: string): Uint8Array {
  const bytes = utf8(space)
  checkJobSpace(bytes)
  return bytes
}

/** @returns whether an id is there twice; ids that ascend, as they do mostly, cost nothing. */
export function hasRepeated(tasks: readonly { readonly id: number }[]): boolean {
  let last = -1
  for (const { id } of tasks) {
    if (id <= last) return new Set(tasks.map((task) => task.id)).size < tasks.length
    last = id
  }
  return false
}

/** For what is to be written. @throws invalid-argument unless it is a whole number up to `max` */
export function wholeNumber(
  value: number,
  what: string,
  max: number = Number.MAX_SAFE_INTEGER
): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value
  throw new MeshError('invalid-argument', `${what} is ${value}; 0 to ${max} can be`)
}

/** @throws invalid-argument when there is a problem */
export function throwIfWrong(problem: string | undefined): void {
  if (problem !== undefined)
    throw new MeshError('invalid-argument', `Such a task can't be: ${problem}`)
}
