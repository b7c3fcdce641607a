// The state store, on any medium. Batches gather in memory and go to the medium together; while one
// write is under way the next gathers. (D-12 to D-17)

import { assert } from '../../base/assert.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { MeshError, toMeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { MIB } from '../../base/units.ts'
import { LOG_GROUP_COUNT_MAX } from '../log-store.ts'
import type { GroupState, StateGroupId, StateInstall, StateStore } from '../state-store.ts'
import { Turns } from '../turns.ts'
import { FlushedChanges } from './flushed-changes.ts'
import type { MediumChange, StateMedium } from './state-medium.ts'
import { SlotReclaimer } from './slot-reclaimer.ts'
import { openMedium } from './state-recovery.ts'
import { groupKey, storeRecord } from './state-record.ts'
import { StoredGroupState, type GroupHost } from './stored-group-state.ts'
import { StoredInstall } from './stored-install.ts'

/** A write of more is no faster, and holds up the process while it is put together. */
const FLUSH_BYTES: number = MIB
const FLUSH_AFTER_MS = 100

export type StateStoreComponents = { clock: Clock; logger: Logger }

export type StateStoreOptions = {
  /** Bytes of committed batches that start a flush; 1 MiB unless given. */
  readonly flushBytes?: number
  /** How long a committed batch waits for others, in milliseconds; 100 unless given. */
  readonly flushAfterMs?: number
}

/** All writes of the medium take turns. */
const WRITES = 'writes'

export class LayeredStateStore implements StateStore {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #medium: StateMedium
  readonly #options: Required<StateStoreOptions>
  readonly #groups = new Map<StateGroupId, StoredGroupState>()
  readonly #host: GroupHost
  readonly #turns = new Turns<string>()
  readonly #dirty = new Set<StoredGroupState>()
  /** Groups that have a record on disk, or will have when the write under way has ended. */
  readonly #recorded = new Set<StateGroupId>()
  readonly #installing = new Set<StateGroupId>()
  readonly #reclaimer: SlotReclaimer
  #nextSlot = 0
  #state: 'new' | 'open' | 'closing' | 'closed' = 'new'
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #timer: Timer | undefined
  /** The flush that will take what is committed now. */
  #nextFlush: Promise<void> | undefined
  /** The flush that was begun last. */
  #lastFlush: Promise<void> = Promise.resolve()
  #waitingBytes = 0
  #flushingBytes = 0
  #failure: MeshError | undefined
  #isLost = false

