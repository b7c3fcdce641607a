// A block store in memory with faults to inject. Everything settles in microtasks, without timers
// or I/O, so a simulation that uses it stays reproducible.

import { MeshError } from '../../base/errors.ts'
import type { BlockId } from '../../base/ids.ts'
import { silentLogger, type Logger } from '../../base/log.ts'
import type { BlockIndex } from '../block-index.ts'
import { CheckedBlockStore, type BlockMedium } from '../checked-block-store.ts'

/** What is durable. Hand it to a new store and that store has what survived the last one. */
export class MemoryDisk {
  readonly blocks: Map<BlockId, Uint8Array> = new Map()
}

/** Faults to inject into a {@link MemoryBlockStore}. */
export type MemoryFaults = {
  /** The next put that writes rejects with `disk-full`. */
  fillDiskOnce(): void
  /** The next put that writes fails at its fsync: it rejects, and the store fails. */
  failNextSync(): void
  /** Flips a bit of a stored block. Does nothing when it isn't there. */
  corrupt(id: BlockId): void
  /** The stored bytes vanish; the index doesn't know. */
  lose(id: BlockId): void
  /**
   * The process dies: what is under way rejects with `stopped` and leaves nothing behind, as does
   * every later call. Hand the disk to a new store to go on.
   */
  crash(): void
}

export type MemoryBlockStoreComponents = { disk?: MemoryDisk; logger?: Logger }
export type MemoryBlockStoreOptions = { capacityBytes: number; arcCount: number }

export class MemoryBlockStore extends CheckedBlockStore {
  readonly faults: MemoryFaults

  constructor(components: MemoryBlockStoreComponents, options: MemoryBlockStoreOptions) {
    const medium = new MemoryBlockMedium(components.disk ?? new MemoryDisk())
    super({ medium, logger: components.logger ?? silentLogger }, options)
    this.faults = medium
  }
}

class MemoryBlockMedium implements BlockMedium, MemoryFaults {
  readonly #disk: MemoryDisk
  #fullOnce = false
  #syncFails = false
  #crashed = false

  constructor(disk: MemoryDisk) {
    this.#disk = disk
  }

  fillDiskOnce(): void {
    this.#fullOnce = true
  }

  failNextSync(): void {
    this.#syncFails = true
  }

  corrupt(id: BlockId): void {
    const bytes = this.#disk.blocks.get(id)
    if (bytes === undefined) return
    const damaged = bytes.length === 0 ? new Uint8Array(1) : bytes.slice()
    damaged[0] = (damaged[0] as number) ^ 1
    this.#disk.blocks.set(id, damaged)
  }

  lose(id: BlockId): void {
    this.#disk.blocks.delete(id)
  }

  crash(): void {
    this.#crashed = true
  }

  async open(index: BlockIndex): Promise<undefined> {
    await this.#step()
    for (const [id, bytes] of this.#disk.blocks) index.add(id, bytes.length)
  }

  async close(): Promise<void> {
    await Promise.resolve()
  }

  async read(id: BlockId): Promise<Uint8Array | 'missing'> {
    await this.#step()
    return this.#disk.blocks.get(id)?.slice() ?? 'missing'
  }

  async write(id: BlockId, bytes: Uint8Array): Promise<void> {
    const written = bytes.slice()
    await this.#step()
    if (this.#fullOnce) {
      this.#fullOnce = false
      throw new MeshError('disk-full', `Cannot store block ${id}: the disk is full`)
    }
    await this.#step()
    if (this.#syncFails) {
      this.#syncFails = false
      throw new MeshError('storage-failed', `Cannot store block ${id}: its fsync failed`)
    }
    this.#disk.blocks.set(id, written)
  }

  async remove(id: BlockId): Promise<void> {
    await this.#step()
    this.#disk.blocks.delete(id)
  }

  async setAside(id: BlockId): Promise<void> {
    await this.#step()
    this.#disk.blocks.delete(id)
  }

  /** Lets others run, as real I/O would, and ends everything after a crash. */
  async #step(): Promise<void> {
    this.#assertAlive()
    await Promise.resolve()
    this.#assertAlive()
  }

  #assertAlive(): void {
    if (this.#crashed) throw new MeshError('stopped', 'The simulated process has crashed')
  }
}
