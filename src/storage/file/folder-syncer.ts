// Group commit of folders: names that were put into one folder at about the same time share the
// fsync that makes them durable.

import { MeshError, errorMessage } from '../../base/errors.ts'
import { storageError, type FileOps, type OpenFile } from './file-ops.ts'

type Folder = {
  /** Kept open: opening it for each fsync would triple the calls. */
  file: OpenFile | undefined
  running: Promise<void> | undefined
  /** An fsync that waits for the running one to end; a name put there by now is in it. */
  next: Promise<void> | undefined
}

export class FolderSyncer {
  readonly #ops: FileOps
  /** At most one per folder of the block store (256). */
  readonly #folders = new Map<string, Folder>()

  constructor(ops: FileOps) {
    this.#ops = ops
  }

  /**
   * Resolves after an fsync of the folder that began after this call.
   * @throws overloaded when the folder couldn't be opened now.
   * @throws storage-failed when it couldn't be synced, for any reason: what the disk holds of it is
   *   unknown from then on.
   */
  sync(path: string): Promise<void> {
    const folder = this.#folders.get(path) ?? {
      file: undefined,
      running: undefined,
      next: undefined
    }
    this.#folders.set(path, folder)
    if (folder.running === undefined) {
      folder.running = this.#run(folder, path)
      return folder.running
    }
    folder.next ??= this.#runAfter(folder.running, folder, path)
    return folder.next
  }

  /** Call it when no sync is under way. */
  async close(): Promise<void> {
    for (const folder of this.#folders.values()) await folder.file?.close()
    this.#folders.clear()
  }

  async #runAfter(before: Promise<void>, folder: Folder, path: string): Promise<void> {
    // Its failure is reported to those who wait for it; this one reports its own.
    await before.catch(() => undefined)
    folder.running = folder.next
    folder.next = undefined
    await this.#run(folder, path)
  }

  async #run(folder: Folder, path: string): Promise<void> {
    try {
      folder.file ??= await this.#open(path)
      await folder.file.sync()
    } catch (error) {
      throw error instanceof MeshError ? error : syncFailed(path, error)
    } finally {
      // A next one, if any, takes over as the running one when it sees this one settle.
      if (folder.next === undefined) folder.running = undefined
    }
  }

  async #open(path: string): Promise<OpenFile> {
    try {
      return await this.#ops.open(path, 'folder')
    } catch (error) {
      throw storageError(`open folder ${path}`, error)
    }
  }
}

function syncFailed(path: string, error: unknown): MeshError {
  return new MeshError(
    'storage-failed',
    `Cannot sync folder ${path}: ${errorMessage(error)}; check the disk`,
    { cause: error }
  )
}
