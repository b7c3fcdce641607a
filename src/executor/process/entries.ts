// Where the programs of the processes and threads are, and what those may read. They stand beside
// this file, or beside the bundled program that it became a part of.

import { existsSync, realpathSync } from 'node:fs'
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
    // That threads may have other rights is known.
    '--disable-warning=PERM0006',
    `--max-old-space-size=${MAIN_HEAP_BYTES / MIB}`,
    `--max-semi-space-size=${MAIN_YOUNG_BYTES / MIB}`
  ]
}

/**
 * Flags for the threads of such a process. Without the right to start threads: one that a task starts
 * would have all the rights that it likes.
 */
export function threadFlags(): string[] {
  return process.execArgv.filter((flag) =>
    /^--(?:permission$|allow-fs-read=|disable-warning=)/.test(flag)
  )
}

/** Folders, with a separator at the end, and files. */
function programFolders(): string[] {
  const root = packageFolder(dirname(fileURLToPath(import.meta.url)))
  const program = [join(root, 'src') + sep, join(root, 'dist') + sep, join(root, 'package.json')]
  return [...program, ...libraryFolders(root)]
}

/** Libraries stand in the package, or in a folder above it; that may be a link, which is read too. */
function libraryFolders(from: string): string[] {
  const folder = join(from, 'node_modules')
  const above = dirname(from)
  const found = existsSync(folder) ? [folder, folder + sep] : []
  return above === from ? found : [...found, ...libraryFolders(above)]
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
