// What one replica writes as its core asks for it: entries and votes to the log; and a snapshot that
// was received, first in place of the state, then to the log.

import { MeshError } from '../base/errors.ts'
import type { Message } from '../core/raft/messages.ts'
import type { StateInstall } from '../storage/state-store.ts'
import type { AppliedState } from './applied-state.ts'
import { LogWriter, type LogWriterParts } from './log-writer.ts'
import type { ReplicaNote } from './replica-note.ts'

export type ReplicaWritesParts = LogWriterParts & {
  readonly applied: AppliedState
  /** A snapshot has taken the state's place. */
  readonly installed: () => void
}

/** A received snapshot, until the core has it written. */
type Offered = {
  readonly index: number
  readonly install: StateInstall
  readonly note: Uint8Array
}

export class ReplicaWrites {
  readonly #parts: ReplicaWritesParts
  readonly #writer: LogWriter
  #offered: Offered | undefined

  constructor(parts: ReplicaWritesParts) {
    this.#parts = parts
    this.#writer = new LogWriter(parts)
  }

  /**
   * A snapshot is here.
   *
   * @param note of the replica that it comes from
   * @returns false while another one waits for the core, or is being written
   */
  offer(index: number | undefined, install: StateInstall, note: ReplicaNote): boolean {
    if (index === undefined || this.#offered !== undefined) return false
    this.#offered = { index, install, note: this.#parts.applied.adopt(note, index) }
    return true
  }

  /** The core has had its say: unless it asked for the snapshot to be written, it has no use for it. */
  decided(): void {
    if (!this.#writer.isInstalling) this.end()
  }

  /** Does what a storage-append message asks for. */
  append(message: Message): void {
    const { snapshot } = message
    const offered = this.#offered
    if (snapshot === undefined) this.#writer.append(message)
    else if (offered?.index === snapshot.index) {
      this.#writer.append(message, async () => {
        await offered.install.finish(offered.note)
        this.#parts.applied.reload()
        this.#offered = undefined
        this.#parts.installed()
      })
    } else {
      const problem = `Snapshot ${snapshot.index} was never received`
      this.#parts.failed(new MeshError('internal', problem))
    }
  }

  /** Nothing comes of a snapshot that isn't written yet. */
  end(): void {
    void this.#offered?.install.abort()
    this.#offered = undefined
  }
}
