// The queries of the machine itself: keys, ranges and changes of any area, leases.

import { bytes, flag, list, optional, record, uint } from './codec.ts'
import type { Codec } from './codec.ts'
import { KEY_BYTES_MAX, RANGE_COUNT_MAX, WATCH_SCAN_MAX } from './limits.ts'
import type { Service } from './operation.ts'
import type { AnyQuery, Query } from './query.ts'
import type { LeaseView, Page, PageQuery, ScanQuery, WatchPage, WatchQuery } from './reads.ts'
import { entryCodec, versionCodec } from './records.ts'
import type { Entry } from './records.ts'
import type { ChangeEvent, RevisionEvents } from './transaction.ts'
import type { Place } from './versions.ts'

const key = bytes(KEY_BYTES_MAX)
/** The end of a span may be the first key after the longest one. */
const end = bytes(KEY_BYTES_MAX + 1)
/** Events of one revision; see `changesCodec`. */
const EVENTS_MAX = 4_096

type GetArgs = Place & { readonly revision: number | undefined }
type GetResult = { readonly revision: number; readonly entry: Entry | undefined }

/** A key, as it is or as a revision left it. Refuses with compacted, invalid-argument, too-large. */
export const GET: Query<GetArgs, GetResult> = {
  name: 'state.get',
  version: 1,
  args: record<GetArgs>({ area: uint, key, revision: optional(uint) }),
  result: record<GetResult>({ revision: uint, entry: optional(entryCodec) }),
  read: (reads, { area, key, revision }) => reads.get({ area, key }, revision)
}

type RangeArgs = { readonly [K in keyof Required<PageQuery>]: PageQuery[K] }

/** A page of a span. Refuses as {@link MachineReads.range}. */
export const RANGE: Query<PageQuery, Page> = {
  name: 'state.range',
  version: 1,
  args: record<RangeArgs>({
    area: uint,
    from: key,
    to: end,
    revision: optional(uint),
    limit: optional(uint)
  }) as Codec<PageQuery>,
  result: record<Page>({
    revision: uint,
    entries: list(entryCodec, RANGE_COUNT_MAX),
    next: optional(key)
  }),
  read: (reads, query) => reads.range(query)
}

type ScanArgs = { readonly [K in keyof Required<ScanQuery>]: ScanQuery[K] }

/** A page of a shard, over all of its spaces. Refuses as {@link MachineReads.scan}. */
export const SCAN: Query<ScanQuery, Page> = {
  name: 'state.scan',
  version: 1,
  args: record<ScanArgs>({
    area: uint,
    from: optional(key),
    to: optional(end),
    revision: optional(uint),
    limit: optional(uint)
  }) as Codec<ScanQuery>,
  result: RANGE.result,
  read: (reads, query) => reads.scan(query)
}

const eventCodec: Codec<ChangeEvent> = record<ChangeEvent>({
  area: uint,
  key,
  current: optional(versionCodec),
  previous: optional(versionCodec)
})

const revisionCodec: Codec<RevisionEvents> = record<RevisionEvents>({
  revision: uint,
  timeMs: uint,
  events: list(eventCodec, EVENTS_MAX)
})

type ChangesArgs = { readonly [K in keyof Required<WatchQuery>]: WatchQuery[K] }

/** What a span went through. Refuses as {@link MachineReads.changesSince}. */
export const CHANGES: Query<WatchQuery, WatchPage> = {
  name: 'state.changes',
  version: 1,
  args: record<ChangesArgs>({
    area: uint,
    from: key,
    to: end,
    revision: uint,
    eventsMax: optional(uint)
  }) as Codec<WatchQuery>,
  result: record<WatchPage>({
    revisions: list(revisionCodec, WATCH_SCAN_MAX),
    next: uint,
    isUpToDate: flag
  }),
  read: (reads, query) => reads.changesSince(query)
}

type LeaseArgs = { readonly lease: number }
type LeaseResult = { readonly lease: LeaseView | undefined }

/** A lease; undefined when it has ended or never was. */
export const LEASE: Query<LeaseArgs, LeaseResult> = {
  name: 'lease.get',
  version: 1,
  args: record<LeaseArgs>({ lease: uint }),
  result: record<LeaseResult>({
    lease: optional(record<LeaseView>({ ttlMs: uint, leftMs: uint, keyCount: uint }))
  }),
  read: (reads, { lease }) => ({ lease: reads.lease(lease) })
}

const OWN_QUERIES: readonly AnyQuery[] = [GET, RANGE, SCAN, CHANGES, LEASE]

/** @returns all that a shard with these services may be asked. */
export function queriesOf(services: readonly Service[]): readonly AnyQuery[] {
  return [...OWN_QUERIES, ...services.flatMap(({ queries }) => queries ?? [])]
}
