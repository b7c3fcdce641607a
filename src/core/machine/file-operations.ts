// What can be done to the names of a volume. Each operation is one entry of the log: it is done as a
// whole or not at all.

import { equalBytes } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { encode, flag, list, nothing, oneOf, optional, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import { checkCycle, noteRelease } from './file-collection.ts'
import {
  CID_BYTES,
  cidBytes,
  encodeVolume,
  entriesSpan,
  entryKey,
  fileName,
  inodeKey,
  newInode,
  nodeEntryCodec
} from './file-records.ts'
import type { DirectoryEntry, NodeEntry } from './file-records.ts'
import {
  alreadyThere,
  checkPath,
  entryOf,
  isDirectory,
  notDirectory,
  notFound,
  pathText,
  resolve,
  resolveParent,
  rootOf
} from './file-tree.ts'
import type { Path, Place } from './file-tree.ts'
import { FILE_DEPTH_MAX, FILE_VERSIONS_MAX } from './limits.ts'
import type { Operation } from './operation.ts'
import { AREAS } from './state-keys.ts'
import type { Transaction } from './transaction.ts'

/** Names below the volume, which is the space of the request. */
export const fileNames: Codec<readonly Uint8Array[]> = list(fileName, FILE_DEPTH_MAX)
type Names = readonly Uint8Array[]
const NO_BYTES = new Uint8Array(0)

export type MkdirArgs = {
  readonly names: Names
  /** Makes what is missing on the way, and is content with a directory that is there. */
  readonly parents: boolean
}

/**
 * Makes a directory, or without names the volume. Refuses with exists, not-found, not-a-directory,
 * invalid-argument, too-large, quota-exceeded.
 */
export const MKDIR: Operation<MkdirArgs, undefined> = {
  name: 'file.mkdir',
  version: 1,
  args: record<MkdirArgs>({ names: fileNames, parents: flag }),
  result: nothing,
  apply: (transaction, { names, parents }) => {
    const path = { volume: transaction.space, names }
    checkPath(path)
    const known = rootOf(transaction, transaction.space)
    if (known !== undefined && names.length === 0 && !parents) throw alreadyThere(path)
    if (known === undefined && names.length > 0 && !parents) throw notFound({ ...path, names: [] })
    let directory = known ?? makeVolume(transaction)
    for (const [index, name] of names.entries()) {
      const here = { ...path, names: names.slice(0, index + 1) }
      const isLast = index === names.length - 1
      directory = step(transaction, { directory, name, here }, { isLast, parents })
    }
    return undefined
  }
}

/** Where a put may write: `create` refuses what is there, `append` keeps it as an earlier version. */
export type PutMode = 'create' | 'replace' | 'append'

export type FilePutArgs = {
  readonly names: Names
  readonly cid: Uint8Array
  /** Length of the file. */
  readonly bytes: number
  readonly mode: PutMode
  /** The version that must be there; 0: none may be. */
  readonly expectedVersion: number | undefined
  /** See {@link checkCycle}. */
  readonly cycle: number
}

/**
 * Names a file whose blocks are all there. Makes the volume, but no other directory. Refuses with
 * exists, conflict (another version, or `cycle`), is-a-directory, not-a-directory, not-found,
 * invalid-argument, too-large, quota-exceeded.
 */
export const PUT: Operation<FilePutArgs, { readonly version: number }> = {
  name: 'file.put',
  version: 1,
  args: record<FilePutArgs>({
    names: fileNames,
    cid: cidBytes,
    bytes: uint,
    mode: oneOf<PutMode>(['create', 'replace', 'append']),
    expectedVersion: optional(uint),
    cycle: uint
  }),
  result: record<{ readonly version: number }>({ version: uint }),
  apply: (transaction, { names, cid, bytes, mode, expectedVersion, cycle }) => {
    const path = { volume: transaction.space, names }
    checkPath(path)
    checkCid(cid)
    if (names.length === 0) throw isDirectory(path)
    if (rootOf(transaction, transaction.space) === undefined) makeVolume(transaction)
    const place = resolveParent(transaction, path)
    const before = childOf(transaction, place)
    if (before?.kind === 'directory') throw isDirectory(path)
    const found = before?.newest.version ?? 0
    if (expectedVersion !== undefined && expectedVersion !== found) {
      const problem = `it is at version ${found}, not ${expectedVersion}`
      throw new MeshError('conflict', `Cannot put ${pathText(path)}: ${problem}`)
    }
    if (before !== undefined && mode === 'create') throw alreadyThere(path)
    checkCycle(transaction, cycle)
    const newest = { cid, bytes, version: found + 1, modifiedMs: transaction.timeMs }
    const versions = before === undefined ? [] : [before.newest, ...before.earlier]
    const earlier = mode === 'append' ? versions.slice(0, FILE_VERSIONS_MAX - 1) : []
    if (earlier.length < versions.length) noteRelease(transaction)
    const createdMs = before?.createdMs ?? transaction.timeMs
    putChild(transaction, place, { kind: 'file', createdMs, newest, earlier })
    return { version: newest.version }
  }
}

export type MvArgs = { readonly from: Names; readonly to: Names; readonly replace: boolean }

/**
 * Gives a file or directory another name in its volume. What is there is replaced only when told
 * to: a file by a file, an empty directory by a directory. Refuses with not-found, exists,
 * not-a-directory, is-a-directory, not-empty, invalid-argument (into itself), too-large.
 */
export const MV: Operation<MvArgs, undefined> = {
  name: 'file.mv',
  version: 1,
  args: record<MvArgs>({ from: fileNames, to: fileNames, replace: flag }),
  result: nothing,
  apply: (transaction, { from, to, replace }) => {
    const volume = transaction.space
    const source = { volume, names: from }
    const target = { volume, names: to }
    checkPath(target)
    if (from.length === 0) {
      const problem = 'a volume keeps its name; move what is in it'
      throw new MeshError('invalid-argument', `Cannot move ${pathText(source)}: ${problem}`)
    }
    const place = resolveParent(transaction, source)
    const entry = childOf(transaction, place)
    if (entry === undefined) throw notFound(source)
    if (to.length === 0) throw alreadyThere(target)
    const wanted = resolveParent(transaction, target)
    if (entry.kind === 'directory' && wanted.trail.includes(entry.inode)) {
      const problem = `into itself, ${pathText(target)}`
      throw new MeshError('invalid-argument', `Cannot move ${pathText(source)} ${problem}`)
    }
    if (wanted.parent.inode === place.parent.inode && equalBytes(wanted.name, place.name)) {
      return undefined
    }
    const there = childOf(transaction, wanted)
    if (there !== undefined) {
      if (!replace) throw alreadyThere(target)
      checkReplaceable(transaction, { entry, there, target })
      if (there.kind === 'file') noteRelease(transaction)
    }
    transaction.delete(AREAS.file, keyOf(transaction, place))
    putChild(transaction, wanted, entry)
    return undefined
  }
}

export type RmArgs = { readonly names: Names; readonly recursive: boolean }

/**
 * Removes a file, an empty directory, or when `recursive` a directory with all that is in it; without
 * names the volume. What was in it is given back by `file.reap`. Refuses with not-found, not-empty,
 * not-a-directory, invalid-argument, too-large.
 */
export const RM: Operation<RmArgs, undefined> = {
  name: 'file.rm',
  version: 1,
  args: record<RmArgs>({ names: fileNames, recursive: flag }),
  result: nothing,
  isFreeing: true,
  apply: (transaction, { names, recursive }) => {
    const path = { volume: transaction.space, names }
    const entry = resolve(transaction, path)
    const isEmptied = entry.kind === 'directory' && isEmpty(transaction, entry)
    if (!isEmptied) noteRelease(transaction)
    if (entry.kind === 'directory' && !isEmptied) {
      if (!recursive) {
        const problem = 'it has entries; remove them first, or all of it recursively'
        throw new MeshError('not-empty', `Cannot remove ${pathText(path)}: ${problem}`)
      }
      const key = inodeKey(transaction.space, entry.inode)
      transaction.put(AREAS['file-trash'], key, { value: NO_BYTES })
    }
    if (names.length === 0) transaction.delete(AREAS['file-volume'], transaction.space)
    else transaction.delete(AREAS.file, keyOf(transaction, resolveParent(transaction, path)))
    return undefined
  }
}

function makeVolume(transaction: Transaction): DirectoryEntry {
  const createdMs = transaction.timeMs
  const root = { kind: 'directory', inode: newInode(transaction, 0), createdMs } as const
  const value = encodeVolume(root)
  transaction.put(AREAS['file-volume'], transaction.space, { value })
  return root
}

function step(
  transaction: Transaction,
  { directory, name, here }: { directory: DirectoryEntry; name: Uint8Array; here: Path },
  { isLast, parents }: { isLast: boolean; parents: boolean }
): DirectoryEntry {
  const place = { parent: directory, name }
  const entry = childOf(transaction, place)
  if (entry?.kind === 'file') throw isLast ? alreadyThere(here) : notDirectory(here)
  if (entry !== undefined) {
    if (isLast && !parents) throw alreadyThere(here)
    return entry
  }
  if (!isLast && !parents) throw notFound(here)
  const inode = newInode(transaction, here.names.length)
  const made = { kind: 'directory', inode, createdMs: transaction.timeMs } as const
  putChild(transaction, place, made)
  return made
}

type ChildPlace = Omit<Place, 'trail'>

function keyOf({ space }: Transaction, { parent, name }: ChildPlace): Uint8Array {
  return entryKey(space, parent.inode, name)
}

function childOf(transaction: Transaction, { parent, name }: ChildPlace): NodeEntry | undefined {
  return entryOf(transaction, { volume: transaction.space, parent: parent.inode }, name)
}

function putChild(transaction: Transaction, place: ChildPlace, entry: NodeEntry): void {
  const value = encode(nodeEntryCodec, entry)
  transaction.put(AREAS.file, keyOf(transaction, place), { value })
}

function isEmpty(transaction: Transaction, { inode }: DirectoryEntry): boolean {
  return transaction.count(AREAS.file, entriesSpan(transaction.space, inode), 1) === 0
}

function checkReplaceable(
  transaction: Transaction,
  { entry, there, target }: { entry: NodeEntry; there: NodeEntry; target: Path }
): void {
  if (there.kind === 'file') {
    if (entry.kind === 'directory') throw notDirectory(target)
    return
  }
  if (!isEmpty(transaction, there)) {
    throw new MeshError('not-empty', `Cannot replace ${pathText(target)}: it has entries`)
  }
  if (entry.kind === 'file') throw isDirectory(target)
}

/** @throws invalid-argument */
export function checkCid(cid: Uint8Array): void {
  if (cid.length === CID_BYTES) return
  throw new MeshError('invalid-argument', `A CID has ${CID_BYTES} bytes, not ${cid.length}`)
}
