// The frame that carries what all groups of one node have for one peer: protocols/shard, RaftFrame.

import { toHex } from '../base/bytes.ts'
import { storeId } from '../base/ids.ts'
import type { StoreId } from '../base/ids.ts'
import { MIB, KIB } from '../base/units.ts'
import { NO_REPLICA, NUMBER_MAX, createMessage, payloadBytes } from '../core/raft/messages.ts'
import type { Message, ReplicaId } from '../core/raft/messages.ts'
import { hexToBytes, malformed } from './proto.ts'
import { bytesOf, numberOf } from './proto-values.ts'
import { ProtoWriter, readFields, readPacked } from './proto-writer.ts'
import { decodeRaftMessage, encodeRaftMessage } from './raft.ts'

export const RAFT_PROTOCOL = '/atoll/raft/1.0.0'
/** One entry of 1 MiB, a configuration of all members and the note of a snapshot, with room. */
export const RAFT_FRAME_BYTES_MAX: number = MIB + 256 * KIB
/** Group numbers end here; 0 is the system group. */
export const GROUP_MAX = 65_535
/** Messages of a frame, all groups together, and separately what is gone. */
export const FRAME_MESSAGES_MAX = 16_384

/** A message and the group that it is of. */
export type GroupMessage = {
  readonly group: number
  readonly generation: number
  readonly message: Message
}

export type GroupMessages = {
  readonly group: number
  /** Of the group: raised when it was founded anew after it lost its majority. */
  readonly generation: number
  readonly messages: readonly Message[]
}

/** The sender has no such replica any more: what is for it goes nowhere. */
export type GoneReplica = {
  readonly group: number
  readonly generation: number
  readonly replica: ReplicaId
  /** Of the group as the sender knows it, when it was founded anew. */
  readonly newest?: number
}

export type RaftFrame = {
  /** Whom it is for: another store under the same peer id has other replicas. */
  readonly toStore: StoreId
  readonly fromStore: StoreId
  /** Each group and generation once; its heartbeats first, then their responses, then the rest. */
  readonly groups: readonly GroupMessages[]
  readonly gone: readonly GoneReplica[]
}

const STORE_BYTES = 16
/** Group, generation, from, to, term, commit, read sequence. */
const BEAT_NUMBERS = 7
const WHAT = 'raft frame'

/** A varint up to 2^52, at most. */
const NUMBER_BYTES = 8
const STEP_BYTES = 16
const ENTRY_OVERHEAD_BYTES = 48
/** Ten numbers with their tags, and the group around them. */
const MESSAGE_OVERHEAD_BYTES = 144

type Packed = 'heartbeat' | 'heartbeat-response'

export function encodeRaftFrame(frame: RaftFrame): Uint8Array {
  const writer = new ProtoWriter(1_024)
  writer.bytes(1, hexToBytes(frame.toStore))
  writer.bytes(2, hexToBytes(frame.fromStore))
  const beats: Record<Packed, number[]> = { heartbeat: [], 'heartbeat-response': [] }
  for (const { group, generation, messages } of frame.groups) {
    const inner = new ProtoWriter(256)
    inner.uint(1, group)
    inner.uint(2, generation)
    let isEmpty = true
    for (const message of messages) {
      if (isPacked(message)) {
        beats[message.type].push(group, generation, ...numbersOf(message))
      } else {
        inner.present(3, encodeRaftMessage(message))
        isEmpty = false
      }
    }
    if (!isEmpty) writer.present(3, inner.finish())
  }
  writer.packed(4, beats.heartbeat)
  writer.packed(5, beats['heartbeat-response'])
  for (const { group, generation, replica, newest = 0 } of frame.gone) {
    const inner = new ProtoWriter(32)
    inner.uint(1, group)
    inner.uint(2, generation)
    inner.uint(3, replica)
    inner.uint(4, newest)
    writer.present(6, inner.finish())
  }
  return writer.finish()
}

/** @returns about how many bytes a message takes in a frame; never fewer. Nothing is encoded. */
export function messageBytes(message: Message): number {
  let bytes = MESSAGE_OVERHEAD_BYTES + message.context.length
  for (const entry of message.entries) {
    const steps = entry.type === 'normal' ? 0 : entry.change.steps.length
    bytes += ENTRY_OVERHEAD_BYTES + STEP_BYTES * steps + payloadBytes(entry)
  }
  if (message.snapshot !== undefined) {
    const { configState, data } = message.snapshot
    const { voters, votersOutgoing, learners, learnersNext } = configState
    const ids = voters.length + votersOutgoing.length + learners.length + learnersNext.length
    bytes += MESSAGE_OVERHEAD_BYTES + NUMBER_BYTES * ids + data.length
  }
  return bytes
}

/** @returns the messages of each group together, in the order in which they came. */
export function groupMessages(items: readonly GroupMessage[]): GroupMessages[] {
  const groups = new Map<string, { group: number; generation: number; messages: Message[] }>()
  for (const { group, generation, message } of items) {
    const key = `${group} ${generation}`
    const known = groups.get(key)
    if (known === undefined) groups.set(key, { group, generation, messages: [message] })
    else known.messages.push(message)
  }
  return [...groups.values()]
}

