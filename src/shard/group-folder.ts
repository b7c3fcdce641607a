// What this node keeps of each group, in the log and in the state: how it begins, how it is found
// after a restart, and how it ends. The two stores are never written as one, so each order of writes
// here is one that a crash between them leaves mendable.

import { isMeshError } from '../base/errors.ts'
import type { Logger } from '../base/log.ts'
import { foundingRoster, type Place } from '../core/groups/roster.ts'
import { decode, encode, record, uint } from '../core/machine/codec.ts'
import { readMeta } from '../core/machine/records.ts'
import { EMPTY_CONFIG_STATE, NO_REPLICA } from '../core/raft/messages.ts'
import type { ReplicaId } from '../core/raft/messages.ts'
import type { GroupWrite, LogStore } from '../storage/log-store.ts'
import type { StateStore } from '../storage/state-store.ts'
import { AppliedState } from './applied-state.ts'
import { decodeReplicaNote, encodeReplicaNote, type ReplicaNote } from './replica-note.ts'
import { setAside } from './set-aside.ts'

/** A replica of a group: no other one is ever called so. */
export type ReplicaName = { readonly replica: ReplicaId; readonly generation: number }

/** The replica of a group that was here last. */
export type LastReplica = {
  readonly id: ReplicaId
  readonly generation: number
  /** It is no more. Otherwise it runs, or has yet to be started. */
  readonly isGone: boolean
}

const nameCodec = record<ReplicaName>({ replica: uint, generation: uint })
/** All groups begin with a first entry that is nobody's, so that a new replica needs a snapshot. */
const FIRST = { index: 1, term: 1 }

export type GroupFolderParts = {
  readonly logStore: LogStore
  readonly stateStore: StateStore
  readonly logger: Logger
  /** Where replicas that are founded here live. */
  readonly place: Place
}

export class GroupFolder {
  readonly #parts: GroupFolderParts
  readonly #names = new Map<number, ReplicaName>()
  /** Begun without anything written yet. */
  readonly #fresh = new Set<number>()

  constructor(parts: GroupFolderParts) {
    this.#parts = parts
  }

  /** @returns groups that something was ever kept of. */
  groups(): number[] {
    return this.#parts.logStore.groups()
  }

  /** @returns the last replica that was here, also one that is no more. */
  lastOf(group: number): LastReplica | undefined {
    const name = this.#nameOf(group)
    if (name === undefined) return undefined
    const isGone = this.#parts.logStore.group(group).isRemoved() && !this.#fresh.has(group)
    return { id: name.replica, generation: name.generation, isGone }
  }

  /**
   * Whether a replica was here that nobody can name any more: both its log and its state are damaged.
   * It may have voted, so none of its name may begin.
   */
  isNameLost(group: number): boolean {
    return (
      this.#parts.logStore.group(group).damage() !== undefined && this.#nameOf(group) === undefined
    )
  }

  /** Makes groups with this node as their only member; those that are there already are left. */
  async found(groups: readonly number[]): Promise<void> {
    const { logStore, stateStore, place } = this.#parts
    const missing = groups.filter((group) => logStore.group(group).meta() === undefined)
    const roster = foundingRoster([{ ...place, replica: 1 }], { layoutVersion: 0, generation: 1 })
    const configState = { ...EMPTY_CONFIG_STATE, voters: [1] }
    const note = { replica: 1, installedIndex: FIRST.index, configState, roster }
    for (const group of missing) {
      const applied = new AppliedState(stateStore.group(group), note)
      if (applied.index === 0) applied.begin(FIRST)
    }
    await Promise.all(missing.map((group) => stateStore.group(group).flushed()))
    const meta = encode(nameCodec, { replica: 1, generation: 1 }).slice()
    const hardState = { term: FIRST.term, vote: 0, commit: FIRST.index }
    const snapshot = { ...FIRST, configState }
    await logStore.write(missing.map((group) => ({ group, snapshot, hardState, meta })))
  }

  /**
   * Looks at what is stored of a group. What can't be trusted is discarded: its members replace it.
   *
   * @returns undefined when there is nothing to go on from @throws disk-full, storage-failed
   */
  async open(group: number): Promise<ReplicaNote | undefined> {
    const { logStore, logger } = this.#parts
    if (this.isNameLost(group)) {
      const reason = 'its log and its state are damaged'
      logger.error('shard.replica_unusable', { group, reason })
    }
    const name = this.#nameOf(group)
    if (name === undefined || logStore.group(group).isRemoved()) return undefined
    const found = this.#tryExamine(group, name)
    if (typeof found !== 'string') return await this.#mended(group, found, name)
    logger.warn('shard.replica_unusable', { group, replica: name.replica, reason: found })
    await this.discard(group, name)
    return undefined
  }

  /** A replica that has nothing yet, in place of any that was here. */
  async begin(group: number, name: ReplicaName): Promise<ReplicaNote> {
    const before = this.#nameOf(group)
    const isOver = before === undefined || this.#parts.logStore.group(group).isRemoved()
    // The new one would take the log of the one before for its own.
    if (isOver) await this.#parts.stateStore.drop(group)
    else await this.discard(group, before, name.generation > before.generation)
    this.#fresh.add(group)
    this.#names.set(group, name)
    return blankNote(name)
  }

