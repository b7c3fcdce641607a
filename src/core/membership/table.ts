// The member table: merges updates, in any order to the same end, within fixed bounds.

import { compareText } from '../../base/ids.ts'
import type { PeerId } from '../../base/ids.ts'
import { MEMBER_COUNT_MAX } from '../../base/limits.ts'
import { shuffle } from '../../base/random.ts'
import type { Random } from '../../base/random.ts'
import {
  compareUpdates,
  isTerminal,
  revisionFor,
  tombstoneRecord,
  updateVersion
} from './member.ts'
import type { Member, MemberRecord, MemberState, MemberUpdate } from './member.ts'
import { TOMBSTONE_COUNT_MAX } from './messages.ts'
import { updateProblem } from './record-check.ts'
import type { UpdateProblem } from './record-check.ts'

export type ApplyRefusal = UpdateProblem | 'members-full' | 'tombstones-full'

/** Bytes of records in one part of a table exchange: half a control frame, the rest is spare. */
const PART_BYTES = 512 * 1_024
/** Below this many members a random choice looks at all of them. */
const SCAN_COUNT_MAX = 64

/** An upper bound of a record's encoded size: three bytes per character, and the fixed fields. */
function recordBytesMax(record: MemberRecord): number {
  let characters = record.peerId.length + record.name.length + record.zone.length
  for (const address of record.addresses) characters += address.length + 2
  for (const [key, value] of record.labels) characters += key.length + value.length + 4
  return 256 + 3 * characters
}

export class MemberTable {
  readonly selfId: PeerId
  readonly #onDropped: (peer: PeerId) => void
  readonly #members = new Map<PeerId, Member>()
  /** Sorted, so that nothing depends on the order in which news came. */
  readonly #ids: PeerId[] = []
  readonly #counts: Record<MemberState, number> = {
    alive: 0,
    suspect: 0,
    dead: 0,
    gone: 0,
    left: 0,
    evicted: 0
  }
  #sorted: readonly Member[] | undefined
  #parts: readonly (readonly Member[])[] | undefined

  /** @param onDropped told when a tombstone is dropped for room. */
  constructor(self: MemberRecord, onDropped: (peer: PeerId) => void) {
    this.#onDropped = onDropped
    this.selfId = self.peerId
    this.putSelf(self, 'alive', 0)
  }

  get(peer: PeerId): Member | undefined {
    return this.#members.get(peer)
  }

  /** @returns every member and tombstone, by id. The same array until something changes. */
  sorted(): readonly Member[] {
    this.#sorted ??= this.#ids.map((id) => this.#members.get(id) as Member)
    return this.#sorted
  }

  /** @returns the table in parts that each fit a control frame. The same array until it changes. */
  parts(): readonly (readonly Member[])[] {
    this.#parts ??= splitByBytes(this.sorted())
    return this.#parts
  }

  count(state: MemberState): number {
    return this.#counts[state]
  }

  /** Members that aren't terminal, this node included. */
  get memberCount(): number {
    return this.#counts.alive + this.#counts.suspect + this.#counts.dead
  }

  get tombstoneCount(): number {
    return this.#counts.gone + this.#counts.left + this.#counts.evicted
  }

  /**
   * Merges an update about another member.
   *
   * @returns the member as it is now; undefined when that was known or older; or why it is refused.
   */
  apply(update: MemberUpdate, tick: number): Member | undefined | ApplyRefusal {
    const before = this.#members.get(update.record.peerId)
    if (before !== undefined && before.record === update.record && before.state === update.state) {
      return undefined
    }
    const problem = updateProblem(update) ?? this.#roomProblem(before, update)
    if (problem !== undefined) return problem
    const after = merge(before, update, tick)
    if (after === undefined) return undefined
    this.#put(before, after)
    if (isTerminal(after.state)) this.#dropTombstones()
    return after
  }

  /** Replaces this node's own entry, which no update does. */
  putSelf(record: MemberRecord, state: MemberState, tick: number): Member {
    const before = this.#members.get(this.selfId)
    const version = highestVersion(before, { record, state })
    const revision = revisionFor(version, state)
    const shown = revision === record.revision ? record : { ...record, revision }
    const sinceTick = before?.state === state ? before.sinceTick : tick
    const after: Member = { record: shown, state, from: this.selfId, sinceTick }
    this.#put(before, after)
    return after
  }

  /** @returns up to `count` members that `accept` likes, each at most once, drawn at random. */
  pick(random: Random, count: number, accept: (member: Member) => boolean): Member[] {
    const all = this.sorted()
    if (all.length > SCAN_COUNT_MAX) {
      const picked: Member[] = []
      for (let tries = 4 * count + 8; tries > 0 && picked.length < count; tries--) {
        const member = all[random.below(all.length)] as Member
        if (accept(member) && !picked.includes(member)) picked.push(member)
      }
      if (picked.length === count) return picked
    }
    return shuffle(random, all.filter(accept)).slice(0, count)
  }

  #roomProblem(before: Member | undefined, update: MemberUpdate): ApplyRefusal | undefined {
    const isKnownMember = before !== undefined && !isTerminal(before.state)
    if (isKnownMember) return undefined
    if (!isTerminal(update.state)) {
      const isNews = before === undefined || compareUpdates(update, before) > 0
      return isNews && this.memberCount >= MEMBER_COUNT_MAX ? 'members-full' : undefined
    }
    if (before !== undefined || this.tombstoneCount < TOMBSTONE_COUNT_MAX) return undefined
    // A tombstone of a stranger may push out another only when it is an eviction. Else two full
    // tables would push out each other's for ever.
    const hasRoom = update.state === 'evicted' && this.#counts.evicted < TOMBSTONE_COUNT_MAX
    return hasRoom ? undefined : 'tombstones-full'
  }

  #put(before: Member | undefined, after: Member): void {
    const id = after.record.peerId
    this.#members.set(id, after)
    if (before === undefined) this.#ids.splice(lowerBound(this.#ids, id), 0, id)
    else this.#account(before, -1)
    this.#account(after, 1)
  }

  #account(member: Member, sign: 1 | -1): void {
    this.#counts[member.state] += sign
    this.#sorted = undefined
    this.#parts = undefined
  }

  /** Drops the oldest tombstones beyond the bound, evictions last. */
  #dropTombstones(): void {
    while (this.tombstoneCount > TOMBSTONE_COUNT_MAX) {
      let oldest: Member | undefined
      for (const member of this.sorted()) {
        if (!isTerminal(member.state) || member.record.peerId === this.selfId) continue
        if (oldest === undefined || isDroppedBefore(member, oldest)) oldest = member
      }
      if (oldest === undefined) return
      const id = oldest.record.peerId
      this.#account(oldest, -1)
      this.#members.delete(id)
      this.#ids.splice(lowerBound(this.#ids, id), 1)
      this.#onDropped(id)
    }
  }
}

