// What members say to each other: protocols/membership.

import { isMeshError, type MeshError } from '../base/errors.ts'
import { compareText, peerId, sessionId, storeId } from '../base/ids.ts'
import {
  ADDRESS_COUNT_MAX,
  ADDRESS_LENGTH_MAX,
  CAPACITY_BYTES_MAX,
  CAPACITY_BYTES_MIN,
  LABEL_COUNT_MAX,
  LABEL_LENGTH_MAX,
  NAME_LENGTH_MAX,
  ZONE_LENGTH_MAX
} from '../base/limits.ts'
import {
  INCARNATION_MAX,
  REVISION_MAX,
  type MemberRecord,
  type MemberState,
  type MemberStatus,
  type MemberUpdate
} from '../core/membership/member.ts'
import {
  UPDATES_PER_MESSAGE_MAX,
  UPDATES_PER_SYNC_MAX,
  type MembershipMessage
} from '../core/membership/messages.ts'
import {
  MessageSchema,
  RecordSchema,
  State,
  Status,
  UpdateSchema,
  type Message,
  type Record as RecordMessage
} from './generated/membership/v1_pb.ts'
import { decode, encode, hexToBytes, malformed, toHexOfLength, toSafeInteger } from './proto.ts'

const STATUS_NUMBER: Readonly<Record<MemberStatus, Status>> = {
  up: Status.UP,
  leaving: Status.LEAVING,
  left: Status.LEFT
}
const STATE_NUMBER: Readonly<Record<MemberState, State>> = {
  alive: State.ALIVE,
  suspect: State.SUSPECT,
  dead: State.DEAD,
  left: State.LEFT,
  gone: State.GONE,
  evicted: State.EVICTED
}
const SESSION_BYTES = 8
const STORE_ID_BYTES = 16

/** Records are values that travel many times: each is encoded once, and decoded once. */
const encodedRecords = new WeakMap<MemberRecord, Uint8Array>()
const decodedRecords = new Map<string, MemberRecord>()
const DECODED_COUNT_MAX = 4_096
/** See `peerId()`. */
const PEER_ID_LENGTH_MAX = 128
/** Characters in a record whose texts are all as long as they may be. */
const RECORD_CHARACTERS_MAX: number =
  PEER_ID_LENGTH_MAX +
  NAME_LENGTH_MAX +
  ZONE_LENGTH_MAX +
  2 * LABEL_COUNT_MAX * LABEL_LENGTH_MAX +
  ADDRESS_COUNT_MAX * ADDRESS_LENGTH_MAX
/**
 * All that a record may say fits, in characters of three bytes each; the rest is for numbers and
 * lengths.
 */
const RECORD_BYTES_MAX: number = 3 * RECORD_CHARACTERS_MAX + 1_024
/** The few that are longer are decoded each time: the cache holds at most this times its count. */
const CACHED_BYTES_MAX = 4_096

function encodeRecord(record: MemberRecord): Uint8Array {
  const known = encodedRecords.get(record)
  if (known !== undefined) return known
  const bytes = encode(RecordSchema, {
    peerId: record.peerId,
    incarnation: BigInt(record.incarnation),
    session: hexToBytes(record.session),
    storeId: hexToBytes(record.storeId),
    revision: BigInt(record.revision),
    name: record.name,
    zone: record.zone,
    capacityBytes: BigInt(record.capacityBytes),
    labels: record.labels.map(([key, value]) => ({ key, value })),
    addresses: [...record.addresses],
    status: STATUS_NUMBER[record.status],
    rival: record.rival === undefined ? new Uint8Array(0) : hexToBytes(record.rival)
  })
  encodedRecords.set(record, bytes)
  return bytes
}

/** @throws invalid-data, invalid-argument */
function decodeRecord(bytes: Uint8Array): MemberRecord {
  if (bytes.length > RECORD_BYTES_MAX) {
    throw malformed(
      'member record',
      `${bytes.length} bytes are over the limit of ${RECORD_BYTES_MAX}`
    )
  }
  if (bytes.length > CACHED_BYTES_MAX) return recordOf(decode(RecordSchema, bytes))
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  const known = decodedRecords.get(key)
  if (known !== undefined) return known
  const record = recordOf(decode(RecordSchema, bytes))
  if (decodedRecords.size >= DECODED_COUNT_MAX) decodedRecords.clear()
  decodedRecords.set(key, record)
  return record
}

export function encodeUpdate(update: MemberUpdate): Uint8Array {
  const { record, state, from } = update
  return encode(UpdateSchema, {
    record: encodeRecord(record),
    state: STATE_NUMBER[state],
    from: from === record.peerId ? '' : from
  })
}

/** @returns those that can be read: one of an older or newer version must not cost the others. */
export function decodeUpdates(
  encoded: readonly Uint8Array[],
  options: { onMalformed: (error: MeshError) => void }
): MemberUpdate[] {
  return encoded.flatMap((bytes) => {
    try {
      return [decodeUpdate(bytes)]
    } catch (error) {
      if (!isMeshError(error)) throw error
      options.onMalformed(error)
      return []
    }
  })
}

/** @throws invalid-data, invalid-argument */
function decodeUpdate(bytes: Uint8Array): MemberUpdate {
  const message = decode(UpdateSchema, bytes)
  const record = decodeRecord(message.record)
  const state = nameOf(STATE_NUMBER, message.state, 'state')
  return { record, state, from: message.from === '' ? record.peerId : peerId(message.from) }
}

