// A file on disk as a source for files.put.

import { open } from 'node:fs/promises'
import { errorMessage, MeshError } from '../base/errors.ts'
import { MIB } from '../base/units.ts'

/**
 * The bytes of a file that must not change while it is read.
 *
 * @throws not-found when it can't be opened; file-changed, after the bytes, when its size or time of
 *   change is another than at the start
 */
export async function* readUnchangedFile(path: string): AsyncGenerator<Uint8Array> {
  const file = await open(path, 'r').catch((error: unknown) => {
    throw new MeshError('not-found', `Cannot read ${path}: ${errorMessage(error)}`, {
      cause: error
    })
  })
  try {
    const before = await file.stat({ bigint: true })
    let bytesRead = 0n
    for (;;) {
      // A new buffer each time: whoever takes the bytes may keep them.
      const { bytesRead: count, buffer } = await file.read(new Uint8Array(MIB), 0, MIB, null)
      if (count === 0) break
      bytesRead += BigInt(count)
      yield buffer.subarray(0, count)
    }
    const after = await file.stat({ bigint: true })
    if (
      after.mtimeNs !== before.mtimeNs ||
      after.size !== before.size ||
      bytesRead !== before.size
    ) {
      throw new MeshError(
        'file-changed',
        `${path} changed while it was read; nothing was stored under a name. Put it again when it is at rest`
      )
    }
  } finally {
    await file.close()
  }
}
