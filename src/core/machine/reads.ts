// Reading a shard: keys as they are or were, and what changed since a revision. Nothing here writes.

import { MeshError } from '../../base/errors.ts'
import { readCollection } from './file-collection.ts'
import type { Collection } from './file-collection.ts'
import { readChanges } from './compaction.ts'
import { readLease } from './leases.ts'
import {
  ANSWER_BYTES_MAX,
  KEY_BYTES_MAX,
  RANGE_COUNT_MAX,
  RANGE_SCAN_MAX,
  WATCH_SCAN_MAX
} from './limits.ts'
import type { OrderedReads } from './ordered-state.ts'
import { readMeta } from './records.ts'
import type { Entry, Meta } from './records.ts'
import { checkKey, checkSpan, isOneKey, isWithin, spaceOf } from './space.ts'
import type { Span } from './space.ts'
import { META_KEY } from './state-keys.ts'
import type { Area } from './state-keys.ts'
import type { ChangeEvent, RevisionEvents } from './transaction.ts'
import { scan, versionAt, versionOf } from './versions.ts'
import type { Place } from './versions.ts'

/** What a record costs on a page besides key and value. */
const ENTRY_OVERHEAD_BYTES = 64
const FIRST_KEY = new Uint8Array(0)
const AFTER_ALL_KEYS = new Uint8Array(KEY_BYTES_MAX + 1).fill(0xff)

export type PageQuery = Span & {
  readonly area: Area
  /** As the keys were then; the newest when missing. Give the first page's for the next ones. */
  readonly revision?: number
  /** Entries, 1 to {@link RANGE_COUNT_MAX}, which is the default. */
  readonly limit?: number
}

/** Without a bound: from the first key of the shard, to the last. */
export type ScanQuery = Omit<PageQuery, keyof Span> & Partial<Span>

export type Page = {
  /** What the page shows: give it to the next one, and both fit together. */
  readonly revision: number
  readonly entries: readonly Entry[]
  /** Where the next page begins; undefined: there is none. It may come with no entries at all. */
  readonly next: Uint8Array | undefined
}

export type WatchQuery = Span & {
  readonly area: Area
  /** The first revision that is wanted. */
  readonly revision: number
  /** No more revisions once there are so many events; at least 1. */
  readonly eventsMax?: number
}

export type WatchPage = {
  /** Oldest first; only the events within the span, and all of those of a revision. */
  readonly revisions: readonly RevisionEvents[]
  /** The first revision that was not looked at: where to go on. */
  readonly next: number
  /** Whether there are no more for now. */
  readonly isUpToDate: boolean
}

export type LeaseView = {
  readonly ttlMs: number
  /** By the shard's time, which stands still while nobody leads. */
  readonly leftMs: number
  readonly keyCount: number
}

/**
 * Reads from a store or a snapshot of one. Linearizable when the caller confirmed that the state is
 * new enough; the revision tells what was read.
 */
export class MachineReads {
  readonly #state: OrderedReads
  #stored: Uint8Array | undefined
  #meta: Readonly<Meta>

  constructor(state: OrderedReads) {
    this.#state = state
    this.#meta = readMeta(state)
  }

  /** Revision, time, space used and so on, as of the last batch that was applied. */
  get meta(): Readonly<Meta> {
    // Most stores give the same array until it changes.
    const stored = this.#state.get(META_KEY)
    if (stored === undefined || stored !== this.#stored) {
      this.#stored = stored
      this.#meta = readMeta(this.#state)
    }
    return this.#meta
  }

