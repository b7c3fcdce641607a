// What runs tasks, as everything else sees it: work goes in as bytes, and comes out as bytes.
// Nothing here decodes what others wrote.

import { MeshError, type ErrorCode } from '../base/errors.ts'
import { KIB, MIB } from '../base/units.ts'

/** Input or output of a task. */
export const WORK_BYTES_MAX: number = 64 * MIB
/** A bundle or a WebAssembly module. */
export const CODE_BYTES_MAX: number = 16 * MIB
/** A line that a task logs, in UTF-8; what is longer is cut. */
export const LOG_LINE_BYTES_MAX: number = 8 * KIB
/** Lines of a task that wait to be told; the oldest go. */
export const LOG_BYTES_MAX: number = 256 * KIB
/** A value told by `progress`, encoded; what is larger isn't told. */
export const PROGRESS_BYTES_MAX: number = 4 * KIB
/** What is kept of an error's message, and of its stack. */
export const ERROR_MESSAGE_LENGTH_MAX = 1_024
export const ERROR_STACK_LENGTH_MAX = 8_192
/** From the abort of a task's signal until it is ended by force. */
export const GRACE_MS = 200
/** Work that waits for a slot, at most; more is refused. */
export const WAITING_COUNT_MAX = 4_096
/** The longest that a task may take: what a timer of Node.js can wait for. */
export const TIMEOUT_MS_MAX = 2_147_000_000

/** What a task is made of. A CID is given to `loadCode`, and its bytes are kept. */
export type Code =
  /** A JavaScript module, made by `services/compute/code`. */
  | { readonly kind: 'bundle'; readonly cid: string }
  /** A WebAssembly module that exports `memory`, `alloc` and `run`. */
  | { readonly kind: 'wasm'; readonly cid: string }
  /** A program of the node's machine, started without a shell. */
  | { readonly kind: 'exec'; readonly command: string; readonly args: readonly string[] }

export type WorkLimits = {
  /** From the start of the task; waiting for a slot or for the code doesn't count. */
  readonly timeoutMs: number
  /** What the task may hold, in and out of the heap. */
  readonly memoryBytes: number
}

/** What tasks before this one have come to. */
export type Dependency = {
  readonly name: string
  /** It is one value, not a list of them. */
  readonly isOne: boolean
  /** Values in the form of `encodeValue`. */
  readonly outputs: readonly Uint8Array[]
}

export type Work = {
  /** For people: in logs and errors. */
  readonly id: string
  readonly code: Code
  /** Of a bundle: the name of the task, or of what the module exports. */
  readonly exportName: string
  /** Of a bundle: a value in the form of `encodeValue`. Not to be changed until the work has ended. */
  readonly input: Uint8Array
  /** What it builds on, by name in `after` of the context of a bundle's task. */
  readonly after?: readonly Dependency[] | undefined
  readonly limits: WorkLimits
  /** Told to the task, for what refuses a smaller one. */
  readonly fencingToken: number
}

export type WorkError = {
  readonly code: ErrorCode
  readonly message: string
  readonly stack?: string | undefined
}

export type WorkResult =
  | { readonly kind: 'done'; readonly output: Uint8Array; readonly durationMs: number }
  | {
      readonly kind: 'failed'
      readonly error: WorkError
      /** Whether it may go better another time, or elsewhere. */
      readonly isRetryable: boolean
      readonly durationMs: number
    }
  /** What ran it ended, for a reason that may be somebody else's. */
  | { readonly kind: 'lost'; readonly reason: string }

export type RunOptions = {
  /** Ends the work: the task's own signal is aborted, and after 200 ms it is ended by force. */
  readonly signal?: AbortSignal | undefined
  /** The task has a slot and begins. Not called for work that is refused or cancelled before. */
  readonly onStart?: (() => void) | undefined
  /** A line of at most `LOG_LINE_BYTES_MAX`. */
  readonly onLog?: ((line: string) => void) | undefined
  /** A value in the form of `encodeValue`: the latest one, some times a second at most. */
  readonly onProgress?: ((value: Uint8Array) => void) | undefined
}

/** @returns the bytes of a CID @throws what the caller is told, as an error that can be retried */
export type LoadCode = (cid: string, options: { signal: AbortSignal }) => Promise<Uint8Array>

export type Executor = {
  /** Tasks that run at one time. */
  readonly slots: number
  start(): Promise<void>
  /** Ends everything that runs; it was lost. Idempotent. */
  stop(): Promise<void>
  /**
   * Runs a task, or lets it wait for a slot, in the order of the calls.
   *
   * @throws the signal's reason, when the task has ended after it; overloaded (too many wait),
   *   invalid-argument, too-large, executor-failed, stopped: it wasn't begun
   */
  run(work: Work, options?: RunOptions): Promise<WorkResult>
  /** Slots that nothing runs in and nothing waits for. */
  freeSlots(): number
  /** Calls when work has ended and a slot is free. @returns a function that ends it */
  onFree(listener: () => void): () => void
}

/** @throws invalid-argument, too-large */
export function checkWork(work: Work): void {
  const { id, code, limits, fencingToken } = work
  const refuse = (why: string): never => {
    throw new MeshError('invalid-argument', `Cannot run task ${id}: ${why}`)
  }
  const bytes = bytesOf(work)
  if (bytes > WORK_BYTES_MAX) {
    const sizes = `${bytes} bytes, at most ${WORK_BYTES_MAX}`
    throw new MeshError('too-large', `Cannot run task ${id}: its input has ${sizes}`)
  }
  const { timeoutMs, memoryBytes } = limits
  if (!(timeoutMs > 0 && timeoutMs <= TIMEOUT_MS_MAX)) {
    refuse(`its timeout is ${timeoutMs} ms; it is more than 0 and at most ${TIMEOUT_MS_MAX}`)
  }
  if (!Number.isSafeInteger(memoryBytes) || memoryBytes < MIB) {
    refuse(`its memory is ${memoryBytes} bytes; it is a whole number, 1 MiB at least`)
  }
  if (!Number.isSafeInteger(fencingToken)) refuse(`its fencing token is ${fencingToken}`)
  if (code.kind === 'exec') {
    if (code.command === '') refuse('its command is empty')
    if ([code.command, ...code.args].some((word) => word.includes('\0'))) {
      refuse('its command has a NUL character')
    }
  } else if (!/^[A-Za-z0-9]{1,128}$/.test(code.cid)) {
    // It becomes the name of a file.
    refuse('the CID of its code is none')
  }
}

/** @returns bytes of the input and of what the work builds on */
export function bytesOf({ input, after = [] }: Work): number {
  if (after.length === 0) return input.length
  const sizes = after.flatMap(({ outputs }) => outputs.map(({ length }) => length))
  return sizes.reduce((sum, size) => sum + size, input.length)
}

/** @returns how a task ended that used too much of something, or was told to end. */
export function failed(
  error: WorkError,
  options: { isRetryable: boolean; durationMs?: number }
): WorkResult & { kind: 'failed' } {
  const { isRetryable, durationMs = 0 } = options
  return { kind: 'failed', error, isRetryable, durationMs }
}
