// Files: by CID, or by a name in a volume, VOLUME/dir/name. The bytes are trees of replicated blocks,
// the names are kept by the shards. A file is there when all of it is there: first its blocks, then
// one entry that names it.

import { equalBytes } from '../../base/bytes.ts'
import { MeshError } from '../../base/errors.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import type { Shards } from '../../shard/shards.ts'
import type { CallOptions } from './dag-store.ts'
import { parseFileName, parsePath, type FilePath } from './path.ts'
import { contentOf, openFile, sizeOf, type FileSource, type Range } from './unixfs.ts'
import {
  demandVolumes,
  Uploader,
  type Keeper,
  type PutOptions,
  type PutResult
} from './uploader.ts'
import { cidOf, Volumes } from './volumes.ts'

export type { FileSource } from './unixfs.ts'
export type { PutOptions, PutProgress, PutResult } from './uploader.ts'

export type FileStat = {
  /** Undefined for a directory of a volume. */
  cid: string | undefined
  type: 'file' | 'directory'
  /** Length of the file; 0 for a directory. */
  bytes: number
  /** Of a file that has a name: from 1, one more with each put. */
  version?: number
  /** All versions that can be read, newest first. */
  versions?: readonly { version: number; bytes: number; cid: string }[]
}

export type DirectoryItem = {
  name: string
  type: 'file' | 'directory'
  /** Length of the file; 0 for a directory. */
  bytes: number
  cid: string | undefined
}

export type GetOptions = CallOptions &
  Range & {
    /** Of a file that has a name; the newest unless given. */
    version?: number | undefined
  }

export class Files {
  readonly #blocks: Blocks
  readonly #volumes: Volumes | undefined
  readonly #uploader: Uploader
  readonly #stopping: AbortSignal

  /** Without shards there are no names, and what is put isn't pinned. */
  constructor(
    components: { blocks: Blocks; shards?: Shards | undefined },
    options: { stopping: AbortSignal }
  ) {
    const { blocks, shards } = components
    this.#blocks = blocks
    this.#volumes = shards === undefined ? undefined : new Volumes({ shards })
    this.#uploader = new Uploader({ blocks, volumes: this.#volumes }, options)
    this.#stopping = options.stopping
  }

  /**
   * Stores a file, under a name or kept by its CID until it is removed. When it resolves every block is
   * on disk at a majority of its owners, and then it has its name. After a failure nothing is
   * acknowledged and the name is as it was, unless the failure is a timeout; putting the same bytes
   * again sends only what is missing.
   *
   * @throws exists, is-a-directory, not-found (the directory), not-a-directory, conflict (the
   *   version; or blocks that were collected meanwhile), no-quorum, disk-full, storage-failed,
   *   timeout, stopped, what `source` threw, or `signal.reason`
   */
  async put(source: FileSource, options?: PutOptions): Promise<PutResult>
  async put(path: string | undefined, source: FileSource, options?: PutOptions): Promise<PutResult>
  async put(
    first: FileSource | string | undefined,
    second: FileSource | PutOptions | undefined,
    third?: PutOptions
  ): Promise<PutResult> {
    const isNamed = first === undefined || typeof first === 'string'
    const options = (isNamed ? third : (second as PutOptions | undefined)) ?? {}
    const source = (isNamed ? second : first) as FileSource
    const path = typeof first === 'string' ? parsePath(first) : undefined
    return await this.#uploader.put(source, path, options)
  }

  /**
   * For services that keep files by entries of their own: as `put`, with another keeper.
   *
   * @throws as `put`, and what `keeper` throws
   */
  async putFor(source: FileSource, keeper: Keeper, options: CallOptions = {}): Promise<PutResult> {
    return await this.#uploader.putFor(source, keeper, options)
  }

