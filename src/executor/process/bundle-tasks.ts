// The tasks of a bundle: its module is imported once in each thread.

import { pathToFileURL } from 'node:url'
import { MeshError, errorMessage } from '../../base/errors.ts'
import { newRegistry, type TaskFunction } from '../task-registry.ts'

type Bundle = {
  readonly registered: ReadonlyMap<string, { readonly fn: TaskFunction }>
  readonly module: Readonly<Record<string, unknown>>
}
type Callable = (context: object, input: unknown) => unknown

const bundles = new Map<string, Bundle>()

/**
 * @returns the function of a task: one registered by that name, or what the module exports by it
 * @throws invalid-code
 */
export async function taskOf(path: string, name: string): Promise<Callable> {
  const bundle = bundles.get(path) ?? (await load(path))
  const task = bundle.registered.get(name) ?? bundle.module[name]
  const fn = typeof task === 'function' ? task : (task as { fn?: unknown } | undefined)?.fn
  if (typeof fn === 'function') return fn as Callable
  const names = [...bundle.registered.keys(), ...Object.keys(bundle.module)]
  const found = names.length === 0 ? 'nothing' : [...new Set(names)].slice(0, 20).join(', ')
  throw new MeshError(
    'invalid-code',
    `There is no task "${name}" in the bundle, which has ${found}`
  )
}

async function load(path: string): Promise<Bundle> {
  const registered = newRegistry()
  try {
    const module = (await import(pathToFileURL(path).href)) as Bundle['module']
    const bundle = { registered, module }
    bundles.set(path, bundle)
    return bundle
  } catch (error) {
    const message = `The bundle can't be imported: ${errorMessage(error)}`
    throw new MeshError('invalid-code', message, { cause: error })
  }
}
