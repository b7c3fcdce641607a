// The folder of the log's segments on a disk. (L-1)

import { join } from 'node:path'

import { MeshError } from '../../../base/errors.ts'
import { MIB, formatBytes } from '../../../base/units.ts'
import type { LogFile, LogFolder } from '../../log/log-folder.ts'
import { removeIfThere } from '../durable-file.ts'
import {
  makeFolderDurably,
  storageError,
  syncFolder,
  type FileOps,
  type OpenFile
} from '../file-ops.ts'

/** A file that isn't complete, or has no durable name yet. */
const NEW_SUFFIX = '.new'
/** Zeros are written and synced in steps, so that the log's own syncs come in between. */
const FILL_BYTES: number = MIB

export class FileLogFolder implements LogFolder {
  readonly #ops: FileOps
  readonly #path: string

  /** @param path of the folder; its parent must be there */
  constructor(ops: FileOps, path: string) {
    this.#ops = ops
    this.#path = path
  }

  async open(): Promise<string[]> {
    return await this.#report('open the log in', '', async () => {
      await makeFolderDurably(this.#ops, this.#path)
      const names: string[] = []
      for (const { name, kind } of await this.#ops.listFolder(this.#path)) {
        if (kind !== 'file') continue
        if (name.endsWith(NEW_SUFFIX)) await this.#ops.remove(join(this.#path, name))
        else names.push(name)
      }
      // A process that was killed may have made, renamed or removed names without a sync.
      await syncFolder(this.#ops, this.#path)
      return names
    })
  }

  async openFile(name: string): Promise<LogFile> {
    return await this.#report('open', name, async (path) => {
      const file = await this.#ops.open(path, 'log')
      return this.#logFile(name, file, await file.size())
    })
  }

  async create(name: string, options: { head: Uint8Array; size: number }): Promise<LogFile> {
    return await this.#report('make', name, async (path) => {
      const { size } = options
      // Asked first: filling a disk up to find that there is no room would get in others' way.
      const free = await this.#ops.freeBytes(this.#path)
      if (free < size) {
        throw new MeshError(
          'disk-full',
          `Cannot make ${path}: it needs ${formatBytes(size)}, and ${formatBytes(free)} are free`
        )
      }
      const unnamed = `${path}${NEW_SUFFIX}`
      await removeIfThere(this.#ops, unnamed)
      try {
        await this.#fill(unnamed, options)
        await this.#ops.rename(unnamed, path)
      } catch (error) {
        if (storageError('', error).code !== 'storage-failed') {
          await removeIfThere(this.#ops, unnamed)
        }
        throw error
      }
      await syncFolder(this.#ops, this.#path)
      return this.#logFile(name, await this.#ops.open(path, 'log'), size)
    })
  }

  async remove(name: string): Promise<void> {
    await this.#report('remove', name, async (path) => {
      await removeIfThere(this.#ops, path)
      await syncFolder(this.#ops, this.#path)
    })
  }

  async close(): Promise<void> {
    await Promise.resolve()
  }

  async #fill(path: string, { head, size }: { head: Uint8Array; size: number }): Promise<void> {
    const file = await this.#ops.open(path, 'create')
    try {
      const zeros = new Uint8Array(Math.min(FILL_BYTES, size))
      for (let position = 0; position < size; position += zeros.length) {
        await file.write(zeros.subarray(0, size - position), position)
        if (position === 0) await file.write(head, 0)
        await file.sync()
      }
    } finally {
      await file.close()
    }
  }

  #logFile(name: string, file: OpenFile, size: number): LogFile {
    const path = join(this.#path, name)
    return {
      size,
      read: (buffer, position) => {
        try {
          return readAll(file, buffer, position)
        } catch (error) {
          throw storageError(`read ${path}`, error)
        }
      },
      write: (bytes, position) =>
        this.#report('write', name, () => file.write(bytes, position), true),
      sync: () => this.#report('sync', name, () => file.sync(), true),
      close: () => this.#report('close', name, () => file.close())
    }
  }

  /** @param isFinal whatever fails leaves unknown what the disk holds */
  async #report<T>(
    what: string,
    name: string,
    task: (path: string) => Promise<T>,
    isFinal = false
  ): Promise<T> {
    const path = join(this.#path, name)
    try {
      return await task(path)
    } catch (error) {
      const failure = storageError(`${what} ${path}`, error)
      if (!isFinal || failure.code === 'storage-failed') throw failure
      throw new MeshError('storage-failed', failure.message, { cause: error })
    }
  }
}

function readAll(file: OpenFile, buffer: Uint8Array, position: number): number {
  let filled = 0
  while (filled < buffer.length) {
    const count = file.readNow(buffer.subarray(filled), position + filled)
    if (count === 0) break
    filled += count
  }
  return filled
}
