// How a program says what is to be run elsewhere: a function with a name.

import { MeshError } from '../../../base/errors.ts'
import { registry, type RegisteredTask } from '../../../executor/task-registry.ts'
import { callerFile } from './caller-file.ts'
import type { TaskContext } from './task-context.ts'
import type { TaskOptions } from '../task-options.ts'

const NAME = /^[A-Za-z0-9_.:-]{1,128}$/

/** A function that any node can run. */
export type TaskDefinition<Input, Output> = {
  readonly name: string
  readonly fn: (context: TaskContext<Input>, input: Input) => Output
  readonly options: TaskOptions
  /** The file in which it was defined; undefined when that isn't known. */
  readonly file: string | undefined
}

/**
 * Defines a task.
 *
 * A function that uses nothing from around it travels by itself. One that does travels with its
 * whole file, so it is defined at the top of a file of its own, which may import what it likes.
 *
 * @param name one of its own in its file; letters, digits, `_ . : -`
 * @example
 * ```ts
 * export const thumb = task('thumb', async (ctx, file: FileRef) => …, { memory: '256MB' })
 * const result = await mesh.run(thumb, file)
 * ```
 * @throws invalid-argument
 */
export function task<Input = undefined, Output = unknown>(
  name: string,
  fn: (context: TaskContext<Input>, input: Input) => Output,
  options: TaskOptions = {}
): TaskDefinition<Input, Output> {
  if (!NAME.test(name)) {
    const rule = 'it has 1 to 128 letters, digits, dots, colons, dashes and underscores'
    throw new MeshError('invalid-argument', `"${name.slice(0, 80)}" is no name of a task: ${rule}`)
  }
  const file = callerFile(import.meta.filename)
  register({ name, fn, file })
  return { name, fn, options, file }
}

/** A bundle is one file: a worker couldn't tell two of one name apart. */
function register(registered: RegisteredTask): void {
  const { name, fn, file } = registered
  const other = registry().get(name)
  if (other !== undefined && other.file === file && String(other.fn) !== String(fn)) {
    const where = file === undefined ? '' : ` in ${file}`
    throw new MeshError('invalid-argument', `There are two tasks "${name}"${where}`)
  }
  registry().set(name, registered)
}
