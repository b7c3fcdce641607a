// Where names of files stand, and what a name leads to.
//
//   file-volume   volume                      its root directory
//   file          volume/parent/name          an entry of a directory
//   file-trash    volume/inode                a directory whose entries are to be given back
//   file-pin      cid                         a file without a name, kept until it is unpinned
//
// A directory is known by its inode number, and an entry stands under its parent's number: so a
// directory of any size moves as one entry. A pin is a space of its own, which spreads pins.

import { concatBytes, fromUtf8, utf8 } from '../../base/bytes.ts'
import { bytes, decode, encode, list, record, uint, variant } from './codec.ts'
import type { Codec } from './codec.ts'
import { FILE_NAME_BYTES_MAX, FILE_VERSIONS_MAX } from './limits.ts'
import { sortableDigits } from './ordered-state.ts'
import { spanOfPrefix } from './space.ts'
import type { Span } from './space.ts'
import type { Transaction } from './transaction.ts'

/** Bytes of a binary CID, as `core/block` has it. */
export const CID_BYTES = 36
const INODE_DIGITS = 14
/** Directories that one operation can make; the path is shorter. */
const INODES_PER_REVISION = 256
const SLASH: Uint8Array = utf8('/')

export type FileVersion = {
  readonly cid: Uint8Array
  /** Length of the file. */
  readonly bytes: number
  /** From 1 when the name was first put, one more with each put. */
  readonly version: number
  /** By the shard's time. */
  readonly modifiedMs: number
}

export type DirectoryEntry = {
  readonly kind: 'directory'
  readonly inode: number
  readonly createdMs: number
}

type FileEntry = {
  readonly kind: 'file'
  readonly createdMs: number
  readonly newest: FileVersion
  /** Versions before it that are kept, newest first. */
  readonly earlier: readonly FileVersion[]
}

/** What a name in a directory leads to. */
export type NodeEntry = DirectoryEntry | FileEntry

export type Pin = { readonly cid: Uint8Array; readonly bytes: number; readonly createdMs: number }

export const fileName: Codec<Uint8Array> = bytes(FILE_NAME_BYTES_MAX)
export const cidBytes: Codec<Uint8Array> = {
  write: (writer, cid) => bytes(CID_BYTES).write(writer, cid),
  read: (reader) => bytes(CID_BYTES).read(reader)
}

const fileVersion: Codec<FileVersion> = record<FileVersion>({
  cid: cidBytes,
  bytes: uint,
  version: uint,
  modifiedMs: uint
})

export const nodeEntryCodec: Codec<NodeEntry> = variant<NodeEntry>({
  directory: record({ inode: uint, createdMs: uint }),
  file: record({
    createdMs: uint,
    newest: fileVersion,
    earlier: list(fileVersion, FILE_VERSIONS_MAX - 1)
  })
})

export const pinCodec: Codec<Pin> = record<Pin>({ cid: cidBytes, bytes: uint, createdMs: uint })

const volumeCodec: Codec<DirectoryEntry> = record<DirectoryEntry>({
  kind: { write: () => undefined, read: () => 'directory' },
  inode: uint,
  createdMs: uint
})

export function decodeVolume(value: Uint8Array): DirectoryEntry {
  return decode(volumeCodec, value)
}

export function encodeVolume(root: DirectoryEntry): Uint8Array {
  return encode(volumeCodec, root)
}

export function entryKey(volume: Uint8Array, parent: number, name: Uint8Array): Uint8Array {
  return concatBytes([inodeKey(volume, parent), SLASH, name])
}

/** @returns all entries of a directory, in the order of their names' bytes. */
export function entriesSpan(volume: Uint8Array, inode: number): Span {
  return spanOfPrefix(concatBytes([inodeKey(volume, inode), SLASH]))
}

/** @returns the name in the key of an entry, a view. */
export function nameOfEntry(volume: Uint8Array, key: Uint8Array): Uint8Array {
  return key.subarray(volume.length + 1 + INODE_DIGITS + 1)
}

/** @returns the directory that an entry is in. */
export function parentOfEntry(volume: Uint8Array, key: Uint8Array): number {
  return inodeOfKey(key.subarray(0, volume.length + 1 + INODE_DIGITS))
}

/** @returns the key of a directory in the trash. */
export function inodeKey(volume: Uint8Array, inode: number): Uint8Array {
  return concatBytes([volume, SLASH, sortableDigits(inode, INODE_DIGITS)])
}

export function inodeOfKey(key: Uint8Array): number {
  return Number.parseInt(fromUtf8(key.subarray(-INODE_DIGITS)), 16)
}

/** @returns all of a volume in any area. */
export function volumeSpan(volume: Uint8Array): Span {
  return spanOfPrefix(concatBytes([volume, SLASH]))
}

/** @returns a number that no directory of the volume had before. @param place of those made at once */
export function newInode({ revision }: Transaction, place: number): number {
  return revision * INODES_PER_REVISION + place
}
