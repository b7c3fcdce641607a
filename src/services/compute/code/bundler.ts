// Puts a program and all that it imports into one file that any node can run. The same program gives
// the same bytes, so that its CID is its version.

import { dirname } from 'node:path'
import type { BuildOptions, BuildResult } from 'esbuild'
import { concatBytes, fromUtf8, utf8 } from '../../../base/bytes.ts'
import { errorMessage, MeshError } from '../../../base/errors.ts'
import { CODE_BYTES_MAX } from '../../../executor/executor.ts'
import { noNativeParts, ownModules, projectFolder } from './own-modules.ts'

export type Entry = { readonly file: string } | { readonly source: string; readonly folder: string }
export type Bundled = { readonly source: Uint8Array; readonly exports: readonly string[] }

/** What esbuild says when a program wants what `task-kit.ts` doesn't have. */
const NOT_IN_KIT = /No matching export in ".*task-kit\.[jt]s" for import "(\w+)"/
/**
 * Libraries in the older form of modules ask for parts of Node.js with `require`. It isn't a variable
 * of the module: the program may have one of that name.
 */
const REQUIRE =
  "import { createRequire as __createRequire } from 'node:module'; globalThis.require ??= __createRequire('/');\n"

/** @returns the program, and the names that it exports @throws invalid-code, too-large */
export async function bundle(entry: Entry): Promise<Bundled> {
  const what = 'file' in entry ? entry.file : 'the task'
  const { outputFiles, metafile } = await built(entry, what)
  const contents = outputFiles[0]?.contents ?? new Uint8Array(0)
  const isRequiring = fromUtf8(contents).includes('__require')
  const source = isRequiring ? concatBytes([utf8(REQUIRE), contents]) : contents
  if (source.length > CODE_BYTES_MAX) {
    const sizes = `${source.length} bytes; at most ${CODE_BYTES_MAX} travel`
    throw new MeshError('too-large', `With all that it imports ${what} has ${sizes}`)
  }
  return { source, exports: Object.values(metafile.outputs)[0]?.exports ?? [] }
}

const OPTIONS = {
  bundle: true,
  write: false,
  metafile: true,
  platform: 'node',
  format: 'esm',
  target: 'node22',
  charset: 'utf8',
  keepNames: true,
  legalComments: 'none',
  logLevel: 'silent',
  outfile: 'task.mjs',
  plugins: [ownModules, noNativeParts]
} as const satisfies BuildOptions

async function built(entry: Entry, what: string): Promise<BuildResult<typeof OPTIONS>> {
  // It is large, and most commands never need it.
  const { build } = await import('esbuild')
  const folder = 'file' in entry ? dirname(entry.file) : entry.folder
  try {
    return await build({
      ...OPTIONS,
      plugins: [...OPTIONS.plugins],
      // Files are named in the bundle by their place in the project, wherever that is.
      absWorkingDir: projectFolder(folder),
      ...('file' in entry
        ? { entryPoints: [entry.file] }
        : { stdin: { contents: entry.source, resolveDir: folder, loader: 'ts' as const } })
    })
  } catch (error) {
    const [, name] = NOT_IN_KIT.exec(errorMessage(error)) ?? []
    const message =
      name === undefined
        ? errorMessage(error)
        : `a task's file can import "task", "topology", "compare", "op", "MeshError" and "isMeshError" of ` +
          `atoll-mesh, not "${name}"; the mesh is in the context as files, kv and locks`
    throw new MeshError('invalid-code', `Cannot bundle ${what}: ${message}`, { cause: error })
  }
}
