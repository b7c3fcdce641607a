// A folder's files, for commands that take all of them.

import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { MeshError } from '../../base/errors.ts'
import { formatBytes } from '../../base/units.ts'

const FILES_MAX = 2_000
const BYTES_MAX = 512 * 1_048_576
const SKIPPED_FOLDERS: readonly string[] = ['node_modules', '.git', 'dist']

/**
 * Every file below a folder but those of `node_modules`, `.git` and `dist`.
 *
 * @param skip more names of folders that are left out
 * @throws too-large beyond 2 000 files or 512 MiB; not-found when there is none
 */
export async function listFiles(
  folder: string,
  skip: readonly string[] = []
): Promise<{ path: string; bytes: number }[]> {
  const skipped = new Set([...SKIPPED_FOLDERS, ...skip])
  const files: { path: string; bytes: number }[] = []
  let total = 0
  const visit = async (at: string): Promise<void> => {
    for (const entry of await readdir(at, { withFileTypes: true })) {
      const path = join(at, entry.name)
      if (entry.isDirectory() && !skipped.has(entry.name)) await visit(path)
      if (!entry.isFile()) continue
      const { size } = await stat(path)
      total += size
      files.push({ path, bytes: size })
      if (files.length > FILES_MAX || total > BYTES_MAX) {
        throw new MeshError(
          'too-large',
          `${folder} has more than ${FILES_MAX} files or ${formatBytes(BYTES_MAX)}: give the demo a smaller folder`
        )
      }
    }
  }
  await visit(folder)
  if (files.length === 0) throw new MeshError('not-found', `There are no files in ${folder}`)
  return files
}
