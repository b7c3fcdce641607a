// A replica of the simulated group: a real core, its disk and its state machine, which here is a
// hash over all entries and the roster.

import { createRandom, type Random } from '../../../src/base/random.ts'
import type { Place, Roster } from '../../../src/core/groups/roster.ts'
import { applyToRoster, checkChange } from '../../../src/core/groups/roster.ts'
import { decodeRoster, encodeRoster } from '../../../src/core/groups/roster-codec.ts'
import { RAFT_DEFAULTS } from '../../../src/core/raft/config.ts'
import type { Refused } from '../../../src/core/raft/events.ts'
import type { Entry, Message, ReplicaId, Snapshot } from '../../../src/core/raft/messages.ts'
import { Raft } from '../../../src/core/raft/raft.ts'
import type { Checker } from '../../sim/raft/checker.ts'
import { Disk } from '../../sim/raft/disk.ts'
import { EMPTY_MACHINE, bytesOfNumber, hashAfter } from '../../sim/raft/machine.ts'
import type { MachineState } from '../../sim/raft/machine.ts'
import { demand } from '../../sim/raft/violation.ts'

/** What a snapshot carries. */
export function stateBytes(hash: number, roster: Roster): Uint8Array {
  return Uint8Array.of(...bytesOfNumber(hash), ...encodeRoster(roster))
}

export type HostParts = {
  readonly id: ReplicaId
  readonly place: Place
  readonly random: Random
  readonly checker: () => Checker
  readonly send: (from: Host, message: Message) => void
  /** Whether the machine loses its power now, between two obligations of a Ready. */
  readonly mayCrash: () => boolean
  readonly onCrash: (host: Host) => void
  readonly onApplied: (host: Host, entry: Entry) => void
  /** The roster after an index: what a machine that is saved has besides. */
  readonly rosterAt: (index: number) => Roster | undefined
}

const REFUSED_AT_TIMES: readonly Refused['refusal'][] = [
  'proposal-dropped',
  'no-leader',
  'unknown-replica',
  'overloaded'
]

export class Host {
  readonly id: ReplicaId
  readonly place: Place
  readonly disk: Disk
  raft: Raft | undefined
  machine: MachineState = EMPTY_MACHINE
  roster: Roster | undefined
  /** Its node has made it; before, nothing is on its disk. */
  isMade = false
  /** Ticks since it came to lead, its members changed or the preferred peer was out of reach. */
  quietTicks = 0
  readonly #parts: HostParts

  constructor(parts: HostParts) {
    this.id = parts.id
    this.place = parts.place
    this.#parts = parts
    this.disk = new Disk(parts.id, () => this.#snapshot())
  }

  get isLeader(): boolean {
    return this.raft?.state.role === 'leader'
  }

  start(): void {
    this.isMade = true
    this.disk.recover()
    this.machine = this.disk.machine
    this.roster = this.#parts.rosterAt(this.machine.applied)
    const random = createRandom(this.#parts.random.u32())
    const config = { ...RAFT_DEFAULTS, id: this.id, applied: this.machine.applied }
    this.raft = new Raft({
      config,
      random,
      storage: this.disk.storage,
      trace: ({ type }) =>
        demand('ChangesAreAllowed', type !== 'config-change-refused', `by r${this.id}`)
    })
    this.#parts.checker().started(this)
  }

  stop(): void {
    if (this.raft === undefined) return
    this.raft = undefined
    this.disk.crash(this.#parts.random, true)
    this.#parts.checker().stopped(this.id)
    this.#parts.checker().checkDurable()
  }

  input(act: (raft: Raft) => Refused | undefined | void): void {
    const { raft } = this
    if (raft === undefined) return
    const refused = act(raft)
    const isUsual = refused === undefined || REFUSED_AT_TIMES.includes(refused.refusal)
    demand('NothingImpossible', isUsual, `r${this.id} refuses: ${refused?.problem}`)
    this.#parts.checker().observe(this)
    while (this.raft?.hasReady() === true) this.#process(this.raft)
  }

  #process(raft: Raft): void {
    const ready = raft.take()
    this.#parts.checker().observe(this)
    const { hardState, snapshot, entries, mustSync } = ready
    this.disk.begin({
      hardState,
      snapshot,
      entries,
      mustSync: mustSync || snapshot !== undefined
    })
    if (this.#crashes()) return
    this.disk.complete()
    if (snapshot !== undefined) this.#install(snapshot)
    for (const message of ready.messages) {
      this.#parts.checker().checkAttested(this, message)
      this.#parts.send(this, message)
    }
    if (this.#crashes()) return
    for (const entry of ready.committedEntries) this.#apply(raft, entry)
    if (this.#crashes()) return
    raft.advance()
    this.#parts.checker().observe(this)
  }

  #crashes(): boolean {
    if (!this.#parts.mayCrash()) return false
    this.#parts.onCrash(this)
    return true
  }

  #install(snapshot: Snapshot): void {
    this.machine = this.disk.machine
    this.roster = decodeRoster(snapshot.data.subarray(4))
    this.#parts.checker().checkMachine(this.id, this.machine)
  }

  #apply(raft: Raft, entry: Entry): void {
    let { configState } = this.machine
    if (entry.type === 'config-change') {
      const roster = this.roster as Roster
      const checked = checkChange(roster, entry.change)
      if (checked.kind === 'valid') {
        configState = raft.applyConfigChange(entry.change).configState
        this.roster = applyToRoster(roster, checked.context, configState)
        this.quietTicks = 0
      }
    }
    const hash = hashAfter(this.machine.hash, entry)
    this.machine = { applied: entry.index, hash, configState }
    this.#parts.checker().checkMachine(this.id, this.machine)
    this.#parts.onApplied(this, entry)
    this.disk.saveMachine(this.machine)
  }

  /** Forgets the log that is applied, so that whoever lacks it needs a snapshot. */
  compact(): void {
    const { storage } = this.disk
    const last = Math.min(this.machine.applied, storage.lastIndex())
    if (this.raft === undefined || last < storage.firstIndex()) return
    const snapshot = this.#snapshot()
    if (snapshot === undefined) return
    this.disk.keep(this.machine, snapshot)
    storage.compact(last)
  }

  #snapshot(): Snapshot | undefined {
    const { applied: index, hash, configState } = this.machine
    const term = this.disk.storage.term(index)
    if (this.roster === undefined || term === undefined) return this.disk.storage.stored
    return { index, term, configState, data: stateBytes(hash, this.roster) }
  }
}
