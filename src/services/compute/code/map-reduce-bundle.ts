// The program of a map-reduce job: the user's functions, and the tasks that call them.

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MeshError } from '../../../base/errors.ts'
import type { MapReduceProgram } from '../map-reduce-task.ts'
import { existing } from './bundle-file.ts'
import { bundle } from './bundler.ts'
import { folderOf, sourceOf, type TaskCode } from './code-of.ts'

const EXPORT = 'mapReduce'

/** @param file exports map, reduce and perhaps combine @throws not-found, invalid-code, invalid-argument */
export async function mapReduceBundle(file: string): Promise<TaskCode> {
  const path = await existing(file)
  const { exports } = await bundle({ file: path })
  for (const name of ['map', 'reduce']) {
    if (exports.includes(name)) continue
    const has = exports.length === 0 ? 'nothing' : exports.join(', ')
    throw new MeshError('invalid-argument', `${file} exports ${has}, and no function "${name}"`)
  }
  return await bundled(`import * as program from ${JSON.stringify(path)}`, folderOf(path))
}

/** @param program of functions that use nothing from around them @throws not-self-contained */
export async function mapReduceSource(program: MapReduceProgram): Promise<TaskCode> {
  const { map, reduce, combine } = program
  const functions = { map, reduce, ...(combine === undefined ? {} : { combine }) }
  return await bundled(`const program = ${sourceOf(functions)}`, process.cwd())
}

async function bundled(begin: string, folder: string): Promise<TaskCode> {
  const source = [
    begin,
    `import { mapReduceTask } from ${JSON.stringify(taskModule())}`,
    `export const ${EXPORT} = mapReduceTask(program)`
  ]
  return { ...(await bundle({ source: source.join('\n'), folder })), exportName: EXPORT }
}

/** Beside this file, or where the build put it beside the program that this became a part of. */
function taskModule(): string {
  const own = import.meta.url
  const isBundled = own.endsWith('/bundle/atoll.js')
  const name = own.endsWith('.ts') ? 'map-reduce-task.ts' : 'map-reduce-task.js'
  const path = isBundled ? join('..', 'services', 'compute', name) : join('..', name)
  return fileURLToPath(new URL(path, own))
}
