// What LMDB says went wrong, as errors of ours.

import { MeshError, errorMessage } from '../../../base/errors.ts'

const MAP_FULL = -30_792
const EIO = 5
const ENOSPC = 28
const EDQUOT = 122
/** Page not found, corrupted, version mismatch, invalid: bytes that make no sense. */
const DAMAGE_CODES: readonly unknown[] = [-30_797, -30_796, -30_794, -30_793]

/** LMDB rejects with one error, which has a promise of the other that says why. */
export async function causeOf(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !('commitError' in error)) return error
  try {
    await error.commitError
    return error
  } catch (cause) {
    return cause
  }
}

export function storageFailure(what: string, cause: unknown, isShort = false): MeshError {
  const code = codeOf(cause)
  const message = `Cannot ${what}: ${errorMessage(cause)}`
  if (DAMAGE_CODES.includes(code)) return new MeshError('corrupt', message, { cause })
  if (isFull(code) || isShort) {
    return new MeshError('disk-full', `${message}; free some space`, { cause })
  }
  return new MeshError('storage-failed', `${message}; look at the disk, then start again`, {
    cause
  })
}

function isFull(code: unknown): boolean {
  return code === MAP_FULL || code === ENOSPC || code === EDQUOT
}

/** A full disk that took a part of what was written looks like this. */
export function isIoError(error: unknown): boolean {
  return codeOf(error) === EIO
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
