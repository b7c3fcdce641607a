// One group of a state store: the batch that is open, the batches that wait for the disk, those that
// are under way to it, and the pairs that are there.

import { assert } from '../../base/assert.ts'
import { MeshError } from '../../base/errors.ts'
import { STORED_KEY_BYTES_MAX } from '../../core/machine/ordered-state.ts'
import type { KeyRange, OrderedReads, Pair } from '../../core/machine/ordered-state.ts'
import { STATE_NOTE_BYTES_MAX } from '../state-store.ts'
import type { GroupState, StateGroupId, StateInstall, StateSnapshot } from '../state-store.ts'
import { ChangeTable, DELETED } from './change-table.ts'
import { SlotReads, rangeThrough, readThrough, type Layers } from './layered-reads.ts'
import type { MediumReader } from './state-medium.ts'
import type { GroupRecord } from './state-record.ts'

/** What a group needs of its store. */
export type GroupHost = {
  readonly medium: OrderedReads
  /** @throws stopped when the store isn't open */
  assertOpen(): void
  /** @throws why the store takes nothing for the group */
  assertWritable(group: StoredGroupState): void
  openReader(): MediumReader
  /** The group has `bytes` more that wait for the disk. */
  committed(group: StoredGroupState, bytes: number): void
  flushed(group: StoredGroupState): Promise<void>
  install(group: StoredGroupState): Promise<StateInstall>
  /** Marks the group. @returns what its reads throw from now on */
  damaged(id: StateGroupId, error: MeshError): MeshError
}

/** What a flush takes of a group. */
export type SealedChanges = { readonly table: ChangeTable; readonly note: Uint8Array | undefined }

type Undo = { readonly key: Uint8Array; readonly change: Uint8Array | undefined }

export class StoredGroupState implements GroupState {
  readonly id: StateGroupId
  readonly #host: GroupHost
  #damage: MeshError | undefined
  /** What the disk has, or will have when the flush under way has ended. */
  #record: GroupRecord | undefined
  #stored: SlotReads | undefined
  #table = new ChangeTable()
  #flushing: ChangeTable | undefined
  #layers: Layers = { tables: [this.#table], stored: undefined }
  #note: Uint8Array | undefined
  #committedNote: Uint8Array | undefined
  /** What the keys of the open batch were before it, the oldest first. */
  #undo: Undo[] = []
  #isDirty = false
  #countedBytes = 0

  constructor(id: StateGroupId, host: GroupHost) {
    this.id = id
    this.#host = host
  }

  /** Committed changes wait for a flush. */
  get isDirty(): boolean {
    return this.#isDirty
  }

  get isFlushing(): boolean {
    return this.#flushing !== undefined
  }

  /** Something was committed, or found on disk. */
  get exists(): boolean {
    return this.#record !== undefined || this.#isDirty || this.#damage !== undefined
  }

  /** Bytes that `committed` told of, and that no flush took yet. */
  get waitingBytes(): number {
    return this.#countedBytes
  }

  get record(): GroupRecord | undefined {
    return this.#record
  }

