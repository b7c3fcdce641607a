// Reading names: what a path leads to, and what a directory has, a page at a time.

import { concatBytes } from '../../base/bytes.ts'
import { decode, list, optional, record, uint } from './codec.ts'
import { fileNames } from './file-operations.ts'
import { entriesSpan, entryKey, fileName, nameOfEntry, nodeEntryCodec } from './file-records.ts'
import type { NodeEntry } from './file-records.ts'
import { notDirectory, resolve } from './file-tree.ts'
import type { Lookup, Path } from './file-tree.ts'
import { RANGE_COUNT_MAX } from './limits.ts'
import type { Query } from './query.ts'
import type { MachineReads } from './reads.ts'
import { AREAS } from './state-keys.ts'

export type StatResult = { readonly entry: NodeEntry }

/**
 * What a path leads to, all of it walked at once. Refuses with not-found, not-a-directory,
 * invalid-argument, too-large.
 */
export const STAT: Query<Path, StatResult> = {
  name: 'file.stat',
  version: 1,
  args: record<Path>({ volume: fileName, names: fileNames }),
  result: record<StatResult>({ entry: nodeEntryCodec }),
  read: (reads, path) => ({ entry: resolve(lookupOf(reads), path) })
}

export type ListArgs = Path & {
  /** Of the page before: the directory keeps its number wherever it is moved to. */
  readonly inode: number | undefined
  /** The last name of the page before. */
  readonly after: Uint8Array | undefined
  /** Entries, 1 to {@link RANGE_COUNT_MAX}. */
  readonly limit: number
}

type Listed = { readonly name: Uint8Array; readonly entry: NodeEntry }

export type ListResult = {
  readonly inode: number
  readonly entries: readonly Listed[]
  /** Give it as `after` for what follows; undefined: there is nothing more. */
  readonly last: Uint8Array | undefined
}

/**
 * A page of a directory, ordered by the bytes of names. What is there from the first page to the
 * last is on exactly one of them; what comes or goes meanwhile may be on one. Of a directory that
 * was removed the rest is empty. Refuses with not-found, not-a-directory, invalid-argument,
 * too-large.
 */
export const LIST: Query<ListArgs, ListResult> = {
  name: 'file.list',
  version: 1,
  args: record<ListArgs>({
    volume: fileName,
    names: fileNames,
    inode: optional(uint),
    after: optional(fileName),
    limit: uint
  }),
  result: record<ListResult>({
    inode: uint,
    entries: list(record<Listed>({ name: fileName, entry: nodeEntryCodec }), RANGE_COUNT_MAX),
    last: optional(fileName)
  }),
  read: (reads, { inode: known, after, limit, ...path }) => {
    const inode = known ?? directoryOf(reads, path)
    const { volume } = path
    const span = entriesSpan(volume, inode)
    const from = after === undefined ? span.from : afterName(volume, inode, after)
    const page = reads.range({ ...span, area: AREAS.file, from, limit })
    const entries = page.entries.map(({ key, value }) => {
      // Earlier versions are for `file.stat`: a page of files with many of them would be large.
      const entry = decode(nodeEntryCodec, value)
      const shown = entry.kind === 'file' ? { ...entry, earlier: [] } : entry
      return { name: nameOfEntry(volume, key), entry: shown }
    })
    const last = page.next === undefined ? undefined : entries.at(-1)?.name
    return { inode, entries, last }
  }
}

function lookupOf(reads: MachineReads): Lookup {
  return { get: (area, key) => reads.get({ area, key }).entry }
}

function directoryOf(reads: MachineReads, path: Path): number {
  const entry = resolve(lookupOf(reads), path)
  if (entry.kind === 'file') throw notDirectory(path)
  return entry.inode
}

/** @returns the first key that may follow the entry of a name. */
function afterName(volume: Uint8Array, inode: number, name: Uint8Array): Uint8Array {
  return concatBytes([entryKey(volume, inode, name), Uint8Array.of(0)])
}