  /**
   * @param revision as it was then; missing: as it is.
   * @throws compacted, invalid-argument, too-large
   */
  get({ area, key }: Place, revision?: number): { revision: number; entry: Entry | undefined } {
    checkKey(spaceOf(key), key)
    const at = this.#checkRevision(revision)
    const version = versionAt(this.#state, { area, key }, at)
    return { revision: at, entry: version === undefined ? undefined : { key, ...version } }
  }

  /** @throws compacted; invalid-argument, also when the span isn't within a space */
  range(query: PageQuery): Page {
    checkSpan(spaceOf(query.from), query)
    return this.#page(query)
  }

  /**
   * As {@link range}, over all spaces of the shard.
   *
   * @throws compacted, invalid-argument
   */
  scan({ from = FIRST_KEY, to = AFTER_ALL_KEYS, ...query }: ScanQuery): Page {
    return this.#page({ ...query, from, to })
  }

  #page({ area, from, to, revision, limit = RANGE_COUNT_MAX }: PageQuery): Page {
    checkCount('limit', limit, RANGE_COUNT_MAX)
    const newest = this.meta.revision
    const at = this.#checkRevision(revision)
    const entries: Entry[] = []
    let left = ANSWER_BYTES_MAX
    let seen = 0
    const asked = at === newest ? undefined : at
    for (const { key, version } of scan(this.#state, { area, from, to, revision: asked })) {
      if (entries.length >= limit || ++seen > RANGE_SCAN_MAX) {
        return { revision: at, entries, next: key }
      }
      if (version === undefined) continue
      left -= key.length + version.value.length + ENTRY_OVERHEAD_BYTES
      if (left < 0) return { revision: at, entries, next: key }
      entries.push({ key, ...version })
    }
    return { revision: at, entries, next: undefined }
  }

  /**
   * What a span's keys went through, to be asked again from `next` on. The span is within a space,
   * or one key: also one that is a space's name.
   *
   * @throws compacted when the first revision isn't kept any more: whoever watches has missed
   *   something, and must read the span anew; invalid-argument
   */
  changesSince({ area, from, to, revision, eventsMax = RANGE_COUNT_MAX }: WatchQuery): WatchPage {
    if (!isOneKey({ from, to })) checkSpan(spaceOf(from), { from, to })
    checkCount('eventsMax', eventsMax, RANGE_COUNT_MAX)
    checkCount('revision', revision, Number.MAX_SAFE_INTEGER)
    const { revision: newest, compacted } = this.meta
    if (revision <= compacted) throw compactedError(revision, compacted + 1)
    const revisions: RevisionEvents[] = []
    const end = Math.min(newest, revision + WATCH_SCAN_MAX - 1)
    let count = 0
    let bytes = 0
    let next = revision
    for (; next <= end && count < eventsMax && bytes < ANSWER_BYTES_MAX; next++) {
      const { timeMs, changes } = readChanges(this.#state, next)
      const events: ChangeEvent[] = []
      for (const { area: changed, key, previous } of changes) {
        if (changed !== area || !isWithin(key, { from, to })) continue
        const event = this.#event({ area, key }, next, previous)
        bytes += key.length + (event.current?.value.length ?? 0)
        bytes += event.previous?.value.length ?? 0
        events.push(event)
      }
      count += events.length
      if (events.length > 0) revisions.push({ revision: next, timeMs, events })
    }
    return { revisions, next, isUpToDate: next > newest }
  }

  /** How far the collection of files is here. */
  get collection(): Collection {
    return readCollection(this.#state)
  }

  /** @returns undefined when it has ended or never was. */
  lease(id: number): LeaseView | undefined {
    const lease = readLease(this.#state, id)
    if (lease === undefined) return undefined
    const { ttlMs, deadlineMs, keyCount } = lease
    return { ttlMs, leftMs: Math.max(0, deadlineMs - this.meta.timeMs), keyCount }
  }

  #event(place: Place, revision: number, previous: number): ChangeEvent {
    return {
      ...place,
      current: versionOf(this.#state, place, revision),
      previous: previous === 0 ? undefined : versionOf(this.#state, place, previous)
    }
  }

  #checkRevision(revision: number | undefined): number {
    const { revision: newest, compacted } = this.meta
    if (revision === undefined) return newest
    if (revision < compacted) throw compactedError(revision, compacted)
    if (Number.isSafeInteger(revision) && revision <= newest) return revision
    const problem = `revision ${revision} isn't there yet; the newest is ${newest}`
    throw new MeshError('invalid-argument', `Cannot read: ${problem}`)
  }
}

function compactedError(asked: number, first: number): MeshError {
  const problem = `revision ${asked} is compacted; the oldest that can be asked for is ${first}`
  return new MeshError('compacted', `Cannot read: ${problem}`)
}

function checkCount(name: string, value: number, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return
  throw new MeshError('invalid-argument', `${name} is ${value}; accepted is 1 to ${max}`)
}
