// What waits for one peer: heartbeats, votes and answers before entries, both within bounds.

import type { StoreId } from '../base/ids.ts'
import { KIB } from '../base/units.ts'
import { FRAME_MESSAGES_MAX, RAFT_FRAME_BYTES_MAX, messageBytes } from '../wire/shard-frame.ts'
import type { GoneReplica, GroupMessage } from '../wire/shard-frame.ts'

/** A message to a replica at a peer. */
export type OutgoingMessage = GroupMessage & { readonly toStore: StoreId }

/** What goes as one frame; all of it for one store. */
export type Parcel = {
  readonly toStore: StoreId
  readonly messages: OutgoingMessage[]
  readonly gone: GoneReplica[]
  /** Whether it has entries or proposals, which may wait. */
  readonly hasBulk: boolean
}

/** A frame is sent once it has so much, that what comes after it needn't wait for all of it. */
const FRAME_BYTES: number = 256 * KIB
/** The head of a frame: two store ids, and the frame of the stream around it. */
const HEAD_BYTES = 128
/** The longest message that any frame takes. */
export const MESSAGE_BYTES_MAX: number = RAFT_FRAME_BYTES_MAX - HEAD_BYTES
const GONE_BYTES = 32
/** Replicas that are gone, told to one peer at once. */
const GONE_MAX = 1_024

type Item = { readonly sent: OutgoingMessage; readonly bytes: number }
type Gone = { readonly toStore: StoreId; readonly replica: GoneReplica }
type Lane = { items: Item[]; bytes: number; readonly bytesMax: number }

/** Says whether it must keep its order to other messages with entries, and may wait. */
function isBulk({ message }: GroupMessage): boolean {
  return message.type === 'append' || message.type === 'propose' || message.type === 'snapshot'
}

export class SendQueue {
  readonly #urgent: Lane
  readonly #bulk: Lane
  #gone: Gone[] = []

  /** @param options.urgentBytesMax, options.bulkBytesMax what may wait, by estimate */
  constructor(options: { urgentBytesMax: number; bulkBytesMax: number }) {
    this.#urgent = { items: [], bytes: 0, bytesMax: options.urgentBytesMax }
    this.#bulk = { items: [], bytes: 0, bytesMax: options.bulkBytesMax }
  }

  /** @returns messages that had to go for it, maybe itself. */
  push(sent: OutgoingMessage): OutgoingMessage[] {
    const bytes = messageBytes(sent.message)
    if (bytes > MESSAGE_BYTES_MAX) return [sent]
    const lane = isBulk(sent) ? this.#bulk : this.#urgent
    lane.items.push({ sent, bytes })
    lane.bytes += bytes
    return trim(lane)
  }

  /** Once in a frame; a full list takes no more, since it is said again with the next message. */
  pushGone(toStore: StoreId, replica: GoneReplica): void {
    const isKnown = this.#gone.some(
      (gone) =>
        gone.toStore === toStore &&
        gone.replica.group === replica.group &&
        gone.replica.generation === replica.generation &&
        gone.replica.replica === replica.replica
    )
    if (!isKnown && this.#gone.length < GONE_MAX) this.#gone.push({ toStore, replica })
  }

  /** @returns what the next frame is to carry of these; undefined when nothing waits. */
  take(what: 'all' | 'urgent' | 'bulk'): Parcel | undefined {
    const urgent = what === 'bulk' ? undefined : this.#urgent
    const bulk = what === 'urgent' ? undefined : this.#bulk
    const waiting = what === 'bulk' ? [] : this.#gone
    const first = waiting[0] ?? (urgent?.items[0] ?? bulk?.items[0])?.sent
    if (first === undefined) return undefined
    const { toStore } = first
    const room = { bytes: FRAME_BYTES, count: FRAME_MESSAGES_MAX }
    const gone: GoneReplica[] = []
    while (waiting[0]?.toStore === toStore) {
      gone.push((waiting.shift() as Gone).replica)
      room.bytes -= GONE_BYTES
    }
    const messages: OutgoingMessage[] = []
    if (urgent !== undefined) takeFrom(urgent, { toStore, room, into: messages })
    const urgentCount = messages.length
    if (bulk !== undefined) takeFrom(bulk, { toStore, room, into: messages })
    return { toStore, messages, gone, hasBulk: messages.length > urgentCount }
  }

  /** Puts back what could not be sent now, before all that came later. @returns as `push` */
  putBack({ toStore, messages, gone }: Parcel): OutgoingMessage[] {
    this.#gone.unshift(...gone.map((replica) => ({ toStore, replica })))
    const items = messages.map((sent) => ({ sent, bytes: messageBytes(sent.message) }))
    const dropped: OutgoingMessage[] = []
    for (const lane of [this.#urgent, this.#bulk]) {
      const own = items.filter(({ sent }) => isBulk(sent) === (lane === this.#bulk))
      lane.items = [...own, ...lane.items]
      for (const { bytes } of own) lane.bytes += bytes
      dropped.push(...trim(lane))
    }
    return dropped
  }

  /** @returns all messages that waited; nothing waits afterwards. */
  clear(): OutgoingMessage[] {
    const items = [...this.#urgent.items, ...this.#bulk.items]
    for (const lane of [this.#urgent, this.#bulk]) {
      lane.items = []
      lane.bytes = 0
    }
    this.#gone = []
    return items.map(({ sent }) => sent)
  }
}

function takeFrom(
  lane: Lane,
  options: {
    toStore: StoreId
    room: { bytes: number; count: number }
    into: OutgoingMessage[]
  }
): void {
  const { toStore, room, into } = options
  let count = 0
  for (const { sent, bytes } of lane.items) {
    // The first may be longer than that: it has the frame for itself.
    const isFirst = room.bytes === FRAME_BYTES
    if (sent.toStore !== toStore || room.count === 0) break
    if (bytes > room.bytes && !isFirst) break
    into.push(sent)
    room.bytes -= bytes
    room.count -= 1
    lane.bytes -= bytes
    count += 1
  }
  lane.items.splice(0, count)
}

/**
 * Drops the oldest until the lane is within its bound. After a lost append the follower refuses the
 * later ones of its group, so they go with it.
 */
function trim(lane: Lane): OutgoingMessage[] {
  const dropped: OutgoingMessage[] = []
  while (lane.bytes > lane.bytesMax) {
    const oldest = (lane.items[0] as Item).sent
    const isVictim = ({ sent }: Item): boolean => sent === oldest || isSameStream(sent, oldest)
    const kept = lane.items.filter((item) => !isVictim(item))
    dropped.push(...lane.items.filter(isVictim).map(({ sent }) => sent))
    lane.items = kept
    lane.bytes = kept.reduce((sum, { bytes }) => sum + bytes, 0)
  }
  return dropped
}

function isSameStream(a: OutgoingMessage, b: OutgoingMessage): boolean {
  return (
    a.message.type === 'append' &&
    b.message.type === 'append' &&
    a.group === b.group &&
    a.generation === b.generation
  )
}
