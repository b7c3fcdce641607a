// Does a write fit the log? Told before anything is written, by what the log will be when all
// earlier writes are done.

import { MeshError } from '../../base/errors.ts'
import { NO_REPLICA, NUMBER_MAX } from '../../core/raft/messages.ts'
import type { Entry, HardState } from '../../core/raft/messages.ts'
import {
  LOG_GROUP_COUNT_MAX,
  LOG_META_BYTES_MAX,
  type GroupWrite,
  type LogGroupId
} from '../log-store.ts'
import type { GroupState } from './group-state.ts'
import type { RecordPart } from './write-parts.ts'

/** What a group will be when the writes that wait are done. */
type Outlook = {
  readonly start: number
  readonly last: number
  readonly term: number
  readonly vote: number
  readonly commit: number
  readonly isRemoved: boolean
  readonly damage: MeshError | undefined
  /** The damage that a write with `remove` ends, while that write waits. */
  readonly healed: MeshError | undefined
}

const EMPTY: Outlook = {
  start: 0,
  last: 0,
  term: 0,
  vote: NO_REPLICA,
  commit: 0,
  isRemoved: false,
  damage: undefined,
  healed: undefined
}

export class WriteCheck {
  readonly #stateOf: (id: LogGroupId) => GroupState | undefined
  /** Of the groups that were written to; of others, the state says it. */
  readonly #outlooks = new Map<LogGroupId, Outlook>()
  readonly #known = new Set<LogGroupId>()

  constructor(stateOf: (id: LogGroupId) => GroupState | undefined, known: Iterable<LogGroupId>) {
    this.#stateOf = stateOf
    for (const id of known) this.#known.add(id)
  }

  /** Writes that wait were given up: the state is all that counts. */
  forget(): void {
    this.#outlooks.clear()
  }

  /**
   * Accepts all of a batch, or nothing.
   * @param split makes records of a write; `commit` is its group's commit index before it
   * @throws invalid-argument, too-large, corrupt, overloaded, or what `split` throws
   */
  accept(
    batch: readonly GroupWrite[],
    split: (write: GroupWrite, commit: number) => RecordPart[]
  ): RecordPart[] {
    const fresh = new Map<LogGroupId, Outlook>()
    const records: RecordPart[] = []
    for (const write of batch) {
      checkGroup(write.group)
      const before = fresh.get(write.group) ?? this.#outlookOf(write.group)
      fresh.set(write.group, next(before, write))
      records.push(...split(write, write.remove === true ? 0 : before.commit))
    }
    const added = [...fresh.keys()].filter((id) => !this.#known.has(id))
    if (this.#known.size + added.length > LOG_GROUP_COUNT_MAX) {
      const problem = `it has ${this.#known.size} groups already`
      throw new MeshError('overloaded', `Cannot add a group to the log: ${problem}`)
    }
    for (const id of added) this.#known.add(id)
    for (const [id, outlook] of fresh) this.#outlooks.set(id, outlook)
    return records
  }

  #outlookOf(id: LogGroupId): Outlook {
    const state = this.#stateOf(id)
    const known = this.#outlooks.get(id)
    const damage = state?.damage
    // Damage may be found at any time, by a read.
    if (damage !== undefined && known?.healed !== damage) return { ...EMPTY, damage }
    if (known !== undefined || state === undefined) return known ?? EMPTY
    const { hardState, start, lastIndex, isRemoved } = state
    return { ...EMPTY, ...hardState, start: start.index, last: lastIndex, isRemoved }
  }
}

function next(before: Outlook, write: GroupWrite): Outlook {
  const { remove, snapshot, configState, hardState, meta, entries = [], truncateTo } = write
  if (remove !== true && before.damage !== undefined) throw before.damage
  if (remove !== true && before.isRemoved) {
    throw unfit(write, 'the group was removed, and only a write with `remove` begins it anew')
  }
  if (meta !== undefined && meta.length > LOG_META_BYTES_MAX) {
    const problem = `its meta has ${meta.length} bytes, more than ${LOG_META_BYTES_MAX}`
    throw new MeshError('too-large', `Cannot write to group ${write.group}: ${problem}`)
  }
  let outlook = remove === true ? { ...EMPTY, healed: before.damage ?? before.healed } : before
  if (snapshot !== undefined) outlook = afterSnapshot(outlook, write, snapshot)
  if (hardState !== undefined) outlook = afterHardState(outlook, write, hardState)
  if (entries.length > 0) outlook = afterEntries(outlook, write, entries)
  if (truncateTo !== undefined) outlook = afterTruncate(outlook, write, truncateTo)
  const isBegun =
    snapshot !== undefined ||
    configState !== undefined ||
    hardState !== undefined ||
    entries.length > 0
  return remove === true ? { ...outlook, isRemoved: !isBegun } : outlook
}

function afterSnapshot(
  before: Outlook,
  write: GroupWrite,
  { index, term }: { index: number; term: number }
): Outlook {
  if (!isNumber(index) || !isNumber(term) || index === 0) {
    throw unfit(write, `a snapshot can't be of index ${index}, term ${term}`)
  }
  if (index <= before.start) throw unfit(write, `snapshot ${index} isn't above ${before.start}`)
  return { ...before, start: index, last: index }
}

/** The vote in a term that was written down is what keeps a replica from voting twice. */
function afterHardState(before: Outlook, write: GroupWrite, hardState: HardState): Outlook {
  const { term, vote, commit } = hardState
  if (![term, vote, commit].every(isNumber)) throw unfit(write, 'its hard state is no numbers')
  if (term < before.term) throw unfit(write, `term ${term} comes after ${before.term}`)
  if (term === before.term && before.vote !== NO_REPLICA && vote !== before.vote) {
    throw unfit(write, `the vote of term ${term} is ${before.vote} and can't be ${vote}`)
  }
  return { ...before, term, vote, commit }
}

function afterEntries(before: Outlook, write: GroupWrite, entries: readonly Entry[]): Outlook {
  const first = (entries[0] as Entry).index
  if (first <= before.start || first > before.last + 1) {
    const range = `${before.start + 1} to ${before.last + 1}`
    throw unfit(write, `entry ${first} doesn't fit; the next can have ${range}`)
  }
  for (const [place, { index, term }] of entries.entries()) {
    if (index !== first + place || !isNumber(index) || !isNumber(term)) {
      throw unfit(write, `entry ${index} of term ${term} can't have place ${place} from ${first}`)
    }
  }
  return { ...before, last: first + entries.length - 1 }
}

function afterTruncate(before: Outlook, write: GroupWrite, index: number): Outlook {
  if (!isNumber(index) || index > before.last) {
    throw unfit(write, `it can't be truncated to ${index}, the last index is ${before.last}`)
  }
  return { ...before, start: Math.max(before.start, index) }
}

const isNumber = (value: number): boolean =>
  Number.isSafeInteger(value) && value >= 0 && value <= NUMBER_MAX

function checkGroup(group: LogGroupId): void {
  if (isNumber(group)) return
  throw new MeshError('invalid-argument', `"${group}" can't be the id of a group`)
}

function unfit({ group }: GroupWrite, problem: string): MeshError {
  return new MeshError('invalid-argument', `Cannot write to the log of group ${group}: ${problem}`)
}
