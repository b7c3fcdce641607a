// A bundle as a module of this process: of the user's own files, which they could start as well.

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { errorMessage, MeshError } from '../../base/errors.ts'

/** @throws invalid-code when it can't be imported */
export async function withImported<Result>(
  source: Uint8Array,
  use: (module: Readonly<Record<string, unknown>>) => Result
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), 'atoll-module-'))
  try {
    const path = join(folder, 'module.mjs')
    await writeFile(path, source)
    return use((await import(pathToFileURL(path).href)) as Record<string, unknown>)
  } catch (error) {
    throw new MeshError('invalid-code', `Cannot import it: ${errorMessage(error)}`, {
      cause: error
    })
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
