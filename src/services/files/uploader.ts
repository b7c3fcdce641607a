// Putting a file: its blocks, and when all of them are there its name. Until then nobody sees it.

import { isMeshError, MeshError, toMeshError } from '../../base/errors.ts'
import type { BlockId } from '../../base/ids.ts'
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

/** Who keeps the blocks of a file from being collected, by an entry in a shard. */
export type Keeper = {
  /** The collection's cycle at a shard; `file` is undefined before its blocks are known. */
  cycle(file: BlockId | undefined, options: CallOptions): Promise<number>
  /**
   * All blocks are there: makes the entry. @returns the version, where there are several
   * @throws conflict with the detail isCollected when blocks may have been collected meanwhile
   */
  keep(file: Uploaded, options: CallOptions): Promise<number | undefined>
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
    return await this.putFor(source, this.#keeper(path, options), options)
  }

  /** @param keeper undefined: nothing keeps it. @throws as {@link Files.put}, and what `keep` throws */
  async putFor(
    source: FileSource,
    keeper: Keeper | undefined,
    options: Pick<PutOptions, 'signal' | 'onProgress'>
  ): Promise<PutResult> {
    for (let upload = 1; ; upload++) {
      try {
        return await this.#upload(source, keeper, options)
      } catch (error) {
        const isAtHand = source instanceof Uint8Array && upload < UPLOADS_MAX
        const isCollected = isMeshError(error, 'conflict') && error.details['isCollected'] === true
        if (!isAtHand || !isCollected) throw error
      }
    }
  }

  #keeper(path: FilePath | undefined, options: PutOptions): Keeper | undefined {
    const volumes = this.#volumes
    if (volumes === undefined) return undefined
    if (path === undefined) {
      return {
        cycle: (file, calls) => volumes.cycle(file, calls),
        keep: async (file, calls) => {
          await volumes.pin(file, calls)
          return undefined
        }
      }
    }
    const { expectedVersion } = options
    return {
      cycle: (_, calls) => volumes.cycle(path, calls),
      keep: async (file, calls) =>
        await volumes.put(path, file, { mode: modeOf(options), expectedVersion, ...calls })
    }
  }

  /** What will be refused is better refused before all of it was sent. */
  async #checkTarget(path: FilePath, options: PutOptions): Promise<void> {
    try {
      const { signal } = options
      const entry = await demandVolumes(this.#volumes).entry(path, { signal })
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
    keeper: Keeper | undefined,
    options: Pick<PutOptions, 'signal' | 'onProgress'>
  ): Promise<PutResult> {
    const failed = new AbortController()
    const signals = [failed.signal, this.#stopping]
    if (options.signal !== undefined) signals.push(options.signal)
    const signal = AbortSignal.any(signals)
    const writer = new DagWriter({ blocks: this.#blocks }, { signal })
    const fresh = this.#freshBlocks(writer, keeper, signal)
    try {
      await fresh?.begin()
      const file = await importFile(source, writer, { signal, onProgress: options.onProgress })
      const version = await fresh?.name(
        async (cycle) => await keeper?.keep({ ...file, cycle }, { signal }),
        async (calls) => (await keeper?.cycle(file.id, calls)) ?? 0
      )
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
    keeper: Keeper | undefined,
    signal: AbortSignal
  ): FreshBlocks | undefined {
    if (keeper === undefined) return undefined
    const cycleOf = (calls: CallOptions): Promise<number> => keeper.cycle(undefined, calls)
    return new FreshBlocks({ blocks: this.#blocks, writer, cycleOf }, { signal })
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
