// What a function uses that isn't its own.

import { runInNewContext } from 'node:vm'
import type { parse as Parse } from 'acorn'

/** What every worker has besides the language itself. */
const NODE_GLOBALS = `
  AbortController AbortSignal Blob BroadcastChannel Buffer ByteLengthQueuingStrategy
  CompressionStream CountQueuingStrategy Crypto CryptoKey CustomEvent DOMException
  DecompressionStream Event EventTarget File FormData Headers MessageChannel MessageEvent
  MessagePort Navigator Performance PerformanceEntry PerformanceMark PerformanceMeasure
  PerformanceObserver PerformanceObserverEntryList PerformanceResourceTiming
  ReadableByteStreamController ReadableStream ReadableStreamBYOBReader ReadableStreamBYOBRequest
  ReadableStreamDefaultController ReadableStreamDefaultReader Request Response SubtleCrypto
  TextDecoder TextDecoderStream TextEncoder TextEncoderStream TransformStream
  TransformStreamDefaultController URL URLSearchParams WebSocket WritableStream
  WritableStreamDefaultController WritableStreamDefaultWriter atob btoa clearImmediate
  clearInterval clearTimeout console crypto fetch global navigator performance process
  queueMicrotask setImmediate setInterval setTimeout structuredClone`

/** Put into programs by those who keep the names of functions while they compile (esbuild, tsx). */
export const NAME_HELPER = '__name'

type Node = { readonly type: string } & Readonly<Record<string, unknown>>
let globals: ReadonlySet<string> | undefined

/**
 * @param source of an expression, such as what `String(fn)` is
 * @returns names that stand for something outside of it, sorted; undefined when it is no expression
 */
export async function freeVariables(source: string): Promise<string[] | undefined> {
  // Of use to those who submit functions, and not small.
  const [{ parse }, { analyze }] = await Promise.all([import('acorn'), import('eslint-scope')])
  const tree = parsed(parse, source)
  if (tree === undefined) return undefined
  const guarded = namesAskedFor(tree)
  globals ??= knownGlobals()
  const { globalScope } = analyze(tree as never, {
    ecmaVersion: 2_022,
    sourceType: 'module'
  })
  const free = new Set<string>()
  for (const { identifier } of globalScope?.through ?? []) {
    const { name } = identifier as unknown as { name: string }
    if (!globals.has(name) && !guarded.has(name)) free.add(name)
  }
  return [...free].toSorted()
}

function knownGlobals(): ReadonlySet<string> {
  // Of a context without anybody's additions: what this program has isn't what a worker has.
  const language = runInNewContext('Object.getOwnPropertyNames(globalThis)') as string[]
  return new Set([...language, ...NODE_GLOBALS.trim().split(/\s+/), NAME_HELPER])
}

function parsed(parse: typeof Parse, source: string): Node | undefined {
  try {
    const options = { ecmaVersion: 'latest', sourceType: 'module', ranges: true } as const
    return parse(`(${source}\n)`, options) as unknown as Node
  } catch {
    // A method in short form, or native code: the caller says what to do about it.
    return undefined
  }
}

/** @returns names of which it is asked with `typeof` whether they are there */
function namesAskedFor(tree: Node): ReadonlySet<string> {
  const names = new Set<string>()
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(visit)
    if (!isNode(value)) return
    const { type, operator, argument } = value
    if (type === 'UnaryExpression' && operator === 'typeof' && isNode(argument)) {
      if (typeof argument['name'] === 'string') names.add(argument['name'])
    }
    Object.values(value).forEach(visit)
  }
  visit(tree)
  return names
}

function isNode(value: unknown): value is Node {
  return typeof value === 'object' && value !== null && 'type' in value
}
