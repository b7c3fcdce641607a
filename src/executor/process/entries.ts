// Where the programs of the processes and threads are, and what those may read. They stand beside
// this file, or beside the bundled program that it became a part of.

import { existsSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MIB } from '../../base/units.ts'

/** The main thread passes messages along; what it passes is outside of its heap. */
const MAIN_HEAP_BYTES: number = 96 * MIB
const MAIN_YOUNG_BYTES: number = 4 * MIB

/** A file of its own in every form of the program: `bin/bundle.js` has the same list. */
export type EntryName = 'executor-child' | 'executor-thread' | 'exec-child'

export function entryUrl(name: EntryName): URL {
  const own = import.meta.url
  return new URL(`${name}${own.endsWith('.ts') ? '.ts' : '.js'}`, own)
}

/** @returns flags of Node.js for a process that may read the program, the code, and nothing else */
export function confinedFlags(codeFolder: string, extraFolders: readonly string[] = []): string[] {
  const folders = new Set([codeFolder, ...programFolders(), ...extraFolders].flatMap(bothPaths))
  return [
    '--permission',
    '--allow-worker',
    ...[...folders].map((folder) => `--allow-fs-read=${folder}`),
    // That threads could leave the confinement is known: it keeps mistakes in, not attackers.
    '--disable-warning=PERM0006',
    `--max-old-space-size=${MAIN_HEAP_BYTES / MIB}`,
    `--max-semi-space-size=${MAIN_YOUNG_BYTES / MIB}`
  ]
}

/** Folders, with a separator at the end, and files. */
function programFolders(): string[] {
  const root = packageFolder(dirname(fileURLToPath(import.meta.url)))
  const libraries = createRequire(import.meta.url)
    .resolve('piscina')
    .split(`${sep}piscina${sep}`)[0]
  return [
    join(root, 'src') + sep,
    join(root, 'dist') + sep,
    join(root, 'package.json'),
    ...(libraries === undefined ? [] : [libraries + sep])
  ]
}

function packageFolder(from: string): string {
  const above = dirname(from)
  return existsSync(join(from, 'package.json')) || above === from ? from : packageFolder(above)
}

/** Rights are compared by name: a folder that is a link has two. */
function bothPaths(path: string): string[] {
  try {
    const real = realpathSync(path)
    return [path, path.endsWith(sep) && !real.endsWith(sep) ? real + sep : real]
  } catch {
    return [path]
  }
}
