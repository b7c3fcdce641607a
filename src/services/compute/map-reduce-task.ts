// The two tasks of a map-reduce job, as they run on a worker: Dean and Ghemawat, "MapReduce", 2004,
// §3.1 and §4.3. A map task reads its part of a file, groups what the program makes of the lines, and
// returns a list for each partition; a reduce task takes its partition of all of them.

import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { linesOf, type LinePart } from './line-reader.ts'

/** What the user's program has. */
export type MapReduceProgram = {
  /** @returns pairs of a key and a value, of one line */
  map(
    line: string
  ): Iterable<readonly [string, unknown]> | AsyncIterable<readonly [string, unknown]>
  /** Several values of a key into one, early; may be called any number of times. */
  combine?: ((key: string, values: unknown[]) => unknown) | undefined
  /** All values of a key into the one that is written. */
  reduce(key: string, values: unknown[]): unknown
}

/** A part of a file to map. */
export type MapInput = LinePart & {
  readonly kind: 'map'
  readonly cid: string
  readonly partitions: number
}

/** A partition to reduce, and where it is written; undefined: it is returned. */
export type ReduceInput = {
  readonly kind: 'reduce'
  readonly partition: number
  readonly path: string | undefined
}

type Grouped = readonly (readonly [string, unknown[]])[]
/** For each partition, its keys in order. */
export type MapOutput = { readonly partitions: readonly Grouped[] }
export type ReduceOutput = { readonly keys: number; readonly bytes: number; readonly text?: string }

type Context = {
  readonly signal: AbortSignal
  readonly files: {
    get(cid: string, range: { offset: number; length: number }): AsyncIterable<Uint8Array>
    put(path: string, bytes: Uint8Array, options: { replace: boolean }): Promise<unknown>
  }
  readonly after: { readonly map?: readonly MapOutput[] }
}

/** Values of a key that are gathered before they are combined. */
const COMBINED_AT = 32

/** @returns the function that runs either task of a job */
export function mapReduceTask(
  program: MapReduceProgram
): (context: Context, input: MapInput | ReduceInput) => Promise<MapOutput | ReduceOutput> {
  return async (context, input) =>
    input.kind === 'map'
      ? await runMap(program, context, input)
      : await runReduce(program, context, input)
}

async function runMap(
  program: MapReduceProgram,
  { files, signal }: Context,
  input: MapInput
): Promise<MapOutput> {
  const groups = new Map<string, unknown[]>()
  const { combine } = program
  for await (const line of linesOf((range) => files.get(input.cid, range), input)) {
    signal.throwIfAborted()
    for await (const [key, value] of program.map(line)) {
      const values = groups.get(key)
      if (values === undefined) groups.set(key, [value])
      else {
        values.push(value)
        if (combine !== undefined && values.length >= COMBINED_AT) {
          groups.set(key, [combine(key, values)])
        }
      }
    }
  }
  const partitions: [string, unknown[]][][] = Array.from({ length: input.partitions }, () => [])
  for (const [key, values] of groups) {
    const combined = combine !== undefined && values.length > 1 ? [combine(key, values)] : values
    partitions[partitionOf(key, input.partitions)]?.push([key, combined])
  }
  for (const partition of partitions) partition.sort(byKey)
  return { partitions }
}

async function runReduce(
  program: MapReduceProgram,
  { files, after, signal }: Context,
  { partition, path }: ReduceInput
): Promise<ReduceOutput> {
  const groups = new Map<string, unknown[]>()
  for (const { partitions } of after.map ?? []) {
    for (const [key, values] of partitions[partition] ?? []) {
      const known = groups.get(key)
      if (known === undefined) groups.set(key, [...values])
      else known.push(...values)
    }
  }
  signal.throwIfAborted()
  const lines: string[] = []
  for (const [key, values] of [...groups].toSorted(byKey)) {
    lines.push(`${key}\t${textOf(program.reduce(key, values))}\n`)
  }
  const bytes = utf8(lines.join(''))
  if (path === undefined) return { keys: groups.size, bytes: bytes.length, text: fromUtf8(bytes) }
  // The same bytes whoever writes them, and how often.
  await files.put(path, bytes, { replace: true })
  return { keys: groups.size, bytes: bytes.length }
}

/** FNV-1a over the code units, so that every worker says the same. */
function partitionOf(key: string, count: number): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193)
  return (hash >>> 0) % count
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : a > b ? 1 : 0
}

/** A value as it stands in the output. */
function textOf(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
