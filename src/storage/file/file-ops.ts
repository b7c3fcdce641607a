// Every call that durable files make on the file system, as an interface, so that tests can inject
// faults and crashes; and the real one.

import * as fs from 'node:fs'
import { dirname } from 'node:path'

import { MeshError } from '../../base/errors.ts'

/**
 * - `create`: write; fails when there is such a file.
 * - `overwrite`: write from empty; makes the file when there is none.
 * - `read`: a file that is there.
 * - `folder`: a folder that is there, to sync it.
 * - `log`: read and write a file that is there; what is written is durable when the write ends.
 */
export type OpenMode = 'create' | 'overwrite' | 'read' | 'folder' | 'log'

export type OpenFile = {
  /** Reads from `position` (bytes) into `buffer`; @returns bytes read, 0 at the end of the file. */
  read(buffer: Uint8Array, position: number): Promise<number>
  /** As `read`, at once: blocks the process for as long as the disk takes. */
  readNow(buffer: Uint8Array, position: number): number
  /** Writes all of `bytes` at `position` (bytes). */
  write(bytes: Uint8Array, position: number): Promise<void>
  /**
   * For a file: its bytes, and what is needed to read them, survive a power cut. For a folder: the
   * names in it do. Never retried after a failure, which may have dropped the dirty pages.
   */
  sync(): Promise<void>
  /** Bytes of the file. */
  size(): Promise<number>
  close(): Promise<void>
}

export type FolderEntry = { name: string; kind: 'file' | 'folder' | 'other' }

/** Paths are absolute. Every call rejects with the system's error, whose `code` is its errno name. */
export type FileOps = {
  /** @param permissions of a file that is made, before the umask; 0o666 unless given. */
  open(path: string, mode: OpenMode, permissions?: number): Promise<OpenFile>
  /** @returns whether it was made; `false` when it was there. Its parent must be there. */
  makeFolder(path: string): Promise<boolean>
  listFolder(path: string): Promise<FolderEntry[]>
  /** Bytes of a file, or of the link itself for a link. */
  sizeOf(path: string): Promise<number>
  /** Replaces a file of that name. */
  rename(from: string, to: string): Promise<void>
  /** Removes a file. */
  remove(path: string): Promise<void>
  /** Bytes that this process may still use on the file system that holds `path`. */
  freeBytes(path: string): Promise<number>
}

const { O_CREAT, O_DSYNC, O_EXCL, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY } = fs.constants
/**
 * On Linux a write with O_DSYNC ends as a write and an fdatasync would, with one trip through the
 * thread pool instead of two (116 us against 187 for 4 KiB). Elsewhere it may promise less: macOS
 * leaves the bytes in the drive's cache, while its fdatasync here asks for more.
 */
const SYNCS_WRITES: boolean = process.platform === 'linux'
const FLAGS: Readonly<Record<OpenMode, number>> = {
  create: O_WRONLY | O_CREAT | O_EXCL,
  overwrite: O_WRONLY | O_CREAT | O_TRUNC,
  read: O_RDONLY,
  folder: O_RDONLY,
  log: SYNCS_WRITES ? O_RDWR | O_DSYNC : O_RDWR
}
const DEFAULT_PERMISSIONS = 0o666

type Done<T> = (error: NodeJS.ErrnoException | null, value: T) => void

/**
 * The callback forms of node:fs are used because they cost less per call than fs.promises, which
 * wraps every file in an object that the garbage collector has to watch.
 */
function call<T>(start: (done: Done<T>) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    start((error, value) => {
      if (error === null) resolve(value)
      else reject(error)
    })
  })
}

function callVoid(
  start: (done: (error: NodeJS.ErrnoException | null) => void) => void
): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => {
      if (error === null) resolve()
      else reject(error)
    })
  })
}

class NodeFile implements OpenFile {
  readonly #descriptor: number
  readonly #mode: OpenMode

  constructor(descriptor: number, mode: OpenMode) {
    this.#descriptor = descriptor
    this.#mode = mode
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return call((done) =>
      fs.read(this.#descriptor, buffer, 0, buffer.length, position, (error, count) =>
        done(error, count)
      )
    )
  }

