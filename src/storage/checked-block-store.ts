// What every block store does alike: check bytes against ids, keep the index, order the calls for
// one id, join puts, count capacity, and stop writing after the disk failed. Where the bytes go is
// the medium's part: files (file/) or memory (memory/).

import { MeshError, errorMessage, isMeshError } from '../base/errors.ts'
import type { BlockId } from '../base/ids.ts'
import { BLOCK_BYTES_MAX } from '../base/limits.ts'
import type { Logger } from '../base/log.ts'
import { matchesId } from './block-hash.ts'
import { BlockIndex, type BlockIndexOptions } from './block-index.ts'
import type { BlockStore, BlockUsage, Verdict } from './block-store.ts'
import { Turns } from './turns.ts'

/**
 * Where a store keeps bytes. The store calls `write`, `remove` and `setAside` for one id one after
 * another; `read` may come at any time.
 */
export type BlockMedium = {
  /**
   * Adds to `index` what is there.
   * @returns why nothing may be written, when only reads are possible.
   * @throws storage-failed
   */
  open(index: BlockIndex): Promise<MeshError | undefined>
  /** Called once nothing is under way. */
  close(): Promise<void>
  /**
   * @param size bytes expected; more or fewer may be returned, the store checks them.
   * @throws overloaded, storage-failed when nothing is known about the block.
   */
  read(id: BlockId, size: number): Promise<Uint8Array | 'missing' | 'unreadable'>
  /**
   * Durable when it resolves.
   * @throws disk-full, overloaded: nothing is stored and the medium can go on.
   * @throws storage-failed: nothing written from now on can be trusted.
   */
  write(id: BlockId, bytes: Uint8Array): Promise<void>
  /** Does nothing when the block isn't there. @throws disk-full, storage-failed */
  remove(id: BlockId): Promise<void>
  /** Takes a bad block out of the way. @throws disk-full, storage-failed */
  setAside(id: BlockId): Promise<void>
}

export type CheckedBlockStoreComponents = { medium: BlockMedium; logger: Logger }

/** An `open` that failed stays failed: make another store to try again. */
export class CheckedBlockStore implements BlockStore {
  readonly #medium: BlockMedium
  readonly #logger: Logger
  readonly #index: BlockIndex
  readonly #turns = new Turns<BlockId>()
  /** Puts that a put of the same id may join: no delete was asked for since they began. */
  readonly #puts = new Map<BlockId, Promise<void>>()
  /** Deletes asked for and not done, per id. A put before them must not show in the index. */
  readonly #deletes = new Map<BlockId, number>()
  readonly #underWay = new Set<Promise<unknown>>()
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined
  #opened = false
  #failure: MeshError | undefined

  constructor(components: CheckedBlockStoreComponents, options: BlockIndexOptions) {
    this.#medium = components.medium
    this.#logger = components.logger
    this.#index = new BlockIndex(options)
  }

