// Where a block store keeps what: DIR/blocks/<first two hex digits of the digest>/<block id>.

import { join } from 'node:path'

import { isMeshError } from '../../base/errors.ts'
import { blockId, type BlockId } from '../../base/ids.ts'
import { blockDigest, blockIdFromBytes, blockIdToBytes } from '../../core/block/block-id.ts'

/** One per value of a digest's first byte. */
const FOLDER_COUNT = 256

function folderName(digest: Uint8Array): string {
  return (digest[0] as number).toString(16).padStart(2, '0')
}

export class BlockLayout {
  /** Holds everything else. */
  readonly root: string
  /** Files of puts under way. */
  readonly temporary: string
  /** Blocks that were found damaged. */
  readonly bad: string
  /** Bytes to give back when a delete needs room on a full disk. */
  readonly reserve: string
  /** The names of the folders of blocks. */
  readonly folders: readonly string[]

  /** @param dir the node's data folder. */
  constructor(dir: string) {
    this.root = join(dir, 'blocks')
    this.temporary = join(this.root, 'tmp')
    this.bad = join(this.root, 'bad')
    this.reserve = join(this.root, 'reserve')
    this.folders = Array.from({ length: FOLDER_COUNT }, (_, byte) =>
      folderName(Uint8Array.of(byte))
    )
  }

  /** Is `name`, found in the root folder, part of the layout? */
  owns(name: string): boolean {
    return name === 'tmp' || name === 'bad' || name === 'reserve' || this.folders.includes(name)
  }

  folderOf(id: BlockId): string {
    return join(this.root, folderName(blockDigest(id)))
  }

  pathOf(id: BlockId): string {
    return join(this.folderOf(id), id)
  }
}

/**
 * @returns the block that a file of this name in this folder holds, or `undefined`: the name is no
 *   block id, isn't written the one way an id is written, or belongs into another folder.
 */
export function blockOfFile(folder: string, name: string): BlockId | undefined {
  try {
    const id = blockId(name)
    if (blockIdFromBytes(blockIdToBytes(id)) !== id) return undefined
    return folderName(blockDigest(id)) === folder ? id : undefined
  } catch (error) {
    if (isMeshError(error, 'invalid-argument')) return undefined
    throw error
  }
}
