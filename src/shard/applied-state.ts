// What a replica has applied: the machine in its store, with the members of the group and the
// replica's own name in the store's note, all of one batch.

import { MeshError } from '../base/errors.ts'
import type { PeerId } from '../base/ids.ts'
import { applyToRoster, checkChange, memberOf, type Roster } from '../core/groups/roster.ts'
import { Machine } from '../core/machine/machine.ts'
import type { LogEntry, Outcome } from '../core/machine/outcome.ts'
import { Queries } from '../core/machine/query.ts'
import { queriesOf } from '../core/machine/own-queries.ts'
import { SERVICES } from '../core/machine/services.ts'
import type { ConfigChange, ConfigState, Entry, ReplicaId } from '../core/raft/messages.ts'
import { NO_BYTES } from '../core/raft/messages.ts'
import type { GroupState } from '../storage/state-store.ts'
import { decodeReplicaNote, encodeReplicaNote, type ReplicaNote } from './replica-note.ts'

/** Makes a change of members in the core. @returns the members from now on */
export type ChangeMembers = (change: ConfigChange) => {
  readonly configState: ConfigState
  readonly problem?: unknown
}

export class AppliedState {
  readonly machine: Machine
  readonly queries: Queries
  readonly #state: GroupState
  #note: ReplicaNote
  #isNoteNew = false
  #due: { readonly index: number; readonly atMs: number | undefined } | undefined

  /** @throws corrupt, invalid-data when what is stored can't be read */
  constructor(state: GroupState, note: ReplicaNote) {
    this.#state = state
    this.#note = note
    this.machine = new Machine(state, SERVICES)
    this.queries = new Queries(this.machine.reads, queriesOf(SERVICES))
  }

  get index(): number {
    return this.machine.index
  }

  get term(): number {
    return this.machine.reads.meta.term
  }

  /** `Machine.dueMs`, looked up once for each index: it is asked for at every tick. */
  get dueMs(): number | undefined {
    const { index, machine } = this
    if (this.#due?.index !== index) this.#due = { index, atMs: machine.dueMs }
    return this.#due.atMs
  }

  get configState(): ConfigState {
    return this.#note.configState
  }

  /** Nobody else has a vote in the group. */
  get isOnlyVoter(): boolean {
    const { voters, votersOutgoing } = this.configState
    return voters.length === 1 && votersOutgoing.length === 0 && voters[0] === this.#note.replica
  }

  get roster(): Roster {
    return this.#note.roster
  }

  /** @returns where a replica lives, as far as is known here. */
  peerOf(replica: ReplicaId): PeerId | undefined {
    return memberOf(this.#note.roster, replica)?.peer
  }

  /**
   * Applies committed entries and ends the batch.
   *
   * @throws corrupt when the store was damaged, storage-failed: the replica is at its end
   */
  apply(entries: readonly Entry[], changeMembers: ChangeMembers): Outcome[] {
    const commands = entries.map((entry): LogEntry => {
      const { index, term } = entry
      if (entry.type === 'normal') return { index, term, bytes: entry.data }
      if (index > this.index) this.#changeMembers(entry.change, changeMembers)
      return { index, term, bytes: NO_BYTES }
    })
    const outcomes = this.machine.apply(commands)
    this.#commit()
    return outcomes
  }

  /** Begins a group: its first state, which no entry made. */
  begin(first: { index: number; term: number }): void {
    this.machine.apply([{ ...first, bytes: NO_BYTES }])
    this.#isNoteNew = true
    this.#commit()
  }

  /** A snapshot has taken the state's place. */
  reload(): void {
    this.machine.reload()
    this.#due = undefined
    const note = this.#state.note()
    if (note === undefined) throw new MeshError('corrupt', 'The snapshot came without its members')
    this.#note = { ...decodeReplicaNote(note), replica: this.#note.replica }
  }

  /** @returns the note of this replica that belongs to a snapshot of another one. */
  adopt(note: ReplicaNote, installedIndex: number): Uint8Array {
    return encodeReplicaNote({ ...note, replica: this.#note.replica, installedIndex })
  }

  #commit(): void {
    if (this.#isNoteNew) this.#state.setNote(encodeReplicaNote(this.#note))
    this.#isNoteNew = false
    this.#state.commit()
  }

  /** A change that is void is skipped by all replicas alike. */
  #changeMembers(change: ConfigChange, changeMembers: ChangeMembers): void {
    const checked = checkChange(this.roster, change)
    if (checked.kind === 'void') return
    const { configState } = changeMembers(change)
    const roster = applyToRoster(this.roster, checked.context, configState)
    this.#note = { ...this.#note, configState, roster }
    this.#isNoteNew = true
  }
}
