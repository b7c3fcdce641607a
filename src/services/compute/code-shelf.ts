// Where the code of tasks is kept for all nodes: under a name of its own, so that the same code is
// there once, and its CID pins the version everywhere.

import { MeshError, isMeshError } from '../../base/errors.ts'
import type { CallOptions } from '../../shard/shards.ts'
import type { PutResult } from '../files/uploader.ts'
import { rawCid } from './raw-cid.ts'

/** A volume that listings leave out. */
const CODE_VOLUME = '.code'
/** Codes that are known to be kept. */
const KNOWN_MAX = 1_024

/** Files by name, here or at the other end of a connection. */
export type NamedFiles = {
  stat(name: string, options?: CallOptions): Promise<{ cid: string | undefined }>
  put(
    path: string,
    source: Uint8Array,
    options?: CallOptions & { replace?: boolean }
  ): Promise<Pick<PutResult, 'cid'>>
  mkdir(path: string, options?: CallOptions): Promise<void>
}

export class CodeShelf {
  readonly #files: NamedFiles
  readonly #known = new Map<string, Promise<string>>()

  constructor(files: NamedFiles) {
    this.#files = files
  }

  /** @returns the CID of code that all nodes can read from now on @throws as `Files.put` */
  async keep(code: Uint8Array, options: CallOptions = {}): Promise<string> {
    const name = await rawCid(code)
    const known = this.#known.get(name)
    if (known !== undefined) return await known
    const keeping = this.#keep(name, code, options)
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.set(name, keeping)
    try {
      return await keeping
    } catch (error) {
      this.#known.delete(name)
      throw error
    }
  }

  async #keep(name: string, code: Uint8Array, options: CallOptions): Promise<string> {
    const path = `${CODE_VOLUME}/${name}`
    const there = await this.#find(path, options)
    if (there !== undefined) return there
    await this.#files.mkdir(CODE_VOLUME, options)
    try {
      return (await this.#files.put(path, code, options)).cid
    } catch (error) {
      // Somebody else keeps the same.
      if (!isMeshError(error, 'exists')) throw error
      const cid = await this.#find(path, options)
      if (cid === undefined) throw new MeshError('not-found', `${path} was removed`)
      return cid
    }
  }

  async #find(path: string, options: CallOptions): Promise<string | undefined> {
    try {
      return (await this.#files.stat(path, options)).cid
    } catch (error) {
      if (isMeshError(error, 'not-found')) return undefined
      throw error
    }
  }
}
