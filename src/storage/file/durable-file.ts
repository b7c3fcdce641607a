// Small files that are replaced as a whole: after a crash either the old bytes are there or the new.

import { dirname } from 'node:path'

import { MeshError } from '../../base/errors.ts'
import { MIB } from '../../base/units.ts'
import { isMissing, storageError, syncFolder, type FileOps } from './file-ops.ts'

/** What {@link readFileIfThere} accepts unless told otherwise. */
const DURABLE_FILE_BYTES_MAX: number = MIB

export type WriteFileOptions = {
  /** Permissions before the umask, such as 0o600 for a secret; 0o666 unless given. */
  mode?: number
}

export type ReadFileOptions = { maxBytes?: number }

/**
 * Replaces a file. When it resolves the new bytes survive a power cut. One call at a time per path:
 * the bytes go to `PATH.tmp` first.
 * @throws disk-full, overloaded: the old file is as it was.
 * @throws storage-failed
 */
export async function writeFileDurably(
  ops: FileOps,
  path: string,
  bytes: Uint8Array,
  options: WriteFileOptions = {}
): Promise<void> {
  const temporary = `${path}.tmp`
  try {
    // What a crash left may have other permissions than asked for now.
    await removeIfThere(ops, temporary)
    try {
      await writeNewFile(ops, temporary, bytes, options)
      await ops.rename(temporary, path)
    } catch (error) {
      await removeIfThere(ops, temporary)
      throw error
    }
    await syncFolder(ops, dirname(path))
  } catch (error) {
    throw storageError(`write ${path}`, error)
  }
}

/**
 * Writes a file that isn't there yet and syncs its bytes, not its name.
 * @throws the system's error; the file may then be there in part.
 */
export async function writeNewFile(
  ops: FileOps,
  path: string,
  bytes: Uint8Array,
  options: WriteFileOptions = {}
): Promise<void> {
  const file = await ops.open(path, 'create', options.mode)
  try {
    await file.write(bytes, 0)
    await file.sync()
  } finally {
    await file.close()
  }
}

/**
 * @returns the bytes of a file, the caller's to keep, or `undefined` when there is none.
 * @throws too-large before anything is allocated for it.
 * @throws overloaded, storage-failed
 */
export async function readFileIfThere(
  ops: FileOps,
  path: string,
  options: ReadFileOptions = {}
): Promise<Uint8Array | undefined> {
  const { maxBytes = DURABLE_FILE_BYTES_MAX } = options
  try {
    const file = await ops.open(path, 'read')
    try {
      const size = await file.size()
      if (size > maxBytes) {
        throw new MeshError(
          'too-large',
          `Cannot read ${path}: it has ${size} bytes, more than the ${maxBytes} expected of it`
        )
      }
      const bytes = new Uint8Array(size)
      const count = await readFully(file, bytes)
      return bytes.subarray(0, count)
    } finally {
      await file.close()
    }
  } catch (error) {
    if (isMissing(error)) return undefined
    throw storageError(`read ${path}`, error)
  }
}

/** Fills `buffer` from the start of a file. @returns bytes read, fewer when the file is shorter. */
export async function readFully(
  file: { read(buffer: Uint8Array, position: number): Promise<number> },
  buffer: Uint8Array
): Promise<number> {
  let filled = 0
  while (filled < buffer.length) {
    const count = await file.read(buffer.subarray(filled), filled)
    if (count === 0) break
    filled += count
  }
  return filled
}

/** @throws the system's error, except that the file is missing. */
export async function removeIfThere(ops: FileOps, path: string): Promise<void> {
  try {
    await ops.remove(path)
  } catch (error) {
    if (!isMissing(error)) throw error
  }
}