  /**
   * The bytes of a file, or of a part of it, each block verified before it is handed out.
   *
   * @param name a path or a CID
   * @throws invalid-argument (no file), is-a-directory, invalid-range, not-found, no-quorum
   */
  async *get(name: string, options: GetOptions = {}): AsyncGenerator<Uint8Array> {
    const signal = this.#signalFor(options.signal)
    const parsed = parseFileName(name)
    // A volume is no file, so a name alone is meant as a CID.
    const isPath = parsed.kind === 'path' && parsed.path.names.length > 0
    const cid = isPath ? await this.#cidOf(parsed.path, options.version, { signal }) : name
    const entry = await openFile(cid, { blocks: this.#blocks, signal })
    yield* contentOf(entry, { range: options, name, signal })
  }

  /** @param name a path or a CID @throws invalid-argument, not-found, not-a-directory, no-quorum */
  async stat(name: string, options: CallOptions = {}): Promise<FileStat> {
    const signal = this.#signalFor(options.signal)
    const parsed = parseFileName(name)
    if (parsed.kind === 'cid') {
      const entry = await openFile(name, { blocks: this.#blocks, signal })
      const isDirectory = entry.type === 'directory'
      return {
        cid: entry.cid.toV1().toString(),
        type: isDirectory ? 'directory' : 'file',
        bytes: isDirectory ? 0 : sizeOf(entry)
      }
    }
    const entry = await this.#named().entry(parsed.path, { signal })
    if (entry.kind === 'directory') return { cid: undefined, type: 'directory', bytes: 0 }
    const versions = [entry.newest, ...entry.earlier].map((version) => {
      return { version: version.version, bytes: version.bytes, cid: cidOf(version) }
    })
    const { bytes, version } = entry.newest
    return { cid: cidOf(entry.newest), type: 'file', bytes, version, versions }
  }

  /**
   * What a directory has, in the order of the bytes of names; read a page at a time, so a directory
   * of any size takes little memory. Without a path: the volumes, in no order.
   *
   * @throws not-found, not-a-directory, invalid-argument, no-quorum
   */
  async *ls(path?: string, options: CallOptions = {}): AsyncGenerator<DirectoryItem> {
    const calls = { signal: this.#signalFor(options.signal) }
    const directory = { type: 'directory', bytes: 0, cid: undefined } as const
    if (path === undefined) {
      for await (const name of this.#named().volumes(calls)) yield { name, ...directory }
      return
    }
    for await (const { name, entry } of this.#named().list(parsePath(path), calls)) {
      if (entry.kind === 'directory') yield { name, ...directory }
      else yield { name, type: 'file', bytes: entry.newest.bytes, cid: cidOf(entry.newest) }
    }
  }

  /**
   * Makes a directory, or a volume.
   *
   * @param options.parents makes what is missing on the way and takes what is there; on unless false
   * @throws exists, not-found, not-a-directory, invalid-argument, quota-exceeded, no-quorum
   */
  async mkdir(
    path: string,
    options: CallOptions & { parents?: boolean | undefined } = {}
  ): Promise<void> {
    const { parents = true } = options
    await this.#named().mkdir(parsePath(path), { parents, signal: this.#signalFor(options.signal) })
  }

  /**
   * Gives a file or directory another name in its volume, at once whatever is in it.
   *
   * @param options.replace puts it in the place of a file, or of an empty directory
   * @throws exists, cross-volume, not-found, not-empty, is-a-directory, not-a-directory,
   *   invalid-argument (into itself), no-quorum
   */
  async mv(
    from: string,
    to: string,
    options: CallOptions & { replace?: boolean | undefined } = {}
  ): Promise<void> {
    const source = parsePath(from)
    const target = parsePath(to)
    if (!equalBytes(source.volume, target.volume)) {
      const problem = 'they are in two volumes; put it there and remove it here'
      throw new MeshError('cross-volume', `Cannot move ${from} to ${to}: ${problem}`)
    }
    const { replace = false } = options
    await this.#named().mv(source, target, { replace, signal: this.#signalFor(options.signal) })
  }

  /**
   * Removes a file, an empty directory or, when `recursive`, all of a directory at once. A CID: lets
   * go of a file that was put without a name. The space comes back within minutes.
   *
   * @throws not-found, not-empty, not-a-directory, invalid-argument, no-quorum
   */
  async rm(
    name: string,
    options: CallOptions & { recursive?: boolean | undefined } = {}
  ): Promise<void> {
    const signal = this.#signalFor(options.signal)
    const { recursive = false } = options
    const parsed = parseFileName(name)
    if (parsed.kind === 'cid') await this.#named().unpin(parsed.id, { signal })
    else await this.#named().rm(parsed.path, { recursive, signal })
  }

  /** @throws is-a-directory, not-found */
  async #cidOf(path: FilePath, version: number | undefined, options: CallOptions): Promise<string> {
    const entry = await this.#named().entry(path, options)
    if (entry.kind === 'directory') {
      throw new MeshError('is-a-directory', `Cannot read ${path.text}: it is a directory`)
    }
    const wanted = version ?? entry.newest.version
    const found = [entry.newest, ...entry.earlier].find((at) => at.version === wanted)
    if (found !== undefined) return cidOf(found)
    const problem = `its newest is ${entry.newest.version}, and few before that are kept`
    throw new MeshError('not-found', `There is no version ${version} of ${path.text}: ${problem}`)
  }

  #named(): Volumes {
    return demandVolumes(this.#volumes)
  }

  #signalFor(signal: AbortSignal | undefined): AbortSignal {
    return signal === undefined ? this.#stopping : AbortSignal.any([signal, this.#stopping])
  }
}
