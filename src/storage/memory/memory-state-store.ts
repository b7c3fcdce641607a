// The state store in memory, with faults to inject. The store is the same one as on a disk, recovery
// included. Everything settles in microtasks, without I/O, so a simulation that uses it stays
// reproducible.

import { sleep, type Clock } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import { silentLogger, type Logger } from '../../base/log.ts'
import type { Random } from '../../base/random.ts'
import { MemoryState } from '../../core/machine/memory-state.ts'
import type { KeyRange, Pair } from '../../core/machine/ordered-state.ts'
import { LayeredStateStore, type StateStoreOptions } from '../state/layered-state-store.ts'
import type { MediumChange, MediumReader, StateMedium } from '../state/state-medium.ts'
import { decodeGroupRecord, groupKey, pairKey } from '../state/state-record.ts'
import type { StateGroupId } from '../state-store.ts'

/** What is durable. Hand it to a new store and that store has what survived the last one. */
export class MemoryStateDisk {
  readonly pairs: MemoryState = new MemoryState()
}

/** Faults to inject into a {@link MemoryStateStore}. */
export type MemoryStateFaults = {
  /** Flips a bit of a stored pair, of its value or checksum. @returns whether it was there. */
  corrupt(group: StateGroupId, key: Uint8Array): boolean
  /** A stored pair vanishes from the disk. @returns whether it was there. */
  lose(group: StateGroupId, key: Uint8Array): boolean
  /** The next flush fails, and the store with it; `corrupt` is what a broken page does. */
  failNextFlush(code?: 'storage-failed' | 'disk-full' | 'corrupt'): void
  /** Flushes don't end, until `resume()`. */
  stall(): void
  resume(): void
  /**
   * The process dies: what is under way rejects with `stopped`, and so does every later flush. What
   * wasn't flushed is lost: whole batches, the newest. With `random`, the flush under way may have
   * reached the disk. Hand the disk to a new store to go on.
   */
  crash(random?: Random): void
}

export type MemoryStateStoreComponents = {
  clock: Clock
  disk?: MemoryStateDisk
  logger?: Logger
}

export class MemoryStateStore extends LayeredStateStore {
  readonly faults: MemoryStateFaults
  /** How long it takes to read what there is of one group, milliseconds of the clock. */
  checkMs = 0
  readonly #clock: Clock
  readonly #closing = new AbortController()

  constructor(components: MemoryStateStoreComponents, options: StateStoreOptions = {}) {
    const { clock, disk = new MemoryStateDisk(), logger = silentLogger } = components
    const medium = new MemoryStateMedium(disk.pairs)
    super({ clock, logger, medium }, options)
    this.#clock = clock
    this.faults = medium
  }

  override async check(id: StateGroupId, isUrgent?: () => boolean): Promise<void> {
    const { signal } = this.#closing
    if (this.checkMs > 0) await sleep(this.#clock, this.checkMs, { signal })
    await super.check(id, isUrgent)
  }

  override async close(): Promise<void> {
    this.#closing.abort(new MeshError('stopped', 'The store is closed'))
    await super.close()
  }
}

class MemoryStateMedium implements StateMedium, MemoryStateFaults {
  readonly #pairs: MemoryState
  #failsWith: 'storage-failed' | 'disk-full' | 'corrupt' | undefined
  #isDead = false
  #stalled: PromiseWithResolvers<void> | undefined
  #underWay: readonly MediumChange[] = []

  constructor(pairs: MemoryState) {
    this.#pairs = pairs
  }

  corrupt(group: StateGroupId, key: Uint8Array): boolean {
    const whole = this.#find(group, key)
    const value = whole === undefined ? undefined : this.#pairs.get(whole)?.slice()
    if (whole === undefined || value === undefined) return false
    value[value.length - 1] = (value.at(-1) as number) ^ 1
    this.#pairs.put(whole, value)
    return true
  }

  lose(group: StateGroupId, key: Uint8Array): boolean {
    const whole = this.#find(group, key)
    if (whole === undefined || this.#pairs.get(whole) === undefined) return false
    this.#pairs.delete(whole)
    return true
  }

  failNextFlush(code: 'storage-failed' | 'disk-full' | 'corrupt' = 'storage-failed'): void {
    this.#failsWith = code
  }

  stall(): void {
    this.#stalled ??= Promise.withResolvers()
  }

  resume(): void {
    this.#stalled?.resolve()
    this.#stalled = undefined
  }

  crash(random?: Random): void {
    if (random?.below(2) === 1) this.#apply(this.#underWay)
    this.#isDead = true
    this.resume()
  }

  async open(): Promise<{ wasSetAside: boolean; isKnown: boolean }> {
    await this.#step()
    return { wasSetAside: false, isKnown: false }
  }

  async setAside(): Promise<void> {
    await this.#step()
    this.#apply([...this.#pairs.range({})].map(({ key }) => ({ key, value: undefined })))
  }

  async close(): Promise<void> {
    await Promise.resolve()
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return this.#pairs.get(key)
  }

  peek(key: Uint8Array): Uint8Array | undefined {
    return this.#pairs.get(key)
  }

  range(range: KeyRange): Iterable<Pair> {
    return this.#pairs.range(range)
  }

  async write(changes: readonly MediumChange[]): Promise<void> {
    this.#underWay = changes
    await this.#step()
    await this.#stalled?.promise
    this.#assertAlive()
    const code = this.#failsWith
    if (code !== undefined) {
      this.#failsWith = undefined
      throw new MeshError(code, 'Cannot write the state: the flush failed')
    }
    this.#underWay = []
    this.#apply(changes)
  }

  reader(): MediumReader {
    const pairs = this.#pairs.snapshot()
    return {
      get: (key) => pairs.get(key),
      range: (range) => pairs.range(range),
      lookups: (range) => pairs.range(range),
      close: () => undefined
    }
  }

  checked(): void {}

  doubted(): void {}

  async turn(): Promise<void> {
    await Promise.resolve()
  }

  bytes(): number {
    let bytes = 0
    for (const { key, value } of this.#pairs.range({})) bytes += key.length + value.length
    return bytes
  }

  #apply(changes: readonly MediumChange[]): void {
    for (const { key, value } of changes) {
      if (value === undefined) this.#pairs.delete(key)
      else this.#pairs.put(key, value)
    }
  }

  #find(group: StateGroupId, key: Uint8Array): Uint8Array | undefined {
    const record = this.#pairs.get(groupKey(group))
    const slot = record === undefined ? undefined : decodeGroupRecord(groupKey(group), record)?.slot
    return slot === undefined ? undefined : pairKey(slot, key)
  }

  /** Lets others run, as real I/O would, and ends everything after a crash. */
  async #step(): Promise<void> {
    this.#assertAlive()
    await Promise.resolve()
    this.#assertAlive()
  }

  #assertAlive(): void {
    if (this.#isDead) throw new MeshError('stopped', 'The simulated process has crashed')
  }
}
