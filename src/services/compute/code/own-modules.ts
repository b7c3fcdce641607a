// What a program that is bundled gets of this package: not all of it, which is a node with native
// parts, but what a task can use. Modules are named by their place in the package, so that a bundle
// has the same bytes wherever it is made.

import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname, extname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Loader, Plugin } from 'esbuild'

const NAMESPACE = 'atoll'
const PACKAGE = 'atoll-mesh'
const CODE = posix.join('services', 'compute', 'code')

/** What programs in bundles are made of besides the user's: names for imports. */
export const OWN_MODULES = {
  mapReduceTask: 'atoll:map-reduce-task',
  topologyOf: 'atoll:topology-of'
} as const

/** Where this package is: the clone, or the installed one. */
const ROOT = projectFolder(dirname(fileURLToPath(import.meta.url)))
/** The modules one by one, as they were written or as they were compiled. */
const IS_SOURCE = import.meta.url.endsWith('.ts')
const FOLDER = IS_SOURCE ? 'src' : 'dist'
const ENDING = IS_SOURCE ? '.ts' : '.js'

const moduleOf = (name: string): string => posix.join(FOLDER, `${name}${ENDING}`)
const MODULES: Readonly<Record<string, string>> = {
  [PACKAGE]: moduleOf(posix.join(CODE, 'task-kit')),
  [OWN_MODULES.mapReduceTask]: moduleOf(posix.join('services', 'compute', 'map-reduce-task')),
  [OWN_MODULES.topologyOf]: moduleOf(posix.join('services', 'topology', 'topology-of'))
}
/** The package as the files of a clone may import it. */
const INDEXES: readonly string[] = [join(ROOT, 'src', 'index.ts'), join(ROOT, 'dist', 'index.js')]

export const ownModules: Plugin = {
  name: 'own-modules',
  setup(build) {
    const found = (path: string): object => ({ path, namespace: NAMESPACE, sideEffects: false })
    build.onResolve({ filter: /^(?:atoll-mesh$|atoll:)/ }, ({ path }) => {
      const own = MODULES[path]
      return own === undefined ? undefined : found(own)
    })
    build.onResolve({ filter: /(?:^|\/)index\.[jt]s$/ }, ({ path, resolveDir }) => {
      return INDEXES.includes(join(resolveDir, path)) ? found(MODULES[PACKAGE] ?? '') : undefined
    })
    build.onResolve({ filter: /^\./, namespace: NAMESPACE }, ({ path, importer }) =>
      found(posix.join(posix.dirname(importer), path))
    )
    build.onLoad({ filter: /.*/, namespace: NAMESPACE }, async ({ path }) => {
      const file = join(ROOT, path)
      const loader = extname(file).slice(1) as Loader
      return { contents: await readFile(file), loader, resolveDir: dirname(file) }
    })
  }
}

/**
 * Native parts of packages are of one kind of machine and don't travel. Where a package can do
 * without, it may.
 */
export const noNativeParts: Plugin = {
  name: 'no-native-parts',
  setup(build) {
    build.onLoad({ filter: /\.node$/ }, ({ path }) => {
      const name = /node_modules[/\\]((?:@[^/\\]+[/\\])?[^/\\]+)(?!.*node_modules)/.exec(path)?.[1]
      const what = `${name ?? path} has a native part, which does not travel with a task`
      return { contents: `throw new Error(${JSON.stringify(what)})`, loader: 'js' }
    })
  }
}

/** @returns the nearest folder from here upwards that has a package.json; else the one given */
export function projectFolder(from: string): string {
  for (let folder = from; ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'package.json'))) return folder
    if (dirname(folder) === folder) return from
  }
}
