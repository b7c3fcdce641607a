// Opening a block store: its folders, what a crash left behind, and which blocks are there.

import { hash } from 'node:crypto'
import { dirname, join } from 'node:path'

import { equalBytes } from '../../base/bytes.ts'
import type { BlockId } from '../../base/ids.ts'
import { BLOCK_BYTES_MAX } from '../../base/limits.ts'
import { blockDigest } from '../../core/block/block-id.ts'
import type { BlockIndex } from '../block-index.ts'
import { blockOfFile, type BlockLayout } from './block-layout.ts'
import { isMissing, makeFolderDurably, syncFolder, type FileOps } from './file-ops.ts'
import { removeIfThere } from './durable-file.ts'
import { forEachBounded } from './gate.ts'

/** Sizes asked for at a time. The thread pool has fewer threads; more would only use memory. */
const SCAN_WIDTH = 16

/** Bytes that an empty block hashes to, the only block whose file may be empty. */
const EMPTY_DIGEST: Uint8Array = hash('sha256', new Uint8Array(), 'buffer')

export type ScanReport = {
  /** Files and folders that aren't this store's. They are left alone. */
  foreignCount: number
  /** One of them. */
  foreignExample: string | undefined
  /** Blocks whose size couldn't be asked for. They stay out of the index. */
  unreadableCount: number
  /** Blocks whose file has a size that they can't have. */
  impossible: BlockId[]
  /** The first error on reading a whole folder, whose blocks are then not in the index. */
  folderError: Error | undefined
}

/**
 * Makes the folders that are missing, their names durable.
 * @throws the system's error
 */
export async function prepareFolders(ops: FileOps, layout: BlockLayout): Promise<void> {
  const dir = dirname(layout.root)
  await makeFolderDurably(ops, dir)
  await ops.makeFolder(layout.root)
  await syncFolder(ops, dir)
  const there = new Set((await ops.listFolder(layout.root)).map((entry) => entry.name))
  const wanted = [layout.temporary, layout.bad, ...layout.folders.map((f) => join(layout.root, f))]
  const missing = wanted.filter((path) => !there.has(path.slice(layout.root.length + 1)))
  await forEachBounded(missing, SCAN_WIDTH, async (path) => {
    await ops.makeFolder(path)
  })
  // Even when none was missing: a process that was killed may have made them and not synced.
  await syncFolder(ops, layout.root)
}

/**
 * Removes the files of puts that were cut off.
 * @throws the system's error
 */
export async function clearTemporary(ops: FileOps, layout: BlockLayout): Promise<void> {
  const files = (await ops.listFolder(layout.temporary)).filter((entry) => entry.kind === 'file')
  await forEachBounded(files, SCAN_WIDTH, async (entry) => {
    await removeIfThere(ops, join(layout.temporary, entry.name))
  })
}

/** Adds to `index` the blocks that are there, by name and size; bytes are checked when read. */
export async function scanBlocks(
  ops: FileOps,
  layout: BlockLayout,
  index: BlockIndex
): Promise<ScanReport> {
  const report: ScanReport = {
    foreignCount: 0,
    foreignExample: undefined,
    unreadableCount: 0,
    impossible: [],
    folderError: undefined
  }
  for (const entry of await ops.listFolder(layout.root)) {
    if (!layout.owns(entry.name)) noteForeign(report, join(layout.root, entry.name))
  }
  for (const folder of layout.folders) await scanFolder({ ops, layout, index, report }, folder)
  return report
}

type Scan = { ops: FileOps; layout: BlockLayout; index: BlockIndex; report: ScanReport }

async function scanFolder(scan: Scan, folder: string): Promise<void> {
  const { ops, layout, index, report } = scan
  const path = join(layout.root, folder)
  const entries = await ops.listFolder(path).catch((error: unknown) => {
    if (!(error instanceof Error)) throw error
    report.folderError ??= error
    return []
  })
  await forEachBounded(entries, SCAN_WIDTH, async (entry) => {
    const id = entry.kind === 'file' ? blockOfFile(folder, entry.name) : undefined
    if (id === undefined) {
      noteForeign(report, join(path, entry.name))
      return
    }
    const size = await sizeIfReadable(scan, join(path, entry.name))
    if (size === undefined) return
    if (isPossible(id, size)) index.add(id, size)
    else report.impossible.push(id)
  })
}

async function sizeIfReadable(scan: Scan, path: string): Promise<number | undefined> {
  try {
    return await scan.ops.sizeOf(path)
  } catch (error) {
    if (!isMissing(error)) scan.report.unreadableCount += 1
    return undefined
  }
}

function isPossible(id: BlockId, size: number): boolean {
  if (size === 0) return equalBytes(blockDigest(id), EMPTY_DIGEST)
  return size <= BLOCK_BYTES_MAX
}

function noteForeign(report: ScanReport, path: string): void {
  report.foreignCount += 1
  report.foreignExample ??= path
}
