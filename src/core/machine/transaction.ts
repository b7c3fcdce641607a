// What one operation does to keys: reads that see its own writes, and writes that become one
// revision, or none when the operation is refused.

import { MeshError } from '../../base/errors.ts'
import { decode, encode } from './codec.ts'
import { attachKey, demandLease, detachKey } from './leases.ts'
import { CHANGES_PER_OPERATION_MAX, VALUE_BYTES_MAX } from './limits.ts'
import { equalBytes } from '../../base/bytes.ts'
import { compareBytes } from './ordered-state.ts'
import { changesCodec, versionCodec } from './records.ts'
import type { Entry, Meta, Version } from './records.ts'
import { checkKey, checkSpan, shown } from './space.ts'
import type { Span } from './space.ts'
import type { StagedState } from './staged-state.ts'
import { changesKey, currentKey, pastKey } from './state-keys.ts'
import type { Area } from './state-keys.ts'
import { currentOf, scan } from './versions.ts'
import type { Place } from './versions.ts'

/**
 * A key before and after a revision; never are both missing. Its bytes are views of the entry or of
 * what the store returned: nobody writes to them, and who keeps them for long copies them.
 */
export type ChangeEvent = {
  readonly area: Area
  readonly key: Uint8Array
  /** undefined: deleted. */
  readonly current: Version | undefined
  /** undefined: it wasn't there. */
  readonly previous: Version | undefined
}

/** All that one revision changed, each key once, ordered by area and key. */
export type RevisionEvents = {
  readonly revision: number
  readonly timeMs: number
  readonly events: readonly ChangeEvent[]
}

type Touched = Place & {
  /** Of the current version. */
  readonly stored: Uint8Array
  readonly previous: Version | undefined
  current: Version | undefined
}

export type TransactionOptions = {
  /** Staged: whoever made the transaction commits or discards it. */
  readonly state: StagedState
  readonly meta: Meta
  /** Of the entry. */
  readonly index: number
  /** The only space whose keys may be read or written; empty when no key may. */
  readonly space: Uint8Array
  /** Whether it may change so many keys and no more; on unless said otherwise. */
  readonly isBounded?: boolean
}

const NO_BYTES = new Uint8Array(0)

/** Given to an operation while it is applied, and of no use afterwards. */
export class Transaction {
  /** For the machine's own operations; others keep to the methods. */
  readonly state: StagedState
  /** The same; what it says is put back when the operation is refused. */
  readonly meta: Meta
  readonly index: number
  readonly space: Uint8Array
  /** What the writes will be visible as. Above every revision before. */
  readonly revision: number
  readonly #isBounded: boolean
  /** What was written, ordered by area and key. */
  readonly #touched: Touched[] = []
  #hasGrown = false

  constructor({ state, meta, index, space, isBounded = true }: TransactionOptions) {
    this.state = state
    this.meta = meta
    this.index = index
    this.space = space
    this.revision = meta.revision + 1
    this.#isBounded = isBounded
  }

  /** The shard's time, which every replica reads alike. */
  get timeMs(): number {
    return this.meta.timeMs
  }

  /** Whether something was put, so that the quota has to be asked. */
  get hasGrown(): boolean {
    return this.#hasGrown
  }

  /** For operations that write besides keys. */
  noteGrowth(): void {
    this.#hasGrown = true
  }

  /** @throws invalid-argument when the key is no key of the space; too-large */
  get(area: Area, key: Uint8Array): Version | undefined {
    checkKey(this.space, key)
    return currentOf(this.state, area, key)
  }

  /**
   * @returns keys of a span with their versions, in order, read as they are asked for.
   * @throws invalid-argument when it isn't within the space
   */
  *range(area: Area, span: Span): Generator<Entry> {
    checkSpan(this.space, span)
    for (const { key, version } of scan(this.state, { area, ...span, revision: undefined })) {
      if (version !== undefined) yield { key, ...version }
    }
  }

  /**
   * @returns how many keys a span has, or `limit` when there are more.
   * @throws invalid-argument
   */
  count(area: Area, { from, to }: Span, limit: number): number {
    checkSpan(this.space, { from, to })
    const keys = { from: currentKey(area, from), to: currentKey(area, to), limit }
    let count = 0
    for (const _ of this.state.range(keys)) count += 1
    return count
  }

