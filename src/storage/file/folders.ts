// Folders as a whole.

import { readdir } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { nodeFileOps, syncFolder } from './file-ops.ts'

/** A new folder is there after a power cut only if its name is on disk, up to one that was there. */
export async function syncNewFolders(first: string, last: string): Promise<void> {
  const top = resolve(first)
  let at = resolve(last)
  while (at !== top && at !== dirname(at)) {
    await syncFolder(nodeFileOps, dirname(at))
    at = dirname(at)
  }
  await syncFolder(nodeFileOps, dirname(top))
}

/** @returns whether the folder is there and something is in it. */
export async function hasFiles(dir: string): Promise<boolean> {
  try {
    return (await readdir(dir)).length > 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
