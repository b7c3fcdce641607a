// From a task to the code that travels.

import { dirname, resolve } from 'node:path'
import { MeshError } from '../../../base/errors.ts'
import { utf8 } from '../../../base/bytes.ts'
import { bundle } from './bundler.ts'
import { freeVariables } from './free-variables.ts'
import type { TaskDefinition } from './task.ts'

export type TaskCode = { readonly source: Uint8Array; readonly exportName: string }

/** What free variables are called in messages, at most. */
const NAMED_MAX = 10

/**
 * @returns the function by itself where it uses nothing from around it; else its file with all that
 *   it imports
 * @throws not-self-contained, invalid-code, too-large
 */
export async function codeOf(task: TaskDefinition<never, unknown>): Promise<TaskCode> {
  const { name, fn, file } = task
  const text = String(fn)
  const free = freeVariables(text)
  if (free?.length === 0) {
    return { source: utf8(`const fn = ${text}\nexport { fn as task }\n`), exportName: 'task' }
  }
  const isMain = process.argv[1] !== undefined && file === resolve(process.argv[1])
  if (file !== undefined && !isMain) {
    const { source } = await bundle({ file })
    return { source, exportName: name }
  }
  throw notSelfContained(name, free)
}

/**
 * @param functions which use nothing from around them
 * @returns the source of an object with them
 * @throws not-self-contained
 */
export function sourceOf(functions: Readonly<Record<string, unknown>>): string {
  const parts = Object.entries(functions).map(([name, fn]) => {
    const text = String(fn)
    // A method in short form is one of the object that it is put into.
    const free = freeVariables(text)
    if (free === undefined) {
      const inObject = freeVariables(`{ ${text} }`)
      if (inObject?.length === 0) return text
      throw notSelfContained(name, inObject)
    }
    if (free.length > 0) throw notSelfContained(name, free)
    return `${name}: ${text}`
  })
  return `{\n${parts.join(',\n')}\n}`
}

function notSelfContained(name: string, free: readonly string[] | undefined): MeshError {
  const shown = free?.slice(0, NAMED_MAX).join(', ') ?? 'what its text does not show'
  const rest = (free?.length ?? 0) > NAMED_MAX ? ', …' : ''
  const advice = 'move it into a file of its own that exports it, or pass what it uses as its input'
  return new MeshError(
    'not-self-contained',
    `Task "${name}" uses ${shown}${rest} from around it, which doesn't travel: ${advice}`,
    { details: { free } }
  )
}

/** The folder that imports of a program are looked for from. */
export function folderOf(file: string): string {
  return dirname(resolve(file))
}
