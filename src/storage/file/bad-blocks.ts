// Damaged blocks are kept for a while, for whoever wants to know what the disk did to them.

import { join } from 'node:path'

import type { BlockId } from '../../base/ids.ts'
import type { BlockLayout } from './block-layout.ts'
import { removeIfThere } from './durable-file.ts'
import { isMissing, type FileOps } from './file-ops.ts'

/** At most 16 blocks of 2 MiB: a bound that even an SD card can afford. */
export const BAD_BLOCK_COUNT_MAX = 16

/** A number that grows, so that the oldest is known, and the block id. */
const NAME: RegExp = /^(\d{10})\.b[a-z2-7]{58}$/

export class BadBlocks {
  readonly #ops: FileOps
  readonly #layout: BlockLayout
  /** Names, oldest first. */
  readonly #names: string[] = []
  #nextNumber = 0

  constructor(ops: FileOps, layout: BlockLayout) {
    this.#ops = ops
    this.#layout = layout
  }

  /** @throws the system's error */
  async open(): Promise<void> {
    for (const entry of await this.#ops.listFolder(this.#layout.bad)) {
      const match = entry.kind === 'file' ? NAME.exec(entry.name) : null
      if (match === null) continue
      this.#names.push(entry.name)
      this.#nextNumber = Math.max(this.#nextNumber, Number(match[1]) + 1)
    }
    // The numbers have a fixed length, so the order of the texts is the order of the numbers.
    this.#names.sort()
    await this.#trim()
  }

  /**
   * Moves a block's file here. The move isn't synced: after a power cut the file may be back in its
   * place, and the next read finds it damaged again.
   * @throws the system's error
   */
  async add(id: BlockId): Promise<void> {
    const name = `${String(this.#nextNumber).padStart(10, '0')}.${id}`
    this.#nextNumber += 1
    try {
      await this.#ops.rename(this.#layout.pathOf(id), join(this.#layout.bad, name))
    } catch (error) {
      if (isMissing(error)) return
      throw error
    }
    this.#names.push(name)
    await this.#trim()
  }

  async #trim(): Promise<void> {
    while (this.#names.length > BAD_BLOCK_COUNT_MAX) {
      const oldest = this.#names.shift() as string
      await removeIfThere(this.#ops, join(this.#layout.bad, oldest))
    }
  }
}
