// The state machine of a simulated replica and what happens to it: entries are applied, snapshots
// of it are made and installed, the log behind it is forgotten.

import { chance, type Random } from '../../../src/base/random.ts'
import type { Entry, ReplicaId, Snapshot } from '../../../src/core/raft/messages.ts'
import type { Raft } from '../../../src/core/raft/raft.ts'
import type { Checker } from './checker.ts'
import { Disk } from './disk.ts'
import { EMPTY_MACHINE, VOID_CONTEXT, bytesOfNumber, hashAfter } from './machine.ts'
import type { MachineState } from './machine.ts'
import type { Trace } from './trace.ts'
import { Violation } from './violation.ts'

export type ApplierParts = {
  readonly id: ReplicaId
  readonly random: Random
  readonly trace: Trace
  readonly checker: () => Checker
  /** Whether the machine saves itself only now and then. */
  readonly isLazy: boolean
  readonly isCalm: () => boolean
  /** An entry was applied; members may have changed. */
  readonly onApplied: (entry: Entry) => void
}

export class Applier {
  readonly disk: Disk
  machine: MachineState = EMPTY_MACHINE
  readonly #parts: ApplierParts

  constructor(parts: ApplierParts) {
    this.#parts = parts
    this.disk = new Disk(parts.id, () => this.#snapshot())
  }

  /** A restart: the machine is what was saved of it. */
  recover(): void {
    this.disk.recover()
    this.machine = this.disk.machine
  }

  apply(raft: Raft, entry: Entry): void {
    const { id, trace, checker, onApplied } = this.#parts
    const { applied, hash } = this.machine
    if (entry.index !== applied + 1) {
      throw new Violation('AppliedInOrder', `r${id} applies ${entry.index} after ${applied}`)
    }
    let { configState } = this.machine
    if (entry.type === 'config-change' && entry.change.context[0] !== VOID_CONTEXT) {
      configState = raft.applyConfigChange(entry.change).configState
    }
    this.machine = { applied: entry.index, hash: hashAfter(hash, entry), configState }
    trace.note(id, 'applies', entry.index)
    checker().checkMachine(id, this.machine)
    onApplied(entry)
  }

  /** A machine that saves itself seldom goes back further in a crash, and applies again. */
  save(): void {
    const { isLazy, random } = this.#parts
    if (!isLazy || chance(random, 1, 8)) this.disk.saveMachine(this.machine)
  }

  /** A snapshot has taken the place of log and machine on the disk. */
  install(): void {
    if (this.disk.machine.applied <= this.machine.applied) return
    const { id, trace, checker } = this.#parts
    this.machine = this.disk.machine
    trace.note(id, 'installs', this.machine.applied)
    checker().checkMachine(id, this.machine)
  }

  /** Forgets a part of the log that the machine has. */
  compact(random: Random): void {
    const { storage } = this.disk
    const first = storage.firstIndex()
    const last = Math.min(this.machine.applied, storage.lastIndex())
    if (last < first || !this.#keepSnapshot()) return
    const index = first + random.below(last - first + 1)
    this.#parts.trace.note(this.#parts.id, 'compacts', index)
    storage.compact(index)
  }

  /** @returns whether the stored snapshot is of the machine as it is now */
  #keepSnapshot(): boolean {
    const { storage } = this.disk
    const { applied: index, hash, configState } = this.machine
    const stored = storage.stored?.index ?? 0
    const term = storage.term(index)
    if (stored >= index || term === undefined) return stored === index
    this.disk.keep(this.machine, { index, term, configState, data: bytesOfNumber(hash) })
    return true
  }

  /** Snapshots are made when they are asked for; that takes a while, or gives an old one. */
  #snapshot(): Snapshot | undefined {
    const { isCalm, random } = this.#parts
    const choice = isCalm() ? 0 : random.below(4)
    if (choice === 1) return undefined
    if (choice !== 2) this.#keepSnapshot()
    return this.disk.storage.stored
  }
}
