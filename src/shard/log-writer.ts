// What one replica writes to the log, in the core's order: many writes may be under way, and what
// waits for one is delivered when it and all before it are durable.

import { toMeshError, type MeshError } from '../base/errors.ts'
import type { HardState, Message } from '../core/raft/messages.ts'
import type { GroupWrite } from '../storage/log-store.ts'
import type { Written } from './log-batch.ts'

export type LogWriterParts = {
  readonly group: number
  readonly write: (write: GroupWrite, done: Written) => void
  /** Gets the responses of a message that is done. */
  readonly deliver: (responses: readonly Message[]) => void
  /** A write failed for good. */
  readonly failed: (error: MeshError) => void
}

/** A message whose responses wait. */
type Step = {
  readonly responses: readonly Message[]
  isDone: boolean
  /** Begins it when all before it are done; undefined for one that was begun at once. */
  begin: (() => void) | undefined
}

export class LogWriter {
  readonly #parts: LogWriterParts
  #written: HardState | undefined
  /** The oldest first. */
  #steps: Step[] = []
  #installing = 0
  #hasFailed = false

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
    const { responses } = message
    const write = this.#writeOf(message)
    const step: Step = { responses, isDone: write === undefined, begin: undefined }
    if (write !== undefined) {
      const done = (error?: MeshError): void => this.#done(step, error)
      if (install !== undefined) {
        this.#installing += 1
        step.begin = () => void this.#install(install, write, done)
      } else if (this.#installing > 0) step.begin = () => this.#parts.write(write, done)
      else this.#parts.write(write, done)
    }
    // Without a write the responses attest what was written before.
    if (responses.length === 0 && write === undefined) return
    this.#steps.push(step)
    this.#advance()
  }

  async #install(install: () => Promise<void>, write: GroupWrite, done: Written): Promise<void> {
    const installed = (error?: MeshError): void => {
      this.#installing -= 1
      done(error)
    }
    try {
      await install()
      this.#parts.write(write, installed)
    } catch (error) {
      installed(toMeshError(error))
    }
  }

  #done(step: Step, error: MeshError | undefined): void {
    if (this.#hasFailed) return
    if (error !== undefined) {
      this.#hasFailed = true
      this.#steps = []
      this.#parts.failed(error)
      return
    }
    step.isDone = true
    this.#advance()
  }

  /** Delivers what is done, up to the first that isn't. */
  #advance(): void {
    for (;;) {
      const [first] = this.#steps
      if (first?.isDone === true) {
        this.#steps.shift()
        this.#parts.deliver(first.responses)
        continue
      }
      const begin = first?.begin
      if (first !== undefined) first.begin = undefined
      begin?.()
      return
    }
  }

  /** @returns undefined when all of it may be lost: a commit index alone. */
  #writeOf({ term, vote, commit, entries, snapshot }: Message): GroupWrite | undefined {
    const hardState = term === 0 ? this.#written : { term, vote, commit }
    const before = this.#written
    this.#written = hardState
    const isNew = hardState?.term !== before?.term || hardState?.vote !== before?.vote
    if (!isNew && entries.length === 0 && snapshot === undefined) return undefined
    const { group } = this.#parts
    if (snapshot !== undefined) return { group, hardState, entries, snapshot }
    return entries.length === 0 ? { group, hardState } : { group, hardState, entries }
  }
}
