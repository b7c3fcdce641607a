// What the peer and the processes that run tasks tell each other. Both come from one installation
// and end together, so there are no versions.

import { ERROR_CODES } from '../../base/errors.ts'
import {
  ERROR_MESSAGE_LENGTH_MAX,
  ERROR_STACK_LENGTH_MAX,
  failed,
  type Dependency,
  type Work,
  type WorkError,
  type WorkResult
} from '../executor.ts'
import type { FrameChannel } from './frame-channel.ts'

/** Kinds of frames. The number of a frame is the work's, where it is about one. */
export const MESSAGES = {
  /** To the process, first: `ProcessConfig`. */
  config: 1,
  /** To the process: `JobHead`, the input and what it builds on. */
  run: 2,
  /** To the process. Answered by the work's end, or by `cancelled` when it hadn't begun. */
  cancel: 3,
  /** From the process: it takes work. */
  ready: 16,
  /** The work has begun. With the number of its process group, for a command. */
  started: 17,
  /** Lines, with line feeds between them. */
  lines: 18,
  progress: 19,
  /** The work holds so many bytes, and may soon hold too many. */
  usage: 20,
  done: 21,
  failed: 22,
  cancelled: 23,
  /** As failed; the process can't get rid of the work, and ends itself. */
  fatal: 24
} as const

/** What a thread needs for `files`, `kv` and `locks` of a task's context. */
export type ClientSource = {
  /** URL of a module that exports `connect({ api, token })`. */
  readonly module: string
  readonly api: string
  readonly token: string
}

export type ProcessConfig = {
  readonly slots: number
  readonly client: ClientSource | undefined
}

/** A task, without its input, as the process gets it. */
export type JobHead = {
  readonly id: string
  /** `path`: the file of the code. */
  readonly code:
    | { readonly kind: 'bundle' | 'wasm'; readonly path: string }
    | { readonly kind: 'exec'; readonly command: string; readonly args: readonly string[] }
  readonly exportName: string
  readonly fencingToken: number
  readonly timeoutMs: number
  readonly memoryBytes: number
}

type SentHead = JobHead & {
  readonly inputBytes: number
  readonly after: readonly { name: string; isOne: boolean; sizes: readonly number[] }[]
}

export type Job = JobHead & {
  readonly number: number
  readonly input: Uint8Array
  readonly after: readonly Dependency[]
}

/** How work ended, besides being lost. */
export type Ending = Exclude<WorkResult, { kind: 'lost' }>

const HEAD_LENGTH_BYTES = 4
const DOUBLE_BYTES = 8

export function sendJob(
  channel: FrameChannel,
  number: number,
  head: JobHead,
  { input, after = [] }: Pick<Work, 'input' | 'after'>
): void {
  const sizes = after.map(({ name, isOne, outputs }) => {
    return { name, isOne, sizes: outputs.map(({ length: size }) => size) }
  })
  const sent: SentHead = { ...head, inputBytes: input.length, after: sizes }
  const text = Buffer.from(JSON.stringify(sent))
  const length = Buffer.allocUnsafe(HEAD_LENGTH_BYTES)
  length.writeUInt32LE(text.length)
  const outputs = after.flatMap((dependency) => dependency.outputs)
  channel.send(MESSAGES.run, number, length, text, input, ...outputs)
}

export function readJob(number: number, payload: Buffer): Job {
  const start = HEAD_LENGTH_BYTES + payload.readUInt32LE(0)
  const text = payload.toString('utf8', HEAD_LENGTH_BYTES, start)
  const { inputBytes, after, ...head } = JSON.parse(text) as SentHead
  let end = start
  const next = (size: number): Uint8Array => payload.subarray(end, (end += size))
  const input = next(inputBytes)
  const dependencies = after.map(({ name, isOne, sizes }) => {
    return { name, isOne, outputs: sizes.map(next) }
  })
  return { ...head, number, input, after: dependencies }
}

export function sendConfig(channel: FrameChannel, config: ProcessConfig): void {
  channel.send(MESSAGES.config, 0, Buffer.from(JSON.stringify(config)))
}

export function readConfig(payload: Buffer): ProcessConfig {
  return JSON.parse(payload.toString()) as ProcessConfig
}

export function sendDouble(
  channel: FrameChannel,
  kind: number,
  number: number,
  value: number
): void {
  channel.send(kind, number, doubleBytes(value))
}

export function sendEnding(channel: FrameChannel, number: number, ending: Ending): void {
  if (ending.kind === 'done') {
    channel.send(MESSAGES.done, number, doubleBytes(ending.durationMs), ending.output)
  } else {
    channel.send(MESSAGES.failed, number, Buffer.from(JSON.stringify(ending)))
  }
}

/** @returns undefined when it isn't what it should be */
export function readEnding(kind: number, payload: Buffer): Ending | undefined {
  if (kind === MESSAGES.done) {
    if (payload.length < DOUBLE_BYTES) return undefined
    const output = payload.subarray(DOUBLE_BYTES)
    return { kind: 'done', output, durationMs: payload.readDoubleLE(0) }
  }
  return endingOf(parsed(payload))
}

/** @returns 0 when it isn't one */
export function readDouble(payload: Buffer): number {
  return payload.length === DOUBLE_BYTES ? payload.readDoubleLE(0) : 0
}

/** Makes an error small enough to be sent and stored. */
export function boundedError({ code, message, stack }: WorkError): WorkError {
  return {
    code,
    message: message.slice(0, ERROR_MESSAGE_LENGTH_MAX),
    stack: stack?.slice(0, ERROR_STACK_LENGTH_MAX)
  }
}

function doubleBytes(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(DOUBLE_BYTES)
  bytes.writeDoubleLE(value)
  return bytes
}

function parsed(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString())
  } catch {
    return undefined
  }
}

type Claimed = {
  readonly error?: Record<'code' | 'message' | 'stack', unknown>
  readonly isRetryable?: unknown
  readonly durationMs?: unknown
}

/** Whatever runs in the process could have sent it. */
function endingOf(value: unknown): Ending | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { error, isRetryable, durationMs } = value as Claimed
  if (typeof error?.code !== 'string' || !Object.hasOwn(ERROR_CODES, error.code)) return undefined
  if (typeof error.message !== 'string' || typeof durationMs !== 'number') return undefined
  const { code, message, stack } = error
  const claimed = { code, message, stack: typeof stack === 'string' ? stack : undefined }
  return failed(boundedError(claimed as WorkError), {
    isRetryable: isRetryable === true,
    durationMs
  })
}
