// A file with functions, as a command is given it.

import { access } from 'node:fs/promises'
import { resolve } from 'node:path'
import { MeshError } from '../../../base/errors.ts'
import { bundle } from './bundler.ts'

/** @returns the file with all that it imports, and what it exports @throws not-found, invalid-code */
export async function bundleFile(
  path: string
): Promise<{ source: Uint8Array; exports: readonly string[] }> {
  return await bundle({ file: await existing(path) })
}

/** @returns its whole path @throws not-found */
export async function existing(path: string): Promise<string> {
  const file = resolve(path)
  try {
    await access(file)
    return file
  } catch (error) {
    const message = `There is no file ${path}; it is one of this machine, not of the mesh`
    throw new MeshError('not-found', message, { cause: error })
  }
}
