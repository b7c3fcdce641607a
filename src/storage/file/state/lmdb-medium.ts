// One LMDB file as the medium of a state store. (D-12, D-17)
//
// What is known of `lmdb` 3.5 on Node.js 24: `batch()` puts its writes into one transaction, which its own
// thread commits. `transaction()` never resolves, a synchronous transaction waits for the disk on the main
// thread, and writes that are batched by turns of the event loop leave a promise that nobody can catch.

import { statSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as immediate, setTimeout as delay } from 'node:timers/promises'

import { open } from 'lmdb'

import { MeshError } from '../../../base/errors.ts'
import { KIB, MIB } from '../../../base/units.ts'
import type { KeyRange, Pair } from '../../../core/machine/ordered-state.ts'
import type { MediumChange, MediumReader, StateMedium } from '../../state/state-medium.ts'
import { nodeFileOps } from '../file-ops.ts'
import { causeOf, isIoError, storageFailure } from './lmdb-errors.ts'
import { LmdbReader, pairsOf, plain, read, type Store } from './lmdb-reader.ts'
import type { StateFolder } from './state-folder.ts'
import { FILE_TIME_MS } from './untouched.ts'

/** With pages of 4 KiB a key has at most 1,978 bytes, which the store's own keys may have. */
const PAGE_BYTES: number = 8 * KIB
/** Addresses, not memory: the file can't grow beyond it. */
const MAP_BYTES: number = 64 * 1_024 * MIB
/** Snapshots open at a time, and a few readers of LMDB's own. */
const READERS_MAX = 1_024

/** LMDB calls it EIO when a full disk takes a part of what is written; it writes more than values. */
const ROOM_BYTES: number = MIB

/** Pages that are free again are read when they are needed, so that damage there is met late. */
const PROVEN_WRITES = 30

/** What is done to the folder around LMDB's own doings. */
type LmdbFolder = Pick<
  StateFolder,
  'path' | 'prepare' | 'isAsLeft' | 'left' | 'doubted' | 'proven' | 'condemn' | 'setAside'
>

export class LmdbMedium implements StateMedium {
  readonly #folder: LmdbFolder
  readonly #path: string
  readonly #readers = new Set<LmdbReader>()
  #database: Store | undefined
  #isChecked = false
  #isDoubted = false
  #writeCount = 0
  #leaving: NodeJS.Timeout | undefined
  #noting: Promise<void> = Promise.resolve()

  constructor(folder: LmdbFolder) {
    this.#folder = folder
    this.#path = folder.path
  }

  async open(): Promise<{ wasSetAside: boolean; isKnown: boolean }> {
    const wasSetAside = await this.#folder.prepare()
    const isKnown = !wasSetAside && (await this.#folder.isAsLeft())
    this.#openDatabase()
    return { wasSetAside, isKnown }
  }

  async setAside(reason: string): Promise<void> {
    await this.close()
    await this.#folder.setAside(reason)
    this.#openDatabase()
  }

  async close(): Promise<void> {
    const database = this.#database
    for (const reader of this.#readers) reader.close()
    this.#database = undefined
    if (database === undefined) return
    await database.close()
    clearTimeout(this.#leaving)
    await this.#left(true)
    await this.#folder.proven()
  }

  get(key: Uint8Array): Uint8Array | undefined {
    return read(() => plain(this.#open().getBinary(key)))
  }

  peek(key: Uint8Array): Uint8Array | undefined {
    return read(() => this.#open().getBinaryFast(key))
  }

  range(range: KeyRange): Iterable<Pair> {
    return pairsOf(this.#open(), range)
  }

  async write(changes: readonly MediumChange[]): Promise<void> {
    const database = this.#open()
    if (changes.length === 0) return
    // One array for all values: LMDB is given addresses, and finding one costs more than copying.
    let length = 0
    for (const { value } of changes) length += value?.length ?? 0
    const values = Buffer.allocUnsafeSlow(Math.max(1, length))
    let end = 0
    try {
      await database.batch(() => {
        for (const { key, value } of changes) {
          if (value === undefined) void database.remove(key)
          else {
            const begin = end
            values.set(value, begin)
            end += value.length
            void database.put(key, values.subarray(begin, end))
          }
        }
      })
    } catch (error) {
      const cause = await causeOf(error)
      const isShort = isIoError(cause) && (await this.#freeBytes()) < length + ROOM_BYTES
      const failure = storageFailure(`write the state in ${this.#path}`, cause, isShort)
      if (failure.code === 'corrupt') await this.#folder.condemn()
      throw failure
    }
    database.resetReadTxn()
    if (this.#isChecked) this.#writeCount += 1
    clearTimeout(this.#leaving)
    this.#leaving = setTimeout(() => void this.#left(false), FILE_TIME_MS).unref()
    if (this.#writeCount === PROVEN_WRITES) await this.#folder.proven()
  }

  reader(): MediumReader {
    const database = this.#open()
    const reader = new LmdbReader(database, (closed) => this.#readers.delete(closed))
    this.#readers.add(reader)
    return reader
  }

  checked(): void {
    this.#isChecked = true
  }

  doubted(): void {
    this.#isDoubted = true
    clearTimeout(this.#leaving)
    // A note that is being written would come after it.
    void this.#noting.then(async () => await this.#folder.doubted())
  }

  async turn(): Promise<void> {
    await immediate()
  }

  bytes(): number {
    return statSync(join(this.#path, 'data.mdb'), { throwIfNoEntry: false })?.size ?? 0
  }

  /** Notes how the file was left, if that is known to be right. */
  async #left(isLast: boolean): Promise<void> {
    if (!this.#isChecked || this.#isDoubted) return
    if (isLast) await delay(FILE_TIME_MS)
    if (this.#isDoubted) return
    this.#noting = this.#folder.left()
    await this.#noting
  }

  async #freeBytes(): Promise<number> {
    return await nodeFileOps.freeBytes(this.#path).catch(() => Infinity)
  }

  #openDatabase(): void {
    try {
      this.#database = open({
        path: this.#path,
        noSubdir: false,
        encoding: 'binary',
        keyEncoding: 'binary',
        cache: false,
        pageSize: PAGE_BYTES,
        mapSize: MAP_BYTES,
        maxDbs: 1,
        maxReaders: READERS_MAX,
        // A write then resolves when it is on the disk.
        overlappingSync: false,
        eventTurnBatching: false
      })
    } catch (error) {
      throw storageFailure(`open the state in ${this.#path}`, error)
    }
  }

  #open(): Store {
    if (this.#database !== undefined) return this.#database
    throw new MeshError('stopped', `Cannot use the state in ${this.#path}: it is closed`)
  }
}
