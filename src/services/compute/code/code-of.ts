// From a task to the code that travels.

import { realpathSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { MeshError } from '../../../base/errors.ts'
import { utf8 } from '../../../base/bytes.ts'
import { bundle } from './bundler.ts'
import { freeVariables, NAME_HELPER } from './free-variables.ts'
import type { TaskDefinition } from './task.ts'

export type TaskCode = { readonly source: Uint8Array; readonly exportName: string }

/** What free variables are called in messages, at most. */
const NAMED_MAX = 10
/** What the program that was started may be called without. */
const ENDINGS = ['', '.js', '.mjs', '.ts', '.mts']
/** A way to other modules; those of Node.js are everywhere. */
const IMPORTS_OTHERS = /\bimport\s*\(\s*(?!['"`]node:)/

/**
 * @returns the function by itself where it uses nothing from around it; else its file with all that
 *   it imports
 * @throws not-self-contained, invalid-argument, invalid-code, too-large
 */
export async function codeOf(task: TaskDefinition<never, unknown>): Promise<TaskCode> {
  const { name, fn, file } = task
  const { text, free } = await selfOf(name, fn)
  if (free?.length === 0) {
    const source = `${helperOf(text)}const fn = ${text}\nexport { fn as ${JSON.stringify(name)} }\n`
    return { source: await travelling(source, file), exportName: name }
  }
  if (file !== undefined && !isMain(file)) {
    return { source: (await bundle({ file })).source, exportName: name }
  }
  throw notSelfContained(name, free)
}

/**
 * @param functions which use nothing from around them
 * @returns the source of an object with them
 * @throws not-self-contained, invalid-argument
 */
export async function sourceOf(functions: Readonly<Record<string, unknown>>): Promise<string> {
  const parts = await Promise.all(
    Object.entries(functions).map(async ([name, fn]) => {
      const { text, free } = await selfOf(name, fn)
      if (free?.length !== 0) throw notSelfContained(name, free)
      return `${JSON.stringify(name)}: ${text}`
    })
  )
  const object = `{\n${parts.join(',\n')}\n}`
  return parts.some((part) => helperOf(part) !== '') ? `(${HELPER}, ${object})` : object
}

/** Makes names of functions as the compiler of the program meant them to be. */
const HELPER = `globalThis.${NAME_HELPER} ??= (fn) => fn`

function helperOf(text: string): string {
  return text.includes(`${NAME_HELPER}(`) ? `${HELPER}\n` : ''
}

/** @returns the function as an expression, and what it uses from around it */
async function selfOf(
  name: string,
  fn: unknown
): Promise<{ text: string; free: readonly string[] | undefined }> {
  const text = String(fn)
  if (typeof fn !== 'function' || /^class\b/.test(text) || text.includes('[native code]')) {
    const what = typeof fn === 'function' ? 'a class, or native or bound' : typeof fn
    throw new MeshError('invalid-argument', `Task "${name}" is no plain function: it is ${what}`)
  }
  const free = await freeVariables(text)
  if (free !== undefined) return { text, free }
  // A method in short form is one of an object.
  const object = `Object.values({ ${text} })[0]`
  return { text: object, free: await freeVariables(object) }
}

/** A function may import others where it needs them, from the point of view of its file. */
async function travelling(source: string, file: string | undefined): Promise<Uint8Array> {
  if (!IMPORTS_OTHERS.test(source)) return utf8(source)
  const folder = file === undefined ? process.cwd() : dirname(file)
  return (await bundle({ source, folder })).source
}

/** Whether it is the program that was started: importing it elsewhere would start it there. */
export function isMain(file: string): boolean {
  const [, main] = process.argv
  if (main === undefined) return false
  return ENDINGS.some((ending) => realPath(resolve(main + ending)) === realPath(file))
}

function realPath(path: string): string {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
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