  constructor(
    components: StateStoreComponents & { medium: StateMedium },
    options: StateStoreOptions = {}
  ) {
    const { flushBytes = FLUSH_BYTES, flushAfterMs = FLUSH_AFTER_MS } = options
    this.#clock = components.clock
    this.#logger = components.logger
    this.#medium = components.medium
    this.#options = { flushBytes, flushAfterMs }
    this.#host = this.#createHost()
    this.#reclaimer = new SlotReclaimer(this.#medium, this.#logger, async (changesOf) => {
      await this.#inTurn(async () => {
        const isUsable = this.#state === 'open' && this.#failure === undefined
        const changes = isUsable ? changesOf() : []
        if (changes.length > 0) await this.#write(changes)
      })
    })
  }

  open(): Promise<void> {
    this.#opening ??= this.#open()
    return this.#opening
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  groups(): StateGroupId[] {
    const ids = [...this.#groups.values()].filter((group) => group.exists).map(({ id }) => id)
    return ids.toSorted((a, b) => a - b)
  }

  group(id: StateGroupId): GroupState {
    return this.#groupOf(id)
  }

  damageOf(id: StateGroupId): MeshError | undefined {
    return this.#groups.get(id)?.damage
  }

  async drop(id: StateGroupId): Promise<void> {
    this.#host.assertOpen()
    const group = this.#groupOf(id)
    this.#waitingBytes -= group.waitingBytes
    this.#dirty.delete(group)
    const slot = group.record?.slot
    group.adopt(undefined)
    await this.#inTurn(async () => {
      // A flush that went before may have written what was committed after the drop began.
      if (group.record !== undefined || !this.#recorded.delete(id)) return
      await this.#write([{ key: groupKey(id), value: undefined }, storeRecord(this.#recorded)])
    })
    if (slot !== undefined) this.#reclaimer.add(slot)
  }

  failure(): MeshError | undefined {
    return this.#failure
  }

  lost(): boolean {
    return this.#isLost
  }

  pendingBytes(): number {
    return this.#waitingBytes + this.#flushingBytes
  }

  usage(): { readonly bytes: number } {
    return { bytes: this.#medium.bytes() }
  }

  #groupOf(id: StateGroupId): StoredGroupState {
    assert(Number.isSafeInteger(id) && id >= 0, 'a group is named by a safe integer from 0')
    const known = this.#groups.get(id)
    if (known !== undefined) return known
    const group = new StoredGroupState(id, this.#host)
    this.#groups.set(id, group)
    return group
  }

  #createHost(): GroupHost {
    return {
      medium: this.#medium,
      assertOpen: () => {
        if (this.#state === 'open' || this.#state === 'closing') return
        throw new MeshError('stopped', 'Cannot read the state: its store is not open')
      },
      assertWritable: (group) => this.#assertWritable(group),
      openReader: () => this.#medium.reader(),
      committed: (group, bytes) => {
        this.#dirty.add(group)
        this.#waitingBytes += bytes
        if (this.#waitingBytes >= this.#options.flushBytes) this.#startFlush()
        else this.#timer ??= this.#clock.after(this.#options.flushAfterMs, () => this.#startFlush())
      },
      flushed: (group) => this.#flushed(group),
      install: (group) => this.#install(group),
      damaged: (id, error) => this.#damaged(id, error)
    }
  }

  #assertWritable(group: StoredGroupState): void {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#state !== 'open') {
      throw new MeshError('stopped', 'Cannot commit to the state: its store is closed')
    }
    if (group.exists || this.groups().length < LOG_GROUP_COUNT_MAX) return
    const message = `Cannot begin group ${group.id}: there are ${LOG_GROUP_COUNT_MAX} already`
    throw new MeshError('overloaded', message)
  }

  async #open(): Promise<void> {
    const found = await openMedium(this.#medium)
    this.#isLost = found.isIncomplete
    if (this.#isLost) this.#logger.error('state_store.lost', { groups: found.groups.length })
    this.#nextSlot = found.nextSlot
    for (const { id, record, damage } of found.groups) {
      this.#recorded.add(id)
      this.#groupOf(id).adopt(record)
      if (damage !== undefined) this.#damaged(id, damage)
    }
    this.#state = 'open'
    for (const slot of found.strayPairSlots) this.#reclaimer.add(slot)
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#startFlush()
    // A failure is told by `failure()`, and what it cost is in the log.
    await Promise.allSettled([this.#lastFlush, this.#inTurn(() => Promise.resolve())])
    this.#state = 'closed'
    this.#timer?.cancel()
    await this.#medium.close()
  }

  #startFlush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#nextFlush !== undefined) return
    this.#nextFlush = this.#inTurn(async () => {
      // Whoever commits in this turn of the event loop is taken along.
      await Promise.resolve()
      this.#nextFlush = undefined
      await this.#flush()
    })
    this.#lastFlush = this.#nextFlush
    // Who waits for it is told by `flushed()`; others learn of a failure by `failure()`.
    this.#nextFlush.catch(() => undefined)
  }

  async #flush(): Promise<void> {
    if (this.#dirty.size === 0) return
    // What the failed flush had is still read from its tables: no other takes their place.
    if (this.#failure !== undefined) throw this.#failure
    const dirty = [...this.#dirty]
    this.#dirty.clear()
    this.#flushingBytes = this.#waitingBytes
    this.#waitingBytes = 0
    const flushed = new FlushedChanges(this.#medium, () => this.#takeSlot())
    const isNew = dirty.filter((group) => flushed.add(group) && !this.#recorded.has(group.id))
    for (const { id } of isNew) this.#recorded.add(id)
    if (isNew.length > 0) flushed.changes.push(storeRecord(this.#recorded))
    await this.#write(flushed.changes)
    flushed.end()
    this.#flushingBytes = 0
  }

  async #flushed(group: StoredGroupState): Promise<void> {
    if (!group.isDirty && !group.isFlushing) return
    if (this.#failure !== undefined) throw this.#failure
    if (group.isDirty) this.#startFlush()
    await (group.isDirty ? this.#nextFlush : this.#lastFlush)
  }

  async #install(group: StoredGroupState): Promise<StateInstall> {
    assert(!this.#installing.has(group.id), 'a group has one install at a time')
    this.#assertWritable(group)
    this.#installing.add(group.id)
    return new StoredInstall(this.#takeSlot(), {
      write: (changes) => this.#inTurn(() => this.#write(changes)),
      finish: (changes, record) =>
        this.#inTurn(async () => {
          this.#recorded.add(group.id)
          await this.#write([...changes, storeRecord(this.#recorded)])
          const before = group.record?.slot
          this.#waitingBytes -= group.waitingBytes
          this.#dirty.delete(group)
          group.adopt(record)
          this.#installing.delete(group.id)
          if (before !== undefined) this.#reclaimer.add(before)
        }),
      abort: (slot) => {
        this.#installing.delete(group.id)
        this.#reclaimer.add(slot)
      },
      groupKey: groupKey(group.id)
    })
  }

  async #write(changes: readonly MediumChange[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#state === 'closed') throw new MeshError('stopped', 'The state store is closed')
    try {
      await this.#medium.write(changes)
    } catch (error) {
      const { code, message } = toMeshError(error, 'storage-failed')
      // Which group's pages are damaged isn't known, and none can be written.
      const known = code === 'corrupt' ? 'storage-failed' : code
      this.#failure = new MeshError(known, message, { cause: error })
      this.#logger.error('state_store.failed', { reason: this.#failure.message })
      throw this.#failure
    }
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    return this.#turns.run(WRITES, task)
  }

  #takeSlot(): number {
    this.#nextSlot += 1
    return this.#nextSlot - 1
  }

  #damaged(id: StateGroupId, cause: MeshError): MeshError {
    const group = this.#groupOf(id)
    if (group.damage !== undefined) return group.damage
    const message = `Cannot use the state of group ${id}: ${cause.message}; it has to be rebuilt`
    const damage = new MeshError('corrupt', message, { cause })
    group.markDamaged(damage)
    this.#logger.error('state_store.damaged', { group: id, reason: cause.message })
    return damage
  }
}
