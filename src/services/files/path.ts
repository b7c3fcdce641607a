// Names of files as people write them: VOLUME/dir/name. A name is brought into the form NFC, so that
// "é" is one name however a keyboard or file system wrote it. Case tells names apart.

import { utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import type { BlockId } from '../../base/ids.ts'
import { checkPath } from '../../core/machine/file-tree.ts'
import type { Path } from '../../core/machine/file-tree.ts'
import { FILE_DEPTH_MAX } from '../../core/machine/limits.ts'
import { blockIdOf, parseCid } from './dag-store.ts'

/** A path with the text that messages show. */
export type FilePath = Path & { readonly text: string }

/** What a command is about: a file by its hash, or what has a name. */
export type FileName =
  | { readonly kind: 'cid'; readonly id: BlockId }
  | { readonly kind: 'path'; readonly path: FilePath }

/**
 * @param text names with slashes between them: no name is empty, `.` or `..`, none has a NUL or more
 *   than 255 bytes.
 * @throws invalid-argument, too-large
 */
export function parsePath(text: string): FilePath {
  if (!text.isWellFormed()) {
    throw new MeshError('invalid-argument', 'A path has half a surrogate pair: it is not UTF-8')
  }
  const normal = text.normalize('NFC')
  const [volume = '', ...names] = normal.split('/')
  if (names.length > FILE_DEPTH_MAX) {
    const problem = `${names.length} names below its volume; at most ${FILE_DEPTH_MAX} are accepted`
    throw new MeshError('too-large', `Path "${normal.slice(0, 80)}…" has ${problem}`)
  }
  const path = { volume: utf8(volume), names: names.map(utf8), text: normal }
  checkPath(path)
  if (isCid(volume)) {
    throw new MeshError('invalid-argument', `"${volume}" can't be a volume: it is a CID`)
  }
  return path
}

/** @returns what a text names: a CID if it is one, else a path. @throws invalid-argument, too-large */
export function parseFileName(text: string): FileName {
  if (isCid(text)) return { kind: 'cid', id: blockIdOf(parseCid(text)) }
  return { kind: 'path', path: parsePath(text) }
}

function isCid(text: string): boolean {
  // Shorter than any CID: looked at first, because most volumes are.
  if (text.length < 46 || text.includes('/')) return false
  try {
    parseCid(text)
    return true
  } catch {
    return false
  }
}