  /** The first write of a new replica ends the one before. */
  named(write: GroupWrite): GroupWrite {
    const name = this.#names.get(write.group)
    if (name === undefined || !this.#fresh.delete(write.group)) return write
    return { ...write, remove: true, meta: encode(nameCodec, name).slice() }
  }

  /**
   * Nothing of the replica remains but that its id is used up. Of one whose group was founded anew by
   * others, what it had applied is set aside.
   */
  async discard(group: number, name: ReplicaName, isSuperseded = false): Promise<void> {
    const { logStore, stateStore, logger } = this.#parts
    const kept = isSuperseded ? await setAside({ stateStore, logStore }, group) : undefined
    if (kept !== undefined) logger.warn('shard.set_aside', kept)
    this.#names.set(group, name)
    this.#fresh.delete(group)
    await logStore.write([{ group, remove: true, meta: encode(nameCodec, name).slice() }])
    await stateStore.drop(group)
  }

  /**
   * Makes a replica that has ended the only member of a new generation of its group. All that is in
   * its log becomes committed.
   */
  async refound(group: number, before: AppliedState, generation: number): Promise<ReplicaName> {
    const { logStore, stateStore, place } = this.#parts
    const { nextReplica: replica, layoutVersion } = before.roster
    const roster = foundingRoster([{ ...place, replica }], { layoutVersion, generation })
    const configState = { ...EMPTY_CONFIG_STATE, voters: [replica] }
    const state = stateStore.group(group)
    state.setNote(encodeReplicaNote({ replica, installedIndex: 0, configState, roster }))
    state.commit()
    await state.flushed()
    const name = { replica, generation }
    await logStore.write([{ group, configState, meta: encode(nameCodec, name).slice() }])
    this.#names.set(group, name)
    return name
  }

  #nameOf(group: number): ReplicaName | undefined {
    const known = this.#names.get(group)
    if (known !== undefined) return known
    const log = this.#parts.logStore.group(group)
    const meta = log.damage() === undefined ? log.meta() : this.#nameInState(group)
    if (meta === undefined) return undefined
    const name = meta instanceof Uint8Array ? decode(nameCodec, meta) : meta
    this.#names.set(group, name)
    return name
  }

  /** What a damaged log can't tell: only a replica that had a state ever voted or acknowledged. */
  #nameInState(group: number): ReplicaName | undefined {
    const { stateStore } = this.#parts
    if (stateStore.damageOf(group) !== undefined) return undefined
    const note = stateStore.group(group).note()
    if (note === undefined) return undefined
    const { replica, roster } = decodeReplicaNote(note)
    return { replica, generation: roster.generation }
  }

  #tryExamine(group: number, name: ReplicaName): ReplicaNote | string {
    try {
      return this.#examine(group, name)
    } catch (error) {
      if (isMeshError(error, 'corrupt')) return error.message
      throw error
    }
  }

  /** @returns the note, or why the replica is of no use @throws corrupt */
  #examine(group: number, name: ReplicaName): ReplicaNote | string {
    const { logStore, stateStore } = this.#parts
    const log = logStore.group(group)
    const damage = log.damage() ?? stateStore.damageOf(group)
    if (damage !== undefined) return damage.message
    const state = stateStore.group(group)
    const stored = state.note()
    if (stored === undefined) {
      const isBlank = log.firstIndex() === 1 && log.lastIndex() === 0
      return isBlank ? blankNote(name) : 'its state is lost'
    }
    const note = decodeReplicaNote(stored)
    if (note.roster.generation < name.generation) return 'its state is of an earlier generation'
    const isSame = note.replica === name.replica || note.roster.generation > name.generation
    if (!isSame) return 'its log is of another replica than its state'
    const { index } = readMeta(state)
    if (index < log.firstIndex() - 1) return 'its log goes on after a gap'
    const isBehind = index > log.lastIndex()
    if (isBehind && index !== note.installedIndex) return 'the end of its log is lost'
    return note
  }

  /** Ends what a crash has interrupted: a snapshot in the state alone, a new generation likewise. */
  async #mended(group: number, note: ReplicaNote, name: ReplicaName): Promise<ReplicaNote> {
    const { logStore, stateStore } = this.#parts
    const log = logStore.group(group)
    const { replica, configState, roster } = note
    const { index, term } = readMeta(stateStore.group(group))
    const isInstalled = index === note.installedIndex && index >= log.firstIndex()
    if (isInstalled && log.term(index) !== term) {
      // Its term was to be written with it: no log has entries of a later term than its own.
      const { hardState: before } = log.initialState()
      const hardState = before.term < term ? { term, vote: NO_REPLICA, commit: index } : before
      await logStore.write([{ group, snapshot: { index, term, configState }, hardState }])
    }
    const { generation } = roster
    if (generation > name.generation) {
      const meta = encode(nameCodec, { replica, generation }).slice()
      await logStore.write([{ group, configState, meta }])
      this.#names.set(group, { replica, generation })
    }
    return note
  }
}

function blankNote({ replica, generation }: ReplicaName): ReplicaNote {
  const roster = { members: [], nextReplica: 1, layoutVersion: 0, generation }
  return { replica, installedIndex: 0, configState: EMPTY_CONFIG_STATE, roster }
}
