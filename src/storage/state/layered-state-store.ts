// The state store, on any medium. Batches gather in memory and go to the medium together; while one
// write is under way the next gathers. (D-12 to D-17)

import { assert } from '../../base/assert.ts'
import type { Clock, Timer } from '../../base/clock.ts'
import { MeshError } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { MIB } from '../../base/units.ts'
import { LOG_GROUP_COUNT_MAX } from '../log-store.ts'
import type { GroupState, StateGroupId, StateInstall, StateStore } from '../state-store.ts'
import { FlushedChanges } from './flushed-changes.ts'
import { MediumWriter } from './medium-writer.ts'
import { PairChecks } from './pair-checks.ts'
import type { StateMedium } from './state-medium.ts'
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

export class LayeredStateStore implements StateStore {
  readonly #clock: Clock
  readonly #logger: Logger
  readonly #medium: StateMedium
  readonly #options: Required<StateStoreOptions>
  readonly #groups = new Map<StateGroupId, StoredGroupState>()
  readonly #host: GroupHost
  readonly #writer: MediumWriter
  readonly #dirty = new Set<StoredGroupState>()
  /** Groups that have a record on disk, or will have when the write under way has ended. */
  readonly #recorded = new Set<StateGroupId>()
  readonly #installing = new Set<StateGroupId>()
  readonly #checks: PairChecks
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
  #isLost = false

  constructor(
    components: StateStoreComponents & { medium: StateMedium },
    options: StateStoreOptions = {}
  ) {
    const { flushBytes = FLUSH_BYTES, flushAfterMs = FLUSH_AFTER_MS } = options
    this.#clock = components.clock
    this.#logger = components.logger
    this.#medium = components.medium
    this.#checks = new PairChecks(components)
    this.#options = { flushBytes, flushAfterMs }
    this.#writer = new MediumWriter(components)
    this.#host = this.#createHost()
    this.#reclaimer = new SlotReclaimer(this.#medium, this.#logger, async (changesOf) => {
      await this.#writer.inTurn(async () => {
        const isUsable = this.#state === 'open' && this.#writer.failure === undefined
        const changes = isUsable ? changesOf() : []
        if (changes.length > 0) await this.#writer.write(changes)
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

  async check(id: StateGroupId, isUrgent = (): boolean => true): Promise<void> {
    this.#host.assertOpen()
    const group = this.#groupOf(id)
    const slot = (): number | undefined => group.record?.slot
    const problem = await this.#checks.check(id, { slot, isUrgent })
    if (problem !== undefined) this.#damaged(id, new MeshError('corrupt', problem))
  }

  async drop(id: StateGroupId): Promise<void> {
    this.#host.assertOpen()
    const group = this.#groupOf(id)
    this.#waitingBytes -= group.waitingBytes
    this.#dirty.delete(group)
    const slot = group.record?.slot
    group.adopt(undefined)
    await this.#writer.inTurn(async () => {
      // A flush that went before may have written what was committed after the drop began.
      if (group.record !== undefined || !this.#recorded.delete(id)) return
      const changes = [{ key: groupKey(id), value: undefined }, storeRecord(this.#recorded)]
      await this.#writer.write(changes)
    })
    if (slot !== undefined) this.#reclaimer.add(slot)
  }

  failure(): MeshError | undefined {
    return this.#writer.failure
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
    this.#assertWell()
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
      else if (record !== undefined && !found.isKnown) this.#checks.found(id, record.slot)
    }
    this.#checks.opened()
    this.#state = 'open'
    for (const slot of found.strayPairSlots) this.#reclaimer.add(slot)
  }

  async #close(): Promise<void> {
    await this.#opening?.catch(() => undefined)
    if (this.#state !== 'open') return
    this.#state = 'closing'
    this.#writer.closing()
    this.#startFlush()
    // A failure is told by `failure()`, and what it cost is in the log.
    await Promise.allSettled([this.#lastFlush, this.#writer.inTurn(() => Promise.resolve())])
    this.#state = 'closed'
    this.#writer.close()
    this.#timer?.cancel()
    await this.#medium.close()
  }

  #startFlush(): void {
    this.#timer?.cancel()
    this.#timer = undefined
    if (this.#nextFlush !== undefined) return
    this.#nextFlush = this.#writer.inTurn(async () => {
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
    this.#assertWell()
    const dirty = [...this.#dirty]
    this.#dirty.clear()
    this.#flushingBytes = this.#waitingBytes
    this.#waitingBytes = 0
    const flushed = new FlushedChanges(this.#medium, () => this.#takeSlot())
    const isNew = dirty.filter((group) => flushed.add(group) && !this.#recorded.has(group.id))
    for (const { id } of isNew) this.#recorded.add(id)
    if (isNew.length > 0) flushed.changes.push(storeRecord(this.#recorded))
    await this.#writer.write(flushed.changes)
    flushed.end()
    this.#flushingBytes = 0
  }

  async #flushed(group: StoredGroupState): Promise<void> {
    if (!group.isDirty && !group.isFlushing) return
    this.#assertWell()
    if (group.isDirty) this.#startFlush()
    await (group.isDirty ? this.#nextFlush : this.#lastFlush)
  }

  async #install(group: StoredGroupState): Promise<StateInstall> {
    assert(!this.#installing.has(group.id), 'a group has one install at a time')
    this.#assertWritable(group)
    this.#installing.add(group.id)
    return new StoredInstall(this.#takeSlot(), {
      write: (changes) => this.#writer.inTurn(() => this.#writer.tryWrite(changes)),
      finish: (changes, record) =>
        this.#writer.inTurn(async () => {
          this.#recorded.add(group.id)
          await this.#writer.write([...changes, storeRecord(this.#recorded)])
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

  #assertWell(): void {
    const { failure } = this.#writer
    if (failure !== undefined) throw failure
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
    this.#medium.doubted()
    this.#logger.error('state_store.damaged', { group: id, reason: cause.message })
    return damage
  }
}
