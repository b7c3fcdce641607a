// Reading keys as they are and as a revision left them.

import { compareBytes } from './ordered-state.ts'
import type { OrderedReads, Pair } from './ordered-state.ts'
import { decode } from './codec.ts'
import { versionCodec } from './records.ts'
import type { Version } from './records.ts'
import type { Span } from './space.ts'
import { afterPast, currentKey, keyOfCurrent, keyOfPast, pastKey } from './state-keys.ts'
import type { Area } from './state-keys.ts'

/** A key that a scan came to. Without a version: there is none at that revision. */
export type Scanned = { readonly key: Uint8Array; readonly version: Version | undefined }

export function currentOf(state: OrderedReads, area: Area, key: Uint8Array): Version | undefined {
  const stored = state.get(currentKey(area, key))
  return stored === undefined ? undefined : decode(versionCodec, stored)
}

/** A key of an area. */
export type Place = { readonly area: Area; readonly key: Uint8Array }

/**
 * @param revision not below the compacted one; the answer is wrong for one that is.
 * @returns what a key was then.
 */
export function versionAt(
  state: OrderedReads,
  { area, key }: Place,
  revision: number
): Version | undefined {
  const current = currentOf(state, area, key)
  if (current !== undefined && current.modRevision <= revision) return current
  return pastAt(state, { area, key }, revision)
}

/** @returns the version that exactly this revision wrote; undefined when it wrote none. */
export function versionOf(
  state: OrderedReads,
  { area, key }: Place,
  revision: number
): Version | undefined {
  const current = currentOf(state, area, key)
  if (current?.modRevision === revision) return current
  const stored = state.get(pastKey(area, key, revision))
  return stored === undefined ? undefined : decodePast(stored)
}

export type Scan = Span & {
  readonly area: Area
  /** undefined: as they are. */
  readonly revision: number | undefined
}

/**
 * @returns the keys of a span in order. At a revision keys without a version are among them, for
 *   whoever reads must be able to stop: a span may have many.
 */
export function* scan(state: OrderedReads, { area, from, to, revision }: Scan): Generator<Scanned> {
  const current = state.range({ from: currentKey(area, from), to: currentKey(area, to) })
  if (revision === undefined) {
    for (const { key, value } of current) {
      yield { key: keyOfCurrent(key), version: decode(versionCodec, value) }
    }
    return
  }
  const past = (start: Uint8Array): Uint8Array | undefined => {
    const [pair] = state.range({ from: start, to: pastKey(area, to, 0), limit: 1 })
    return pair === undefined ? undefined : keyOfPast(pair.key)
  }
  let old = past(pastKey(area, from, 0))
  for (const pair of current) {
    const now = scannedNow(pair)
    while (old !== undefined && compareBytes(old, now.key) < 0) {
      yield { key: old, version: pastAt(state, { area, key: old }, revision) }
      old = past(afterPast(area, old))
    }
    const isNew = now.version.modRevision > revision
    const then = isNew ? pastAt(state, { area, key: now.key }, revision) : now.version
    yield { key: now.key, version: then }
    if (old !== undefined && compareBytes(old, now.key) === 0) old = past(afterPast(area, old))
  }
  while (old !== undefined) {
    yield { key: old, version: pastAt(state, { area, key: old }, revision) }
    old = past(afterPast(area, old))
  }
}

function scannedNow({ key, value }: Pair): { key: Uint8Array; version: Version } {
  return { key: keyOfCurrent(key), version: decode(versionCodec, value) }
}

function pastAt(state: OrderedReads, { area, key }: Place, revision: number): Version | undefined {
  const from = pastKey(area, key, 0)
  const to = pastKey(area, key, revision + 1)
  const [pair] = state.range({ from, to, limit: 1, reverse: true })
  return pair === undefined ? undefined : decodePast(pair.value)
}

/** A deletion is stored as no bytes. */
function decodePast(stored: Uint8Array): Version | undefined {
  return stored.length === 0 ? undefined : decode(versionCodec, stored)
}
