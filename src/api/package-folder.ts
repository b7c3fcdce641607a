// Where this program is installed, from wherever in it the caller was put by the build.

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { assert } from '../base/assert.ts'

/** The clone, or the installed package. */
export const PACKAGE_FOLDER: string = packageFolder(import.meta.dirname)

/** @returns the URL of the module that gives a task its connection to the node */
export function clientModule(): string {
  const isSource = import.meta.url.endsWith('.ts')
  const path = isSource ? ['src', 'api', 'remote', 'connect.ts'] : ['dist', 'bundle', 'connect.js']
  return pathToFileURL(join(PACKAGE_FOLDER, ...path)).href
}

function packageFolder(from: string): string {
  if (existsSync(join(from, 'package.json'))) return from
  const above = dirname(from)
  assert(above !== from, 'the program is part of a package')
  return packageFolder(above)
}