/** @returns whether tombstone `a` goes before `b`; `b` when they are equal, since it has the lower id. */
function isDroppedBefore(a: Member, b: Member): boolean {
  const evictionA = Number(a.state === 'evicted')
  const evictionB = Number(b.state === 'evicted')
  return evictionA === evictionB ? a.sinceTick < b.sinceTick : evictionA < evictionB
}

function highestVersion(
  before: Member | undefined,
  update: Pick<MemberUpdate, 'record' | 'state'>
): number {
  return Math.max(before === undefined ? 0 : updateVersion(before), updateVersion(update))
}

/**
 * The better of what is known and what is heard, and the maximum of both versions.
 *
 * @returns undefined when nothing changes.
 */
function merge(before: Member | undefined, update: MemberUpdate, tick: number): Member | undefined {
  const { state, from } = update
  const record = isTerminal(state) ? tombstoneRecord(update.record) : update.record
  const version = highestVersion(before, update)
  if (before !== undefined && compareUpdates({ record, state }, before) <= 0) {
    const revision = revisionFor(version, before.state)
    if (revision === before.record.revision) return undefined
    return { ...before, record: { ...before.record, revision } }
  }
  // A member that died again, at a higher incarnation, was alive in between: its grace starts anew.
  const isSame =
    before?.state === state &&
    (state !== 'dead' || before.record.incarnation === record.incarnation)
  const revision = revisionFor(version, state)
  return {
    record: revision === record.revision ? record : { ...record, revision },
    state,
    from,
    sinceTick: isSame ? before.sinceTick : tick
  }
}

/** @returns the index of `id` in a sorted list, or where it would be. */
function lowerBound(ids: readonly PeerId[], id: PeerId): number {
  let low = 0
  let high = ids.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareText(ids[middle] as PeerId, id) < 0) low = middle + 1
    else high = middle
  }
  return low
}

function splitByBytes(members: readonly Member[]): readonly (readonly Member[])[] {
  const parts: Member[][] = [[]]
  let bytes = 0
  for (const member of members) {
    const size = recordBytesMax(member.record)
    if (bytes + size > PART_BYTES) {
      parts.push([])
      bytes = 0
    }
    ;(parts.at(-1) as Member[]).push(member)
    bytes += size
  }
  return parts
}
