// Room on the disk: a floor under which no block is written, and a reserve that is given back when
// even a delete needs room. Without them a full disk can't be emptied.

import { randomFillSync } from 'node:crypto'

import { MeshError, errorMessage } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import { MIB, formatBytes } from '../../base/units.ts'
import { isDiskFull, isMissing, type FileOps, type OpenFile } from './file-ops.ts'

/** What stays free for the log, the state and the system when blocks fill the disk. */
export const FREE_BYTES_MIN: number = 64 * MIB
/** Enough for a copy-on-write file system to note that something was removed. */
export const RESERVE_BYTES: number = 4 * MIB
/** Others write to the disk too, so its room is asked for again after so many bytes. */
const MEASURE_AFTER_BYTES: number = 32 * MIB
/** Reserve bytes written at a time. */
const RESERVE_STEP_BYTES: number = MIB

export type DiskSpaceComponents = { ops: FileOps; logger: Logger }

export type DiskSpaceOptions = {
  /** A folder on the disk in question. */
  folder: string
  /** The file that is the reserve. */
  reservePath: string
  reserveBytes: number
  freeBytesMin: number
}

export class DiskSpace {
  readonly #ops: FileOps
  readonly #logger: Logger
  readonly #options: DiskSpaceOptions
  #reserveHeld = false
  #reserveChanging: Promise<void> | undefined
  #givenBackCount = 0
  /** What may still be written before the disk is asked again. */
  #allowance = 0
  /** Admitted and not settled: perhaps not yet taken off what the disk says is free. */
  #underWay = 0

  constructor(components: DiskSpaceComponents, options: DiskSpaceOptions) {
    this.#ops = components.ops
    this.#logger = components.logger
    this.#options = options
  }

  /** Makes the reserve if there is none and room for it. @throws the system's error */
  async open(): Promise<void> {
    this.#reserveHeld = (await this.#reserveSize()) === this.#options.reserveBytes
    await this.restoreReserve()
  }

  /**
   * Asks for room for a block. Follow it with {@link settle}.
   * @throws disk-full, or the system's error
   */
  async admit(bytes: number): Promise<void> {
    if (this.#allowance < bytes) await this.#measure()
    if (this.#allowance < bytes) {
      throw new MeshError(
        'disk-full',
        `Cannot store ${formatBytes(bytes)}: the disk that holds ${this.#options.folder} has ` +
          `hardly more than the ${formatBytes(this.#options.freeBytesMin)} that must stay free; ` +
          'free some space on it'
      )
    }
    this.#allowance -= bytes
    this.#underWay += bytes
  }

  /** The bytes were written, or won't be. */
  settle(bytes: number): void {
    this.#underWay -= bytes
  }

  /**
   * Runs what must work on a full disk; when the disk refuses for want of room, gives the reserve
   * back and runs it once more.
   * @throws what the task throws
   */
  async withReserve(task: () => Promise<void>): Promise<void> {
    const givenBack = this.#givenBackCount
    try {
      await task()
    } catch (error) {
      if (!isDiskFull(error)) throw error
      // Another task may have given it back, or be about to, since this one was refused.
      const hope = this.#reserveHeld || this.#reserveChanging !== undefined
      if (!hope && this.#givenBackCount === givenBack) throw error
      await this.#changeReserve(() => this.#giveBack())
      await task()
    }
  }

  /** Makes the reserve again if it was given back and there is room. @throws the system's error */
  async restoreReserve(): Promise<void> {
    if (this.#reserveHeld) return
    const { folder, freeBytesMin, reserveBytes } = this.#options
    if ((await this.#ops.freeBytes(folder)) < freeBytesMin + reserveBytes) return
    await this.#changeReserve(() => this.#make())
  }

  async #measure(): Promise<void> {
    await this.restoreReserve()
    const free = await this.#ops.freeBytes(this.#options.folder)
    const room = free - this.#options.freeBytesMin - this.#underWay
    this.#allowance = Math.min(room, MEASURE_AFTER_BYTES)
  }

  /** Lets one change finish before the next: two at once would write one file. */
  async #changeReserve(change: () => Promise<void>): Promise<void> {
    while (this.#reserveChanging !== undefined) await this.#reserveChanging
    this.#reserveChanging = change().finally(() => {
      this.#reserveChanging = undefined
    })
    await this.#reserveChanging
  }

  async #make(): Promise<void> {
    if (this.#reserveHeld) return
    try {
      await this.#writeReserve(this.#options.reserveBytes)
      this.#reserveHeld = true
    } catch (error) {
      if (!isDiskFull(error)) throw error
      this.#logger.warn('block_store.no_reserve', { reason: errorMessage(error) })
      await this.#writeReserve(0)
    }
  }

  async #giveBack(): Promise<void> {
    if (!this.#reserveHeld) return
    this.#reserveHeld = false
    this.#logger.warn('block_store.reserve_used', { bytes: this.#options.reserveBytes })
    // Emptied, not removed: a file system that is too full to remove a name can still do that. The
    // sync is what makes the room available where it is kept back until it is durable.
    await this.#writeReserve(0)
    this.#givenBackCount += 1
  }

  async #writeReserve(bytes: number): Promise<void> {
    const file = await this.#ops.open(this.#options.reservePath, 'overwrite')
    try {
      await this.#fill(file, bytes)
      await file.sync()
    } finally {
      await file.close()
    }
  }

  /** With random bytes: a file system that compresses would keep no room for zeros. */
  async #fill(file: OpenFile, bytes: number): Promise<void> {
    for (let position = 0; position < bytes; position += RESERVE_STEP_BYTES) {
      const step = new Uint8Array(Math.min(RESERVE_STEP_BYTES, bytes - position))
      await file.write(randomFillSync(step), position)
    }
  }

  async #reserveSize(): Promise<number> {
    try {
      return await this.#ops.sizeOf(this.#options.reservePath)
    } catch (error) {
      if (isMissing(error)) return 0
      throw error
    }
  }
}