  /**
   * @param lease the key is deleted when it ends; 0 for none. A put without it ends the tie.
   * @throws invalid-argument, too-large; not-found when there is no such lease; overloaded
   */
  put(
    area: Area,
    key: Uint8Array,
    { value, lease = 0 }: { value: Uint8Array; lease?: number }
  ): void {
    checkKey(this.space, key)
    if (value.length > VALUE_BYTES_MAX) {
      const problem = `has ${value.length} bytes; at most ${VALUE_BYTES_MAX} are accepted`
      throw new MeshError('too-large', `The value of "${shown(key)}" ${problem}`)
    }
    const touched = this.#touch(area, key)
    const { previous } = touched
    this.#tie(touched, lease)
    // Deleted and made again at once: one change, not two.
    if (touched.current === undefined && previous !== undefined) {
      this.state.delete(pastKey(area, key, this.revision))
    }
    touched.current = {
      createRevision: previous?.createRevision ?? this.revision,
      modRevision: this.revision,
      version: (previous?.version ?? 0) + 1,
      lease,
      value
    }
    this.state.put(touched.stored, encode(versionCodec, touched.current))
    this.#hasGrown = true
  }

  /**
   * @returns whether the key was there.
   * @throws invalid-argument, too-large
   */
  delete(area: Area, key: Uint8Array): boolean {
    if (this.get(area, key) === undefined) return false
    const touched = this.#touch(area, key)
    this.#tie(touched, 0)
    touched.current = undefined
    this.state.delete(touched.stored)
    if (touched.previous !== undefined) {
      this.state.put(pastKey(area, key, this.revision), NO_BYTES)
    }
    return true
  }

  /** Writes what changed, for those who watch. @returns undefined when no key did. */
  finish(): RevisionEvents | undefined {
    const touched = this.#touched.filter(
      ({ current, previous }) => current !== undefined || previous !== undefined
    )
    if (touched.length === 0) return undefined
    const { revision, timeMs } = this
    const changes = touched.map(({ area, key, previous, current }) => ({
      isDelete: current === undefined,
      area,
      key,
      previous: previous?.modRevision ?? 0
    }))
    this.state.insert(changesKey(revision), encode(changesCodec, { timeMs, changes }))
    const events = touched.map(({ area, key, current, previous }) => {
      return { area, key, current, previous }
    })
    return { revision, timeMs, events }
  }

  #touch(area: Area, key: Uint8Array): Touched {
    const index = this.#indexOf(area, key)
    const known = this.#touched[index]
    if (known !== undefined && compare(known, area, key) === 0) return known
    if (this.#isBounded && this.#touched.length >= CHANGES_PER_OPERATION_MAX) {
      const bound = `more than ${CHANGES_PER_OPERATION_MAX} keys`
      throw new MeshError('too-large', `Cannot change ${bound} at once; do it in parts`)
    }
    const stored = currentKey(area, key)
    const bytes = this.state.get(stored)
    const previous = bytes === undefined ? undefined : decode(versionCodec, bytes)
    const touched = { area, key, stored, previous, current: previous }
    if (bytes !== undefined && previous !== undefined) {
      this.state.insert(pastKey(area, key, previous.modRevision), bytes)
    }
    this.#touched.splice(index, 0, touched)
    return touched
  }

  #indexOf(area: Area, key: Uint8Array): number {
    let low = 0
    let high = this.#touched.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (compare(this.#touched[middle] as Touched, area, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  #tie({ area, key, current }: Touched, lease: number): void {
    const before = current?.lease ?? 0
    if (lease !== 0 && !equalBytes(demandLease(this.state, lease).space, this.space)) {
      const problem = `Lease ${lease} is of another space than "${shown(key)}"`
      throw new MeshError('invalid-argument', `${problem}; take one for its space`)
    }
    if (before === lease) return
    if (before !== 0) detachKey(this.state, before, { area, key })
    if (lease !== 0) attachKey(this.state, lease, { area, key })
  }
}

function compare(place: Place, area: Area, key: Uint8Array): number {
  return place.area - area || compareBytes(place.key, key)
}