/** Bytes in it are views of `bytes`. Whether messages may be is for the core to say. @throws invalid-data */
export function decodeRaftFrame(bytes: Uint8Array): RaftFrame {
  let toStore: StoreId | undefined
  let fromStore: StoreId | undefined
  const gone: GoneReplica[] = []
  const beats: GroupMessage[] = []
  const responses: GroupMessage[] = []
  const others: GroupMessage[] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) toStore = toStoreId(bytesOf(field, WHAT, STORE_BYTES))
    else if (field.field === 2) fromStore = toStoreId(bytesOf(field, WHAT, STORE_BYTES))
    else if (field.field === 3) readGroup(bytesOf(field, WHAT, bytes.length), others)
    else if (field.field === 4) readBeats(bytesOf(field, WHAT, bytes.length), 'heartbeat', beats)
    else if (field.field === 5)
      readBeats(bytesOf(field, WHAT, bytes.length), 'heartbeat-response', responses)
    else if (field.field === 6) gone.push(readGone(bytesOf(field, WHAT, bytes.length)))
    const count = beats.length + responses.length + others.length
    if (Math.max(count, gone.length) > FRAME_MESSAGES_MAX) {
      throw malformed(WHAT, `it has more than ${FRAME_MESSAGES_MAX} messages`)
    }
  }
  if (toStore === undefined || fromStore === undefined) {
    throw malformed(WHAT, 'it does not say from which store it is, and for which')
  }
  const isBeat = (type: Packed) => (item: GroupMessage) =>
    isPacked(item.message) && item.message.type === type
  const groups = groupMessages([
    ...beats,
    ...others.filter(isBeat('heartbeat')),
    ...responses,
    ...others.filter(isBeat('heartbeat-response')),
    ...others.filter(({ message }) => !isPacked(message))
  ])
  return { toStore, fromStore, groups, gone }
}

/** Says whether nothing of it is lost in the packed form. */
function isPacked(message: Message): message is Message & { type: Packed } {
  return (
    (message.type === 'heartbeat' || message.type === 'heartbeat-response') &&
    message.logTerm === 0 &&
    message.index === 0 &&
    message.vote === NO_REPLICA &&
    message.rejectHint === 0 &&
    !message.reject &&
    !message.isTransfer &&
    message.entries.length === 0 &&
    message.snapshot === undefined &&
    message.context.length === 0
  )
}

function numbersOf(message: Message): readonly number[] {
  return [message.from, message.to, message.term, message.commit, message.readSequence]
}

function readBeats(bytes: Uint8Array, type: Packed, into: GroupMessage[]): void {
  // Each takes seven bytes or more: the bound is held before numbers are made of them.
  if (bytes.length / (8 * BEAT_NUMBERS) > FRAME_MESSAGES_MAX) {
    throw malformed(WHAT, `it has more than ${FRAME_MESSAGES_MAX} messages`)
  }
  const numbers = readPacked(bytes, WHAT)
  if (numbers.length % BEAT_NUMBERS !== 0) throw malformed(WHAT, 'a heartbeat is cut off')
  for (let at = 0; at < numbers.length; at += BEAT_NUMBERS) {
    const [group, generation, from, to, term, commit, readSequence] = numbers.slice(
      at,
      at + BEAT_NUMBERS
    ) as [number, number, number, number, number, number, number]
    const isInRange = Math.max(generation, from, to, term, commit, readSequence) <= NUMBER_MAX
    if (group > GROUP_MAX || !isInRange) {
      throw malformed(WHAT, 'a number of a heartbeat is out of range')
    }
    const message = createMessage({ type, from, to, term, commit, readSequence })
    into.push({ group, generation, message })
  }
}

function readGroup(bytes: Uint8Array, into: GroupMessage[]): void {
  let group = 0
  let generation = 0
  const messages: Message[] = []
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) group = numberOf(field, WHAT, GROUP_MAX)
    else if (field.field === 2) generation = numberOf(field, WHAT, NUMBER_MAX)
    else if (field.field === 3) {
      messages.push(decodeRaftMessage(bytesOf(field, WHAT, bytes.length)))
      if (messages.length > FRAME_MESSAGES_MAX) {
        throw malformed(WHAT, `it has more than ${FRAME_MESSAGES_MAX} messages`)
      }
    }
  }
  if (messages.length === 0) throw malformed(WHAT, `group ${group} has no message`)
  for (const message of messages) into.push({ group, generation, message })
}

function readGone(bytes: Uint8Array): GoneReplica {
  let group = 0
  let generation = 0
  let replica = NO_REPLICA
  let newest = 0
  for (const field of readFields(bytes, WHAT)) {
    if (field.field === 1) group = numberOf(field, WHAT, GROUP_MAX)
    else if (field.field === 2) generation = numberOf(field, WHAT, NUMBER_MAX)
    else if (field.field === 3) replica = numberOf(field, WHAT, NUMBER_MAX)
    else if (field.field === 4) newest = numberOf(field, WHAT, NUMBER_MAX)
  }
  if (replica === NO_REPLICA) throw malformed(WHAT, `it names no replica of group ${group}`)
  return { group, generation, replica, ...(newest === 0 ? {} : { newest }) }
}

function toStoreId(bytes: Uint8Array): StoreId {
  if (bytes.length !== STORE_BYTES) {
    throw malformed(WHAT, `a store id has ${bytes.length} bytes, not ${STORE_BYTES}`)
  }
  return storeId(toHex(bytes))
}
