// What replicas say to each other and write into their logs: protocols/raft. Written by hand, because
// it is done for every entry.

import { KIB } from '../base/units.ts'
import {
  EMPTY_CONFIG_STATE,
  NO_BYTES,
  NUMBER_MAX,
  PEER_MESSAGE_TYPES,
  createMessage
} from '../core/raft/messages.ts'
import type {
  ConfigChange,
  ConfigChangeStep,
  ConfigState,
  Entry,
  HardState,
  Message,
  MessageDraft,
  PeerMessageType,
  Snapshot
} from '../core/raft/messages.ts'
import { malformed } from './proto.ts'
import { ProtoWriter, readFields, readPacked } from './proto-writer.ts'
import type { ProtoField } from './proto-writer.ts'

const TRANSITIONS = ['auto', 'implicit', 'explicit'] as const
const STEP_TYPES = ['add-voter', 'add-learner', 'remove', 'update'] as const

/**
 * An entry goes into the log once and to every follower, within moments: its bytes are made once. The
 * last ones are kept by their index, which costs less than a table of weak keys does when garbage is
 * collected; of the few that are long others aren't held.
 */
const KEPT_COUNT = 1_024
const KEPT_BYTES_MAX: number = 4 * KIB
const keptEntries: (Entry | undefined)[] = Array.from({ length: KEPT_COUNT })
const keptBytes: Uint8Array[] = Array.from({ length: KEPT_COUNT }, () => NO_BYTES)
const longOnes = new WeakMap<Entry, Uint8Array>()

/** @returns the bytes of an entry, shared by all who ask: nobody writes to them. */
export function encodeEntry(entry: Entry): Uint8Array {
  const place = entry.index % KEPT_COUNT
  if (keptEntries[place] === entry) return keptBytes[place] as Uint8Array
  const known = longOnes.get(entry)
  if (known !== undefined) return known
  const content = entry.type === 'normal' ? entry.data : encodeChange(entry.change)
  const writer = new ProtoWriter(content.length + 24)
  writer.uint(1, entry.term)
  writer.uint(2, entry.index)
  if (entry.type === 'normal') writer.bytes(3, content)
  else writer.present(4, content)
  const bytes = writer.finish()
  if (bytes.length > KEPT_BYTES_MAX) longOnes.set(entry, bytes)
  else {
    keptEntries[place] = entry
    keptBytes[place] = bytes
  }
  return bytes
}

/** The data of the entry is a view of `bytes`. @throws invalid-data */
export function decodeEntry(bytes: Uint8Array): Entry {
  let term = 0
  let index = 0
  let data = NO_BYTES
  let change: ConfigChange | undefined
  for (const field of readFields(bytes, 'entry')) {
    if (field.field === 1) term = toNumber(field, 'entry')
    else if (field.field === 2) index = toNumber(field, 'entry')
    else if (field.field === 3) data = toBytes(field, 'entry')
    else if (field.field === 4) change = decodeChange(toBytes(field, 'entry'))
  }
  if (change === undefined) return { type: 'normal', term, index, data }
  if (data.length > 0) throw malformed('entry', 'it has data and a change')
  return { type: 'config-change', term, index, change }
}

function encodeChange({ transition, steps, context }: ConfigChange): Uint8Array {
  const writer = new ProtoWriter()
  writer.uint(1, TRANSITIONS.indexOf(transition))
  for (const { type, id } of steps) {
    const step = new ProtoWriter(16)
    step.uint(1, STEP_TYPES.indexOf(type))
    step.uint(2, id)
    writer.present(2, step.finish())
  }
  writer.bytes(3, context)
  return writer.finish()
}

function decodeChange(bytes: Uint8Array): ConfigChange {
  let transition: ConfigChange['transition'] = 'auto'
  let context = NO_BYTES
  const steps: ConfigChangeStep[] = []
  for (const field of readFields(bytes, 'config change')) {
    if (field.field === 1) transition = wordOf(TRANSITIONS, field, 'config change')
    else if (field.field === 2) steps.push(decodeStep(toBytes(field, 'config change')))
    else if (field.field === 3) context = toBytes(field, 'config change')
  }
  return { transition, steps, context }
}

function decodeStep(bytes: Uint8Array): ConfigChangeStep {
  let type: ConfigChangeStep['type'] = 'add-voter'
  let id = 0
  for (const field of readFields(bytes, 'config change step')) {
    if (field.field === 1) type = wordOf(STEP_TYPES, field, 'config change step')
    else if (field.field === 2) id = toNumber(field, 'config change step')
  }
  return { type, id }
}

export function encodeConfigState(config: ConfigState): Uint8Array {
  const writer = new ProtoWriter()
  writer.packed(1, config.voters)
  writer.packed(2, config.votersOutgoing)
  writer.packed(3, config.learners)
  writer.packed(4, config.learnersNext)
  writer.bool(5, config.autoLeave)
  return writer.finish()
}

/** Whether such members can be is for the core to say. @throws invalid-data */
export function decodeConfigState(bytes: Uint8Array): ConfigState {
  const draft: { -readonly [key in keyof ConfigState]: ConfigState[key] } = {
    ...EMPTY_CONFIG_STATE
  }
  for (const field of readFields(bytes, 'config state')) {
    if (field.field === 1) draft.voters = toNumbers(field)
    else if (field.field === 2) draft.votersOutgoing = toNumbers(field)
    else if (field.field === 3) draft.learners = toNumbers(field)
    else if (field.field === 4) draft.learnersNext = toNumbers(field)
    else if (field.field === 5) draft.autoLeave = toNumber(field, 'config state') !== 0
  }
  return draft
}

