// Names of files at the shards that have them: each call is one operation or query of core/machine.

import { fromUtf8, utf8 } from '../../base/bytes.ts'
import type { BlockId } from '../../base/ids.ts'
import { blockIdFromBytes, blockIdToBytes } from '../../core/block/block-id.ts'
import { COLLECTION } from '../../core/machine/file-collection.ts'
import { MKDIR, MV, PUT, RM } from '../../core/machine/file-operations.ts'
import type { PutMode } from '../../core/machine/file-operations.ts'
import { LIST, STAT } from '../../core/machine/file-queries.ts'
import type { FileVersion, NodeEntry } from '../../core/machine/file-records.ts'
import { PIN, UNPIN } from '../../core/machine/file-release.ts'
import { SCAN } from '../../core/machine/own-queries.ts'
import type { Page } from '../../core/machine/reads.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { Shards, Target } from '../../shard/shards.ts'
import type { CallOptions } from './dag-store.ts'
import type { FilePath } from './path.ts'

/** Entries that are asked for at once. */
const PAGE_COUNT = 1_000

/** Blocks that are all there, about to be named. */
export type Uploaded = {
  readonly id: BlockId
  /** Length of the file. */
  readonly bytes: number
  /** As read before the first of them was touched. */
  readonly cycle: number
}

export type Listed = { readonly name: string; readonly entry: NodeEntry }

/** Rejects as {@link Shards} does, besides what each method says. */
export class Volumes {
  readonly #shards: Shards
  #lastShard = 0

  constructor(components: { shards: Shards }) {
    this.#shards = components.shards
  }

  /** @throws exists, not-found, not-a-directory, quota-exceeded */
  async mkdir(path: FilePath, options: CallOptions & { parents: boolean }): Promise<void> {
    const { names } = path
    await this.#shards.execute(of(path), MKDIR, { names, parents: options.parents }, options)
  }

  /** @returns the version that it is. @throws exists, conflict, is-a-directory, not-found, … */
  async put(
    path: FilePath,
    { id, bytes, cycle }: Uploaded,
    options: CallOptions & { mode: PutMode; expectedVersion: number | undefined }
  ): Promise<number> {
    const { mode, expectedVersion } = options
    const file = { cid: blockIdToBytes(id), bytes, cycle }
    const args = { names: path.names, mode, expectedVersion, ...file }
    return (await this.#shards.execute(of(path), PUT, args, options)).result.version
  }

  /** @param to in the same volume. @throws not-found, exists, invalid-argument, … */
  async mv(
    from: FilePath,
    to: FilePath,
    options: CallOptions & { replace: boolean }
  ): Promise<void> {
    const args = { from: from.names, to: to.names, replace: options.replace }
    await this.#shards.execute(of(from), MV, args, options)
  }

  /** @throws not-found, not-empty, not-a-directory */
  async rm(path: FilePath, options: CallOptions & { recursive: boolean }): Promise<void> {
    const { names } = path
    await this.#shards.execute(of(path), RM, { names, recursive: options.recursive }, options)
  }

  /** @throws not-found, not-a-directory */
  async entry(path: FilePath, options: CallOptions): Promise<NodeEntry> {
    const { volume, names } = path
    return (await this.#shards.query(of(path), STAT, { volume, names }, options)).result.entry
  }

  /** What a directory has, in the order of names. @throws not-found, not-a-directory */
  async *list(path: FilePath, options: CallOptions): AsyncGenerator<Listed> {
    const { volume, names } = path
    let at: { inode: number | undefined; after: Uint8Array | undefined } = {
      inode: undefined,
      after: undefined
    }
    for (;;) {
      const args = { volume, names, ...at, limit: PAGE_COUNT }
      const { result } = await this.#shards.query(of(path), LIST, args, options)
      for (const { name, entry } of result.entries) yield { name: fromUtf8(name), entry }
      if (result.last === undefined) return
      at = { inode: result.inode, after: result.last.slice() }
    }
  }

  /** Names of all volumes, shard by shard. */
  async *volumes(options: CallOptions): AsyncGenerator<string> {
    for (let shard = 0; shard < this.#shards.count; shard++) {
      let from: Uint8Array | undefined
      do {
        const query = { area: AREAS['file-volume'], ...(from === undefined ? {} : { from }) }
        const page: Page = (await this.#shards.query({ shard }, SCAN, query, options)).result
        for (const { key } of page.entries) yield fromUtf8(key)
        from = page.next?.slice()
      } while (from !== undefined)
    }
  }

  /** Keeps a file without a name. @throws conflict, quota-exceeded */
  async pin({ id, bytes, cycle }: Uploaded, options: CallOptions): Promise<void> {
    const args = { cid: blockIdToBytes(id), bytes, cycle }
    await this.#shards.execute({ space: utf8(id) }, PIN, args, options)
  }

  /** @throws not-found when it isn't kept without a name */
  async unpin(id: BlockId, options: CallOptions): Promise<void> {
    await this.#shards.execute({ space: utf8(id) }, UNPIN, undefined, options)
  }

  /** @returns the collection cycle of a shard: a writer reads it before it touches a block. */
  async cycle(of: FilePath | BlockId | undefined, options: CallOptions): Promise<number> {
    const target = this.#targetOf(of)
    return (await this.#shards.query(target, COLLECTION, undefined, options)).result.cycle
  }

  #targetOf(what: FilePath | BlockId | undefined): Target {
    if (typeof what === 'string') return { space: utf8(what) }
    if (what !== undefined) return of(what)
    // Where a file without a name will be kept isn't known before its hash is. Any shard will do.
    this.#lastShard = (this.#lastShard + 1) % this.#shards.count
    return { shard: this.#lastShard }
  }
}

export function cidOf({ cid }: FileVersion): BlockId {
  return blockIdFromBytes(cid)
}

function of({ volume }: FilePath): Target {
  return { space: volume }
}
