// The files that a job reads: those that are named, and all that are in directories that are.

import { MeshError } from '../../base/errors.ts'
import type { CallOptions } from '../../shard/shards.ts'
import type { DirectoryItem, FileStat } from '../files/files.ts'

/** A file of the mesh, as tasks get it. */
export type FileRef = { readonly path: string; readonly cid: string; readonly bytes: number }

/** Files of one job. */
const FILES_MAX = 1_000_000

export type ListedFiles = {
  stat(name: string, options?: CallOptions): Promise<FileStat>
  ls(path?: string, options?: CallOptions): AsyncIterable<DirectoryItem>
}

/** @returns files in the order of their paths @throws not-found, too-large, invalid-argument */
export async function inputFiles(
  files: ListedFiles,
  paths: readonly string[],
  options: CallOptions
): Promise<FileRef[]> {
  const found: FileRef[] = []
  const add = (path: string, cid: string | undefined, bytes: number): void => {
    if (cid === undefined) throw new MeshError('not-found', `${path} has no bytes to read`)
    if (found.length >= FILES_MAX) {
      throw new MeshError('too-large', `A job reads at most ${FILES_MAX} files; name fewer`)
    }
    found.push({ path, cid, bytes })
  }
  const walk = async (path: string): Promise<void> => {
    for await (const { name, type, cid, bytes } of files.ls(path, options)) {
      const inner = `${path}/${name}`
      if (type === 'directory') await walk(inner)
      else add(inner, cid, bytes)
    }
  }
  for (const named of paths) {
    const path = named.replace(/\/+$/, '')
    // A volume by itself is no name of a file.
    const isVolume = !path.includes('/') && !path.startsWith('baf')
    const stat = isVolume ? undefined : await files.stat(path, options)
    if (stat === undefined || stat.type === 'directory') await walk(path)
    else add(path, stat.cid, stat.bytes)
  }
  return found
}