  async open(): Promise<void> {
    if (this.#closing !== undefined) throw stopped('open the block store')
    this.#opening ??= this.#open()
    await this.#opening
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close()
    await this.#closing
  }

  has(id: BlockId): boolean {
    return this.#index.has(id)
  }

  sizeOf(id: BlockId): number | undefined {
    return this.#index.sizeOf(id)
  }

  list(arc: number): BlockId[] {
    return this.#index.list(arc)
  }

  arcs(): number[] {
    return this.#index.arcs()
  }

  usage(): BlockUsage {
    return this.#index.usage()
  }

  failure(): Error | undefined {
    return this.#failure
  }

  async get(id: BlockId): Promise<Uint8Array> {
    this.#assertOpen(`read block ${id}`)
    const found = await this.#track(this.#load(id))
    if (found === 'missing') {
      throw new MeshError('not-found', `Cannot read block ${id}: this node doesn't have it`)
    }
    if (found === 'corrupt') {
      throw new MeshError(
        'corrupt',
        `Cannot read block ${id}: its bytes on disk are damaged, and it was dropped; fetch it ` +
          'from another peer and check this disk'
      )
    }
    return found
  }

  async verify(id: BlockId): Promise<Verdict> {
    this.#assertOpen(`verify block ${id}`)
    const found = await this.#track(this.#load(id))
    return found instanceof Uint8Array ? 'good' : found
  }

  async put(id: BlockId, bytes: Uint8Array): Promise<void> {
    const what = `store block ${id}`
    this.#assertOpen(what)
    this.#assertHealthy(what)
    if (bytes.length > BLOCK_BYTES_MAX) {
      throw new MeshError(
        'too-large',
        `Cannot ${what}: ${bytes.length} bytes are more than a block may have (${BLOCK_BYTES_MAX})`
      )
    }
    if (!matchesId(id, bytes)) {
      throw new MeshError('invalid-data', `Cannot ${what}: the bytes don't match the id`)
    }
    const joined = this.#puts.get(id)
    if (joined !== undefined) {
      await joined
      return
    }
    const put = this.#track(this.#turns.run(id, () => this.#store(id, bytes)))
    this.#puts.set(id, put)
    try {
      await put
    } finally {
      if (this.#puts.get(id) === put) this.#puts.delete(id)
    }
  }

  async delete(id: BlockId): Promise<void> {
    const what = `delete block ${id}`
    this.#assertOpen(what)
    this.#assertHealthy(what)
    this.#puts.delete(id)
    this.#deletes.set(id, (this.#deletes.get(id) ?? 0) + 1)
    const size = this.#index.remove(id)
    if (size !== undefined) this.#index.hold(size)
    await this.#track(this.#turns.run(id, () => this.#remove(id, size)))
  }

  async #open(): Promise<void> {
    const failure = await this.#track(this.#medium.open(this.#index))
    if (failure !== undefined) this.#fail(failure)
    this.#opened = true
  }

  async #close(): Promise<void> {
    // Turns that wait behind others are tracked too, so one look at the set is enough, except for
    // a turn that a read asks for after it began.
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay)
    await this.#medium.close()
  }

  async #store(id: BlockId, bytes: Uint8Array): Promise<void> {
    if (this.#index.has(id)) return
    const what = `store block ${id}`
    this.#assertHealthy(what)
    this.#index.reserve(bytes.length)
    try {
      await this.#write(() => this.#medium.write(id, bytes))
    } finally {
      this.#index.release(bytes.length)
    }
    // Another put's fsync may have failed while this one was under way; from then on no success
    // the disk reports is passed on.
    this.#assertHealthy(what)
    if (!this.#deletes.has(id)) this.#index.add(id, bytes.length)
  }

  /** @param size of the block when it left the index for this delete; it goes back on failure. */
  async #remove(id: BlockId, size: number | undefined): Promise<void> {
    let removed = false
    try {
      this.#assertHealthy(`delete block ${id}`)
      await this.#write(() => this.#medium.remove(id))
      removed = true
    } finally {
      const others = (this.#deletes.get(id) ?? 1) - 1
      if (others === 0) this.#deletes.delete(id)
      else this.#deletes.set(id, others)
      if (size !== undefined) {
        this.#index.release(size)
        if (!removed && others === 0) this.#index.add(id, size)
      }
    }
  }

  async #load(id: BlockId): Promise<Uint8Array | 'missing' | 'corrupt'> {
    const size = this.#index.sizeOf(id)
    if (size === undefined) return 'missing'
    const first = await this.#read(id, size)
    if (first instanceof Uint8Array) return first
    // Between that read and now the block may have been deleted, replaced or set aside by another
    // reader. Only what a second read finds, with no write of this id under way, counts.
    return await this.#turns.run(id, () => this.#readAgain(id))
  }

  async #readAgain(id: BlockId): Promise<Uint8Array | 'missing' | 'corrupt'> {
    const size = this.#index.sizeOf(id)
    if (size === undefined) return 'missing'
    const found = await this.#read(id, size)
    if (found instanceof Uint8Array) return found
    if (this.#index.remove(id) === undefined) return 'missing'
    this.#logger.warn(`block_store.${found}`, { id })
    if (found === 'corrupt') await this.#setAside(id)
    return found
  }

  async #read(id: BlockId, size: number): Promise<Uint8Array | 'missing' | 'corrupt'> {
    const found = await this.#medium.read(id, size)
    if (found === 'missing') return 'missing'
    if (found === 'unreadable') return 'corrupt'
    return matchesId(id, found) ? found : 'corrupt'
  }

  /**
   * The reader is told that the block is corrupt whether or not it could be moved: it is out of
   * the index, and a put of it writes over the bad file.
   */
  async #setAside(id: BlockId): Promise<void> {
    if (this.#failure !== undefined) return
    try {
      await this.#write(() => this.#medium.setAside(id))
    } catch (error) {
      if (!isMeshError(error)) throw error
      this.#logger.warn('block_store.not_set_aside', { id, reason: errorMessage(error) })
    }
  }

  async #write(task: () => Promise<void>): Promise<void> {
    try {
      await task()
    } catch (error) {
      if (isMeshError(error, 'storage-failed')) this.#fail(error)
      throw error
    }
  }

  #fail(failure: MeshError): void {
    if (this.#failure !== undefined) return
    this.#failure = failure
    this.#logger.error('block_store.failed', { reason: failure.message })
  }

  #assertOpen(what: string): void {
    if (this.#closing !== undefined || !this.#opened) throw stopped(what)
  }

  #assertHealthy(what: string): void {
    if (this.#failure === undefined) return
    throw new MeshError(
      'storage-failed',
      `Cannot ${what}: the store takes no writes since its disk failed ` +
        `(${this.#failure.message}); check the disk, then restart the node`,
      { cause: this.#failure }
    )
  }

  #track<T>(task: Promise<T>): Promise<T> {
    this.#underWay.add(task)
    const forget = (): void => {
      this.#underWay.delete(task)
    }
    task.then(forget, forget)
    return task
  }
}

function stopped(what: string): MeshError {
  return new MeshError('stopped', `Cannot ${what}: the block store isn't open`)
}
