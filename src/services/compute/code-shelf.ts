// Where the code of tasks is kept for all nodes: under a name of its own, so that the same code is
// there once, and its CID pins the version everywhere.
//
// The shelf has generations, `.code/1`, `.code/2` and so on; code is kept in the newest one, again
// when it is only in an older one. `code-sweep.ts` removes a generation when there was a newer one
// for longer than any task may run: so what is found in the newest one may be counted on for so long.

import type { Clock } from '../../base/clock.ts'
import { MeshError, isMeshError } from '../../base/errors.ts'
import { DAY_MS } from '../../base/units.ts'
import type { CallOptions } from '../../shard/shards.ts'
import type { PutResult } from '../files/uploader.ts'
import { rawCid } from './raw-cid.ts'

/** A volume that listings leave out. */
export const CODE_VOLUME = '.code'
/** How long code that was found there is taken to be there; after that it is looked for again. */
export const CODE_KNOWN_MS: number = DAY_MS
/** Codes that are known to be kept. */
const KNOWN_MAX = 1_024

/** Files by name, here or at the other end of a connection. */
export type NamedFiles = {
  stat(name: string, options?: CallOptions): Promise<{ cid: string | undefined }>
  ls(path: string, options?: CallOptions): AsyncIterable<{ name: string }>
  put(
    path: string,
    source: Uint8Array,
    options?: CallOptions & { replace?: boolean }
  ): Promise<Pick<PutResult, 'cid'>>
  mkdir(path: string, options?: CallOptions): Promise<void>
}

export class CodeShelf {
  readonly #files: NamedFiles
  readonly #clock: Pick<Clock, 'monotonicMs'>
  readonly #known = new Map<string, { readonly sinceMs: number; readonly cid: Promise<string> }>()

  constructor(components: { files: NamedFiles; clock: Pick<Clock, 'monotonicMs'> }) {
    this.#files = components.files
    this.#clock = components.clock
  }

  /** Whether code was kept here not long ago. */
  has(cid: string): boolean {
    const { sinceMs = -Infinity } = this.#known.get(cid) ?? {}
    return this.#clock.monotonicMs() - sinceMs < CODE_KNOWN_MS
  }

  /** @returns the CID of code that all nodes can read from now on @throws as `Files.put` */
  async keep(code: Uint8Array, options: CallOptions = {}): Promise<string> {
    const name = await rawCid(code)
    const known = this.#known.get(name)
    if (known !== undefined && this.has(name)) return await known.cid
    const cid = this.#keep(name, code, options)
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.set(name, { sinceMs: this.#clock.monotonicMs(), cid })
    try {
      return await cid
    } catch (error) {
      this.#known.delete(name)
      throw error
    }
  }

  async #keep(name: string, code: Uint8Array, options: CallOptions): Promise<string> {
    const folder = generationPath(await this.#newest(options))
    const path = `${folder}/${name}`
    const there = await this.#find(path, options)
    if (there !== undefined) return there
    await this.#files.mkdir(folder, options)
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

  /** @returns the number of the newest generation */
  async #newest(options: CallOptions): Promise<number> {
    let newest = 1
    try {
      for await (const { name } of this.#files.ls(CODE_VOLUME, options)) {
        newest = Math.max(newest, generationOf(name) ?? 0)
      }
    } catch (error) {
      if (!isMeshError(error, 'not-found')) throw error
    }
    return newest
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

export function generationPath(generation: number): string {
  return `${CODE_VOLUME}/${generation}`
}

/** @returns undefined for a name that is none of a generation */
export function generationOf(name: string): number | undefined {
  return /^[1-9]\d{0,9}$/.test(name) ? Number(name) : undefined
}
