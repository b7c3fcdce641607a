// What a function uses that isn't its own.

import { parse } from 'acorn'
import { analyze } from 'eslint-scope'

/** What every worker has. */
const GLOBALS: ReadonlySet<string> = new Set(Object.getOwnPropertyNames(globalThis))
/** Parts of the language that look like variables. */
const WORDS: ReadonlySet<string> = new Set(['undefined', 'arguments', 'globalThis'])

/**
 * @param source of an expression, such as what `String(fn)` is
 * @returns names that stand for something outside of it, sorted; undefined when it can't be read
 */
export function freeVariables(source: string): string[] | undefined {
  const options = { ecmaVersion: 'latest', sourceType: 'module' } as const
  const tree = parsed(`(${source})`, options)
  if (tree === undefined) return undefined
  const scopes = analyze(tree as never, { ecmaVersion: 2_022, sourceType: 'module' })
  const names = new Set<string>()
  for (const { identifier } of scopes.globalScope?.through ?? []) {
    const { name } = identifier as unknown as { name: string }
    if (!GLOBALS.has(name) && !WORDS.has(name)) names.add(name)
  }
  return [...names].toSorted()
}

function parsed(source: string, options: Parameters<typeof parse>[1]): unknown {
  try {
    return parse(source, options)
  } catch {
    // A method in short form, or native code: the caller says what to do about it.
    return undefined
  }
}
