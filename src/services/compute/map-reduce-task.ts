// The two tasks of a map-reduce job, as they run on a worker: Dean and Ghemawat, "MapReduce", 2004,
// §3.1 and §4.3. A map task reads its part of a file, groups what the program makes of the lines, and
// returns a list for each partition; a reduce task reads its partition of all of them, and no other.

import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { decodeValue, encodeValue } from '../../executor/values.ts'
import { linesOf, type LinePart } from './line-reader.ts'
import { joinPartitions, readPartition } from './partitioned.ts'
import type { ResultRef } from './result-ref.ts'

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
  readonly partitions: number
  readonly path: string | undefined
}

/** Keys in order, and what there is of each. */
type Grouped = readonly (readonly [string, readonly unknown[]])[]
/** Partitions, joined. */
export type MapOutput = Uint8Array
export type ReduceOutput = { readonly keys: number; readonly bytes: number; readonly text?: string }

type Context = {
  readonly signal: AbortSignal
  readonly files: {
    get(cid: string, range: { offset: number; length: number }): AsyncIterable<Uint8Array>
    put(path: string, bytes: Uint8Array, options: { replace: boolean }): Promise<unknown>
  }
  readonly after: { readonly map?: readonly ResultRef[] }
}

/** Values of a key that are gathered before they are combined. */
const COMBINED_AT = 32
/** Of so many map tasks a reduce task reads at one time. */
const READ_AT_ONCE = 8

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
      gather(groups, { key, values: [value], combine })
    }
  }
  const partitions: [string, unknown[]][][] = Array.from({ length: input.partitions }, () => [])
  for (const [key, values] of groups) {
    const combined = combine !== undefined && values.length > 1 ? [combine(key, values)] : values
    partitions[partitionOf(key, input.partitions)]?.push([key, combined])
  }
  return joinPartitions(
    partitions.map((partition) => {
      return partition.length === 0 ? new Uint8Array(0) : encodeValue(partition.toSorted(byKey))
    })
  )
}

/** Adds values of a key, and combines them when there are many. */
function gather(
  groups: Map<string, unknown[]>,
  {
    key,
    values,
    combine
  }: { key: string; values: readonly unknown[]; combine: MapReduceProgram['combine'] }
): void {
  const known = groups.get(key) ?? []
  for (const value of values) known.push(value)
  const isFull = combine !== undefined && known.length >= COMBINED_AT
  groups.set(key, isFull ? [combine(key, known)] : known)
}

async function runReduce(
  program: MapReduceProgram,
  { files, after, signal }: Context,
  { partition, partitions, path }: ReduceInput
): Promise<ReduceOutput> {
  const groups = new Map<string, unknown[]>()
  const { combine } = program
  const refs = after.map ?? []
  for (let at = 0; at < refs.length; at += READ_AT_ONCE) {
    signal.throwIfAborted()
    const some = await Promise.all(
      refs.slice(at, at + READ_AT_ONCE).map(async (ref) => {
        return await readPartition(sourceOf(files, ref), { partition, partitions })
      })
    )
    for (const part of some) {
      if (part === undefined) continue
      for (const [key, values] of decodeValue(part) as Grouped) {
        gather(groups, { key, values, combine })
      }
    }
  }
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

/** The bytes of a result, wherever they are. */
function sourceOf(files: Context['files'], ref: ResultRef): Parameters<typeof readPartition>[0] {
  if ('value' in ref) {
    const { value } = ref
    const read = (range: { offset: number; length: number }): Promise<Uint8Array> =>
      Promise.resolve(value.subarray(range.offset, range.offset + range.length))
    return { bytes: value.length, read }
  }
  const read = async (range: { offset: number; length: number }): Promise<Uint8Array> => {
    const bytes = new Uint8Array(range.length)
    let length = 0
    for await (const chunk of files.get(ref.cid, range)) {
      bytes.set(chunk, length)
      length += chunk.length
    }
    if (length < range.length) throw new Error(`The result ${ref.cid} has too few bytes`)
    return bytes
  }
  return { bytes: ref.bytes, read }
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
