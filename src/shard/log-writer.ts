// What one replica writes to the log, in the core's order: many writes may be under way, and what
// waits for one is delivered when it and all before it are durable.

import { toMeshError, type MeshError } from '../base/errors.ts'
import type { HardState, Message } from '../core/raft/messages.ts'
import type { GroupWrite } from '../storage/log-store.ts'

export type LogWriterParts = {
  readonly group: number
  readonly write: (write: GroupWrite) => Promise<void>
  /** Gets the responses of a message that is done. */
  readonly deliver: (responses: readonly Message[]) => void
  /** A write failed for good. */
  readonly failed: (error: MeshError) => void
}

export class LogWriter {
  readonly #parts: LogWriterParts
  #written: HardState | undefined
  #underWay = 0
  #last: Promise<void> = Promise.resolve()
  #installing = 0

  constructor(parts: LogWriterParts) {
    this.#parts = parts
  }

  get isInstalling(): boolean {
    return this.#installing > 0
  }

  /**
   * Does what a storage-append message asks for.
   *
   * @param install puts the state of its snapshot into place, before the log says that it is there
   */
  append(message: Message, install?: () => Promise<void>): void {
    const write = this.#writeOf(message)
    if (write === undefined) {
      // Nothing new: what the responses attest is durable with what was written before.
      if (this.#underWay === 0) this.#parts.deliver(message.responses)
      else this.#after(Promise.resolve(), message.responses)
    } else if (install !== undefined) {
      this.#after(this.#installed(install, write), message.responses)
    } else {
      const written =
        this.#installing === 0
          ? this.#parts.write(write)
          : this.#last.then(async () => await this.#parts.write(write))
      this.#after(written, message.responses)
    }
  }

  async #installed(install: () => Promise<void>, write: GroupWrite): Promise<void> {
    this.#installing += 1
    try {
      await this.#last
      await install()
      await this.#parts.write(write)
    } finally {
      this.#installing -= 1
    }
  }

  #after(written: Promise<void>, responses: readonly Message[]): void {
    this.#underWay += 1
    const before = this.#last
    this.#last = (async () => {
      try {
        await Promise.all([before, written])
      } catch (error) {
        this.#parts.failed(toMeshError(error))
        return
      } finally {
        this.#underWay -= 1
      }
      this.#parts.deliver(responses)
    })()
  }

  /** @returns undefined when all of it may be lost: a commit index alone. */
  #writeOf({ term, vote, commit, entries, snapshot }: Message): GroupWrite | undefined {
    const hardState = term === 0 ? this.#written : { term, vote, commit }
    const before = this.#written
    this.#written = hardState
    const isNew = hardState?.term !== before?.term || hardState?.vote !== before?.vote
    if (!isNew && entries.length === 0 && snapshot === undefined) return undefined
    return {
      group: this.#parts.group,
      hardState,
      ...(entries.length === 0 ? {} : { entries }),
      ...(snapshot === undefined ? {} : { snapshot })
    }
  }
}
