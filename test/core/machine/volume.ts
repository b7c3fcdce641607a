// A volume of one shard, for tests of names: paths as text, each call one entry.

import { utf8 } from '../../../src/base/bytes.ts'
import { encode, decode } from '../../../src/core/machine/codec.ts'
import type { Collection } from '../../../src/core/machine/file-collection.ts'
import { CYCLE } from '../../../src/core/machine/file-collection.ts'
import { MKDIR, MV, PUT, RM } from '../../../src/core/machine/file-operations.ts'
import type { FilePutArgs } from '../../../src/core/machine/file-operations.ts'
import { LIST, STAT } from '../../../src/core/machine/file-queries.ts'
import type { ListResult } from '../../../src/core/machine/file-queries.ts'
import type { NodeEntry } from '../../../src/core/machine/file-records.ts'
import { REAP } from '../../../src/core/machine/file-release.ts'
import { queriesOf } from '../../../src/core/machine/own-queries.ts'
import { Queries } from '../../../src/core/machine/query.ts'
import type { Query } from '../../../src/core/machine/query.ts'
import { SERVICES } from '../../../src/core/machine/services.ts'
import { Shard, text } from './shard.ts'

export function cidOf(number: number): Uint8Array {
  const cid = new Uint8Array(36)
  new DataView(cid.buffer).setUint32(0, number)
  return cid
}

/** @returns names of a path below the volume; '' is the volume. */
export function namesOf(path: string): Uint8Array[] {
  return path === '' ? [] : path.split('/').map(utf8)
}

export class Volume {
  readonly shard: Shard
  readonly #queries: Queries

  constructor(name = 'vol') {
    this.shard = new Shard(name)
    this.#queries = new Queries(this.shard.machine.reads, queriesOf(SERVICES))
  }

  mkdir(path: string, parents = true): void {
    this.shard.run(MKDIR, { names: namesOf(path), parents })
  }

  put(path: string, cid = 1, more: Partial<FilePutArgs> = {}): number {
    return this.shard.run(PUT, {
      names: namesOf(path),
      cid: cidOf(cid),
      bytes: cid * 10,
      mode: 'create',
      expectedVersion: undefined,
      cycle: this.collection.cycle,
      ...more
    }).version
  }

  mv(from: string, to: string, replace = false): void {
    this.shard.run(MV, { from: namesOf(from), to: namesOf(to), replace })
  }

  rm(path: string, recursive = false): void {
    this.shard.run(RM, { names: namesOf(path), recursive })
  }

  reap(limit: number): boolean {
    return this.shard.run(REAP, { limit }).hasMore
  }

  cycle(cycle: number): void {
    this.shard.run(CYCLE, { cycle })
  }

  get collection(): Collection {
    return this.shard.machine.reads.collection
  }

  stat(path: string): NodeEntry {
    return this.#ask(STAT, { volume: utf8(this.shard.space), names: namesOf(path) }).entry
  }

  page(
    path: string,
    more: { inode?: number; after?: Uint8Array; limit?: number } = {}
  ): ListResult {
    const { inode, after, limit = 1_000 } = more
    const volume = utf8(this.shard.space)
    return this.#ask(LIST, { volume, names: namesOf(path), inode, after, limit })
  }

  /** Names of a directory, those of directories with a slash. */
  list(path: string): string[] {
    return this.page(path).entries.map(
      ({ name, entry }) => `${text(name)}${entry.kind === 'directory' ? '/' : ''}`
    )
  }

  check(): void {
    this.shard.check()
  }

  /** Through bytes, as between nodes. */
  #ask<A, R>(query: Query<A, R>, args: A): R {
    const { name, version } = query
    return decode(query.result, this.#queries.answer(name, version, encode(query.args, args)))
  }
}
