// Walking from a volume to what a path names.

import { MeshError } from '../../base/errors.ts'
import { decode } from './codec.ts'
import { checkFileName } from './file-names.ts'
import { decodeVolume, entryKey, nodeEntryCodec } from './file-records.ts'
import type { DirectoryEntry, NodeEntry } from './file-records.ts'
import type { Version } from './records.ts'
import { shown } from './space.ts'
import { AREAS } from './state-keys.ts'
import type { Area } from './state-keys.ts'

/** A transaction, or reads of a state. */
export type Lookup = { get(area: Area, key: Uint8Array): Version | undefined }

export type Path = {
  readonly volume: Uint8Array
  /** Below the volume; none is the volume itself. */
  readonly names: readonly Uint8Array[]
}

/** @throws invalid-argument, too-large */
export function checkPath({ volume, names }: Path): void {
  checkFileName(volume)
  for (const name of names) checkFileName(name)
}

export function rootOf(lookup: Lookup, volume: Uint8Array): DirectoryEntry | undefined {
  const stored = lookup.get(AREAS['file-volume'], volume)
  return stored === undefined ? undefined : decodeVolume(stored.value)
}

export function entryOf(
  lookup: Lookup,
  { volume, parent }: { volume: Uint8Array; parent: number },
  name: Uint8Array
): NodeEntry | undefined {
  const stored = lookup.get(AREAS.file, entryKey(volume, parent, name))
  return stored === undefined ? undefined : decode(nodeEntryCodec, stored.value)
}

/** @throws not-found, not-a-directory (on the way), invalid-argument, too-large */
export function resolve(lookup: Lookup, path: Path): NodeEntry {
  if (path.names.length > 0) {
    const { parent, name } = resolveParent(lookup, path)
    const entry = entryOf(lookup, { volume: path.volume, parent: parent.inode }, name)
    if (entry === undefined) throw notFound(path)
    return entry
  }
  checkPath(path)
  const root = rootOf(lookup, path.volume)
  if (root === undefined) throw notFound(path)
  return root
}

/** Where an entry is or would be. */
export type Place = {
  readonly parent: DirectoryEntry
  readonly name: Uint8Array
  /** Numbers of all directories from the volume's root to the parent. */
  readonly trail: readonly number[]
}

/**
 * @param path with a name at least.
 * @throws not-found, not-a-directory, invalid-argument, too-large
 */
export function resolveParent(lookup: Lookup, path: Path): Place {
  checkPath(path)
  const { volume, names } = path
  let parent = rootOf(lookup, volume)
  if (parent === undefined) throw notFound({ volume, names: [] })
  const trail = [parent.inode]
  for (const [index, name] of names.slice(0, -1).entries()) {
    const entry = entryOf(lookup, { volume, parent: parent.inode }, name)
    const here = { volume, names: names.slice(0, index + 1) }
    if (entry === undefined) throw notFound(here)
    if (entry.kind === 'file') throw notDirectory(here)
    parent = entry
    trail.push(parent.inode)
  }
  return { parent, name: names.at(-1) as Uint8Array, trail }
}

export function pathText({ volume, names }: Path): string {
  return [volume, ...names].map(shown).join('/')
}

export function notFound(path: Path): MeshError {
  return new MeshError('not-found', `There is no ${pathText(path)}`)
}

export function notDirectory(path: Path): MeshError {
  return new MeshError('not-a-directory', `${pathText(path)} is a file, not a directory`)
}

export function isDirectory(path: Path): MeshError {
  return new MeshError('is-a-directory', `${pathText(path)} is a directory, not a file`)
}

export function alreadyThere(path: Path): MeshError {
  return new MeshError(
    'exists',
    `There is a ${pathText(path)} already; replace it if that is meant`
  )
}
