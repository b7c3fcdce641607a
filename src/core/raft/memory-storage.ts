// The storage contract in memory: the reference for others, and what tests and simulations use. A
// driver whose log fits in memory may keep one as its readable copy.

import { MeshError } from '../../base/errors.ts'
import { EMPTY_CONFIG_STATE, EMPTY_HARD_STATE, NO_BYTES, limitEntries } from './messages.ts'
import type { ConfigState, Entry, HardState, Snapshot } from './messages.ts'
import type { RaftStorage } from './storage.ts'

const EMPTY_SNAPSHOT: Snapshot = {
  index: 0,
  term: 0,
  configState: EMPTY_CONFIG_STATE,
  data: NO_BYTES
}

/** A log in memory. `#entries[0]` stands for the point before the first entry. */
export class MemoryStorage implements RaftStorage {
  #hardState = EMPTY_HARD_STATE
  #configState: ConfigState | undefined
  #snapshot = EMPTY_SNAPSHOT
  #entries: { readonly term: number; readonly index: number }[] = [{ term: 0, index: 0 }]

  initialState(): { hardState: HardState; configState: ConfigState } {
    const configState = this.#configState ?? this.#snapshot.configState
    return { hardState: this.#hardState, configState }
  }

  firstIndex(): number {
    return this.#before + 1
  }

  lastIndex(): number {
    return this.#before + this.#entries.length - 1
  }

  term(index: number): number | undefined {
    return this.#entries[index - this.#before]?.term
  }

  entries(low: number, high: number, bytesMax: number): readonly Entry[] | undefined {
    if (low <= this.#before || low > this.lastIndex()) return undefined
    const wanted = this.#entries.slice(low - this.#before, high - this.#before) as Entry[]
    return limitEntries(wanted, bytesMax)
  }

  snapshot(): Snapshot | undefined {
    return this.#snapshot
  }

  setHardState(hardState: HardState): void {
    this.#hardState = hardState
  }

  /** Sets the configuration that a restart begins with, when it is newer than the snapshot's. */
  setConfigState(configState: ConfigState): void {
    this.#configState = configState
  }

  /**
   * Writes `entries` from the index of the first one on; what was there and after it goes.
   *
   * @throws invalid-argument when that left a gap.
   */
  append(entries: readonly Entry[]): void {
    const fresh = entries.filter(({ index }) => index > this.#before)
    const [first] = fresh
    if (first === undefined) return
    if (first.index > this.lastIndex() + 1) {
      const problem = `entry ${first.index} does not follow the last one, ${this.lastIndex()}`
      throw new MeshError('invalid-argument', `Cannot append: ${problem}`)
    }
    this.#entries.length = first.index - this.#before
    for (const entry of fresh) this.#entries.push(entry)
  }

  /**
   * Replaces the log by a snapshot.
   *
   * @throws invalid-argument when it is not newer than the one here.
   */
  applySnapshot(snapshot: Snapshot): void {
    if (this.#snapshot.index > 0 && this.#snapshot.index >= snapshot.index) {
      const problem = `its index ${snapshot.index} is not above ${this.#snapshot.index}`
      throw new MeshError('invalid-argument', `Cannot install the snapshot: ${problem}`)
    }
    this.#snapshot = snapshot
    this.#configState = undefined
    this.#entries = [{ term: snapshot.term, index: snapshot.index }]
  }

  /** Keeps a snapshot made here, to be sent to others; the log stays as it is. */
  setSnapshot(snapshot: Snapshot): void {
    this.#snapshot = snapshot
  }

  /**
   * Forgets entries up to `index`, which is included.
   *
   * @throws invalid-argument when that is not an index of the log.
   */
  compact(index: number): void {
    if (index <= this.#before || index > this.lastIndex()) {
      const range = `${this.firstIndex()} to ${this.lastIndex()}`
      throw new MeshError('invalid-argument', `Cannot compact to ${index}: the log has ${range}`)
    }
    const { term } = this.#entries[index - this.#before] as Entry
    this.#entries.splice(0, index - this.#before + 1, { term, index })
  }

  get #before(): number {
    return (this.#entries[0] as { index: number }).index
  }
}
