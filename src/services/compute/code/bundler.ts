// Puts a program and all that it imports into one file that any node can run. The same program gives
// the same bytes, so that its CID is its version.

import { dirname } from 'node:path'
import { errorMessage, MeshError } from '../../../base/errors.ts'
import { CODE_BYTES_MAX } from '../../../executor/executor.ts'

export type Entry = { readonly file: string } | { readonly source: string; readonly folder: string }

/** @returns the program, and the names that it exports @throws invalid-code, too-large */
export async function bundle(
  entry: Entry
): Promise<{ source: Uint8Array; exports: readonly string[] }> {
  // It is large, and most commands never need it.
  const { build } = await import('esbuild')
  const what = 'file' in entry ? entry.file : 'the task'
  try {
    const { outputFiles, metafile } = await build({
      ...('file' in entry
        ? { entryPoints: [entry.file], absWorkingDir: dirname(entry.file) }
        : {
            stdin: { contents: entry.source, resolveDir: entry.folder, loader: 'ts' as const },
            absWorkingDir: entry.folder
          }),
      bundle: true,
      write: false,
      metafile: true,
      platform: 'node',
      format: 'esm',
      target: 'node22',
      keepNames: true,
      legalComments: 'none',
      logLevel: 'silent',
      outfile: 'task.mjs',
      banner: {
        js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire('/');"
      }
    })
    const [output] = outputFiles
    const exports = Object.values(metafile.outputs)[0]?.exports ?? []
    const source = output?.contents ?? new Uint8Array(0)
    if (source.length <= CODE_BYTES_MAX) return { source, exports }
    const sizes = `${source.length} bytes; at most ${CODE_BYTES_MAX} travel`
    throw new MeshError('too-large', `With all that it imports ${what} has ${sizes}`)
  } catch (error) {
    if (error instanceof MeshError) throw error
    const message = `Cannot bundle ${what}: ${errorMessage(error)}`
    throw new MeshError('invalid-code', message, { cause: error })
  }
}
