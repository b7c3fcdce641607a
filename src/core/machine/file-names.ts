// Names of files, directories and volumes: UTF-8, told apart by their bytes. Whoever takes names
// from people brings them into one normal form first; here that would tie what replicas apply to
// the Unicode tables of their programs.

import { fromUtf8, utf8 } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import { FILE_NAME_BYTES_MAX } from './limits.ts'
import { shown } from './space.ts'

const NUL = 0
const DOT = 0x2e
const SLASH = 0x2f

/** @throws invalid-argument when nothing may be called so; too-large */
export function checkFileName(name: Uint8Array): void {
  if (name.length > FILE_NAME_BYTES_MAX) {
    const problem = `has ${name.length} bytes; at most ${FILE_NAME_BYTES_MAX} are accepted`
    throw new MeshError('too-large', `Name "${shown(name)}" ${problem}`)
  }
  const problem = problemOf(name)
  if (problem === undefined) return
  throw new MeshError('invalid-argument', `"${shown(name)}" is no name of a file: it ${problem}`)
}

function problemOf(name: Uint8Array): string | undefined {
  if (name.length === 0) return 'is empty'
  if (name.includes(SLASH)) return 'contains a slash'
  if (name.includes(NUL)) return 'contains a NUL'
  if (name.length <= 2 && name.every((byte) => byte === DOT)) return 'means a directory itself'
  return isUtf8(name) ? undefined : 'is not UTF-8'
}

function isUtf8(name: Uint8Array): boolean {
  try {
    // A mark of byte order is dropped by the decoder: two encodings of one text.
    return utf8(fromUtf8(name)).length === name.length
  } catch {
    return false
  }
}
