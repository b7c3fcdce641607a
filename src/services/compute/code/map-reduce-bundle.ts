// The program of a map-reduce job: the user's functions, and the tasks that call them.

import { MeshError } from '../../../base/errors.ts'
import type { MapReduceProgram } from '../map-reduce-task.ts'
import { existing } from './bundle-file.ts'
import { bundle } from './bundler.ts'
import { folderOf, sourceOf, type TaskCode } from './code-of.ts'
import { OWN_MODULES } from './own-modules.ts'

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
  const given: Readonly<Record<string, unknown>> = program
  const names = ['map', 'reduce', 'combine'].filter((name) => given[name] !== undefined)
  const functions = Object.fromEntries(names.map((name) => [name, given[name]]))
  return await bundled(`const program = ${await sourceOf(functions)}`, process.cwd())
}

async function bundled(begin: string, folder: string): Promise<TaskCode> {
  const source = [
    begin,
    `import { mapReduceTask } from ${JSON.stringify(OWN_MODULES.mapReduceTask)}`,
    `export const ${EXPORT} = mapReduceTask(program)`
  ]
  return { ...(await bundle({ source: source.join('\n'), folder })), exportName: EXPORT }
}
