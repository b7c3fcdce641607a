// Putting a file: its blocks, and when all of them are there its name. Until then nobody sees it.

import { isMeshError, MeshError, toMeshError } from '../../base/errors.ts'
import type { Blocks } from '../../blocks/blocks.ts'
import { DagWriter, type CallOptions } from './dag-store.ts'
import { FreshBlocks } from './fresh-blocks.ts'
import type { FilePath } from './path.ts'
import { importFile, type FileSource } from './unixfs.ts'
import type { Uploaded, Volumes } from './volumes.ts'

export type PutProgress = {
  /** Bytes of the source read so far. */
  bytes: number
}

export type PutOptions = CallOptions & {
  onProgress?: ((progress: PutProgress) => void) | undefined
  /** What is there by that name goes. */
  replace?: boolean | undefined
  /** What is there by that name becomes an earlier version; the last 16 versions are kept. */
  append?: boolean | undefined
  /** The version that must be there, 0 for none; otherwise it is a conflict. */
  expectedVersion?: number | undefined
}

export type PutResult = {
  /** The root of the file's blocks: its name by content. */
  cid: string
  /** Length of the file. */
  bytes: number
  /** Different blocks that it consists of, inner nodes included. */
  blocks: number
  /** Copies that were sent or stored for it; 0 when all of them were there. */
  copiesWritten: number
  /** Of the name, from 1; missing without one. */
  version?: number
}

/** A source that is at hand is read again when its blocks were collected, this often. */
const UPLOADS_MAX = 3

export class Uploader {
  readonly #blocks: Blocks
  readonly #volumes: Volumes | undefined
  readonly #stopping: AbortSignal

  constructor(
    components: { blocks: Blocks; volumes: Volumes | undefined },
    options: { stopping: AbortSignal }
  ) {
    this.#blocks = components.blocks
    this.#volumes = components.volumes
    this.#stopping = options.stopping
  }

  /** @param path undefined: it is kept without a name. @throws as {@link Files.put} */
  async put(
    source: FileSource,
    path: FilePath | undefined,
    options: PutOptions
  ): Promise<PutResult> {
    if (path !== undefined) await this.#checkTarget(path, options)
    for (let upload = 1; ; upload++) {
      try {
        return await this.#upload(source, path, options)
      } catch (error) {
        const isAtHand = source instanceof Uint8Array && upload < UPLOADS_MAX
        const isCollected = isMeshError(error, 'conflict') && error.details['isCollected'] === true
        if (!isAtHand || !isCollected) throw error
      }
    }
  }

  /** What will be refused is better refused before all of it was sent. */
  async #checkTarget(path: FilePath, options: PutOptions): Promise<void> {
    try {
      const { signal } = options
      const entry = await this.#named().entry(path, { signal })
      if (entry.kind === 'directory') {
        throw new MeshError('is-a-directory', `Cannot put ${path.text}: it is a directory`)
      }
      if (modeOf(options) === 'create' && options.expectedVersion === undefined) {
        const advice = 'replace it or append a version, if that is meant'
        throw new MeshError('exists', `Cannot put ${path.text}: it is there already; ${advice}`)
      }
    } catch (error) {
      // There may be no directory; the put will say.
      if (!isMeshError(error, 'not-found')) throw error
    }
  }

  async #upload(
    source: FileSource,
    path: FilePath | undefined,
    options: PutOptions
  ): Promise<PutResult> {
    const failed = new AbortController()
    const signals = [failed.signal, this.#stopping]
    if (options.signal !== undefined) signals.push(options.signal)
    const signal = AbortSignal.any(signals)
    const writer = new DagWriter({ blocks: this.#blocks }, { signal })
    const fresh = this.#freshBlocks(writer, path, signal)
    try {
      await fresh?.begin()
      const file = await importFile(source, writer, { signal, onProgress: options.onProgress })
      const version = await this.#name(file, { path, fresh, options, signal })
      const { blockCount: blocks, copiesWritten } = writer
      const result = { cid: file.id, bytes: file.bytes, blocks, copiesWritten }
      return version === undefined ? result : { ...result, version }
    } catch (error) {
      // Blocks that are still under way are of no use now.
      failed.abort(toMeshError(error))
      options.signal?.throwIfAborted()
      this.#stopping.throwIfAborted()
      throw error
    } finally {
      fresh?.end()
    }
  }

  #freshBlocks(
    writer: DagWriter,
    path: FilePath | undefined,
    signal: AbortSignal
  ): FreshBlocks | undefined {
    const volumes = this.#volumes
    if (volumes === undefined) return undefined
    const cycleOf = (calls: CallOptions): Promise<number> => volumes.cycle(path, calls)
    return new FreshBlocks({ blocks: this.#blocks, writer, cycleOf }, { signal })
  }

  /** @returns the version, of a file with a name. */
  async #name(
    file: Omit<Uploaded, 'cycle'>,
    about: {
      path: FilePath | undefined
      fresh: FreshBlocks | undefined
      options: PutOptions
      signal: AbortSignal
    }
  ): Promise<number | undefined> {
    const { path, fresh, signal, options } = about
    if (fresh === undefined) return undefined
    const volumes = this.#named()
    const cycleOf = (calls: CallOptions): Promise<number> => volumes.cycle(path ?? file.id, calls)
    return await fresh.name(async (cycle) => {
      if (path === undefined) {
        await volumes.pin({ ...file, cycle }, { signal })
        return undefined
      }
      const { expectedVersion } = options
      const calls = { mode: modeOf(options), expectedVersion, signal }
      return await volumes.put(path, { ...file, cycle }, calls)
    }, cycleOf)
  }

  #named(): Volumes {
    return demandVolumes(this.#volumes)
  }
}

/** @throws stopped on a node without shards */
export function demandVolumes(volumes: Volumes | undefined): Volumes {
  if (volumes !== undefined) return volumes
  throw new MeshError('stopped', 'This node keeps no names of files: it has no shards')
}

function modeOf({ replace, append }: PutOptions): 'create' | 'replace' | 'append' {
  if (replace === true && append === true) {
    throw new MeshError(
      'invalid-argument',
      'A put replaces what is there or appends to it, not both'
    )
  }
  if (append === true) return 'append'
  return replace === true ? 'replace' : 'create'
}