export function encodeHardState({ term, vote, commit }: HardState): Uint8Array {
  const writer = new ProtoWriter(32)
  writer.uint(1, term)
  writer.uint(2, vote)
  writer.uint(3, commit)
  return writer.finish()
}

/** @throws invalid-data */
export function decodeHardState(bytes: Uint8Array): HardState {
  const numbers = [0, 0, 0, 0]
  for (const field of readFields(bytes, 'hard state')) {
    if (field.field <= 3) numbers[field.field] = toNumber(field, 'hard state')
  }
  const [, term = 0, vote = 0, commit = 0] = numbers
  return { term, vote, commit }
}

export function encodeSnapshot(snapshot: Snapshot): Uint8Array {
  const writer = new ProtoWriter(snapshot.data.length + 64)
  writer.uint(1, snapshot.index)
  writer.uint(2, snapshot.term)
  writer.bytes(3, encodeConfigState(snapshot.configState))
  writer.bytes(4, snapshot.data)
  return writer.finish()
}

/** Its data is a view of `bytes`. @throws invalid-data */
export function decodeSnapshot(bytes: Uint8Array): Snapshot {
  let index = 0
  let term = 0
  let configState = EMPTY_CONFIG_STATE
  let data = NO_BYTES
  for (const field of readFields(bytes, 'snapshot')) {
    if (field.field === 1) index = toNumber(field, 'snapshot')
    else if (field.field === 2) term = toNumber(field, 'snapshot')
    else if (field.field === 3) configState = decodeConfigState(toBytes(field, 'snapshot'))
    else if (field.field === 4) data = toBytes(field, 'snapshot')
  }
  return { index, term, configState, data }
}

/** @param message one that goes to another replica */
export function encodeRaftMessage(message: Message): Uint8Array {
  const writer = new ProtoWriter()
  writer.uint(1, PEER_MESSAGE_TYPES.indexOf(message.type as PeerMessageType) + 1)
  writer.uint(2, message.from)
  writer.uint(3, message.to)
  writer.uint(4, message.term)
  writer.uint(5, message.logTerm)
  writer.uint(6, message.index)
  writer.uint(7, message.commit)
  for (const entry of message.entries) writer.present(8, encodeEntry(entry))
  if (message.snapshot !== undefined) writer.present(9, encodeSnapshot(message.snapshot))
  writer.bool(10, message.reject)
  writer.uint(11, message.rejectHint)
  writer.bytes(12, message.context)
  writer.uint(13, message.readSequence)
  writer.bool(14, message.isTransfer)
  writer.uint(15, message.vote)
  return writer.finish()
}

type Draft = { -readonly [key in keyof MessageDraft]: MessageDraft[key] }

/** Bytes in it are views of `bytes`. Whether it may be is for the core to say. @throws invalid-data */
export function decodeRaftMessage(bytes: Uint8Array): Message {
  const entries: Entry[] = []
  let type: PeerMessageType | undefined
  const draft: Partial<Draft> = { entries }
  for (const field of readFields(bytes, 'raft message')) {
    if (field.field === 1) type = PEER_MESSAGE_TYPES[toNumber(field, 'raft message') - 1]
    else if (field.field === 8) entries.push(decodeEntry(toBytes(field, 'raft message')))
    else readMessageField(draft, field)
  }
  if (type === undefined) throw malformed('raft message', 'it has no type that is known here')
  return createMessage({ ...draft, type, to: draft.to ?? 0 })
}

const NUMBER_FIELDS: Readonly<
  Record<
    number,
    'from' | 'to' | 'term' | 'logTerm' | 'index' | 'commit' | 'rejectHint' | 'readSequence' | 'vote'
  >
> = {
  2: 'from',
  3: 'to',
  4: 'term',
  5: 'logTerm',
  6: 'index',
  7: 'commit',
  11: 'rejectHint',
  13: 'readSequence',
  15: 'vote'
}

function readMessageField(draft: Partial<Draft>, field: ProtoField): void {
  const name = NUMBER_FIELDS[field.field]
  if (name !== undefined) draft[name] = toNumber(field, 'raft message')
  else if (field.field === 9) draft.snapshot = decodeSnapshot(toBytes(field, 'raft message'))
  else if (field.field === 10) draft.reject = toNumber(field, 'raft message') !== 0
  else if (field.field === 12) draft.context = toBytes(field, 'raft message')
  else if (field.field === 14) draft.isTransfer = toNumber(field, 'raft message') !== 0
}

function toNumber(field: ProtoField, what: string): number {
  if (field.kind !== 'number') throw malformed(what, `field ${field.field} is no number`)
  if (field.number > NUMBER_MAX) throw malformed(what, `${field.number} is out of range`)
  return field.number
}

function toBytes(field: ProtoField, what: string): Uint8Array {
  if (field.kind !== 'bytes') throw malformed(what, `field ${field.field} is a number`)
  return field.bytes
}

function toNumbers(field: ProtoField): number[] {
  const values = readPacked(toBytes(field, 'config state'), 'config state')
  if (values.some((value) => value > NUMBER_MAX)) {
    throw malformed('config state', 'an id is out of range')
  }
  return values
}

function wordOf<T extends string>(words: readonly T[], field: ProtoField, what: string): T {
  const word = words[toNumber(field, what)]
  if (word === undefined) throw malformed(what, `field ${field.field} has no such value`)
  return word
}
