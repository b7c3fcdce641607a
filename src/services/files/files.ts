// Files by CID: UnixFS trees over replicated blocks. A root CID means the same here as in IPFS.

import { exporter, type UnixFSEntry } from 'ipfs-unixfs-exporter'
import { importByteStream } from 'ipfs-unixfs-importer'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { balanced } from 'ipfs-unixfs-importer/layout'
import { pipe } from 'it-pipe'
import { MeshError, toMeshError } from '../../base/errors.ts'
import { CHUNK_BYTES } from '../../base/limits.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import { DagReader, DagWriter, parseCid } from './dag-store.ts'

/** Children of an inner node; together with 1 MiB raw leaves the IPFS profile "unixfs-v1-2025". */
const CHILDREN_PER_NODE = 1_024
/** Blocks hashed and written side by side. */
const WRITE_CONCURRENCY = 12
/** Blocks read ahead of the reader. */
const READ_CONCURRENCY = 8

/** Bytes to store: all at once, or as they come. */
export type FileSource = Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>

export type PutProgress = {
  /** Bytes of the source read so far. */
  bytes: number
}

export type PutResult = {
  /** The file's name: its root CID. */
  cid: string
  /** Length of the file. */
  bytes: number
  /** Different blocks that it consists of, inner nodes included. */
  blocks: number
  /** Copies that were sent or stored for it; 0 when all of them were there. */
  copiesWritten: number
}

export type FileStat = {
  cid: string
  type: 'file' | 'directory'
  /** Length of the file, or entries of the directory. */
  bytes: number
}

export type GetOptions = {
  /** First byte, 0 unless given. */
  offset?: number
  /** How many bytes; to the end unless given. What goes beyond the end is left out. */
  length?: number
  signal?: AbortSignal | undefined
}

export class Files {
  readonly #blocks: Blocks
  readonly #stopping: AbortSignal

  constructor(components: { blocks: Blocks }, options: { stopping: AbortSignal }) {
    this.#blocks = components.blocks
    this.#stopping = options.stopping
  }

  /**
   * Stores a file. When it resolves every block is on disk at a majority of its owners. After a
   * failure nothing is acknowledged; putting the same bytes again sends only what is missing.
   *
   * @throws no-quorum, disk-full, storage-failed, stopped, what `source` threw, or `signal.reason`
   */
  async put(
    source: FileSource,
    options: {
      onProgress?: ((progress: PutProgress) => void) | undefined
      signal?: AbortSignal | undefined
    } = {}
  ): Promise<PutResult> {
    const failed = new AbortController()
    const signals = [failed.signal, this.#stopping]
    if (options.signal !== undefined) signals.push(options.signal)
    const signal = AbortSignal.any(signals)
    const writer = new DagWriter({ blocks: this.#blocks }, { signal })
    let bytes = 0
    const counted = async function* (parts: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
      for await (const part of parts) {
        signal.throwIfAborted()
        bytes += part.length
        options.onProgress?.({ bytes })
        yield part
      }
    }
    try {
      const root = await pipe(
        partsOf(source),
        counted,
        async (parts) =>
          await importByteStream(parts, writer, {
            cidVersion: 1,
            rawLeaves: true,
            chunker: fixedSize({ chunkSize: CHUNK_BYTES }),
            layout: balanced({ maxChildrenPerNode: CHILDREN_PER_NODE }),
            blockWriteConcurrency: WRITE_CONCURRENCY
          })
      )
      return {
        cid: root.cid.toString(),
        bytes,
        blocks: writer.blockCount,
        copiesWritten: writer.copiesWritten
      }
    } catch (error) {
      // Blocks that are still under way are of no use now.
      failed.abort(toMeshError(error))
      options.signal?.throwIfAborted()
      this.#stopping.throwIfAborted()
      throw error
    }
  }

  /**
   * The bytes of a file, or of a part of it, each block verified before it is handed out.
   *
   * @throws invalid-argument (no CID of a file), invalid-range, not-found, no-quorum
   */
  async *get(cid: string, options: GetOptions = {}): AsyncGenerator<Uint8Array> {
    const signal = this.#signalFor(options.signal)
    const entry = await this.#entry(cid, signal)
    if (entry.type !== 'file' && entry.type !== 'raw') {
      throw new MeshError('invalid-argument', `CID ${cid} is a ${entry.type}, not a file`)
    }
    const size = sizeOf(entry)
    const { offset, length } = rangeOf(options, size, cid)
    if (length === 0) return
    // The first block travels alone: beside the ones read ahead it would come as late as they do.
    const first = Math.min(length, CHUNK_BYTES - (offset % CHUNK_BYTES))
    yield* entry.content({ offset, length: first, signal, blockReadConcurrency: 1 })
    if (first === length) return
    const rest = { offset: offset + first, length: length - first }
    yield* entry.content({ ...rest, signal, blockReadConcurrency: READ_CONCURRENCY })
  }

  /** @throws invalid-argument, not-found, no-quorum */
  async stat(cid: string, options: { signal?: AbortSignal | undefined } = {}): Promise<FileStat> {
    const entry = await this.#entry(cid, this.#signalFor(options.signal))
    const isDirectory = entry.type === 'directory'
    return {
      cid: entry.cid.toV1().toString(),
      type: isDirectory ? 'directory' : 'file',
      bytes: isDirectory ? 0 : sizeOf(entry)
    }
  }

  async #entry(text: string, signal: AbortSignal): Promise<UnixFSEntry> {
    const cid = parseCid(text)
    try {
      return await exporter(cid, new DagReader({ blocks: this.#blocks }), { signal })
    } catch (error) {
      signal.throwIfAborted()
      throw toMeshError(error, 'invalid-data')
    }
  }

  #signalFor(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#stopping : AbortSignal.any([signal, this.#stopping])
  }
}

function sizeOf(entry: UnixFSEntry): number {
  return Number(entry.size)
}

/** @throws invalid-range */
function rangeOf(
  options: GetOptions,
  size: number,
  cid: string
): { offset: number; length: number } {
  const { offset = 0, length = size - offset } = options
  for (const [name, value] of Object.entries({ offset, length: options.length ?? 0 })) {
    if (!Number.isSafeInteger(value) || value < 0) {
      throw new MeshError(
        'invalid-range',
        `Cannot read ${cid}: ${name} ${value} is not a whole number ≥ 0`
      )
    }
  }
  if (offset > size) {
    throw new MeshError(
      'invalid-range',
      `Cannot read ${cid} from byte ${offset}: it has only ${size} bytes`
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
