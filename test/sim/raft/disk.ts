// The disk of a simulated replica. What was written and not yet synced may be lost in a crash; then
// a beginning of it survives.

import { chance, type Random } from '../../../src/base/random.ts'
import { MemoryStorage } from '../../../src/core/raft/memory-storage.ts'
import { EMPTY_HARD_STATE } from '../../../src/core/raft/messages.ts'
import type { Entry, HardState, ReplicaId, Snapshot } from '../../../src/core/raft/messages.ts'
import { EMPTY_MACHINE, numberOfBytes, type MachineState } from './machine.ts'
import { demand } from './violation.ts'

/** What one Ready or one storage message wants written. */
export type Batch = {
  readonly hardState: HardState | undefined
  readonly snapshot: Snapshot | undefined
  readonly entries: readonly Entry[]
  readonly mustSync: boolean
}

/**
 * A batch is written piece by piece, in an order that is right wherever it breaks off: term and
 * vote at once and first, for no entry may be of a later term; the commit index last, for it may
 * speak of the batch's entries, and never of what they replace.
 */
type Piece = () => void

/** Asks for a snapshot when one is wanted: a stored one may be older than the member it is for. */
class AskingStorage extends MemoryStorage {
  readonly #make: () => Snapshot | undefined

  constructor(make: () => Snapshot | undefined) {
    super()
    this.#make = make
  }

  override snapshot(): Snapshot | undefined {
    return this.#make()
  }

  get stored(): Snapshot | undefined {
    return super.snapshot()
  }
}

export class Disk {
  readonly storage: AskingStorage
  /** The state machine as a restart finds it. */
  machine: MachineState = EMPTY_MACHINE
  readonly #id: ReplicaId
  #hardState: HardState = EMPTY_HARD_STATE
  /** The commit index at the last sync: a later one may be forgotten. */
  #syncedCommit = 0
  /** Written or about to be, oldest first; not synced. */
  #pending: Batch[] = []

  /** @param snapshot gives a snapshot of the machine, when one is wanted and ready */
  constructor(id: ReplicaId, snapshot: () => Snapshot | undefined) {
    this.#id = id
    this.storage = new AskingStorage(snapshot)
  }

  /** How a member of a new group starts. */
  found(snapshot: Snapshot): void {
    this.storage.applySnapshot(snapshot)
    this.#hardState = { term: snapshot.term, vote: 0, commit: snapshot.index }
    this.#syncedCommit = snapshot.index
    this.storage.setHardState(this.#hardState)
    this.#install(snapshot)
  }

  get hardState(): HardState {
    return this.#hardState
  }

  begin(batch: Batch): void {
    this.#pending.push(batch)
  }

  /** The oldest batch is durable. */
  complete(): void {
    const batch = this.#pending.shift()
    demand('driver', batch !== undefined, 'a batch was begun')
    for (const piece of this.#pieces(batch)) piece()
    if (batch.mustSync) this.#syncedCommit = this.#hardState.commit
  }

  /**
   * The machine lost its power.
   *
   * @param random says how much survives
   * @param isTorn whether a batch may survive in part; otherwise it is there or not
   */
  crash(random: Random, isTorn: boolean): void {
    const { commit } = this.#hardState
    if (commit > this.#syncedCommit && chance(random, 1, 2)) this.#setCommit(this.#syncedCommit)
    const batches = this.#pending.map((batch) => this.#pieces(batch))
    this.#pending = []
    const units = isTorn ? batches.flat().map((piece) => [piece]) : batches
    const kept = random.below(units.length + 1)
    for (const piece of units.slice(0, kept).flat()) piece()
  }

  /** What a driver does before it starts a replica again. */
  recover(): void {
    // The machine may have applied what a lost commit index spoke of.
    this.#setCommit(Math.max(this.#hardState.commit, this.machine.applied))
    this.#syncedCommit = this.#hardState.commit
    this.storage.setConfigState(this.machine.configState)
  }

  saveMachine(machine: MachineState): void {
    if (machine.applied > this.machine.applied) this.machine = machine
  }

  /** Keeps a snapshot of the machine. */
  keep(machine: MachineState, snapshot: Snapshot): void {
    this.saveMachine(machine)
    this.storage.setSnapshot(snapshot)
  }

  #pieces({ hardState, snapshot, entries }: Batch): Piece[] {
    const pieces: Piece[] = []
    if (hardState !== undefined) pieces.push(() => this.#setVote(hardState))
    if (snapshot !== undefined) {
      pieces.push(() => {
        this.storage.applySnapshot(snapshot)
        this.#install(snapshot)
      })
    }
    for (const entry of entries) pieces.push(() => this.storage.append([entry]))
    if (hardState !== undefined) pieces.push(() => this.#setCommit(hardState.commit))
    return pieces
  }

  #install({ index, data, configState }: Snapshot): void {
    if (index <= this.machine.applied) return
    this.machine = { applied: index, hash: numberOfBytes(data), configState }
  }

  #setVote({ term, vote }: HardState): void {
    const old = this.#hardState
    const who = `r${this.#id}`
    demand('TermsNeverFall', term >= old.term, `${who} writes term ${term} after ${old.term}`)
    const isKept = term > old.term || old.vote === 0 || old.vote === vote
    demand('OneVotePerTerm', isKept, `${who} votes for ${vote} after ${old.vote} in term ${term}`)
    this.#hardState = { term, vote, commit: old.commit }
    this.storage.setHardState(this.#hardState)
  }

  #setCommit(commit: number): void {
    this.#hardState = { ...this.#hardState, commit }
    this.storage.setHardState(this.#hardState)
  }
}