  readNow(buffer: Uint8Array, position: number): number {
    return fs.readSync(this.#descriptor, buffer, 0, buffer.length, position)
  }

  async write(bytes: Uint8Array, position: number): Promise<void> {
    let written = 0
    while (written < bytes.length) {
      const from = written
      written += await call<number>((done) =>
        fs.write(
          this.#descriptor,
          bytes,
          from,
          bytes.length - from,
          position + from,
          (error, count) => done(error, count)
        )
      )
    }
    if (this.#mode === 'log' && !SYNCS_WRITES) await this.sync()
  }

  sync(): Promise<void> {
    // A folder has no bytes apart from its names, so fdatasync would promise nothing for it.
    if (this.#mode === 'folder') return callVoid((done) => fs.fsync(this.#descriptor, done))
    return callVoid((done) => fs.fdatasync(this.#descriptor, done))
  }

  async size(): Promise<number> {
    const stats = await call<fs.Stats>((done) => fs.fstat(this.#descriptor, done))
    return stats.size
  }

  // Closing what is synced, or was only read, does no I/O: a trip through the thread pool would
  // cost ten times the call.
  async close(): Promise<void> {
    await Promise.resolve()
    fs.closeSync(this.#descriptor)
  }
}

function kindOf(entry: fs.Dirent): FolderEntry['kind'] {
  if (entry.isFile()) return 'file'
  return entry.isDirectory() ? 'folder' : 'other'
}

/** The file system of this machine. */
export const nodeFileOps: FileOps = {
  async open(path, mode, permissions = DEFAULT_PERMISSIONS) {
    const descriptor = await call<number>((done) => fs.open(path, FLAGS[mode], permissions, done))
    return new NodeFile(descriptor, mode)
  },
  async makeFolder(path) {
    try {
      await callVoid((done) => fs.mkdir(path, done))
      return true
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return false
      throw error
    }
  },
  async listFolder(path) {
    const entries = await call<fs.Dirent[]>((done) =>
      fs.readdir(path, { withFileTypes: true }, done)
    )
    return entries.map((entry) => ({ name: entry.name, kind: kindOf(entry) }))
  },
  async sizeOf(path) {
    const stats = await call<fs.Stats>((done) => fs.lstat(path, done))
    return stats.size
  },
  rename: (from, to) => callVoid((done) => fs.rename(from, to, done)),
  remove: (path) => callVoid((done) => fs.unlink(path, done)),
  async freeBytes(path) {
    const stats = await call<fs.StatsFs>((done) => fs.statfs(path, done))
    return stats.bavail * stats.bsize
  }
}

/** Makes the names in a folder durable. */
export async function syncFolder(ops: FileOps, path: string): Promise<void> {
  const folder = await ops.open(path, 'folder')
  try {
    await folder.sync()
  } finally {
    await folder.close()
  }
}

/** Makes a folder, and its name durable, unless it is there. @returns whether it was made. */
export async function makeFolderDurably(ops: FileOps, path: string): Promise<boolean> {
  const made = await ops.makeFolder(path)
  if (made) await syncFolder(ops, dirname(path))
  return made
}

/** @returns the errno name (`ENOENT`…) of a system error, else `undefined`. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined
  return error instanceof MeshError ? undefined : String(error.code)
}

export function isMissing(error: unknown): boolean {
  return errnoOf(error) === 'ENOENT'
}

/** Also true when the file system has no room for another file, or the user's quota is used up. */
export function isDiskFull(error: unknown): boolean {
  const errno = errnoOf(error)
  return errno === 'ENOSPC' || errno === 'EDQUOT'
}

/** The machine is short of something other than disk; the call may work later. */
function isTransient(error: unknown): boolean {
  const errno = errnoOf(error)
  return errno === 'EMFILE' || errno === 'ENFILE' || errno === 'ENOMEM' || errno === 'EAGAIN'
}

/**
 * @param what couldn't be done: `store block b…`.
 * @returns a system error as `disk-full`, `overloaded` or `storage-failed`; a MeshError as it is.
 * @throws anything else, which is a programmer error.
 */
export function storageError(what: string, error: unknown): MeshError {
  if (error instanceof MeshError) return error
  if (!(error instanceof Error) || errnoOf(error) === undefined) throw error
  if (isDiskFull(error)) {
    const message = `Cannot ${what}: the disk is full (${error.message}); free some space on it`
    return new MeshError('disk-full', message, { cause: error })
  }
  if (isTransient(error)) {
    const message = `Cannot ${what} now: ${error.message}; try again later`
    return new MeshError('overloaded', message, { cause: error })
  }
  const message = `Cannot ${what}: ${error.message}; check the disk and the folder's permissions`
  return new MeshError('storage-failed', message, { cause: error })
}
