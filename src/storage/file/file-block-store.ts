// The block store on disk: a file per block, written aside, synced, renamed into place and its
// folder synced before a put resolves.

import { join } from 'node:path'

import { MeshError } from '../../base/errors.ts'
import type { BlockId } from '../../base/ids.ts'
import type { Logger } from '../../base/log.ts'
import type { BlockIndex } from '../block-index.ts'
import { CheckedBlockStore, type BlockMedium } from '../checked-block-store.ts'
import { BadBlocks } from './bad-blocks.ts'
import { BlockLayout } from './block-layout.ts'
import { clearTemporary, prepareFolders, scanBlocks, type ScanReport } from './block-scan.ts'
import { DiskSpace, FREE_BYTES_MIN, RESERVE_BYTES } from './disk-space.ts'
import { readFully, removeIfThere, writeNewFile } from './durable-file.ts'
import { errnoOf, isMissing, nodeFileOps, storageError, type FileOps } from './file-ops.ts'
import { FolderSyncer } from './folder-syncer.ts'
import { Gate } from './gate.ts'

/** Puts and deletes at work at a time, and as many reads: enough to keep a disk busy. */
const GATE_WIDTH = 16
/** Calls waiting behind them, far beyond what the layers above have under way. */
const GATE_WAITING_MAX = 4_096

/**
 * Errors that mean that this block can't be read, now or later: the medium is bad (EIO, EBADMSG) or
 * the file system is (EUCLEAN).
 */
const UNREADABLE: ReadonlySet<string | undefined> = new Set(['EIO', 'EBADMSG', 'EUCLEAN'])

export type FileBlockStoreComponents = { ops?: FileOps; logger: Logger }

export type FileBlockStoreOptions = {
  /** The node's data folder; its parent must be there. Blocks go to `DIR/blocks`. */
  dir: string
  /** Bytes of blocks this node may hold. */
  capacityBytes: number
  /** Arcs of the mesh's ring. */
  arcCount: number
  /** Bytes of the disk that blocks leave free; 64 MiB unless given. */
  freeBytesMin?: number
  /** Size of the reserve for deletes on a full disk; 4 MiB unless given. */
  reserveBytes?: number
}

export class FileBlockStore extends CheckedBlockStore {
  constructor(components: FileBlockStoreComponents, options: FileBlockStoreOptions) {
    const { ops = nodeFileOps, logger } = components
    super({ medium: new FileBlockMedium({ ops, logger }, options), logger }, options)
  }
}

/**
 * Makes and opens a block store on disk. Hold the folder's lock (`lockFolder`) while it is open.
 * @throws storage-failed when its folders can't be made or read.
 */
export async function openFileBlockStore(
  options: FileBlockStoreOptions & FileBlockStoreComponents
): Promise<FileBlockStore> {
  const store = new FileBlockStore(options, options)
  await store.open()
  return store
}

class FileBlockMedium implements BlockMedium {
  readonly #ops: FileOps
  readonly #logger: Logger
  readonly #layout: BlockLayout
  readonly #space: DiskSpace
  readonly #bad: BadBlocks
  readonly #syncer: FolderSyncer
  /** Apart from each other, so that reads don't queue behind fsyncs. */
  readonly #writes = new Gate({ width: GATE_WIDTH, waitingMax: GATE_WAITING_MAX })
  readonly #reads = new Gate({ width: GATE_WIDTH, waitingMax: GATE_WAITING_MAX })
  #nextTemporary = 0

