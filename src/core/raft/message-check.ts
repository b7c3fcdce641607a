// What any message must be, before anything in it is believed: the right types and ranges, and
// terms and indexes that fit each other. Whether it fits this replica's log is for its handler.

import { configProblem } from './config-change.ts'
import { APPEND_THREAD, APPLY_THREAD, NUMBER_MAX, PEER_MESSAGE_TYPES } from './messages.ts'
import type { ConfigChange, Entry, Message, MessageType, Snapshot } from './messages.ts'

const PEER_TYPES: ReadonlySet<string> = new Set(PEER_MESSAGE_TYPES)
const NUMBERS = [
  'term',
  'logTerm',
  'index',
  'commit',
  'vote',
  'rejectHint',
  'readSequence'
] as const
const STEP_TYPES: ReadonlySet<unknown> = new Set(['add-voter', 'add-learner', 'remove', 'update'])
const TRANSITIONS: ReadonlySet<unknown> = new Set(['auto', 'implicit', 'explicit'])
/**
 * Answers that a replica gives to itself, when its own write is durable; and what it asked for as a
 * follower and gets back as the leader, from the one whom it took for that.
 */
const TO_ITSELF: ReadonlySet<MessageType> = new Set([
  'append-response',
  'vote-response',
  'pre-vote-response',
  'propose',
  'read-index'
])

const isNumber = (value: unknown): boolean =>
  Number.isInteger(value) && (value as number) >= 0 && (value as number) <= NUMBER_MAX

/** Written out, because it runs for every message. */
function hasNumbers(message: Message): boolean {
  const { term, logTerm, index, commit, vote, rejectHint, readSequence } = message
  const inTerms = isNumber(term) && isNumber(logTerm) && isNumber(vote)
  const inLog = isNumber(index) && isNumber(commit) && isNumber(rejectHint)
  return inTerms && inLog && isNumber(readSequence)
}

/** @returns whether a message stands outside of terms. */
export function isTermless(message: Message): boolean {
  const { type, reject, term } = message
  if (type === 'propose' || type === 'read-index' || type === 'storage-apply-response') return true
  // The refusal of a replica that never saw a term.
  return type === 'pre-vote-response' && reject && term === 0
}

/** @returns whether the message came from the storage of the replica itself. */
export function isFromStorage(message: Message): boolean {
  const { type, from } = message
  if (type === 'storage-append-response') return from === APPEND_THREAD
  return type === 'storage-apply-response' && from === APPLY_THREAD
}

/** @returns what is wrong with a message from a peer; undefined when it is well formed. */
export function messageProblem(message: Message, self: number): string | undefined {
  const { type, from, term } = message
  if (!PEER_TYPES.has(type)) return `no peer sends "${type}"`
  if (!isNumber(from) || from === 0) return `"${String(from)}" names no sender`
  if (from === self && !TO_ITSELF.has(type)) return 'it comes from this replica itself'
  if (!hasNumbers(message)) {
    const name = NUMBERS.find((name) => !isNumber(message[name])) ?? 'term'
    return `${name} is ${String(message[name])}`
  }
  if (!isTermless(message) && term === 0) return 'it has no term'
  if (!(message.context instanceof Uint8Array)) return 'its context is not bytes'
  if (typeof message.reject !== 'boolean') return 'whether it rejects is not said'
  if (type === 'append') return appendProblem(message)
  if (type === 'snapshot') return snapshotProblem(message.snapshot, term)
  if (type === 'propose') return proposalProblem(message.entries)
  const isVote = type === 'vote' || type === 'pre-vote'
  if (isVote && message.logTerm > term) return `its log ends in term ${message.logTerm}`
  return undefined
}

/** Entries follow `index` without a gap, and terms don't fall. */
function appendProblem({ term, index, logTerm, entries }: Message): string | undefined {
  if (logTerm > term) return `it follows term ${logTerm} in term ${term}`
  if (index === 0 && logTerm !== 0) return 'before the first entry there is no term'
  if (!Array.isArray(entries)) return 'it has no entries'
  if (index + entries.length > NUMBER_MAX) return 'its entries end beyond all indexes'
  let last = logTerm
  for (const [position, entry] of entries.entries()) {
    const problem = entryProblem(entry)
    if (problem !== undefined) return problem
    if (entry.index !== index + 1 + position) return `entry ${entry.index} leaves a gap`
    if (entry.term === 0 || entry.term < last) return `the term falls at entry ${entry.index}`
    last = entry.term
  }
  return last > term ? `it has entries of term ${last} in term ${term}` : undefined
}

function proposalProblem(entries: readonly Entry[]): string | undefined {
  if (!Array.isArray(entries) || entries.length === 0) return 'it proposes nothing'
  return entries.map(entryProblem).find((problem) => problem !== undefined)
}

function entryProblem(entry: Entry): string | undefined {
  if (typeof entry !== 'object' || entry === null) return 'an entry is missing'
  if (!isNumber(entry.term) || !isNumber(entry.index)) return 'an entry has no place'
  if (entry.type === 'normal') {
    return entry.data instanceof Uint8Array ? undefined : 'an entry has no bytes'
  }
  return entry.type === 'config-change' ? changeProblem(entry.change) : 'an entry has no type'
}

/** @returns what is wrong with a change of members, whatever the members are. */
export function changeProblem(change: ConfigChange): string | undefined {
  if (typeof change !== 'object' || change === null) return 'a change is missing'
  if (!TRANSITIONS.has(change.transition)) return 'a change has no transition'
  if (!(change.context instanceof Uint8Array)) return 'the context of a change is not bytes'
  if (!Array.isArray(change.steps)) return 'a change has no steps'
  const isKnown = (step: unknown): boolean => {
    if (typeof step !== 'object' || step === null) return false
    const { type, id } = step as { type: unknown; id: unknown }
    return STEP_TYPES.has(type) && isNumber(id)
  }
  return change.steps.every(isKnown) ? undefined : 'a step of a change is unknown'
}

function snapshotProblem(snapshot: Snapshot | undefined, term: number): string | undefined {
  if (typeof snapshot !== 'object' || snapshot === null) return 'it has no snapshot'
  if (!isNumber(snapshot.index) || snapshot.index === 0) return 'its snapshot has no index'
  if (!isNumber(snapshot.term) || snapshot.term === 0) return 'its snapshot has no term'
  if (snapshot.term > term) return `its snapshot is of term ${snapshot.term}`
  if (!(snapshot.data instanceof Uint8Array)) return 'its snapshot has no bytes'
  const { configState } = snapshot
  if (typeof configState !== 'object' || configState === null) return 'its snapshot has no members'
  const { voters, votersOutgoing, learners, learnersNext, autoLeave } = configState
  const lists: readonly unknown[] = [voters, votersOutgoing, learners, learnersNext]
  const isIds = (list: unknown): boolean =>
    Array.isArray(list) && list.every((id) => isNumber(id) && id !== 0)
  if (!lists.every(isIds) || typeof autoLeave !== 'boolean') return 'its members are no ids'
  return configProblem(configState)
}
