// The log store on files in memory, with faults to inject. The log is the same one as on a disk,
// recovery included. Everything settles in microtasks, without timers or I/O, so a simulation that
// uses it stays reproducible.

import { MeshError } from '../../base/errors.ts'
import { silentLogger, type Logger } from '../../base/log.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { KIB } from '../../base/units.ts'
import type { LogFile, LogFolder } from '../log/log-folder.ts'
import { SegmentedLogStore, type LogStoreOptions } from '../log/segmented-log-store.ts'

/** What is durable. Hand it to a new store and that store has what survived the last one. */
export class MemoryLogDisk {
  readonly files: Map<string, Uint8Array> = new Map()
}

/** Faults to inject into a {@link MemoryLogStore}. */
export type MemoryLogFaults = {
  /** The next sync fails: the store stops for good. */
  failNextSync(): void
  /** Syncs don't end, until `resume()`. */
  stall(): void
  resume(): void
  /** Whether the disk has room for another segment. */
  setFull(isFull: boolean): void
  /**
   * The process dies: what is under way rejects with `stopped`, and so does every later write. What
   * wasn't synced is lost; with `torn`, some of its sectors are there nevertheless, drawn at random.
   * Hand the disk to a new store to go on.
   */
  crash(torn?: Random): void
}

export type MemoryLogStoreComponents = {
  clock: Clock
  disk?: MemoryLogDisk
  logger?: Logger
}

/** Small, since a simulation has many of them; entries may still have this much by a quarter. */
const SEGMENT_BYTES: number = 512 * KIB
/** What a disk writes as a whole. */
const SECTOR_BYTES = 512

export class MemoryLogStore extends SegmentedLogStore {
  readonly faults: MemoryLogFaults

  constructor(components: MemoryLogStoreComponents, options: LogStoreOptions = {}) {
    const { clock, disk = new MemoryLogDisk(), logger = silentLogger } = components
    const folder = new MemoryLogFolder(disk)
    super({ clock, logger, folder }, { segmentBytes: SEGMENT_BYTES, ...options })
    this.faults = folder
  }
}

type UnsyncedWrite = {
  readonly name: string
  readonly bytes: Uint8Array
  readonly position: number
}

class MemoryLogFolder implements LogFolder, MemoryLogFaults {
  readonly #disk: MemoryLogDisk
  readonly #unsynced = new Set<UnsyncedWrite>()
  #syncFails = false
  #isFull = false
  #isDead = false
  #stalled: PromiseWithResolvers<void> | undefined

  constructor(disk: MemoryLogDisk) {
    this.#disk = disk
  }

  failNextSync(): void {
    this.#syncFails = true
  }

  stall(): void {
    this.#stalled ??= Promise.withResolvers()
  }

  resume(): void {
    this.#stalled?.resolve()
    this.#stalled = undefined
  }

  setFull(isFull: boolean): void {
    this.#isFull = isFull
  }

  crash(torn?: Random): void {
    this.#isDead = true
    if (torn !== undefined) for (const write of this.#unsynced) this.#tear(write, torn)
    this.resume()
  }

  async open(): Promise<string[]> {
    await this.#step()
    return [...this.#disk.files.keys()]
  }

  async openFile(name: string): Promise<LogFile> {
    await this.#step()
    return this.#fileOf(name)
  }

  async create(name: string, options: { head: Uint8Array; size: number }): Promise<LogFile> {
    await this.#sync()
    if (this.#isFull) throw new MeshError('disk-full', `Cannot make ${name}: the disk is full`)
    const bytes = new Uint8Array(options.size)
    bytes.set(options.head)
    this.#disk.files.set(name, bytes)
    return this.#fileOf(name)
  }

  async remove(name: string): Promise<void> {
    await this.#sync()
    this.#disk.files.delete(name)
  }

  async close(): Promise<void> {
    await Promise.resolve()
  }

  #fileOf(name: string): LogFile {
    const bytesOf = (): Uint8Array => this.#disk.files.get(name) ?? new Uint8Array(0)
    return {
      size: bytesOf().length,
      read: (buffer, position) => {
        const part = bytesOf().subarray(position, position + buffer.length)
        buffer.set(part)
        return part.length
      },
      write: (bytes, position) => this.#write({ name, bytes, position }),
      sync: () => this.#sync(),
      close: () => Promise.resolve()
    }
  }

  async #write(write: UnsyncedWrite): Promise<void> {
    this.#unsynced.add(write)
    try {
      await this.#sync()
    } finally {
      this.#unsynced.delete(write)
    }
    const { name, bytes, position } = write
    const before = this.#disk.files.get(name) ?? new Uint8Array(0)
    const isLonger = before.length < position + bytes.length
    const file = isLonger ? new Uint8Array(position + bytes.length) : before
    if (isLonger) file.set(before)
    file.set(bytes, position)
    this.#disk.files.set(name, file)
  }

  /** Sectors of a write that didn't end are there or not, each by itself. */
  #tear({ name, bytes, position }: UnsyncedWrite, random: Random): void {
    const file = this.#disk.files.get(name)
    if (file === undefined) return
    for (let offset = 0; offset < bytes.length;) {
      const sectorEnd = SECTOR_BYTES - ((position + offset) % SECTOR_BYTES)
      const part = bytes.subarray(offset, offset + sectorEnd)
      if (random.below(2) === 1) file.set(part, position + offset)
      offset += part.length
    }
  }

  async #sync(): Promise<void> {
    await this.#step()
    await this.#stalled?.promise
    this.#assertAlive()
    if (!this.#syncFails) return
    this.#syncFails = false
    throw new MeshError('storage-failed', 'Cannot write the log: its fsync failed')
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