  constructor(components: Required<FileBlockStoreComponents>, options: FileBlockStoreOptions) {
    this.#ops = components.ops
    this.#logger = components.logger
    this.#layout = new BlockLayout(options.dir)
    this.#bad = new BadBlocks(this.#ops, this.#layout)
    this.#syncer = new FolderSyncer(this.#ops)
    this.#space = new DiskSpace(components, {
      folder: this.#layout.root,
      reservePath: this.#layout.reserve,
      reserveBytes: options.reserveBytes ?? RESERVE_BYTES,
      freeBytesMin: options.freeBytesMin ?? FREE_BYTES_MIN
    })
  }

  async open(index: BlockIndex): Promise<MeshError | undefined> {
    const what = `open the block store in ${this.#layout.root}`
    try {
      await prepareFolders(this.#ops, this.#layout)
      await clearTemporary(this.#ops, this.#layout)
      await this.#bad.open()
      await this.#space.open()
      const report = await scanBlocks(this.#ops, this.#layout, index)
      for (const id of report.impossible) await this.setAside(id)
      this.#logReport(report, index)
      if (report.folderError === undefined) return undefined
      return failedFolder(what, report.folderError)
    } catch (error) {
      throw storageError(what, error)
    }
  }

  async close(): Promise<void> {
    await this.#syncer.close()
  }

  read(id: BlockId, size: number): Promise<Uint8Array | 'missing' | 'unreadable'> {
    return this.#reads.run(() => this.#read(id, size))
  }

  write(id: BlockId, bytes: Uint8Array): Promise<void> {
    return this.#writes.run(() => this.#write(id, bytes))
  }

  /**
   * Not synced: after a power cut the block may be back, which is as true as it was before, since
   * a block never changes. Whoever wanted it gone asks again.
   */
  async remove(id: BlockId): Promise<void> {
    await this.#change(`delete block ${id}`, () =>
      removeIfThere(this.#ops, this.#layout.pathOf(id))
    )
  }

  async setAside(id: BlockId): Promise<void> {
    await this.#change(`set aside block ${id}`, () => this.#bad.add(id))
  }

  async #read(id: BlockId, size: number): Promise<Uint8Array | 'missing' | 'unreadable'> {
    try {
      const file = await this.#ops.open(this.#layout.pathOf(id), 'read')
      try {
        // One byte more than expected, to see a file that has grown in the same call.
        const buffer = new Uint8Array(size + 1)
        const first = await file.read(buffer, 0)
        if (first === size) return buffer.subarray(0, size)
        const rest = await readFully(file, buffer)
        return buffer.subarray(0, rest)
      } finally {
        await file.close()
      }
    } catch (error) {
      if (isMissing(error)) return 'missing'
      if (UNREADABLE.has(errnoOf(error))) return 'unreadable'
      throw storageError(`read block ${id}`, error)
    }
  }

  async #write(id: BlockId, bytes: Uint8Array): Promise<void> {
    const what = `store block ${id}`
    try {
      await this.#space.admit(bytes.length)
      try {
        await this.#writeIntoPlace(id, bytes)
      } finally {
        this.#space.settle(bytes.length)
      }
      await this.#syncer.sync(this.#layout.folderOf(id))
    } catch (error) {
      throw storageError(what, error)
    }
  }

  async #writeIntoPlace(id: BlockId, bytes: Uint8Array): Promise<void> {
    const temporary = join(this.#layout.temporary, String(this.#nextTemporary))
    this.#nextTemporary += 1
    try {
      await writeNewFile(this.#ops, temporary, bytes)
      await this.#ops.rename(temporary, this.#layout.pathOf(id))
    } catch (error) {
      const failure = storageError(`store block ${id}`, error)
      // A disk that failed is left alone, and its failure told at once, before another put
      // succeeds; the next open clears the file away.
      if (failure.code !== 'storage-failed') await this.#discard(temporary)
      throw failure
    }
  }

  /** Its own failure is only logged: the one that led here is what the caller needs to know. */
  async #discard(temporary: string): Promise<void> {
    try {
      await this.#space.withReserve(() => removeIfThere(this.#ops, temporary))
    } catch (error) {
      const reason = storageError(`remove ${temporary}`, error).message
      this.#logger.warn('block_store.temporary_left', { reason })
    }
  }

  /** Runs a change that makes room, or should, even when the disk is full. */
  async #change(what: string, change: () => Promise<void>): Promise<void> {
    await this.#writes.run(async () => {
      try {
        await this.#space.withReserve(change)
        await this.#space.restoreReserve()
      } catch (error) {
        throw storageError(what, error)
      }
    })
  }

  #logReport(report: ScanReport, index: BlockIndex): void {
    const { count, bytes } = index.usage()
    this.#logger.info('block_store.opened', { count, bytes })
    if (report.foreignCount > 0) {
      this.#logger.warn('block_store.foreign_files', {
        count: report.foreignCount,
        example: report.foreignExample
      })
    }
    const bad = report.impossible.length
    if (bad > 0) this.#logger.warn('block_store.impossible_sizes', { count: bad })
    if (report.unreadableCount > 0) {
      this.#logger.warn('block_store.unreadable_files', { count: report.unreadableCount })
    }
  }
}

/** Reads of the other folders go on; writes don't, on a disk that loses folders. */
function failedFolder(what: string, error: Error): MeshError {
  return new MeshError(
    'storage-failed',
    `Cannot ${what} for writing: a folder of blocks can't be read (${error.message}); check the ` +
      'disk',
    { cause: error }
  )
}