  get damage(): MeshError | undefined {
    return this.#damage
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#assertReadable()
    return readThrough(this.#layers, key)
  }

  range(range: KeyRange): Iterable<Pair> {
    this.#assertReadable()
    return rangeThrough(this.#layers, range)
  }

  put(key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0 && key.length <= STORED_KEY_BYTES_MAX, 'a key has 1 to 1,978 bytes')
    const below = this.#stored?.sumOf(key)
    this.#undo.push({ key, change: this.#table.set(key, value, below) })
  }

  insert(key: Uint8Array, value: Uint8Array): void {
    assert(key.length > 0 && key.length <= STORED_KEY_BYTES_MAX, 'a key has 1 to 1,978 bytes')
    this.#undo.push({ key, change: this.#table.set(key, value, 'none') })
  }

  delete(key: Uint8Array): void {
    this.#undo.push({ key, change: this.#table.set(key, DELETED) })
  }

  note(): Uint8Array | undefined {
    this.#assertReadable()
    return this.#note
  }

  setNote(note: Uint8Array): void {
    if (note.length > STATE_NOTE_BYTES_MAX) {
      const limit = STATE_NOTE_BYTES_MAX
      const message = `Cannot keep a note of ${note.length} bytes: the limit is ${limit}`
      throw new MeshError('too-large', message)
    }
    this.#note = note
  }

  commit(): void {
    if (this.#undo.length === 0 && this.#note === this.#committedNote) return
    this.#assertReadable()
    this.#host.assertWritable(this)
    this.#undo = []
    this.#committedNote = this.#note
    this.#isDirty = true
    const grownBytes = this.#table.bytes - this.#countedBytes
    this.#countedBytes += grownBytes
    this.#host.committed(this, grownBytes)
  }

  rollback(): void {
    this.#takeOpenBatch()
    this.#note = this.#committedNote
  }

  flushed(): Promise<void> {
    return this.#host.flushed(this)
  }

  async snapshot(): Promise<StateSnapshot> {
    this.#assertReadable()
    const reader = this.#host.openReader()
    const slot = this.#record?.slot
    const stored = slot === undefined ? undefined : this.#slotReads(reader, slot)
    const taken = this.#takeOpenBatch()
    const newest = this.#table.snapshot()
    this.#putBack(taken)
    const tables = this.#flushing === undefined ? [newest] : [newest, this.#flushing]
    return new TakenSnapshot({ tables, stored }, this.#committedNote, reader)
  }

  install(): Promise<StateInstall> {
    return this.#host.install(this)
  }

  /** What was found on disk, or was installed, takes the place of everything. */
  adopt(record: GroupRecord | undefined): void {
    this.#undo = []
    this.#table = new ChangeTable()
    this.#flushing = undefined
    this.#isDirty = false
    this.#countedBytes = 0
    this.#damage = undefined
    this.#note = record?.note
    this.#committedNote = this.#note
    this.setRecord(record)
  }

  /** What the disk has, or will have. */
  setRecord(record: GroupRecord | undefined): void {
    if (record?.slot !== this.#record?.slot || this.#stored === undefined) {
      this.#stored =
        record === undefined ? undefined : this.#slotReads(this.#host.medium, record.slot)
    }
    this.#record = record
    this.#setLayers()
  }

  /** Tells the store, which marks it. */
  reportDamage(error: MeshError): void {
    this.#host.damaged(this.id, error)
  }

  markDamaged(error: MeshError): void {
    this.#damage = error
  }

  /** Begins a flush: what was committed is handed over, and reads go on looking through it. */
  seal(): SealedChanges {
    this.#stored?.forget()
    const taken = this.#takeOpenBatch()
    const table = this.#table
    this.#flushing = table
    this.#table = new ChangeTable()
    this.#isDirty = false
    this.#countedBytes = 0
    this.#putBack(taken)
    this.#setLayers()
    return { table, note: this.#committedNote }
  }

  /** Ends a flush, unless the group was dropped meanwhile. */
  unseal(table: ChangeTable): void {
    if (this.#flushing !== table) return
    this.#flushing = undefined
    this.#setLayers()
  }

  #setLayers(): void {
    const tables = this.#flushing === undefined ? [this.#table] : [this.#table, this.#flushing]
    this.#layers = { tables, stored: this.#stored }
  }

  /** @returns what the open batch did, the newest first. */
  #takeOpenBatch(): Undo[] {
    const taken: Undo[] = []
    for (const { key, change } of this.#undo.toReversed()) {
      taken.push({ key, change: this.#table.get(key) })
      this.#table.restore(key, change)
    }
    this.#undo = []
    return taken
  }

  #putBack(taken: readonly Undo[]): void {
    for (const { key, change } of taken.toReversed()) {
      if (change !== undefined) this.#undo.push({ key, change: this.#table.set(key, change) })
    }
  }

  #slotReads(medium: OrderedReads, slot: number): SlotReads {
    return new SlotReads(medium, slot, (error) =>
      // An old snapshot may read what the group isn't any more.
      this.#record?.slot === slot ? this.#host.damaged(this.id, error) : error
    )
  }

  #assertReadable(): void {
    this.#host.assertOpen()
    if (this.#damage !== undefined) throw this.#damage
  }
}

class TakenSnapshot implements StateSnapshot {
  readonly #layers: Layers
  readonly #note: Uint8Array | undefined
  readonly #reader: MediumReader
  #isClosed = false

  constructor(layers: Layers, note: Uint8Array | undefined, reader: MediumReader) {
    this.#layers = layers
    this.#note = note
    this.#reader = reader
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#assertOpen()
    return readThrough(this.#layers, key)
  }

  range(range: KeyRange): Iterable<Pair> {
    this.#assertOpen()
    return rangeThrough(this.#layers, range)
  }

  note(): Uint8Array | undefined {
    this.#assertOpen()
    return this.#note
  }

  close(): void {
    this.#isClosed = true
    this.#reader.close()
  }

  #assertOpen(): void {
    assert(!this.#isClosed, 'a snapshot is read while it is open')
  }
}
