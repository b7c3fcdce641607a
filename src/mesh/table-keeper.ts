// Keeps the member table on disk, for the next start: soon after a change, never two writes at once.

import type { Clock, Timer } from '../base/clock.ts'
import { errorMessage } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import type { Member } from '../core/membership/member.ts'

/** Changes are collected this long before the table is written. */
const DELAY_MS = 500

export type TableKeeperComponents = {
  clock: Clock
  log: Logger
  members: () => readonly Member[]
  write: (members: readonly Member[]) => Promise<void>
}

export class TableKeeper {
  readonly #components: TableKeeperComponents
  #timer: Timer | undefined
  #writing: Promise<void> = Promise.resolve()
  #running = true

  constructor(components: TableKeeperComponents) {
    this.#components = components
  }

  /** The table has changed. */
  changed(): void {
    if (this.#timer !== undefined || !this.#running) return
    this.#timer = this.#components.clock.after(DELAY_MS, () => {
      this.#timer = undefined
      void this.#write()
    })
  }

  /** Writes the table now. */
  async flush(): Promise<void> {
    this.#timer?.cancel()
    this.#timer = undefined
    await this.#write()
  }

  /** Writes the table a last time. */
  async stop(): Promise<void> {
    this.#running = false
    await this.flush()
  }

  /** Never rejects: a node works without a memory, it only starts slower. */
  async #write(): Promise<void> {
    const { members, write, log } = this.#components
    this.#writing = this.#writing.then(async () => {
      try {
        await write(members())
      } catch (error) {
        log.warn('mesh.remember_failed', { reason: errorMessage(error) })
      }
    })
    await this.#writing
  }
}
