// Files as trees of blocks, cut as IPFS cuts them: a root CID means the same here and there.

import { exporter, type UnixFSEntry } from 'ipfs-unixfs-exporter'
import { importByteStream } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { pipe } from 'it-pipe'
import { MeshError, toMeshError } from '../../base/errors.ts'
import type { BlockId } from '../../base/ids.ts'
import { CHUNK_BYTES } from '../../base/limits.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import { blockIdOf, DagReader, parseCid, type DagWriter } from './dag-store.ts'

/** Children of an inner node; together with 1 MiB raw leaves the IPFS profile "unixfs-v1-2025". */
const CHILDREN_PER_NODE = 1_024
/** Blocks hashed and written side by side. */
const WRITE_CONCURRENCY = 12
/** Blocks read ahead of the reader. */
const READ_CONCURRENCY = 8

/** Bytes to store: all at once, or as they come. */
export type FileSource = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export type Range = {
  /** First byte, 0 unless given. */
  offset?: number
  /** How many bytes; to the end unless given. What goes beyond the end is left out. */
  length?: number
}

/** @returns the root of a file, once all of its blocks are acknowledged, and the file's length. */
export async function importFile(
  source: FileSource,
  writer: DagWriter,
  options: { signal: AbortSignal; onProgress?: ((at: { bytes: number }) => void) | undefined }
): Promise<{ id: BlockId; bytes: number }> {
  let bytes = 0
  const counted = async function* (parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const part of parts) {
      options.signal.throwIfAborted()
      bytes += part.length
      options.onProgress?.({ bytes })
      yield part
    }
  }
  const root = await pipe(partsOf(source), counted, async (parts) => {
    return await importByteStream(parts, writer, {
      cidVersion: 1,
      rawLeaves: true,
      chunker: fixedSize({ chunkSize: CHUNK_BYTES }),
      layout: balanced({ maxChildrenPerNode: CHILDREN_PER_NODE }),
      blockWriteConcurrency: WRITE_CONCURRENCY
    })
  })
  return { id: blockIdOf(root.cid), bytes }
}

/** @returns what a CID is. @throws invalid-argument, invalid-data, not-found, no-quorum */
export async function openFile(
  cid: string,
  { blocks, signal }: { blocks: Blocks; signal: AbortSignal }
): Promise<UnixFSEntry> {
  const parsed = parseCid(cid)
  try {
    return await exporter(parsed, new DagReader({ blocks }), { signal })
  } catch (error) {
    signal.throwIfAborted()
    throw toMeshError(error, 'invalid-data')
  }
}

/** @throws invalid-range, invalid-argument when it is no file; not-found, no-quorum */
export async function* contentOf(
  entry: UnixFSEntry,
  { range, name, signal }: { range: Range; name: string; signal: AbortSignal }
): AsyncGenerator<Uint8Array> {
  if (entry.type !== 'file' && entry.type !== 'raw') {
    throw new MeshError('invalid-argument', `CID ${name} is a ${entry.type}, not a file`)
  }
  const { offset, length } = rangeOf(range, sizeOf(entry), name)
  if (length === 0) return
  // The first block travels alone: beside the ones read ahead it would come as late as they do.
  const first = Math.min(length, CHUNK_BYTES - (offset % CHUNK_BYTES))
  yield* entry.content({ offset, length: first, signal, blockReadConcurrency: 1 })
  if (first === length) return
  const rest = { offset: offset + first, length: length - first }
  yield* entry.content({ ...rest, signal, blockReadConcurrency: READ_CONCURRENCY })
}

export function sizeOf(entry: UnixFSEntry): number {
  return Number(entry.size)
}

/** @throws invalid-range */
function rangeOf(range: Range, size: number, name: string): { offset: number; length: number } {
  const { offset = 0, length = size - offset } = range
  for (const [field, value] of Object.entries({ offset, length: range.length ?? 0 })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new MeshError(
        'invalid-range',
        `Cannot read ${name}: ${field} ${value} is not a whole number ≥ 0`
      )
    }
  }
  if (offset > size) {
    throw new MeshError(
      'invalid-range',
      `Cannot read ${name} from byte ${offset}: it has only ${size} bytes`
    )
  }
  return { offset, length: Math.min(length, size - offset) }
}

async function* partsOf(source: FileSource): AsyncGenerator<Uint8Array> {
  if (source instanceof Uint8Array) {
    yield source
    return
  }
  for await (const part of source) {
    if (!(part instanceof Uint8Array)) {
      throw new MeshError('invalid-argument', 'A file source yields Uint8Array, nothing else')
    }
    yield part
  }
}
