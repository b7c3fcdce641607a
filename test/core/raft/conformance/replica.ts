// One replica of a data file: a core, what its storage has, the work that waits for the storage,
// and a state machine that keeps a snapshot after every entry.

import { concatBytes } from '../../../../src/base/bytes.ts'
import { isMeshError } from '../../../../src/base/errors.ts'
import type { Random } from '../../../../src/base/random.ts'
import type { RaftConfig } from '../../../../src/core/raft/config.ts'
import type { RaftEvent } from '../../../../src/core/raft/events.ts'
import { MemoryStorage } from '../../../../src/core/raft/memory-storage.ts'
import type { Entry, HardState, Message, Snapshot } from '../../../../src/core/raft/messages.ts'
import { NO_BYTES } from '../../../../src/core/raft/messages.ts'
import { Raft } from '../../../../src/core/raft/raft.ts'
import { DirectiveError } from './directive.ts'
import { eventLine } from './event-text.ts'
import type { Output } from './output.ts'

/** What is written at once, before anything that depends on it is sent. */
export type Write = {
  readonly hardState: HardState | undefined
  readonly snapshot: Snapshot | undefined
  readonly entries: readonly Entry[]
}

/** The core gets the newest state of the state machine, not what the log began with. */
class HistoryStorage extends MemoryStorage {
  readonly history: Snapshot[]
  /** What the log began with, when it did not begin empty. */
  installed: Snapshot | undefined

  constructor(initial: Snapshot) {
    super()
    this.history = [initial]
    if (initial.index > 0) this.applySnapshot(initial)
  }

  override snapshot(): Snapshot {
    return this.history.at(-1) as Snapshot
  }

  override applySnapshot(snapshot: Snapshot): void {
    if (this.installed !== undefined && this.installed.index >= snapshot.index) {
      throw new DirectiveError('requested index is older than the existing snapshot')
    }
    super.applySnapshot(snapshot)
    this.installed = snapshot
  }

  override compact(index: number): void {
    if (index < this.firstIndex()) {
      throw new DirectiveError('requested index is unavailable due to compaction')
    }
    super.compact(index)
  }
}

export type ReplicaOptions = {
  readonly config: RaftConfig
  /** Index 0: nothing. */
  readonly initial: Snapshot
  readonly random: Random
  readonly output: Output
}

export class Replica {
  raft: Raft
  readonly storage: HistoryStorage
  /** Messages for the storage, where writes are asynchronous. */
  appendWork: Message[] = []
  applyWork: Message[] = []
  readonly #options: ReplicaOptions

  constructor(options: ReplicaOptions) {
    this.#options = options
    this.storage = new HistoryStorage(options.initial)
    this.raft = this.#start(options.initial.index)
  }

  get id(): number {
    return this.#options.config.id
  }

  get isAsync(): boolean {
    return this.#options.config.asyncStorageWrites
  }

  get config(): RaftConfig {
    return this.#options.config
  }

  #start(applied: number): Raft {
    const { config, random, output } = this.#options
    const trace = (event: RaftEvent): void => {
      const line = eventLine(this.id, event)
      if (line !== undefined) output.log(line.level, line.text)
      if (event.type === 'message-refused') output.logRefusal(this.id, event)
    }
    try {
      return new Raft({ config: { ...config, applied }, random, storage: this.storage, trace })
    } catch (error) {
      throw isMeshError(error) ? new DirectiveError(error.message) : error
    }
  }

  write({ hardState, snapshot, entries }: Write): void {
    if (hardState !== undefined) this.storage.setHardState(hardState)
    if (snapshot !== undefined) this.storage.applySnapshot(snapshot)
    this.storage.append(entries)
  }

  apply(entries: readonly Entry[]): void {
    for (const entry of entries) this.#applyOne(entry)
  }

  #applyOne(entry: Entry): void {
    const { history } = this.storage
    const before = history.at(-1) as Snapshot
    const { index, term } = entry
    const configState =
      entry.type === 'config-change'
        ? this.raft.applyConfigChange(entry.change).configState
        : before.configState
    const payload = entry.type === 'normal' ? entry.data : NO_BYTES
    history.push({ index, term, configState, data: concatBytes([before.data, payload]) })
  }

  /**
   * The process ends and starts again: what was not written is lost, and so is what waited for the
   * storage. What was applied stays.
   */
  restart(): void {
    this.appendWork = []
    this.applyWork = []
    const { history, installed } = this.storage
    // A snapshot from a leader replaced the state machine too.
    if (installed !== undefined && installed.index > this.storage.snapshot().index) {
      history.push(installed)
    }
    const { index, configState } = this.storage.snapshot()
    this.storage.setConfigState(configState)
    this.raft = this.#start(index)
  }
}
