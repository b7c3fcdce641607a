// Reading LMDB: pairs, keys and snapshots. Whatever it says against a read is about bytes that make no sense.

import type { Database, RangeOptions, RootDatabase } from 'lmdb'

import { MeshError, errorMessage } from '../../../base/errors.ts'
import { compareBytes, type KeyRange, type Pair } from '../../../core/machine/ordered-state.ts'
import type { Lookup, MediumReader } from '../../state/state-medium.ts'

export type Store = RootDatabase<Uint8Array, Uint8Array>
type Transaction = ReturnType<Store['useReadTransaction']>

export class LmdbReader implements MediumReader {
  readonly #database: Store
  readonly #transaction: Transaction
  readonly #onClose: (reader: LmdbReader) => void
  #isClosed = false

  constructor(database: Store, onClose: (reader: LmdbReader) => void) {
    this.#database = database
    this.#transaction = beginRead(database)
    this.#onClose = onClose
  }

  get(key: Uint8Array): Uint8Array | undefined {
    this.#assertOpen()
    const transaction = this.#transaction
    // The option is there at run time, and missing in the declarations of getBinary.
    return read(() => plain((this.#database as ReadsIn).getBinary(key, { transaction })))
  }

  *range(range: KeyRange): Generator<Pair> {
    this.#assertOpen()
    for (const pair of pairsOf(this.#database, range, this.#transaction)) {
      yield pair
      this.#assertOpen()
    }
  }

  *lookups(range: KeyRange): Generator<Lookup> {
    this.#assertOpen()
    const transaction = this.#transaction
    const database = this.#database as ReadsIn
    for (const key of keysOf(this.#database, range, transaction)) {
      const found = read(() => database.getBinaryFast(key, { transaction }))
      // What is returned is longer than it says.
      yield { key, value: found?.subarray(0, found.length) }
      this.#assertOpen()
    }
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#transaction.done()
    this.#onClose(this)
  }

  #assertOpen(): void {
    if (!this.#isClosed) return
    throw new MeshError('stopped', 'Cannot read a snapshot of the state: it is closed')
  }
}

function beginRead(database: Store): Transaction {
  try {
    return database.useReadTransaction()
  } catch (error) {
    const message = `Cannot open a snapshot of the state: ${errorMessage(error)}`
    throw new MeshError('overloaded', `${message}; close others first`, { cause: error })
  }
}

type ReadsIn = {
  getBinaryFast(key: Uint8Array, options: { transaction: Transaction }): Buffer | undefined
  getBinary(key: Uint8Array, options: { transaction: Transaction }): Buffer | undefined
}

export function* pairsOf(
  database: Database<Uint8Array, Uint8Array>,
  range: KeyRange,
  transaction?: Transaction
): Generator<Pair> {
  const options = optionsOf(range, transaction)
  for (const pair of stepsOf(() => database.getRange(options))) {
    const key = plain(pair.key) as Uint8Array
    checkBounds(key, range)
    yield { key, value: plain(pair.value) as Uint8Array }
  }
}

function* keysOf(
  database: Database<Uint8Array, Uint8Array>,
  range: KeyRange,
  transaction: Transaction
): Generator<Uint8Array> {
  const options = optionsOf(range, transaction)
  for (const key of stepsOf(() => database.getKeys(options))) {
    checkBounds(key, range)
    yield key
  }
}

function* stepsOf<T>(begin: () => Iterable<T>): Generator<T> {
  const steps = read(() => begin()[Symbol.iterator]())
  try {
    for (;;) {
      const next = read(() => steps.next())
      if (next.done === true) return
      yield next.value
    }
  } finally {
    steps.return?.()
  }
}

/** LMDB compares with the bounds itself; in a damaged file it may come by others. */
function checkBounds(key: Uint8Array, { from, to }: KeyRange): void {
  if (from !== undefined && compareBytes(key, from) < 0) throw outOfOrder()
  if (to !== undefined && compareBytes(key, to) >= 0) throw outOfOrder()
}

function optionsOf(range: KeyRange, transaction: Transaction | undefined): RangeOptions {
  const { from, to, limit, reverse } = range
  const options: RangeOptions = {}
  if (transaction !== undefined) options.transaction = transaction
  if (limit !== undefined) options.limit = limit
  const [start, end] = reverse === true ? [to, from] : [from, to]
  if (start !== undefined) options.start = start
  if (end !== undefined) options.end = end
  if (reverse === true) {
    options.reverse = true
    options.exclusiveStart = true
    options.inclusiveEnd = true
  }
  return options
}

function outOfOrder(): MeshError {
  return new MeshError('corrupt', 'The state on disk has keys out of order')
}

/** A Buffer would be told from other arrays by whoever compares them. */
export function plain(bytes: Uint8Array | undefined): Uint8Array | undefined {
  if (bytes === undefined) return undefined
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** @throws corrupt */
export function read<T>(task: () => T): T {
  try {
    return task()
  } catch (error) {
    if (error instanceof MeshError) throw error
    const message = `The state on disk cannot be read: ${errorMessage(error)}`
    throw new MeshError('corrupt', message, { cause: error })
  }
}
