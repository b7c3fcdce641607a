// Listing keys: of one space as it was at one moment, or over all shards in the order of keys.

import { MeshError } from '../../base/errors.ts'
import { compareBytes } from '../../core/machine/ordered-state.ts'
import { RANGE, SCAN } from '../../core/machine/own-queries.ts'
import type { Page } from '../../core/machine/reads.ts'
import type { Entry } from '../../core/machine/records.ts'
import { AREAS } from '../../core/machine/state-keys.ts'
import type { QueryOptions, Shards, Target } from '../../shard/shards.ts'
import type { KvEntry } from './entry.ts'
import { placeOf } from './key.ts'
import type { Selector } from './key.ts'

const PAGE_COUNT = 1_000
/** Of each shard, when all are asked. */
const SHARD_PAGE_COUNT = 250

export type ListPage = {
  readonly entries: readonly KvEntry[]
  /** For the next page; undefined after the last one. */
  readonly cursor: string | undefined
}

/** Where to go on, and for one space the revision that all pages show. */
type Position = { readonly from: Uint8Array; readonly revision: number | undefined }

/** Asks for a page from a key on. */
type Fetch = (from: Uint8Array | undefined, limit: number) => Promise<Page>

/** Entries in the order of keys, fetched as they are taken. */
export class Listing {
  readonly #sources: readonly Source[]
  readonly #revision: () => number | undefined

  constructor(
    shards: Shards,
    selector: Selector,
    options: { query: QueryOptions; position: Position | undefined; limit: number }
  ) {
    const { query, position, limit } = options
    const { space, span } = placeOf(selector)
    const from = position?.from ?? span.from
    if (space === undefined) {
      const pageCount = Math.min(SHARD_PAGE_COUNT, limit)
      this.#revision = () => undefined
      this.#sources = Array.from({ length: shards.count }, (_, shard) => {
        const fetch = fetchFrom({ shards, target: { shard }, query }, (next, count) => {
          return { ...span, ...(next === undefined ? {} : { from: next }), limit: count }
        })
        return new Source(fetch, { from, pageCount })
      })
      return
    }
    // A replica that wasn't asked for its newest may not have the revision of the page before.
    let revision = position?.revision
    this.#revision = () => revision
    const fetch: Fetch = async (next, count) => {
      const at = revision === undefined ? {} : { revision }
      const asked = { area: AREAS.kv, ...span, from: next ?? span.from, limit: count, ...at }
      const { result } = await shards.query({ space }, RANGE, asked, query)
      if (query.isStale !== true) revision = result.revision
      return result
    }
    this.#sources = [new Source(fetch, { from, pageCount: Math.min(PAGE_COUNT, limit) })]
  }

  /** @returns the next entry; undefined after the last one. */
  async next(): Promise<Entry | undefined> {
    const source = await this.#first()
    return source?.take()
  }

  /** @returns a cursor for what may be left; undefined when nothing is. */
  rest(): string | undefined {
    const [from] = this.#sources.flatMap(({ rest }) => rest ?? []).toSorted(compareBytes)
    return from === undefined ? undefined : cursorOf({ from, revision: this.#revision() })
  }

  /** @returns the source with the lowest key. */
  async #first(): Promise<Source | undefined> {
    const empty = this.#sources.filter(({ needsPage }) => needsPage)
    if (empty.length > 0) await Promise.all(empty.map(async (source) => await source.fill()))
    let first: Source | undefined
    for (const source of this.#sources) {
      if (source.head === undefined) continue
      const lowest = first?.head
      if (lowest === undefined || compareBytes(source.head.key, lowest.key) < 0) first = source
    }
    return first
  }
}

/** The entries of one shard. */
class Source {
  readonly #fetch: Fetch
  readonly #pageCount: number
  #entries: readonly Entry[] = []
  #index = 0
  /** Where the next page begins; null after the last one. */
  #next: Uint8Array | undefined | null

  constructor(fetch: Fetch, options: { from: Uint8Array | undefined; pageCount: number }) {
    this.#fetch = fetch
    this.#pageCount = options.pageCount
    this.#next = options.from
  }

  get head(): Entry | undefined {
    return this.#entries[this.#index]
  }

  /** Where it goes on; undefined after the last one. */
  get rest(): Uint8Array | undefined {
    return this.head?.key ?? this.#next ?? undefined
  }

  get needsPage(): boolean {
    return this.#index >= this.#entries.length && this.#next !== null
  }

  take(): Entry | undefined {
    return this.#entries[this.#index++]
  }

  /** A page may be empty and not the last: it looked at keys that were gone. */
  async fill(): Promise<void> {
    while (this.needsPage) {
      const page = await this.#fetch(this.#next ?? undefined, this.#pageCount)
      this.#entries = page.entries
      this.#index = 0
      this.#next = page.next ?? null
    }
  }
}

function fetchFrom(
  { shards, target, query }: { shards: Shards; target: Target; query: QueryOptions },
  argsOf: (from: Uint8Array | undefined, limit: number) => object
): Fetch {
  return async (from, limit) => {
    const asked = { area: AREAS.kv, ...argsOf(from, limit) }
    const { result } = await shards.query(target, SCAN, asked, query)
    return result
  }
}

function cursorOf({ from, revision }: Position): string {
  return `${revision ?? ''}.${Buffer.from(from).toString('base64url')}`
}

/** @throws invalid-argument */
export function positionOf(cursor: string): Position {
  const match = /^(\d*)\.([\w-]*)$/.exec(cursor)
  if (match === null) {
    const advice = 'give the one that the page before came with'
    throw new MeshError('invalid-argument', `"${cursor.slice(0, 80)}" is no cursor; ${advice}`)
  }
  const [, revision = '', from = ''] = match
  return {
    from: new Uint8Array(Buffer.from(from, 'base64url')),
    revision: revision === '' ? undefined : Number(revision)
  }
}