function recordOf(message: RecordMessage): MemberRecord {
  const labels = message.labels.map(({ key, value }) => [key, value] as const)
  const strings = [...message.addresses, message.name, message.zone, ...labels.flat()]
  within(message.addresses.length, ADDRESS_COUNT_MAX, 'addresses')
  within(labels.length, LABEL_COUNT_MAX, 'labels')
  within(message.name.length, NAME_LENGTH_MAX, 'name')
  within(message.zone.length, ZONE_LENGTH_MAX, 'zone')
  for (const text of message.addresses) within(text.length, ADDRESS_LENGTH_MAX, 'address')
  for (const text of labels.flat()) within(text.length, LABEL_LENGTH_MAX, 'label')
  if (strings.some(hasControlCharacter)) {
    throw malformed('member record', 'a text has control characters')
  }
  const capacityBytes = toSafeInteger(message.capacityBytes, 'capacity')
  if (capacityBytes < CAPACITY_BYTES_MIN || capacityBytes > CAPACITY_BYTES_MAX) {
    throw malformed('member record', `capacity ${capacityBytes} is out of range`)
  }
  const rival =
    message.rival.length === 0
      ? {}
      : { rival: sessionId(toHexOfLength(message.rival, SESSION_BYTES, 'session id')) }
  return {
    peerId: peerId(message.peerId),
    incarnation: counter(message.incarnation, INCARNATION_MAX, 'incarnation'),
    session: sessionId(toHexOfLength(message.session, SESSION_BYTES, 'session id')),
    storeId: storeId(toHexOfLength(message.storeId, STORE_ID_BYTES, 'store id')),
    revision: counter(message.revision, REVISION_MAX, 'revision'),
    name: message.name,
    zone: message.zone,
    capacityBytes,
    labels: labels.toSorted(([a], [b]) => compareText(a, b)),
    addresses: message.addresses,
    status: nameOf(STATUS_NUMBER, message.status, 'status'),
    ...rival
  }
}

function counter(value: bigint, max: number, what: string): number {
  const number = toSafeInteger(value, what)
  if (number < 1 || number > max)
    throw malformed('member record', `${what} ${value} is out of range`)
  return number
}

function within(length: number, max: number, what: string): void {
  if (length > max) throw malformed('member record', `its ${what} is over the limit of ${max}`)
}

function hasControlCharacter(text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index)
    if (unit < 0x20 || unit === 0x7f) return true
  }
  return false
}

function nameOf<Name extends string>(
  numbers: Readonly<Record<Name, number>>,
  number: number,
  what: string
): Name {
  const found = (Object.keys(numbers) as Name[]).find((name) => numbers[name] === number)
  if (found === undefined) throw malformed('member update', `${what} ${number} is unknown`)
  return found
}

export function encodeMembershipMessage(message: MembershipMessage): Uint8Array {
  const updates = message.kind === 'nack' ? [] : message.updates.map(encodeUpdate)
  return encode(MessageSchema, { kind: kindOf(message), updates })
}

function kindOf(message: MembershipMessage): Message['kind'] {
  const as = (name: string, value: object): Message['kind'] =>
    ({ case: name, value }) as unknown as Message['kind']
  switch (message.kind) {
    case 'ping':
    case 'ack':
      return as(message.kind, { seq: message.seq })
    case 'ping-request':
      return as('pingRequest', { seq: message.seq, target: message.target })
    case 'nack':
      return as('nack', { seq: message.seq, target: message.target ?? '' })
    case 'gossip':
      return as('gossip', {})
    case 'sync':
      return as('sync', { more: message.more })
    case 'sync-reply':
      return as('syncReply', {})
  }
}

/**
 * @param onMalformed told of each update that is left out; unless given, one costs the message.
 * @throws invalid-data, invalid-argument
 */
export function decodeMembershipMessage(
  bytes: Uint8Array,
  onMalformed?: (error: MeshError) => void
): MembershipMessage {
  const { kind, updates: encoded } = decode(MessageSchema, bytes)
  const isSync = kind.case === 'sync' || kind.case === 'syncReply'
  const max = isSync ? UPDATES_PER_SYNC_MAX : UPDATES_PER_MESSAGE_MAX
  if (encoded.length > max) {
    throw malformed('membership message', `${encoded.length} updates are over the limit of ${max}`)
  }
  const updates =
    onMalformed === undefined ? encoded.map(decodeUpdate) : decodeUpdates(encoded, { onMalformed })
  switch (kind.case) {
    case 'ping':
    case 'ack':
      return { kind: kind.case, seq: kind.value.seq, updates }
    case 'pingRequest':
      return {
        kind: 'ping-request',
        seq: kind.value.seq,
        target: peerId(kind.value.target),
        updates
      }
    case 'nack': {
      const { seq, target } = kind.value
      return target === '' ? { kind: 'nack', seq } : { kind: 'nack', seq, target: peerId(target) }
    }
    case 'gossip':
      return { kind: 'gossip', updates }
    case 'sync':
      return { kind: 'sync', updates, more: kind.value.more }
    case 'syncReply':
      return { kind: 'sync-reply', updates }
    case undefined:
      throw malformed('membership message', 'its kind is not known here')
  }
}
