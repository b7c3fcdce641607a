// Operating errors: what can go wrong although the program is right. Callers test `code`.

/**
 * Every code an Atoll error can carry. The number is its form on the wire; append only, never
 * reuse a number.
 */
export const ERROR_CODES = {
  /** A bug or an unknown failure at the far end. */
  internal: 1,
  /** An argument is malformed or outside its range. */
  'invalid-argument': 2,
  /** Bytes from disk or network don't follow their format. */
  'invalid-data': 3,
  /** A frame, block or body is longer than its limit. */
  'too-large': 4,
  /** A bounded queue or table is full; try again later. */
  overloaded: 5,
  /** The deadline passed before an answer came. */
  timeout: 6,
  /** The peer can't be reached now. */
  unreachable: 7,
  /** The peer doesn't serve this protocol. */
  'unsupported-protocol': 8,
  /** The peer belongs to another mesh. */
  'wrong-mesh': 9,
  /** No protocol in common, or the peer is too old or too new. */
  'version-mismatch': 10,
  /** A request came before the hello exchange. */
  'not-admitted': 11,
  /** The node was evicted and may not come back with this identity. */
  evicted: 12,
  /** Two running nodes share one identity (a copied data folder). */
  'cloned-identity': 13,
  /** Nothing by this name or id. */
  'not-found': 14,
  /** Fewer replicas answered than the quorum needs. */
  'no-quorum': 15,
  /** The disk, or this node's share of it, is full. */
  'disk-full': 16,
  /** Stored bytes don't match their hash. */
  corrupt: 17,
  /** The disk failed; the store has stopped to keep what it has. */
  'storage-failed': 18,
  /** The data folder is in use by another process. */
  'folder-locked': 19,
  /** The data folder was written by a newer version. */
  'folder-too-new': 20,
  /** The data folder holds no node, or holds one where none may be. */
  'folder-state': 21,
  /** The source changed while it was read. */
  'file-changed': 22,
  /** The byte range lies outside the file. */
  'invalid-range': 23,
  /** The node is stopping or has stopped. */
  stopped: 24,
  /** The local API refused the token. */
  unauthorized: 25,
  /** The caller gave up (AbortSignal). */
  aborted: 26,
  /** The revision is so old that the shard doesn't keep it any more. */
  compacted: 27,
  /** The shard has all the bytes that it may; deletes still work. */
  'quota-exceeded': 28,
  /** The shard doesn't remember the client's requests any more, so it repeats none. */
  'client-expired': 29,
  /** The replica doesn't lead its group; the details say who may. */
  'not-leader': 30,
  /** What the caller expected to find isn't what is there; nothing was done. */
  conflict: 31,
  /** There is something by this name already. */
  exists: 32,
  /** A file or directory can't be moved from one volume to another. */
  'cross-volume': 33,
  /** The directory isn't empty. */
  'not-empty': 34,
  /** A file stands where a directory is needed. */
  'not-a-directory': 35,
  /** A directory stands where a file is needed. */
  'is-a-directory': 36,
  /** The task threw, or its command ended with an error. */
  'task-failed': 37,
  /** The task took longer than it may, and was ended. */
  'task-timeout': 38,
  /** The task used more memory than it may, and was ended. */
  'task-memory': 39,
  /** The task ended the thread or the process that it ran in. */
  'task-exited': 40,
  /** What the task returned can't be sent. */
  'invalid-result': 41,
  /** The code of a task can't be loaded, or hasn't got the task. */
  'invalid-code': 42,
  /** The task uses what isn't in its own text, and isn't in a module of its own. */
  'not-self-contained': 43,
  /** The process that runs tasks keeps ending; it is tried again later. */
  'executor-failed': 44
} as const

export type ErrorCode = keyof typeof ERROR_CODES

const CODE_BY_NUMBER: ReadonlyMap<number, ErrorCode> = new Map(
  Object.entries(ERROR_CODES).map(([code, number]) => [number, code as ErrorCode])
)

/** @returns the code of a wire number; `internal` for a number this version doesn't know. */
export function errorCodeFromNumber(number: number): ErrorCode {
  return CODE_BY_NUMBER.get(number) ?? 'internal'
}

export type MeshErrorOptions = { cause?: unknown; details?: Readonly<Record<string, unknown>> }

/**
 * The one class of operating error. `message` names what couldn't be done and why; `code` is what
 * programs test.
 */
export class MeshError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: MeshErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'MeshError'
    this.code = code
    this.details = options.details ?? {}
  }
}

/** @returns whether `error` is a MeshError, of that code when one is given. */
export function isMeshError(error: unknown, code?: ErrorCode): error is MeshError {
  return error instanceof MeshError && (code === undefined || error.code === code)
}

/** @returns `error` itself when it is a MeshError, else one of `code` that has it as cause. */
export function toMeshError(error: unknown, code: ErrorCode = 'internal'): MeshError {
  if (error instanceof MeshError) return error
  return new MeshError(code, errorMessage(error), { cause: error })
}

/** @returns one line that describes anything that was thrown. */
export function errorMessage(error: unknown): string {
  if (error instanceof Error) return error.message === '' ? error.name : error.message
  return String(error)
}
