// Where modules put their tasks when they are imported, and whoever imported them finds them by
// name. Bundles carry their own copy of this code, so the place is a property of the global object.

const REGISTRY = Symbol.for('atoll.tasks')

/** A task's function gets its context and its input. */
export type TaskFunction = (context: never, input: never) => unknown
export type RegisteredTask = {
  readonly name: string
  readonly fn: TaskFunction
  /** Where it was defined. */
  readonly file: string | undefined
}
type Registry = Map<string, RegisteredTask>

const holder = globalThis as unknown as Record<symbol, Registry | undefined>

/** @returns the tasks of all modules that were imported since the last `newRegistry`. */
export function registry(): Registry {
  return (holder[REGISTRY] ??= new Map())
}

/** Tasks of modules that are imported from now on are apart from all others. */
export function newRegistry(): Registry {
  return (holder[REGISTRY] = new Map())
}
